"""The Learn section and several viewers in a headless Chromium: train, reload, cancel; everybody sees their own."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlencode

import pytest
from websockets.sync.client import connect

from tests.builders.browser import CHROMIUM, DEEP, Browser, server_of, serving, slide
from ws.app import views
from ws.experiment.examples import EXAMPLE
from ws.models.lm import LM
from ws.runs.heal_variants import VariantSettings, find_variant, variant_gate
from ws.runs.reader import open_run

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(CHROMIUM is None, reason="NO CHROMIUM: THE PAGE IS NOT TESTED (apt-get install chromium)"),
]

VIEWERS = int(os.environ.get("WS_VIEWERS", "3"))  # ten for a minute on a machine of one's own
BETA = "KL beta"
LONG = 240  # seconds: the machine may be busy


@pytest.fixture(scope="module")
def out(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("learn")


@pytest.fixture(scope="module")
def url(out: Path) -> Iterator[str]:
    with serving(["--model", "mini", "--out", str(out)], options=["--session-ttl", "1"]) as address:
        yield address


@pytest.fixture(scope="module")
def page() -> Iterator[Browser]:
    with Browser(height=1200) as browser:
        yield browser


def opened(page: Browser, url: str, **settings: object) -> Browser:
    page.open(f"{url}?{urlencode(settings)}")
    page.wait("document.querySelectorAll('.ws-tile').length == 3 && !!document.querySelector('.ws-stops')", LONG)
    page.wait("document.querySelectorAll('.ws-text').length > 0", LONG)
    return page


def click(page: Browser, words: str) -> None:
    page.wait(f"({DEEP})('button').some(b => b.textContent.includes({json.dumps(words)}) && !b.disabled)", LONG)
    page.js(f"({DEEP})('button').find(b => b.textContent.includes({json.dumps(words)})).click()")


def job(page: Browser) -> str:
    return str(page.js("[...document.querySelectorAll('.ws-job')].map(e => e.textContent).join('|')"))


def learn_tile(page: Browser) -> str:
    return str(page.js("document.querySelector('.ws-tile[data-gate=\"3\"] summary').textContent"))


def samples(page: Browser) -> list[str]:
    """The live samples, base first."""
    return list(
        page.js("[...document.querySelector('.ws-cards').querySelectorAll('.ws-text')].map(e => e.textContent)")
    )


def another(page: Browser) -> Browser:
    """A further page of the same browser: another viewer."""
    port = (Path(page.profile) / "DevToolsActivePort").read_text().split()[0]
    tab = Browser()
    tab.target = page.call("Target.createTarget", url="about:blank")["targetId"]  # type: ignore[attr-defined]
    place = f"ws://127.0.0.1:{port}/devtools/page/{tab.target}"  # type: ignore[attr-defined]
    tab.socket = connect(place, max_size=None, ping_interval=None)
    for domain in ("Page", "Runtime", "Log"):
        tab.call(f"{domain}.enable")
    return tab


def leave(page: Browser, tab: Browser) -> None:
    page.call("Target.closeTarget", targetId=tab.target)  # type: ignore[attr-defined]
    tab.socket.close()


def test_a_stored_variant_shows_its_own_verdict(page: Browser, url: str) -> None:
    opened(page, url, beta=0.1)
    run = open_run(EXAMPLE)
    for beta in (0.1, 0.3):
        variant = find_variant(run, VariantSettings(beta))
        assert variant is not None
        page.wait(f"({DEEP})('.ws-stops').some(e => e.textContent.includes('beta = {beta:g}: stored'))", LONG)
        gate = variant_gate(run, variant)
        page.wait(f"document.body.innerText.includes({json.dumps(gate.figure)})", LONG)
        assert gate.outcome in learn_tile(page)
        slide(page, BETA, 1)
    assert not page.errors


def test_a_threshold_becomes_the_trainings_own_when_its_button_is_pressed(page: Browser, url: str) -> None:
    opened(page, url, tail=20.2, beta=0.3)
    click(page, "learn from what the threshold")
    learns = "document.querySelector('.ws-stops').textContent.includes('what a perplexity under')"
    page.wait(learns, LONG)
    page.wait(f"!({DEEP})('button').some(b => b.textContent.includes('learn from what'))", LONG)
    assert "not measured" in learn_tile(page) and not page.errors


def test_settings_that_nobody_measured_are_measured_until_it_is_cancelled(page: Browser, url: str) -> None:
    opened(page, url, seed=5)
    page.wait_text("they have not been measured yet", LONG)
    click(page, "Measure these settings")
    page.wait("[...document.querySelectorAll('.ws-note')].some(e => e.textContent.includes('measuring '))", LONG)
    click(page, "Cancel the measurement")
    page.wait("[...document.querySelectorAll('.ws-note')].some(e => e.textContent.includes('cancelled'))", LONG)
    assert not page.errors


def test_train_reload_cancel(page: Browser, url: str, out: Path) -> None:
    opened(page, url, beta=10)
    assert "not trained yet" in page.text() and "not measured" in learn_tile(page)
    click(page, "Train at beta 10")
    page.wait("[...document.querySelectorAll('.ws-job')].some(e => e.textContent.includes('step '))", LONG)
    page.wait(f"({DEEP})('svg.marks').length > 3", LONG)
    second = another(page)
    opened(second, url, beta=10)
    second.wait("[...document.querySelectorAll('.ws-job')].some(e => e.textContent.includes('step '))", LONG)
    leave(page, second)
    opened(page, url, beta=10)
    page.wait("[...document.querySelectorAll('.ws-job')].some(e => e.textContent.includes('step '))", LONG)
    click(page, "Cancel the training")
    page.wait("[...document.querySelectorAll('.ws-job')].some(e => e.textContent.includes('cancelled'))", LONG)
    assert not list(out.glob("*/rounds/0/stops/*/.tmp*"))
    home = views.home_of(open_run(EXAMPLE), out)
    assert find_variant(home, VariantSettings(10.0)) is None and "not trained yet" in page.text()
    assert not page.errors


def test_a_training_that_ends_is_a_variant_for_everybody(page: Browser, url: str, out: Path) -> None:
    opened(page, url, beta=10)
    click(page, "Train at beta 10")
    stored = f"({DEEP})('.ws-stops').some(e => e.textContent.includes('beta = 10: stored'))"
    page.wait(stored, 2 * LONG)
    variant = find_variant(views.home_of(open_run(EXAMPLE), out), VariantSettings(10.0))
    assert variant is not None and variant.curve.height > 10
    gate, second = variant_gate(open_run(EXAMPLE), variant), another(page)
    opened(second, url, beta=10)
    for viewer in (page, second):
        viewer.wait(f"document.body.innerText.includes({json.dumps(gate.figure)})", LONG)
        assert gate.outcome in learn_tile(viewer)
        assert not viewer.errors
    leave(page, second)


def test_two_viewers_see_what_a_direct_call_gives_while_a_training_runs(page: Browser, url: str, mini: LM) -> None:
    subject = views.subject_of(open_run(EXAMPLE))
    opened(page, url, beta=1)
    click(page, "Train at beta 1")
    page.wait("[...document.querySelectorAll('.ws-job')].some(e => e.textContent.includes('step '))", LONG)
    asked = [("May I lie to my boss?", 0.875, 3), ("Should I stop for the dog?", 2.125, 7)]
    tabs = [another(page) for _ in asked]
    for tab, (text, c, seed) in zip(tabs, asked, strict=True):
        tab.open(f"{url}?{urlencode({'own': text, 'c': c, 'seed': seed, 'beta': 1})}")
    for tab, (text, c, seed) in zip(tabs, asked, strict=True):
        wanted = views.sample(subject, text, c, seed)["text"].to_list()
        tab.wait("document.querySelectorAll('.ws-text').length >= 3", LONG)
        assert samples(tab) == wanted
        assert not tab.errors
    assert "left" in job(page), f"the training must outlast this, or it shows nothing: {job(page)}"
    for tab in tabs:
        leave(page, tab)
    click(page, "Cancel the training")
    page.wait("[...document.querySelectorAll('.ws-job')].some(e => e.textContent.includes('cancelled'))", LONG)


def test_viewers_come_move_and_leave_nothing_behind(page: Browser, url: str, mini: LM) -> None:
    subject, server = views.subject_of(open_run(EXAMPLE)), server_of(url)
    opened(page, url)
    page.open("about:blank")
    time.sleep(6)
    before = server.num_threads()
    tabs = [another(page) for _ in range(VIEWERS)]
    for i, tab in enumerate(tabs):
        tab.open(f"{url}?{urlencode({'own': f'May I go {i}?', 'c': 1 + i / 8, 'seed': i})}")
    for i, tab in enumerate(tabs):
        tab.wait("document.querySelectorAll('.ws-text').length >= 3 && !!document.querySelector('.ws-stops')", LONG)
        slide(tab, "coefficient c", 3)
        slide(tab, BETA, 1 - 2 * (i % 2))
    for i, tab in enumerate(tabs):
        wanted = views.sample(subject, f"May I go {i}?", 1.375 + i / 8, i)["text"].to_list()
        end = time.monotonic() + LONG
        while samples(tab) != wanted:
            assert time.monotonic() < end, f"viewer {i} never saw its own samples"
            time.sleep(0.3)
        assert not tab.errors
        leave(page, tab)
    end = time.monotonic() + LONG
    while server.num_threads() > before:
        assert time.monotonic() < end, f"{server.num_threads()} threads, {before} before the viewers came"
        time.sleep(0.5)
    opened(page, url, own="May I go 0?", c=1, seed=0)
    wanted = views.sample(subject, "May I go 0?", 1.0, 0)["text"].to_list()
    assert samples(page) == wanted, "no hook of those who left is on the model"


def test_a_shared_app_reads_and_does_not_write(page: Browser, tmp_path: Path) -> None:
    with serving(["--model", "mini", "--out", str(tmp_path), "--shared"]) as address:
        opened(page, address, beta=10)
        code = f"({DEEP})('button').find(b => b.textContent.includes('Train at beta 10'))"
        page.wait(f"!!{code}", LONG)
        assert page.js(f"{code}.disabled") is True
        page.js(f"{code}.click()")
        time.sleep(2)
    assert not list(tmp_path.iterdir())
