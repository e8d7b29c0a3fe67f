"""Screenshots of the app's views into docs/img, light and dark, at 1280 px: `make shots` (needs chromium)."""

from __future__ import annotations

import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT))

from tests.browser import DEEP, Browser, serving  # noqa: E402

SECTIONS = {"steer": "Steer?", "filter": "Filter?", "learn": "Learn?"}


def shoot(url: str, dark: bool) -> None:
    """The first screen, an opened tile, and each section from its heading on."""
    end = "-dark" if dark else ""
    with Browser(height=1000, dark=dark) as page:
        page.open(url)
        page.wait("document.querySelectorAll('.ws-card').length >= 7", 120)
        page.wait(f"({DEEP})('svg.marks').length >= 3", 120)
        time.sleep(2)
        take(page, f"gates{end}.png")
        for name, title in SECTIONS.items():
            page.js(f"[...document.querySelectorAll('h2')].find(e => e.innerText == {title!r}).scrollIntoView()")
            page.js("document.getElementById('App').scrollBy(0, -110)")
            time.sleep(1)
            take(page, f"gates-{name}{end}.png")
        page.js("document.querySelector('.ws-tile').open = true")
        time.sleep(1)
        take(page, f"gates-tile{end}.png")


def take(page: Browser, name: str) -> None:
    sys.stdout.write(f"{page.screenshot(ROOT / 'docs/img' / name)}\n")


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as out, serving(["--out", out]) as address:
        for dark in (False, True):
            shoot(address, dark)
