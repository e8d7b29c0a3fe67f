"""How fast the app is in a real browser: `python bench/app.py` prints p50 and p90 with the machine's load.

First screen: from opening the page of a server that is up. c: from the key press to the new text on screen, each dose
for the first time. Threshold: from the key press to the new counts. Nothing else should run on the machine.
"""

from __future__ import annotations

import os
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent.parent))

from tests.browser import DEEP, Browser, serving

MOVES = 30
READY = "document.querySelectorAll('.ws-tile').length == 3 && document.querySelectorAll('.ws-card').length >= 3"
SAMPLES, COUNTS = ".ws-cards .ws-card:nth-child(2)", ".ws-counts"


def say(name: str, values: list[float]) -> None:
    p90 = sorted(values)[int(0.9 * (len(values) - 1))]
    load = " ".join(f"{x:.1f}" for x in os.getloadavg())
    text = f"{name}: p50 {statistics.median(values):.0f} ms, p90 {p90:.0f} ms, n {len(values)}, load {load}\n"
    sys.stdout.write(text)


def focus(page: Browser, label: str) -> None:
    hosts = f"({DEEP})('marimo-slider').find(e => (e.dataset.label || '').includes('{label}'))"
    page.js(f"(h => ({DEEP})('[role=slider]', h.shadowRoot || h)[0].focus())({hosts})")


def move(page: Browser, selector: str, key: tuple[str, int]) -> float:
    """Milliseconds from a key press until what stands in `selector` has changed."""
    page.js(f"""(() => {{ const was = document.querySelector("{selector}").innerText, began = performance.now();
      window.moved = new Promise(done => {{ (function look() {{
        const now = document.querySelector("{selector}");
        if (now && now.innerText != was) done(performance.now() - began); else setTimeout(look, 3); }})() }}) }})()""")
    page.key(*key)
    return float(page.js("window.moved"))


def moves(page: Browser, url: str, label: str, selector: str, start: str, key: tuple[str, int]) -> list[float]:
    """MOVES single steps of a slider, from a link that stands at its end; a fresh seed when it runs out of steps."""
    found: list[float] = []
    while len(found) < MOVES:
        page.open(f"{url}/?{start}&seed={len(found)}" if label.startswith("coef") else f"{url}/?{start}")
        page.wait(READY, 300)
        page.wait(f"document.querySelector('{selector}')", 120)
        time.sleep(5)
        focus(page, label)
        for _ in range(min(20, MOVES - len(found))):
            found.append(move(page, selector, key))
            time.sleep(0.2)
    return found


def first_screen(page: Browser, url: str) -> float:
    began = time.monotonic()
    page.open(url)
    page.wait(f"{READY} && ({DEEP})('svg.marks').length >= 1", 300)
    return 1000 * (time.monotonic() - began)


def main() -> Any:
    with tempfile.TemporaryDirectory() as out, serving(["--out", out]) as url, Browser(height=2600) as page:
        say("first screen, first viewer", [first_screen(page, url)])
        say("first screen, later viewers", [first_screen(page, url) for _ in range(3)])
        right, left = ("ArrowRight", 39), ("ArrowLeft", 37)
        say("c to new text", moves(page, url, "coefficient", SAMPLES, "c=0.125", right))
        say("threshold to new counts", moves(page, url, "threshold", COUNTS, "tail=40", left))


if __name__ == "__main__":
    main()
