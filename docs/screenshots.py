"""Screenshots of every page's views into docs/img, light and dark, at 1280 px: `make shots` (needs chromium)."""

from __future__ import annotations

import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT))

from tests.builders.browser import DEEP, Browser, serving  # noqa: E402

# page: (headings that get a picture of their own, by its name; when the page is whole)
PAGES = {
    "gates": (
        {"steer": "Steer?", "filter": "Filter?", "learn": "Learn?"},
        f"document.querySelectorAll('.ws-card').length >= 7 && ({DEEP})('svg.marks').length >= 3",
    ),
    "loop": (
        {"map": "The map", "diary": "Diary"},
        f"({DEEP})('svg.marks').length >= 3 && ({DEEP})('table').length >= 2",
    ),
    "compare": (
        {"plane": "Shift against coherence", "equal": "At equal shift"},
        f"({DEEP})('svg.marks').length >= 1 && ({DEEP})('table').length >= 4",
    ),
}


def shoot(url: str, name: str, dark: bool) -> None:
    """The first screen, each section from its heading on, and an opened tile where there are tiles."""
    end = "-dark" if dark else ""
    sections, whole = PAGES[name]
    with Browser(height=1000, dark=dark) as page:
        page.open(url)
        page.wait(whole, 120)
        time.sleep(2)
        take(page, f"{name}{end}.png")
        for part, title in sections.items():
            page.js(f"[...document.querySelectorAll('h2')].find(e => e.innerText == {title!r}).scrollIntoView()")
            if name == "gates":  # the tiles stay in sight above everything
                page.js("document.getElementById('App').scrollBy(0, -110)")
            time.sleep(1)
            take(page, f"{name}-{part}{end}.png")
        if page.js("!!document.querySelector('.ws-tile')"):
            page.js("document.querySelector('.ws-tile').open = true")
            time.sleep(1)
            take(page, f"{name}-tile{end}.png")


def take(page: Browser, name: str) -> None:
    sys.stdout.write(f"{page.screenshot(ROOT / 'docs/img' / name)}\n")


if __name__ == "__main__":
    for notebook in PAGES:
        with tempfile.TemporaryDirectory() as home, serving(["--out", "out"], notebook, cwd=Path(home)) as address:
            for dark in (False, True):
                shoot(address, notebook, dark)
