"""How fast the app answers, in a real browser: make bench-app, or python bench/app.py (its options: --help).

Every time is from a key press on a control to the new content in the page's DOM, by the page's own clock; p50 and p90
over the moves, with the machine's load. What should be seen, on the embedded model and two idle cores: slider c to new
text under 1 s; threshold to counts under 150 ms; a stored beta under 300 ms; each of them under 1 s while a training
runs; the first finished screen under 5 s after the server answers; under 50 MB for each further viewer.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
import tempfile
import time
import urllib.parse
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))
from tests.builders.browser import DEEP, IN_SIGHT, Browser, server_of, serving

SLIDER = """
  const host = deep('marimo-slider').find(e => (e.dataset.label || '').includes(LABEL));
  const thumb = deep('[role=slider]', host.shadowRoot || host)[0];
"""
# the value that a key press leads to, and how long until `seen` differs from what it was before
MOVE = """(async (LABEL, KEY, SEEN, LIMIT) => {
  %s
  const seen = () => { const e = document.querySelectorAll(SEEN); return [...e].map(x => x.textContent).join('|'); };
  const before = seen(); thumb.focus();
  const began = performance.now();
  thumb.dispatchEvent(new KeyboardEvent('keydown', {key: KEY, bubbles: true, composed: true}));
  while (seen() === before) {
    if (performance.now() - began > LIMIT) return null;
    await new Promise(done => setTimeout(done, 4));
  }
  return performance.now() - began;
})"""

CARDS = ".ws-cards:has(.ws-note)"  # the samples; a card of Learn has no note
COUNTS, TILE = ".ws-counts", '.ws-tile[data-gate="3"]'
RUNNING = "!!document.querySelector('.ws-job progress')"
READY = "document.body && document.querySelector('.ws-tiles') && document.querySelector('.ws-cards')"


def move(page: Browser, label: str, key: str, seen: str, limit: float = 20_000) -> float | None:
    """Milliseconds from one key press on a slider to new content; None where nothing changed within the limit."""
    code = DEEP + ";" + (MOVE % SLIDER) + f"({json.dumps(label)}, {json.dumps(key)}, {json.dumps(seen)}, {limit})"
    found = page.js(code)
    return None if found is None else float(found)


def sweep(page: Browser, label: str, seen: str, keys: list[str], limit: float = 20_000) -> list[float]:
    """The times of a row of key presses; those that change nothing are left out."""
    times = []
    for key in keys:
        took = move(page, label, key, seen, limit)
        times += [] if took is None else [took]
        time.sleep(0.15)  # a hand takes longer
    return times


def settle(page: Browser, seconds: float = 60) -> None:
    """Until the page has been still for a second."""
    page.wait(READY, seconds)
    end, last = time.monotonic() + seconds, ""
    while time.monotonic() < end and last != (last := page.text()):
        time.sleep(1.0)


def open_at(page: Browser, url: str, **settings: object) -> None:
    page.open(url + "?" + urllib.parse.urlencode(settings))
    settle(page)


def report(name: str, times: list[float], should: float, unit: str = "ms") -> None:
    """One line: p50, p90, what should be seen, and the load at that moment."""
    if not times:
        print(f"{name:<65} nothing measured", flush=True)
        return
    ordered = sorted(times)
    p50, p90 = statistics.median(ordered), ordered[min(len(ordered) - 1, int(0.9 * len(ordered)))]
    state = "ok" if p50 < should else "OVER"
    load = os.getloadavg()[0]
    print(f"{name:<65} n {len(times):>3}  p50 {p50:7.0f}  p90 {p90:7.0f} {unit}  "
          f"should be under {should:.0f}: {state:<4} load {load:.1f}", flush=True)  # fmt: skip


def doses(page: Browser, url: str, moves: int, text: str) -> list[float]:
    """Slider c to new text; a text of one's own has no stored sample, and every dose of it is new."""
    times: list[float] = []
    while len(times) < moves:
        before = len(times)
        open_at(page, url, own=f"{text} {before}", c=0.125)
        times += sweep(page, "coefficient c", CARDS, ["ArrowRight"] * min(20, moves - before))
        if len(times) == before:
            break
    return times


def thresholds(page: Browser, url: str, moves: int) -> list[float]:
    """The filter's threshold to the counts beside it."""
    open_at(page, url, tail=1)
    return sweep(page, "filter threshold", COUNTS, ["ArrowRight"] * (2 * moves), 1500)[:moves]


def betas(page: Browser, url: str, moves: int) -> list[float]:
    """A stored beta to its verdict, there and back."""
    open_at(page, url, beta=0.1)
    there_and_back = (["ArrowRight"] * 3 + ["ArrowLeft"] * 3) * (moves // 6 or 1)
    return sweep(page, "KL beta", TILE, there_and_back)


def memory(page: Browser, url: str, viewers: int) -> list[float]:
    """MB by which the server grows for each further viewer."""
    server = server_of(url)
    grown, before = [], server.memory_info().rss
    for i in range(viewers):
        page.call("Target.createTarget", url=f"{url}?c={0.5 + i / 8}")
        time.sleep(6)
        now = server.memory_info().rss
        grown.append((now - before) / 1e6)
        before = now
    return [sum(grown) / len(grown)] if grown else []


def click(page: Browser, words: str) -> None:
    page.js(f"{DEEP};deep('button').find(b => b.textContent.includes({json.dumps(words)})).click()")


def first_screen() -> tuple[float, float]:
    """Milliseconds from a new server that answers to tiles, samples and first chart, drawn and not hidden.

    In a new browser; first as the server sends them, then with their controls.
    """
    parts = {"#ws-glance": (".ws-tiles", ".ws-cards", "figure svg"), "#root": (".ws-tiles", ".ws-cards", "svg.marks")}
    glance, alive = (" && ".join(IN_SIGHT % f"{here} {part}" for part in those) for here, those in parts.items())
    with tempfile.TemporaryDirectory() as out, Browser() as page, serving(["--model", "mini", "--out", out]) as url:
        began = time.monotonic()
        page.call("Page.navigate", url=url)
        page.wait(glance, 120)
        first = time.monotonic()
        page.wait(f"!document.getElementById('ws-glance') && {alive}", 120)
        return 1000 * (first - began), 1000 * (time.monotonic() - began)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--moves", type=int, default=30)
    parser.add_argument("--viewers", type=int, default=5)
    parser.add_argument("--servers", type=int, default=5, help="first screens")
    options = parser.parse_args()
    print(f"{os.cpu_count()} cores, load {os.getloadavg()[0]:.1f} at the start", flush=True)
    screens = [first_screen() for _ in range(options.servers)]
    for name, times in zip(("", ", with its controls"), zip(*screens, strict=True), strict=True):
        report("first finished screen after the server is up" + name, list(times), 5000)
    with tempfile.TemporaryDirectory() as out, Browser() as page, serving(["--model", "mini", "--out", out]) as url:
        report("slider c to new text", doses(page, url, options.moves, "May I lie to my boss?"), 1000)
        report("filter threshold to new counts", thresholds(page, url, options.moves), 150)
        report("stored beta to its verdict", betas(page, url, options.moves), 300)
        training(page, url, options.moves)
        # last: a page behind others has its timers slowed
        report("memory for each further viewer", memory(page, url, options.viewers), 50, "MB")


def training(page: Browser, url: str, moves: int) -> None:
    """The three sliders while a training runs, at betas that are not stored; each training is cancelled afterwards."""
    moves = min(moves, 18)  # a training lasts about 40 s
    during: dict[float, dict[str, Callable[[], list[float]]]] = {
        1.0: {"slider c to new text": lambda: doses(page, url, moves, "Should I tell a friend?")},
        10.0: {
            "filter threshold to new counts": lambda: thresholds(page, url, moves),
            "stored beta to its verdict": lambda: betas(page, url, moves),
        },
    }
    for beta, measures in during.items():
        open_at(page, url, beta=beta)
        click(page, "Train at beta")
        page.wait(RUNNING, 120)
        found = {name: measure() for name, measure in measures.items()}
        open_at(page, url, beta=beta)
        running = page.js(RUNNING)
        for name, times in found.items():
            report(name + (" while a training runs" if running else " (THE TRAINING ENDED)"), times, 1000)
        if running:
            click(page, "Cancel the training")


if __name__ == "__main__":
    main()
