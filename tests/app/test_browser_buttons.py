"""Every button of every page, pressed in a browser on the runs that ship: none of them fails on the server."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.builders.browser import CHROMIUM, DEEP, Browser, serving, slide, until

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(CHROMIUM is None, reason="NO CHROMIUM: THE PAGES ARE NOT TESTED (apt-get install chromium)"),
]

FAILED = ("Traceback", "Error", "raised an")
"""Words that marimo prints where a callback or a cell fails; the page itself then only looks as before."""
OPEN = "b => !b.disabled && b.checkVisibility()"
OURS = f"({DEEP})('marimo-button').flatMap(e => ({DEEP})('button', e.shadowRoot || e)).filter({OPEN})"
ALL = f"({DEEP})('button').filter({OPEN})"


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with Browser(height=3000) as page:
        yield page


def labels(page: Browser, buttons: str = OURS) -> list[str]:
    return list(page.js(f"{buttons}.map(b => b.innerText.trim())"))


def press(page: Browser, words: str) -> None:
    page.wait(f"{OURS}.some(b => b.innerText.includes({json.dumps(words)}))", 120)
    page.js(f"{OURS}.find(b => b.innerText.includes({json.dumps(words)})).click()")


def whole(page: Browser) -> None:
    page.wait("document.querySelectorAll('.ws-card').length >= 3", 300)
    page.wait(f"({DEEP})('marimo-button').length >= 1", 120)


def unharmed(page: Browser, log: Path) -> None:
    printed = log.read_text()
    assert not [word for word in FAILED if word in printed], printed[-3000:]
    assert page.errors == []


def test_every_button_of_the_app_acts(browser: Browser, tmp_path: Path) -> None:
    """Journal; learn from the threshold, train and cancel; measure and cancel."""
    log, pressed = tmp_path / "log", list[str]()
    with serving(["--model", "mini", "--out", str(tmp_path / "out")], log=log, cwd=tmp_path) as url:
        browser.errors.clear()
        browser.open(url)
        whole(browser)
        press(browser, "Write the journal page")
        browser.wait_text("open it in a browser", 120)
        slide(browser, "filter threshold", -20)
        press(browser, "learn from what the threshold")
        browser.wait_text("learn from what the run kept", 60)  # the button does: the training's threshold has moved
        press(browser, "Train at beta")
        browser.wait(f"({DEEP})('progress').length > 0", 120)
        press(browser, "Cancel the training")
        browser.wait_text("cancelled", 120)
        slide(browser, "filter threshold", 20)
        press(browser, "learn from what the run kept")
        until(lambda: not [x for x in labels(browser) if x.startswith("learn from")], 60, "the button stayed")
        browser.open(f"{url}/?seed=77")
        whole(browser)
        press(browser, "Measure these settings")
        browser.wait_text("measuring care_over_authority", 120)
        press(browser, "Cancel the measurement")
        browser.wait_text("cancelled", 120)
        pressed += labels(browser)
        unharmed(browser, log)
    known = ("Write the journal", "learn from", "Train at", "Cancel the", "Measure these")
    assert [x for x in pressed if not x.startswith(known)] == [], "a button that this test does not press"


@pytest.mark.parametrize("notebook", ["compare", "loop"])
def test_every_button_of_a_page_of_stored_runs_acts(browser: Browser, tmp_path: Path, notebook: str) -> None:
    """Folded parts, menus and arrows of tables: the pages have no others."""
    log = tmp_path / "log"
    with serving(["--out", str(tmp_path / "out")], notebook=notebook, log=log, cwd=tmp_path) as url:
        browser.errors.clear()
        browser.open(url)
        browser.wait(f"({DEEP})('table').length >= 2", 300)
        browser.wait("location.search.length > 1", 120)
        for place in range(len(labels(browser, ALL))):
            browser.js(f"{ALL}[{place}]?.click()")
        browser.js("new Promise(done => setTimeout(done, 2000))")
        unharmed(browser, log)
