"""The app in a headless Chromium: what a viewer sees, and what a hostile sample cannot do."""

from __future__ import annotations

import json
import re
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

import pytest

from tests.builders.browser import CHROMIUM, DEEP, Browser, serving, slide, until
from tests.builders.hostile import HOSTILE
from tests.builders.planted_run import plant
from ws.app import views
from ws.app.server.security_headers import HEADERS
from ws.experiment.examples import EXAMPLE
from ws.files import read_json
from ws.runs.reader import open_run

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(CHROMIUM is None, reason="NO CHROMIUM: THE PAGE IS NOT TESTED (apt-get install chromium)"),
]

C, TAIL = "coefficient c", "filter threshold"


@pytest.fixture(scope="module")
def out(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the app keeps runs: one of them, "hostile", holds text that attacks."""
    folder = tmp_path_factory.mktemp("app")
    plant(folder / "runs/hostile")
    return folder


@pytest.fixture(scope="module")
def url(out: Path) -> Iterator[str]:
    with serving(["--model", "mini", "--out", str(out)]) as address:
        yield address


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with Browser(height=3000) as page:
        yield page


@pytest.fixture
def page(browser: Browser, url: str) -> Browser:
    """The finished first page, freshly opened."""
    browser.errors.clear()
    browser.requests.clear()
    browser.open(url)
    finished(browser)
    return browser


def finished(page: Browser) -> None:
    page.wait("document.querySelectorAll('.ws-tile').length == 3", 300)
    page.wait("document.querySelectorAll('.ws-card').length >= 7", 120)
    page.wait(f"({DEEP})('svg.marks').length >= 3", 120)
    page.wait("document.querySelectorAll('.ws-token').length > 5", 60)
    page.wait("[...document.querySelectorAll('.ws-cards')].every(e => e.innerText)", 60)


def texts(page: Browser) -> list[str]:
    """The three samples."""
    return list(page.js("[...document.querySelectorAll('.ws-cards')][0].innerText.split('\\n')"))


def rule(page: Browser) -> list[str]:
    """Where the red rules of the first chart stand."""
    lines = f"[...({DEEP})('svg.marks')[0].querySelectorAll('line[stroke=\"#d1495b\"]')]"
    return list(page.js(f"{lines}.map(e => e.getAttribute('transform'))"))


def border(page: Browser) -> list[str]:
    """Ids of the borderline table's rows."""
    rows = page.js(f"({DEEP})('table tbody tr').map(e => e.innerText)")
    return [row for row in rows if "kept" in row or "dropped" in row]


def test_the_first_page_is_complete_without_errors_or_outside_requests(page: Browser, url: str) -> None:
    text = page.text()
    for part in ("Steer?", "Filter?", "Learn?", "baseline, c = 0", "training completions",
                 "Borderline cases", "Your label:", "healed", "persona as system prompt"):  # fmt: skip
        assert part in text, part
    assert len(border(page)) == 10
    assert page.errors == []
    own = url.removeprefix("http")
    outside = [r for r in page.requests if not r.startswith(("data:", "blob:", f"http{own}", f"ws{own}"))]
    assert outside == []


def test_the_page_is_under_a_policy_that_lets_nothing_out(page: Browser, url: str) -> None:
    with urllib.request.urlopen(url) as answer:
        assert {name: answer.headers[name] for name in HEADERS} == HEADERS
        script = re.search(r"assets/index-[^\"]+\.js", answer.read().decode())
    assert script
    with urllib.request.urlopen(f"{url}/{script[0]}") as answer:  # marimo's files, which we answer from memory
        assert {name: answer.headers[name] for name in HEADERS} == HEADERS
        assert "immutable" in answer.headers["cache-control"] and len(answer.read()) > 100_000
    refused = page.js("""new Promise(done => {
      document.addEventListener('securitypolicyviolation', e => done(e.effectiveDirective), {once: true});
      new Image().src = 'https://other.invalid/a.png'; })""")
    assert refused == "img-src"
    refused = page.js("""new Promise(done => {
      document.addEventListener('securitypolicyviolation', e => done(e.effectiveDirective), {once: true});
      try { new WebSocket('wss://other.invalid/') } catch {} })""")
    assert refused == "connect-src"


def from_the_knee(steps: int) -> float:
    """The dose so many steps of the slider from where it starts."""
    run = open_run(EXAMPLE)
    doses = views.dose_steps(run)
    return doses[doses.index(run.get("knee.json")["c"]) + steps]


def test_c_changes_the_text_and_the_rule(page: Browser) -> None:
    before, stood, c = texts(page), rule(page), from_the_knee(8)
    slide(page, C, 8)
    page.wait(f"document.querySelectorAll('.ws-cards')[0].innerText.includes('c = +{c:.3g}')", 120)
    until(lambda: (after := texts(page)) != before and after[0] == before[0], 60, "the steered texts alone change")
    assert stood
    until(lambda: rule(page) not in (stood, []), 60, "the rule stayed where it was")
    page.wait(f"location.search.includes('c={c}&')", 60)


def test_the_threshold_changes_counts_and_borderline_rows(page: Browser) -> None:
    kept = "document.querySelector('.ws-counts').innerText.split('kept')[1]"
    counts, rows, samples = page.js(kept), border(page), texts(page)
    slide(page, TAIL, -25)
    page.wait(f"{kept} != {json.dumps(counts)}", 60)
    until(lambda: len(border(page)) == 10 and border(page) != rows, 60, "the borderline rows stayed")
    assert texts(page) == samples


def test_labels_persist_over_a_reload(page: Browser, url: str, out: Path) -> None:
    page.wait_text("0 labelled")
    page.js(f"({DEEP})('[role=radio]')[0].click()")
    page.wait_text("1 labelled (1 coherent", 60)
    assert list(out.glob("example-*/labels.parquet"))
    page.open(url)
    finished(page)
    page.wait_text("1 labelled (1 coherent", 60)


def test_a_note_is_stored_with_the_run(page: Browser, url: str, out: Path) -> None:
    page.js("document.querySelector('.ws-tile[data-gate=\"1\"]').open = true")
    page.js(f"({DEEP})('textarea')[0].focus()")
    page.call("Input.insertText", text=HOSTILE)
    page.js(f"({DEEP})('textarea')[0].blur()")
    page.wait("document.querySelectorAll('.ws-tile').length == 3")
    notes = lambda: [read_json(path) for path in out.glob("example-*/rounds/0/notes.json")]  # noqa: E731
    until(lambda: any(found.get("1") == HOSTILE for found in notes()), 30, "no note was stored")
    page.open(url)
    finished(page)
    page.wait(f"({DEEP})('textarea')[0].value == {json.dumps(HOSTILE)}", 30)
    assert page.js("window.hit") is None


def test_a_link_restores_the_settings(page: Browser, url: str) -> None:
    c = from_the_knee(-4)
    slide(page, C, -4)
    page.wait(f"document.querySelectorAll('.ws-cards')[0].innerText.includes('c = +{c:.3g}')", 120)
    page.wait(f"location.search.includes('c={c}&')", 60)
    samples, address = texts(page), page.js("location.href")
    page.open("about:blank")
    page.open(address)
    finished(page)
    page.wait(f"document.querySelectorAll('.ws-cards')[0].innerText.includes('c = +{c:.3g}')", 60)
    assert [t for t in texts(page) if "perplexity" not in t] == [t for t in samples if "perplexity" not in t]


def test_a_hostile_link_becomes_an_ordinary_page(page: Browser, url: str) -> None:
    page.open(f"{url}/?c=nan&tail=<script>&axis=../../etc/passwd&seed=1e999&run=../../..&method=__import__")
    finished(page)
    page.wait_text("There is no run")
    assert page.js("window.hit") is None and page.errors == []


def test_a_hostile_sample_stays_text(page: Browser, url: str) -> None:
    page.open(f"{url}/?run=hostile&own={quote(HOSTILE)}&surprise=on")
    finished(page)
    page.wait_text("<img src=x onerror=")
    page.js("document.querySelectorAll('details').forEach(e => e.open = true)")
    assert page.js("window.hit") is None
    for tag in ("img[src=x]", "iframe", "script:not([src]):not([type])[data-hit]", "marimo-md"):
        assert page.js(f"({DEEP})({json.dumps(tag)}).length") == 0, tag
    page.wait_text("$\\frac{1}{2}$ **bold**")  # neither LaTeX nor markdown is read
    assert page.errors == []
