"""The app as it opens for anybody: on the shipped run of the real chat model, live where that model is installed."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.builders.browser import CHROMIUM, DEEP, Browser, serving, slide
from ws.app import views
from ws.experiment.examples import EXAMPLES
from ws.models.recipe import missing_weights
from ws.runs.reader import open_run

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(CHROMIUM is None, reason="NO CHROMIUM: THE PAGE IS NOT TESTED (apt-get install chromium)"),
]


def test_it_opens_on_the_real_model_and_shows_its_stored_doses_at_once(tmp_path: Path) -> None:
    run = open_run(EXAMPLES["smollm2"])
    knee, doses = run.get("knee.json")["c"], views.dose_steps(run)
    with serving(["--out", str(tmp_path)]) as url, Browser(height=3000) as page:
        page.open(url)
        page.wait("document.querySelectorAll('.ws-tile').length == 3", 300)
        page.wait(f"({DEEP})('svg.marks').length >= 3", 120)
        page.wait("[...document.querySelectorAll('.ws-cards')].every(e => e.innerText)", 120)
        said = page.text()
        for gate in run.gates():
            assert gate.gate == 0 or gate.outcome in said, gate.outcome
        cards = page.js("document.querySelectorAll('.ws-cards')[0].innerText")
        assert f"c = +{knee:g}" in cards and len(set(cards.split("\n"))) > 3
        slide(page, "coefficient c", -1)
        weaker = doses[doses.index(knee) - 1]
        page.wait(f"document.querySelectorAll('.ws-cards')[0].innerText.includes('c = +{weaker:.3g}')", 120)
        assert page.errors == []


def test_live_text_streams_where_the_model_is_installed(tmp_path: Path) -> None:
    if missing_weights("smollm2"):
        pytest.skip(f"THE REAL MODEL IS NOT INSTALLED: {missing_weights('smollm2')}")
    run = open_run(EXAMPLES["smollm2"])
    subject = views.subject_of(run)
    live = views.sample(subject, "How was your sister's birthday?", 4.0, 0)
    assert live["source"].unique().to_list() == ["live"] and live["text"].n_unique() > 1
