"""A run whose axis is read by questions, end to end at stub size: no vignettes, one instrument for all of its arms."""

from __future__ import annotations

import dataclasses
import json
import shutil
from pathlib import Path

import polars as pl
import pytest

import ws
from tests.builders.records import record_changes
from tests.builders.small_runs import ending_lm, small_config, write_axis
from ws.evaluation.instrument import Instrument
from ws.experiment import instruments
from ws.experiment.instruments import instrument_of
from ws.experiment.loop import run
from ws.experiment.progress import Event
from ws.files import read_json, write_json
from ws.gating.foundations import FOUNDATIONS
from ws.reporting.journal import write_journal
from ws.runs.arms import reports_of
from ws.runs.config import RunConfig, from_dict, to_dict
from ws.runs.reader import Run, open_run

STAY = [f for f in FOUNDATIONS if f not in ("Authority", "Care")]


def questions(n: int = 20, plain: bool = True) -> str:
    """n questions as an axis file writes them."""
    third = ', plain = "It is."' if plain else ""
    rows = [f'{{ text = "Day {i}?", positive = "So fine {i}.", negative = "Bad.{i}"{third} }}' for i in range(n)]
    return f"[{', '.join(rows)}]"


def config(folder: Path, **changes: str) -> RunConfig:
    """The small run with an axis that has questions."""
    made = small_config(folder)
    return dataclasses.replace(made, axis=str(write_axis(folder, **({"questions": questions()} | changes))))


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> tuple[Run, list[Event]]:
    """A foundation axis on a model whose answers are off the list."""
    folder, told = tmp_path_factory.mktemp("questions"), list[Event]()
    return run(config(folder), told.append, out=folder, lm=ending_lm()), told


def test_one_instrument_for_every_arm(done: tuple[Run, list[Event]]) -> None:
    found, told = done
    assert found.finished and found.instrument.by_questions and found.env["instrument"]["read_by"] == "questions"
    reports = [arm.report for arm in reports_of(found.frame("eval"))]
    assert len(reports) >= 8 and len({json.dumps(r.identity["instrument"]) for r in reports}) == 1
    assert not any(report.per_row.height for report in reports)
    assert any("is read by its questions" in e.note and "p_ans_any 0.00" in e.note for e in told), told


def test_the_table_has_two_poles_and_no_other_foundation(done: tuple[Run, list[Event]]) -> None:
    arms = done[0].arms()
    steered = arms.filter(pl.col("arm") == "steer").row(0, named=True)
    assert steered["d_Care"] - steered["d_Authority"] == pytest.approx(steered["d_target"], abs=1e-6)
    assert steered["d_answer"] is not None and steered["n_items"] == 10 and steered["p_ans_any"] is None
    assert all(steered[f"d_{f}{end}"] is None for f in STAY for end in ("", "_low", "_high"))
    assert (steered["think"], steered["profile_target"], steered["d_self"]) == (None, None, None)
    half = {question for arm in reports_of(done[0].frame("eval")) for question in arm.report.dilemmas["question"]}
    assert len(half) == 10 and set(done[0].frame("dose")["n_items"]) == {10}


def test_gates_pages_and_tables_say_it(done: tuple[Run, list[Event]], tmp_path: Path) -> None:
    found = done[0]
    gate, steer = ws.judge(found)[:2]
    said = [{outcome: text for outcome, _, _, text in found.checks} for found in (gate, steer)]
    assert "reads by questions" in gate.also and "another instrument" in said[0]["reads by questions"]
    assert "nat per token" in said[1]["too weak"]
    page = write_journal(found, tmp_path / "journal", tmp_path / "JOURNAL.md").page.read_text(encoding="utf-8")
    assert "reads by questions" in page


def test_an_axis_outside_the_foundations_needs_no_glance(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(instruments, "glance", lambda *_: pytest.fail("base was looked at"))
    own = config(tmp_path, questions=questions(plain=False), target='"Cheer"', intended="{}")
    found = run(own, out=tmp_path, lm=ending_lm())
    steered = found.arms().filter(pl.col("arm") == "steer").row(0, named=True)
    assert steered["d_target"] is not None and steered["d_Care"] is None
    assert found.gates()[0].also == ["reads by questions"]
    write_journal(found, tmp_path / "journal", tmp_path / "JOURNAL.md")


def test_what_base_answers_is_measured_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    counted: list[int] = []
    monkeypatch.setattr(instruments, "glance", lambda *_: counted.append(1) or 0.7)
    lm, made = ending_lm(), config(tmp_path)
    axis = ws.load_axis(made.axis).on(lm)
    twice = [instrument_of(lm, axis, made, tmp_path) for _ in range(2)]
    assert twice == [Instrument(relative=True)] * 2
    place = next((tmp_path / "instruments").glob("*.json"))
    assert len(counted) == 1 and read_json(place)["p_ans_any"] == 0.7
    place.write_text("{", encoding="utf-8")
    instrument_of(lm, axis, made, tmp_path)
    assert len(counted) == 2 and read_json(place)["p_ans_any"] == 0.7


def test_the_setting_forces_it_and_leaves_no_trace_at_its_default(tmp_path: Path) -> None:
    made = config(tmp_path)
    assert "instrument" not in to_dict(made)["evaluation"]
    forced = dataclasses.replace(made, evaluation=dataclasses.replace(made.evaluation, instrument="vignettes"))
    assert from_dict(json.loads(json.dumps(to_dict(forced)))) == forced
    lm = ending_lm()
    found = instrument_of(lm, ws.load_axis(made.axis).on(lm), forced, tmp_path)
    assert not found.by_questions and found.parts == ("coh_text",)


def test_a_run_stored_without_an_instrument_is_judged_as_before(done: tuple[Run, list[Event]], tmp_path: Path) -> None:
    old = tmp_path / "old"
    shutil.copytree(done[0].path, old)
    env = read_json(old / "env.json")
    env.pop("instrument")
    write_json(old / "env.json", env)
    record_changes(old)
    assert open_run(old).instrument == Instrument() and "reads by questions" not in ws.judge(open_run(old))[0].also
