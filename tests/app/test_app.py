"""The app: its example, its notebook as a script, the views behind it, its safety. The page itself: test_browser.py."""

from __future__ import annotations

import dataclasses
import json
import math
import re
import runpy
import shutil
import threading
from pathlib import Path
from typing import Any

import polars as pl
import pytest
import vl_convert

import ws.app.views.filter
import ws.app.views.live_samples
from tests.builders.hostile import HOSTILE
from tests.builders.records import record_changes
from ws.app import views
from ws.app.access import AppSettings
from ws.app.jobs import Jobs, View
from ws.app.views import stored_runs
from ws.app.views.live_samples import stored_sample
from ws.axes.axis import load_axis
from ws.errors import UserError
from ws.experiment.examples import EXAMPLE, shipped
from ws.experiment.progress import Event
from ws.files import read_json, write_json
from ws.filtering.limits import KEY
from ws.gating import Trait
from ws.models.lm import LM
from ws.reporting import charts
from ws.reporting.charts.compiled import CompiledChart
from ws.runs.arms import reports_of
from ws.runs.config import RunConfig, to_dict
from ws.runs.reader import Run, open_run
from ws.runs.recipes import recipe_for

ROOT = Path(__file__).parents[2]
FACE = next(iter(shipped().values()))
"""What the app opens on."""


@pytest.fixture
def example(tmp_path: Path) -> Run:
    """A copy of the shipped example in a runs folder."""
    copy = tmp_path / "out/runs/20260101T000000Z-copy"
    shutil.copytree(EXAMPLE, copy)
    return open_run(copy)


@pytest.fixture
def local(tmp_path: Path) -> AppSettings:
    return AppSettings(out=tmp_path / "out")


# The example


def test_stored_samples_are_what_a_live_call_gives(mini: LM) -> None:
    run = open_run(EXAMPLE)
    subject, c = views.subject_of(run), run.get("knee.json")["c"]
    prompt = views.telling_prompt(run, views.prompts(subject, run))
    stored = stored_sample(run, prompt, c, 0)
    assert stored is not None and stored["text"].n_unique() == 3, "the first screen shows three different texts"
    live = views.sample(subject, prompt, c, 0)
    assert live["source"].unique().to_list() == ["live"]
    assert live["token_ids"].to_list() == stored["token_ids"].to_list()


# The notebook


def test_the_notebook_runs_as_a_script(mini: LM) -> None:
    app = runpy.run_path(str(ROOT / "nbs/gates.py"))["app"]
    _, defs = app.run()
    assert [gate.gate for gate in defs["gates"]] == [1, 2, 3]
    assert defs["samples"]["c"].to_list() == [0.0, defs["c"].value, -defs["c"].value]
    assert defs["border"]["side"].unique().sort().to_list() == ["dropped", "kept"]


def test_a_script_can_set_what_a_viewer_sets(mini: LM) -> None:
    import marimo as mo

    app = runpy.run_path(str(ROOT / "nbs/gates.py"))["app"]
    _, defs = app.run(defs={"c": mo.ui.slider(steps=[0.0, 0.25], value=0.25), "own": mo.ui.text("May I lie?")})
    assert defs["samples"]["c"].to_list() == [0.0, 0.25, -0.25]
    assert set(defs["samples"]["prompt"]) == {"May I lie?"}
    subject = views.PageSettings("mini", "fairness_over_loyalty")
    _, defs = app.run(defs={"subject": subject})
    assert defs["run"] is None and defs["samples"].height == 3, "settings that nobody measured show live samples"


def test_a_typed_pair_in_the_notebook(mini: LM) -> None:
    import marimo as mo

    app = runpy.run_path(str(ROOT / "nbs/gates.py"))["app"]
    names = [views.CUSTOM]
    typed = {"positive": "You help people.", "negative": "You help leaders.", "target": "Care", "sign": "rises"}
    for values, height in ((typed, 3), (typed | {"negative": ""}, None)):
        fields = mo.ui.dictionary({name: mo.ui.text(value) for name, value in values.items()})
        axis = mo.ui.dropdown(names, value=names[0])
        _, defs = app.run(defs={"axis": axis, "persona": fields})
        assert defs["run"] is None
        assert (None if defs["samples"] is None else defs["samples"].height) == height


def test_a_slow_model_shows_the_nearest_stored_dose(example: Run) -> None:
    prompt, chosen = example.axis["probes"][0], example.get("knee.json")["c"]
    near = views.near_sample(example, prompt, 1.4, 0)
    assert near is not None and near["c"].to_list() == [0.0, chosen, -chosen]
    assert near["source"][0].startswith("stored at another dose")
    assert views.near_sample(example, "nobody stored this", 1.4, 0) is None


# The filter is a view


def test_a_control_that_moves_on_pushes_nothing() -> None:
    pushed: list[float] = []
    for should_exit, value in ((True, 1.0), (False, 2.0)):
        hand = threading.Thread(target=views.debounced, args=(pushed.append, value, 0.05))
        hand.should_exit = should_exit  # type: ignore[attr-defined]  # as marimo's Thread has it
        hand.start()
        hand.join()
    assert pushed == [2.0]


def test_moving_the_threshold_generates_and_scores_nothing(example: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any, **__: Any) -> Any:
        raise AssertionError("a threshold is a view")

    for name in ("generate", "score", "extract"):
        monkeypatch.setattr(ws.app.views.live_samples, name, refuse)
    read: list[Path] = []
    real = Run.marked
    monkeypatch.setattr(Run, "marked", lambda run, round=0: (read.append(run.path), real(run, round))[1])
    kept = []
    for tail in views.tail_steps(example)[::8]:
        marked = views.marked(example, tail)
        kept.append(views.counts(marked)["kept"])
        assert views.counts(marked)["generated"] == 256
        assert views.filter_gate(example, marked).gate == 2
        assert set(views.border_rows(example, tail)["id"]) <= set(marked["id"])
    assert kept == sorted(kept) and kept[0] < kept[-1]
    assert len(read) == 1, "the files are read once"


def test_the_runs_own_limit_is_a_stop_and_gives_the_runs_own_counts(example: Run) -> None:
    tail = example.threshold()[1]
    assert tail in views.tail_steps(example) and views.usual_tail(example) == tail
    assert views.counts(views.marked(example, tail))["kept"] == example.get("heal.json")["passed"]
    stored = next(gate for gate in example.gates() if gate.gate == 2)
    assert views.filter_gate(example, views.marked(example, tail)) == stored


def test_borderline_rows_move_with_the_threshold(example: Run) -> None:
    low, high = (views.border_rows(example, tail) for tail in (5.0, 200.0))
    assert not set(low["id"]) & set(high["id"])
    score = example.threshold()[0]
    near = low.filter(pl.col("side") == "kept")[score]
    far = low.filter(pl.col("dropped") == score)[score]
    assert near.max() < 5.0 <= far.min()


# Labels and notes


def test_labels_round_trip_and_change(example: Run, local: AppSettings) -> None:
    rows = views.border_rows(example, 20.0, k=2).rows(named=True)
    views.store_label(example, local, rows[0], coherent=True)
    views.store_label(example, local, rows[0], acts="narrates")
    views.store_label(example, local, rows[1], coherent=False)
    labels = views.read_labels(Run(example.path))
    assert labels.height == 2 and (example.path / "labels.parquet").exists()
    found = views.label_of(labels, rows[0])
    assert found == {k: rows[0][k] for k in KEY} | {"coherent": True, "acts": "narrates"}
    views.store_label(example, local, rows[0], coherent=False)
    assert views.label_of(views.read_labels(example), rows[0])["coherent"] is False
    with pytest.raises(UserError, match="none of them"):
        views.store_label(example, local, rows[0], acts="<b>")


def test_precision_recall_and_roc_follow_the_labels(example: Run, local: AppSettings) -> None:
    marked = views.marked(example, 20.0)
    score = example.threshold()[0]
    rows = marked.filter(pl.col(score).is_finite()).sort(score).rows(named=True)
    labelled = rows[:12] + rows[-12:]
    for i, row in enumerate(labelled):
        views.save_label(example, row, coherent=i < 12)
    labels = views.read_labels(example)
    for tail, precision in ((20.0, 1.0), (1e9, 0.5)):
        found = views.agreement(views.marked(example, tail), labels)
        kept = [r for r in views.marked(example, tail).rows(named=True) if r["dropped"] is None]
        keys = {tuple(r[k] for k in KEY) for r in labelled}
        assert found["n"] == 24 and found["coherent"] == 12
        assert found["precision"] == pytest.approx(precision, abs=0.25)
        assert found["recall"] == sum(
            tuple(r[k] for k in KEY) in keys and r[score] <= labelled[11][score] for r in kept
        ) / 12  # fmt: skip
    curve = views.roc(marked, labels, score)
    assert curve.filter(pl.col("fpr") == 0)["tpr"].max() == 1.0, "planted: one threshold tells them apart"
    best = "best limit"
    assert best in views.labels_html(marked, labels)
    assert best not in views.labels_html(marked, labels.head(19)), "fewer than 20 labels decide nothing"


def test_the_shipped_example_is_never_written(local: AppSettings) -> None:
    before = sorted((p, p.stat().st_mtime_ns) for p in FACE.rglob("*"))
    run = views.opened(None, local.out)
    assert run.path == FACE
    views.save_note(run, local, 1, HOSTILE)
    row = views.border_rows(run, 20.0).row(0, named=True)
    views.store_label(run, local, row, coherent=True)
    again = views.opened(None, local.out)
    assert again.path.parent == local.out and next(g for g in again.gates() if g.gate == 1).note == HOSTILE
    assert views.read_labels(again).height == 1
    assert before == sorted((p, p.stat().st_mtime_ns) for p in FACE.rglob("*"))


def test_a_shared_app_without_leave_writes_nothing(example: Run, tmp_path: Path) -> None:
    shared = AppSettings(out=tmp_path / "out", shared=True)
    row = views.border_rows(example, 20.0).row(0, named=True)
    with pytest.raises(UserError, match="--allow-write"):
        views.store_label(example, shared, row, coherent=True)
    with pytest.raises(UserError, match="--allow-write"):
        views.save_note(example, shared, 1, "words")
    assert not (example.path / "labels.parquet").exists() and not example.notes()


# What a link may say


def test_the_journal_button_writes_the_page_of_the_runs_home(
    example: Run, local: AppSettings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    said, kind = views.write_page(example, local)
    pages = list((local.out / "journal").glob("*.html"))
    assert kind == "success" and len(pages) == 1 and str(pages[0].resolve()) in said
    assert (tmp_path / "RESEARCH_JOURNAL.md").read_text().count(pages[0].name) == 1
    assert "already" in views.write_page(example, local)[0]
    refused, kind = views.write_page(example, dataclasses.replace(local, shared=True))
    assert kind == "warn" and "--allow-write" in refused


@pytest.mark.parametrize("value", ["nan", "inf", "-1e999", "", None, ["1"], "0x10", "<script>", "1; drop", "1_0_0e9"])
def test_a_hostile_number_becomes_a_stop(value: Any) -> None:
    steps = [0.0, 0.5, 1.0]
    assert views.nearest(value, steps, 0.5) in steps


def test_a_number_in_a_link_becomes_the_nearest_stop() -> None:
    assert views.nearest("0.6", [0.0, 0.5, 1.0], 0.0) == 0.5
    assert views.nearest("-9", [0.0, 0.5, 1.0], 1.0) == 0.0


def test_a_link_is_known_names_and_bounded_texts() -> None:
    params = {"c": "1", "evil": "x", "prompt": "y" * 10**5, "axis": ["a", "b"], "own": 3, "seed": " ", "tail": []}
    link = views.read_link(params)
    assert set(link) == {"c", "prompt", "axis"} and link["axis"] == "b" and len(link["prompt"]) == 2000


@pytest.mark.parametrize("name", ["../secret", "{copy}/../../secret", "{out}/secret", "linked", "..", "/etc", "\x00"])
def test_a_run_of_a_link_cannot_leave_the_runs_folder(name: str, example: Run, local: AppSettings) -> None:
    shutil.copytree(EXAMPLE, local.out / "secret")
    (local.out / "runs/linked").symlink_to(local.out / "secret")
    with pytest.raises(UserError, match="There is no run '"):
        views.opened(name.format(copy=example.path.name, out=local.out), local.out)
    assert views.opened(example.path.name, local.out).path == example.path


def test_another_model_opens_its_own_newest_run(example: Run, local: AppSettings) -> None:
    assert views.opened(None, local.out, "some/model").path == FACE
    write_json(example.path / "config.json", read_json(example.path / "config.json") | {"model": "some/model"})
    record_changes(example.path)
    assert views.opened(None, local.out, "some/model").path == example.path
    assert views.opened(None, local.out).path == FACE


def test_the_run_that_fits_the_settings_is_found(example: Run, local: AppSettings) -> None:
    subject = views.subject_of(example)
    found = views.run_for(subject, 0, local.out)
    assert found is not None and found.path == example.path, "the newest finished run comes before the example"
    assert views.run_for(subject, 1, local.out) is None
    other = views.PageSettings(axis="fairness_over_loyalty")
    assert views.run_for(other, 0, local.out) is None
    assert "ws run --axis fairness_over_loyalty" in views.unmeasured(other, 0)


def changed(run: Run, **config: Any) -> Run:
    """The run as if it had been made with other settings."""
    write_json(run.path / "config.json", read_json(run.path / "config.json") | config)
    record_changes(run.path)
    return open_run(run.path)


@pytest.mark.parametrize(
    ("config", "why"),
    [
        ({}, None),
        ({"seeds": [31337]}, None),
        ({"seeds": [-3]}, None),
        ({"model": "some/model"}, None),  # a finished run's model is offered, and says that it cannot be loaded
        ({"axis": "my/own.toml"}, "its axis 'my/own.toml' is none of the menu's"),
        ({"layers": [0, 2]}, "its layers 0, 2 are none of the menu's bands"),
        ({"method": "of another version"}, "its method 'of another version' is none of this version's"),
    ],
)
def test_a_run_that_the_menus_do_not_offer_is_named(
    example: Run, local: AppSettings, config: dict[str, Any], why: str | None
) -> None:
    told = stored_runs.not_shown(changed(example, **config), local)
    assert told is None if why is None else f"The run '{example.path.name}' was asked for" in told and why in told


def test_an_unfinished_run_of_a_model_that_is_not_offered_is_named(example: Run, local: AppSettings) -> None:
    run = changed(example, model="some/model")
    record_changes(run.path, state="running")
    told = str(stored_runs.not_shown(open_run(run.path), local))
    assert "its model 'some/model' is none of this app's (" in told and "Start it with --model some/model" in told


def test_a_model_that_does_not_load_is_said_and_its_stored_run_is_shown(example: Run, tmp_path: Path) -> None:
    import marimo as mo

    broken = tmp_path / "broken"
    broken.mkdir()
    app = runpy.run_path(str(ROOT / "nbs/gates.py"))["app"]
    outputs, defs = app.run(defs={"model": mo.ui.dropdown([str(broken)], value=str(broken))})
    shown = "".join(str(getattr(output, "text", "")) for output in outputs)
    assert "page" not in defs and "Nothing can be shown of the model" in shown and "no config.json" in shown
    run = changed(example, model=str(broken))
    page = views.Page(AppSettings(out=tmp_path / "out"), views.subject_of(run), 0, run)
    assert "no config.json" in str(page.missing) and "Stored texts only" in page.settings_html[0]
    row = page.filtered(20.0).border().row(0, named=True)
    assert row["text"][:20] in str(page.completion_html(row)) or page.completion_html(row)
    assert page.prompts and page.cards(views.near_sample(run, page.prompts[0], 1.0, 0), surprise=True)


# A typed persona pair


def test_a_typed_pair_steers(mini: LM) -> None:
    pair = views.pair_of({"positive": "You are a person who cares about suffering.", "target": "Care", "sign": "rises",
                          "negative": "You are a person who cares about orders."}, AppSettings())  # fmt: skip
    subject = views.PageSettings("mini", views.CUSTOM, persona=pair)
    axis, v = views.ready(subject)
    assert axis.target == "Care" and axis.intended == {"Care": 1} and v.norm() > 0
    assert views.ready(subject)[1] is v, "read once per process"


@pytest.mark.parametrize("pair", [("", ""), ("same words", "same words")])
def test_a_pair_without_two_poles_says_so(pair: tuple[str, str], mini: LM) -> None:
    typed = {"positive": pair[0], "negative": pair[1], "target": "Care", "sign": "falls"}
    with pytest.raises(UserError):
        views.ready(views.PageSettings("mini", views.CUSTOM, persona=views.pair_of(typed, AppSettings())))


def test_a_pole_longer_than_the_app_takes_is_refused_on_the_server() -> None:
    """The field's own bound is the browser's, and a viewer may send what they like."""
    typed = {"positive": "x" * 2500, "negative": "short", "target": "Care", "sign": "falls"}
    with pytest.raises(UserError, match="positive persona has 2500 characters, this app takes 2000"):
        views.pair_of(typed, AppSettings())
    assert views.pair_of(typed, AppSettings(max_prompt=2500)) is not None and views.pair_of({}, AppSettings()) is None


# Model text is data


def test_model_text_is_escaped_wherever_it_is_shown(example: Run) -> None:
    row = views.border_rows(example, 20.0).row(0, named=True) | {"text": HOSTILE, "prompt": HOSTILE}
    shown = [
        views.text_block(HOSTILE),
        views.strip([HOSTILE, "x"], [-1.0, -2.0]),
        views.cards({views.row_title(row): views.completion_html("mini", row)}),
        views.note_html(example.gates()[0].with_note(HOSTILE), None),
    ]
    for html in shown:
        for tag in ("<img", "<script", "<iframe", "<marimo-md", 'onerror="'):
            assert tag not in html, tag
        assert "&lt;img" in html


def test_pieces_are_the_text(mini: LM) -> None:
    row = open_run(EXAMPLE).frame("completions").row(0, named=True)
    ids = row["token_ids"][:-1] if row["finished"] else row["token_ids"]
    parts = views.pieces("mini", ids)
    assert len(parts) == len(ids) and "".join(parts) == row["text"]
    html = views.strip(parts, row["logp_base"][: len(ids)])
    assert html.count("ws-token") == len(ids)


def test_two_viewers_share_model_direction_and_sample(mini: LM) -> None:
    subject = views.PageSettings()
    rows = [views.sample(subject, "May a nurse lie?", 0.5, 3) for _ in range(2)]
    assert rows[0].equals(rows[1])
    assert ws.app.views.live_samples._sample.cache_info().hits >= 1


# Measuring what no run has


def test_a_measurement_is_one_shared_job_that_the_page_then_finds(
    local: AppSettings, monkeypatch: pytest.MonkeyPatch, mini: LM
) -> None:
    subject, seen = views.PageSettings(axis="liberty_over_sanctity"), []

    def whole(config: RunConfig, listen: Any, **where: Any) -> None:
        listen(Event(0, "dose search", 1, 4))
        seen.append((config, where["out"], where["lm"] is mini))

    monkeypatch.setattr("ws.app.views.run_job.run_experiment", whole)
    jobs = Jobs()
    job = views.run_job.start_measuring(subject, 3, local, jobs=jobs)
    view = job.wait(30)
    assert view.state == "done" and view.rows[0]["stage"] == "dose search"
    config, out, shared = seen[0]
    assert (config.axis, config.seeds, out, shared) == (subject.axis, (3,), local.out, False)
    assert config.dose == recipe_for("mini").dose
    with pytest.raises(UserError, match="allow-write"):
        views.run_job.start_measuring(subject, 3, dataclasses.replace(local, shared=True), jobs=jobs)


def test_a_typed_pair_is_measured_as_an_axis_file_and_found_again(
    local: AppSettings, monkeypatch: pytest.MonkeyPatch, mini: LM, example: Run
) -> None:
    typed = views.PageSettings(persona=views.TypedPair("You care about <b>pain</b>.", "You obey.", "Care", 1))
    seen: list[RunConfig] = []
    monkeypatch.setattr("ws.app.views.run_job.run_experiment", lambda config, *_, **where: seen.append(config))
    assert views.run_job.start_measuring(typed, 3, local, jobs=Jobs()).wait(30).state == "done"
    axis = load_axis(seen[0].axis).on(mini)
    assert (axis.positive, axis.negative, axis.target, axis.intended["Care"]) == (
        ("You care about <b>pain</b>.",), ("You obey.",), "Care", 1
    )  # fmt: skip
    assert Path(seen[0].axis).parent == local.out / "axes"
    assert views.run_for(typed, 3, local.out) is None
    write_json(example.path / "config.json", to_dict(seen[0]))
    record_changes(example.path)
    found = views.run_for(typed, 3, local.out)
    assert found is not None and found.path == example.path
    other = dataclasses.replace(typed, persona=views.TypedPair("You care about <b>pain</b>.", "You obey.", "Care", -1))
    assert views.run_for(other, 3, local.out) is None
    assert "button below" in views.unmeasured(other, 3) and "typed" not in views.unmeasured(other, 3)
    with pytest.raises(UserError, match="positive persona is empty"):
        views.run_job.start_measuring(
            views.PageSettings(persona=views.TypedPair("", "You obey.")), 3, local, jobs=Jobs()
        )


def test_what_a_measurement_says_is_text() -> None:
    view = View("k", "measuring <b>", "running", False, ({"stage": "<i>", "done": 1, "total": 4},), "", 3.0, 1)
    shown = views.run_job.measuring_html(view)
    assert "25 %" in shown and "<i>" not in shown and "<b>" not in shown
    assert views.run_job.measuring_html(None) == ""
    failed = dataclasses.replace(view, state="failed", message="<script>")
    assert "failed" in views.run_job.measuring_html(failed) and "<script>" not in views.run_job.measuring_html(failed)


def test_the_ids_in_the_evidence_are_those_of_the_stored_rows(example: Run) -> None:
    gates = {gate.gate: " ".join(text for _, _, seen, text in gate.checks if seen) for gate in example.gates()}
    reports = {arm.arm: arm.report for arm in reports_of(example.frame("eval")) if arm.arm != "steer" or arm.chosen}
    for number, arm in ((1, "steer"), (3, "healed")):
        most = re.search(r"rows that moved most: (\S+) \+([\d.]+)", gates[number])
        sample = re.search(r"samples: (\S+)#(\d+) ", gates[number])
        assert most and sample, gates[number]
        p = {r["id"]: r["p_Authority"] for r in reports[arm].rows.iter_rows(named=True)}
        was = {r["id"]: r["p_Authority"] for r in reports["base"].rows.iter_rows(named=True)}
        assert math.log(was[most[1]] / p[most[1]]) == pytest.approx(float(most[2]), abs=0.006)
        assert float(most[2]) >= max(math.log(was[i] / p[i]) for i in p) - 0.006
        texts = reports[arm].text.filter(pl.col("prompt_id") == sample[1], pl.col("sample") == int(sample[2]))
        assert texts["readable"].to_list() == [True]


def test_a_moved_threshold_shows_what_a_chart_built_at_it_shows(example: Run) -> None:
    def data(tail: float) -> dict[str, Any]:
        marked = views.marked(example, tail)
        return charts.filter_data(marked, tail, 0.3, views.shares(marked))

    one, other = data(60.0), data(80.0)
    assert charts.filter_states(one) == charts.filter_states(other) and one != other
    moved = charts.compiled_chart("test", charts.filter_chart, one).showing(other)
    drawn = data_of(moved)
    assert {name: drawn[name] for name in other} == other == charts.filter_chart(other).to_dict()["datasets"]
    assert [row["ppl"] for row in drawn["threshold"]] == [80.0]
    assert {row["state"] for row in drawn["texts"]} > {"kept", example.threshold()[0]}
    shown = charts.compiled_chart("test too", charts.filter_chart, other)
    assert json.loads(shown.spec) == json.loads(moved.spec), "nothing else of the picture depends on the threshold"
    with pytest.raises(KeyError, match="thresholds"):
        moved.showing({"thresholds": []})


def data_of(shown: CompiledChart) -> dict[str, Any]:
    """The data that stand in a picture, by name."""
    return {entry["name"]: entry["values"] for entry in json.loads(shown.spec)["data"] if "values" in entry}


def test_the_dose_chart_is_built_once_and_its_rule_follows_the_slider(example: Run) -> None:
    trait = Trait(example.axis["target"], dict(example.axis["intended"]))
    tables = example.frame("dose"), example.arms()
    built = charts.compiled_chart("dose test", charts.response_chart, *tables, trait, (0.0, 1.0))
    most, knee = tables[0]["c"].max(), example.get("knee.json")["c"]

    def rules(c: float) -> list[tuple[float, str]]:
        """Where the red rules stand (pixels of 600), and how opaque they are."""
        svg = vl_convert.vega_to_svg(built.at(c).spec)
        lines = re.findall(r'<line transform="translate\(([\d.]+),0\)"[^>]*#d1495b[^>]*opacity="([\d.]+)"', svg)
        return [(float(x), seen) for x, seen in lines]

    for c in (0.25, 1.0, 1.75):
        there = 600 * (knee + c) / (knee + most)  # the axis goes from minus the knee to the largest dose
        assert rules(c) == [(pytest.approx(there), "1")] * 2
    assert rules(most + 0.5) == [(600.0, "0")] * 2, "beyond the axis it is not seen, and does not widen the picture"


def test_a_growing_curve_shows_what_a_chart_built_of_it_shows(example: Run) -> None:
    curve = example.frame("heal")
    frame = (0.03, curve.height)
    moved = charts.compiled_chart("curve", charts.training_chart, curve.head(2), *frame).showing(
        charts.training_data(curve)
    )
    fresh = charts.compiled_chart("curve too", charts.training_chart, curve, *frame)
    assert json.loads(moved.spec) == json.loads(fresh.spec)
    data = data_of(fresh)
    assert [row["D"] for row in data["D"]] == curve["D"].drop_nulls().to_list()
    assert data["active"][-1]["active"] == pytest.approx(curve["active"].mean())
    assert vl_convert.vega_to_svg(fresh.spec).count('aria-roledescription="point"') >= 3 * curve.height


def test_the_band_ends_at_the_knee_and_the_persona_is_no_dose_of_the_lines() -> None:
    """It stands beside the doses in the search's table, at c = 0 as base does."""
    run = open_run(EXAMPLE)
    band, grid = views.coherent_band(run), run.frame("dose")
    assert band == (0.0, run.get("knee.json")["c"]) and "persona" in set(grid["arm"])
    without = grid.filter(pl.col("arm") != "persona")
    for build in (lambda doses: charts.response_chart(doses, run.arms(), run.trait, band),
                  lambda doses: charts.dose_chart(doses, run.arms())):  # fmt: skip
        assert build(grid).to_dict() == build(without).to_dict()
