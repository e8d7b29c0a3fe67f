"""The app's controls: where a link leaves them, what they may be, and what their buttons do long after their cell."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from tests.builders.hostile import HOSTILE
from ws.app import views
from ws.app.access import AppSettings
from ws.app.jobs import View
from ws.app.views import job_buttons, widgets
from ws.app.views.job_buttons import Told
from ws.errors import UserError
from ws.experiment.examples import EXAMPLE
from ws.runs.config import SamplingConfig
from ws.runs.reader import open_run

NUMBERS = ["nan", "inf", "-1e999", "", "0x10", "<script>", "-5", "99999999"]


@pytest.fixture
def link(monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """The settings in the page's address, to be filled."""
    given: dict[str, str] = {}
    monkeypatch.setattr(widgets, "link", lambda: given)
    return given


@pytest.fixture
def page(tmp_path: Path) -> views.Page:
    run = open_run(EXAMPLE)
    return views.Page(AppSettings(out=tmp_path / "out"), views.subject_of(run), 0, run)


def empty(page: views.Page) -> views.Page:
    """The same page where nobody has measured its settings."""
    return dataclasses.replace(page, run=None)


# What a link may set


def test_a_choice_is_one_of_the_offered(link: dict[str, str]) -> None:
    for asked, usual, wanted in (("b", "a", "b"), (HOSTILE, "b", "b"), ("", "gone", "a")):
        link["axis"] = asked
        assert widgets.choice("axis", ["a", "b"], usual).value == wanted


@pytest.mark.parametrize("value", NUMBERS)
def test_a_number_is_one_of_the_stops(link: dict[str, str], page: views.Page, value: str) -> None:
    link |= dict.fromkeys(("c", "beta", "tail", "seed"), value)
    assert widgets.slider("c", page.doses, page.usual_dose, "c").value in page.doses
    assert widgets.slider("beta", page.betas, page.usual_beta, "beta").value in page.betas
    tail, settled, _ = widgets.threshold(page.tails, page.usual_tail)
    assert tail.value == settled() and tail.value in page.tails
    assert widgets.seed_field(3).value == (99999999 if value == "99999999" else 3)


@pytest.mark.parametrize("seed", [0, 9999, 10_000, 31_337, 2**50 - 1, -7])
def test_every_stored_seed_has_a_place(link: dict[str, str], seed: int) -> None:
    assert widgets.seed_field(seed).value == seed
    link["seed"] = str(seed)
    assert widgets.seed_field(seed).value == seed
    assert widgets.seed_field(3).value == (seed if seed >= 0 else 3)  # a negative one is of an earlier version's run


@pytest.mark.parametrize(
    ("asked", "refused"),
    [
        ({"temperature": "0.5", "top_p": "0.9", "top_k": "40", "max_new_tokens": "20"}, None),
        ({"temperature": -1}, r"temperature must be a number in \[0, 10\]"),
        ({"temperature": "nan"}, "temperature must be"),
        ({"temperature": HOSTILE}, "temperature must be"),
        ({"top_p": 0}, "top_p must be in"),
        ({"top_k": 2.5}, "top_k must be a whole number"),
        ({"max_new_tokens": 0}, "max_new_tokens must be a whole number"),
        ({"max_new_tokens": 33}, "max_new_tokens is 33; this app gives at most 32"),
    ],
)
def test_a_sampling_is_looked_at_here_and_not_in_the_browser(asked: dict[str, object], refused: str | None) -> None:
    access = AppSettings(max_tokens=32)
    if refused is None:
        assert views.sampling_of(asked, access) == SamplingConfig(0.5, 0.9, 40, 20)
        return
    with pytest.raises(UserError, match=refused):
        views.sampling_of(asked, access)


def test_an_empty_field_is_the_models_own_and_another_sampling_is_not_the_runs(
    link: dict[str, str], page: views.Page
) -> None:
    assert page.run is not None
    fields, seed = widgets.sampling_fields(page.run), page.run.config.seeds[0]
    assert set(fields.value.values()) == {None}
    assert widgets.drawn(fields, page.run, page.access) == (SamplingConfig(), None)
    assert views.run_for(page.subject, seed, page.access.out, page.run) == page.run
    link |= {"temperature": "0.2", "max_new_tokens": "999999999"}
    cold, told = widgets.drawn(widgets.sampling_fields(page.run), page.run, page.access)
    assert cold == SamplingConfig(temperature=0.2) and told is None, "a link beyond the range is left out"
    link["max_new_tokens"] = "5000"
    usual, told = widgets.drawn(widgets.sampling_fields(page.run), page.run, page.access)
    assert usual == SamplingConfig() and "at most 256" in told.text, "and one beyond what the app gives is said"
    subject = dataclasses.replace(page.subject, sampling=cold)
    assert views.run_for(subject, seed, page.access.out, page.run) is None, "another temperature was not measured"
    assert "--sampling.temperature 0.2" in views.unmeasured(subject, 0)
    assert "T 0.2 (as asked)" in empty(dataclasses.replace(page, subject=subject)).settings_html[1]
    assert "sampling: T 1, nothing cut off, 80 tokens" in page.settings_html[1]


def test_live_texts_obey_the_sampling(page: views.Page) -> None:
    drawn = dataclasses.replace(page.subject, sampling=SamplingConfig(max_new_tokens=5))
    rows = dataclasses.replace(empty(page), subject=drawn).sample("May a nurse lie?", 1.0)
    assert rows["token_ids"].list.len().max() == 5


def test_without_a_link_the_run_says_where_controls_stand(link: dict[str, str], page: views.Page) -> None:
    assert widgets.slider("c", page.doses, page.usual_dose, "c").value == open_run(EXAMPLE).get("knee.json")["c"]
    assert widgets.threshold(page.tails, page.usual_tail)[0].value == open_run(EXAMPLE).threshold()[1]
    assert widgets.seed_field(3).value == 3 and not widgets.surprise_switch().value
    layers, offered = widgets.layer_band("mini", (3,))
    assert layers.value == "one, middle: 3" and offered[layers.value] == (3,)


def test_a_persona_has_fields_only_where_it_is_ones_own(link: dict[str, str]) -> None:
    link |= {"positive": "You help.", "target": HOSTILE, "sign": "rises"}
    assert widgets.persona_fields(False, 100).value == {}
    wanted = {"positive": "You help.", "negative": "", "target": "Authority", "sign": "rises"}
    assert widgets.persona_fields(True, 100).value == wanted


# What is pressed long after


def test_the_threshold_that_a_button_names_is_the_one_that_it_sets(page: views.Page) -> None:
    pressed: list[float | None] = []
    widgets.kept_button(page, 20.0, None, pressed.append)._update(1)
    widgets.kept_button(page, page.usual_tail, 20.0, pressed.append)._update(1)
    assert pressed == [20.0, None], "the run's own threshold is none of the training's own"
    assert widgets.kept_button(page, page.usual_tail, None, pressed.append) is None
    assert widgets.kept_button(page, 20.0, 20.0, pressed.append) is None


def test_a_label_and_a_note_are_stored_when_they_are_given(page: views.Page) -> None:
    row, told = page.filtered(20.0).border().row(0, named=True), list[Any]()
    fields = widgets.label_fields(page, row, told.append)
    fields.elements["coherent"]._update("not coherent")
    fields.elements["acts"]._update("narrates")
    stored = views.label_of(page.labels(), row)
    assert (stored["coherent"], stored["acts"], told) == (False, "narrates", [None, None])
    again = widgets.label_fields(page, row, told.append)
    assert again.value == {"coherent": "not coherent", "acts": "narrates"}
    widgets.note_fields(page).elements["3"]._update(HOSTILE)
    assert page.home is not None and page.home.notes() == {"3": HOSTILE}


def test_an_app_that_only_reads_offers_no_notes(page: views.Page) -> None:
    shared = dataclasses.replace(page, access=dataclasses.replace(page.access, shared=True))
    assert not widgets.note_fields(shared).elements and not widgets.note_fields(empty(page)).elements
    assert len(widgets.note_fields(page).elements) == 3


def test_a_button_acts_and_tells_what_it_was_refused() -> None:
    told, _, job = job_buttons.shared_job()
    done: list[int] = []

    def act(number: int) -> None:
        done.append(number)
        if len(done) == 1:
            raise UserError(HOSTILE)

    button = job.button("do it", act, 7)
    button._update(1)
    assert told() == Told(HOSTILE, None)
    said = job_buttons.job_report(told(), lambda view: ("", [])).text
    assert "onerror" in said and "<img" not in said
    button._update(2)
    assert done == [7, 7] and told() == Told() and job_buttons.job_report(told(), lambda view: ("", [])) is None


def test_buttons_of_jobs_are_open_where_there_is_something_to_do(page: views.Page) -> None:
    *_, job = job_buttons.shared_job()
    silent = dataclasses.replace(job)
    object.__setattr__(silent, "follow", lambda key: None)
    shared = dataclasses.replace(page, access=dataclasses.replace(page.access, shared=True))

    def shut(page: views.Page, beta: float = 10.0) -> tuple[bool, bool]:
        measure, _ = job_buttons.measuring_buttons(page, silent)
        train, _ = job_buttons.training_buttons(page, page.training(beta), silent)
        return measure._component_args["disabled"], train._component_args["disabled"]

    assert shut(page) == (True, False) and shut(page, 0.3) == (True, True)
    assert shut(empty(page)) == (False, True)
    assert shut(shared) == shut(empty(shared)) == (True, True)


# What a page shows


def test_a_page_without_a_run_has_no_pictures_and_no_verdicts(page: views.Page) -> None:
    bare = empty(page)
    filtered, training = bare.filtered(20.0), bare.training(0.3)
    shown: list[Any] = [bare.response(1.0), bare.counts_html(20.0), filtered.chart()]
    shown += [widgets.agreement(filtered, bare.labels()), training.planes(), training.beta_sweep()]
    shown += [training.curve(), training.drift(), training.texts_html("x")]
    assert shown == [None] * 9
    assert filtered.border().height == 0 and bare.gates(filtered, training) == [] and bare.tails == [20.0]
    assert bare.progress(None) == training.progress(None) == ("", [])
    with pytest.raises(ValueError, match="no run"):
        bare.the_run()


def test_a_page_judges_and_draws_what_its_sliders_say(page: views.Page) -> None:
    filtered, training = page.filtered(page.usual_tail), page.training(0.3)
    gates = page.gates(filtered, training)
    judged = {gate.gate: gate.outcome for gate in open_run(EXAMPLE).gates()}
    assert [gate.gate for gate in gates] == [1, 2, 3]
    assert [gate.outcome for gate in gates[:2]] == [judged[1], judged[2]]
    assert page.tiles(gates, {}).count("Researcher: no note yet") == 3
    pictures = [page.response(1.0), filtered.chart(), training.planes(), training.beta_sweep(), training.curve()]
    assert all(picture is not None for picture in pictures)
    assert training.texts_html(page.prompts[0]) and training.texts_html(HOSTILE) is None
    untrained = page.training(10.0)
    assert untrained.gates == [] and untrained.curve() is None and untrained.planes() is not None
    running = View("k", "training", "running", False, (), "", 1.0, 1)
    words, curves = untrained.progress(running)
    assert "training" in words and curves == []


def test_the_selected_row_is_found_by_its_id() -> None:
    rows = pl.DataFrame({"id": [4, 9], "text": ["a", "b"]})

    class Table:
        value = rows.tail(1)

    assert widgets.selected(Table, rows) == {"id": 9, "text": "b"}
    Table.value = rows.clear()
    assert widgets.selected(Table, rows) is None
