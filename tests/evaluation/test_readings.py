"""A new evaluation is one file: report, stored frames, configuration, tables and gates take it from there."""

from __future__ import annotations

import dataclasses
import io
import json
import math
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import polars as pl
import pytest
from rich.console import Console

import ws
from tests.builders.added_parts import BREVITY, added
from tests.builders.small_runs import ending_lm, small_config
from ws.app.cli import main
from ws.errors import UserError
from ws.evaluation import Report, readings
from ws.evaluation.readings import READINGS, STANDING, figures_of, reading
from ws.experiment import loop
from ws.experiment.examples import EXAMPLE, EXAMPLE_ROUNDS
from ws.experiment.rounds import Round
from ws.files import digest, read_json
from ws.gating.schemas import ARMS, arms_frame, further_figures
from ws.reporting.journal.tables import arms_table
from ws.reporting.terminal import print_run
from ws.runs.arms import reports_of, stacked
from ws.runs.config import EvalConfig, RunConfig, from_dict, to_dict
from ws.runs.reader import Run
from ws.runs.stages import VERSIONS


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder in which a reading was written, on the readings' search path."""
    with added(readings, "brevity", BREVITY, tmp_path_factory.mktemp("readings")) as file:
        yield file.parent


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> tuple[Run, RunConfig]:
    """A run as it is without the reading."""
    folder = tmp_path_factory.mktemp("run")
    config = small_config(folder)
    return loop.run(config, out=folder / "out", lm=ending_lm()), config


@pytest.fixture(scope="module")
def done(written: Path, plain: tuple[Run, RunConfig]) -> Run:
    """The same run with the reading."""
    run, config = plain
    asked = dataclasses.replace(config.evaluation, readings=(*STANDING, "brevity"))
    return loop.run(dataclasses.replace(config, evaluation=asked), out=run.path.parents[1], lm=ending_lm())


@pytest.mark.usefixtures("written")
def test_its_name_is_accepted_and_offered(capsys: pytest.CaptureFixture[str]) -> None:
    assert list(READINGS) == [*STANDING, "brevity", "choices"]
    assert EvalConfig(readings=("brevity",)).readings == ("brevity",)
    config = dataclasses.replace(RunConfig(), evaluation=EvalConfig(readings=("brevity", "exam")))
    assert from_dict(json.loads(json.dumps(to_dict(config)))) == config
    with pytest.raises(UserError, match=r"evaluation\.readings 'levity' is unknown.*exam, dilemmas, brevity"):
        EvalConfig(readings=("levity",))
    assert main(["run", "--help"]) == 0
    assert "{None}|{[{exam,dilemmas,brevity,choices}" in "".join(capsys.readouterr().out.replace("│", "").split())


def test_the_report_holds_it_and_an_old_one_is_read_as_empty(done: Run, plain: tuple[Run, RunConfig]) -> None:
    arms = {arm.arm: arm.report for arm in reports_of(done.frame("eval"))}
    assert arms["base"].frame("brevity")["short"].to_list() == [1, 1, 1] and arms["base"].summary()["brevity"] == 1
    assert arms["healed"].further["brevity"] == 0.5 and arms["random"].frame("brevity").height == 0
    again = Report.from_frame(arms["healed"].to_frame())
    assert again.frame("brevity").equals(arms["healed"].frame("brevity")) and again.identity == arms["healed"].identity
    old = plain[0].frame("eval")
    assert not [name for name in old.columns if "brevity" in name], "what is not asked for is not stored"
    before = next(arm.report for arm in reports_of(old) if arm.arm == "healed")
    assert before.frame("brevity").height == 0 and before.frame("brevity").columns == ["prompt", "short"]
    assert ws.compare(before, arms["healed"]).equals(ws.compare(before, before)), "not measured is no other instrument"
    both = stacked([old, done.frame("eval")])
    assert [arm.report.further == {} for arm in reports_of(both)][: old.height] == [True] * old.height
    with pytest.raises(UserError, match="reading brevity"):
        other = arms["healed"].identity | {"readings": {"brevity": "other prompts"}}
        ws.compare(arms["base"], dataclasses.replace(arms["healed"], identity=other))


def test_tables_show_it(done: Run) -> None:
    arms = done.arms()
    assert arms.columns == [*ARMS, "brevity", "brevity_low", "brevity_high", "prompts_read"]
    assert further_figures(arms.columns) == ["brevity", "prompts_read"]
    shown = dict(arms.select("arm", "brevity").unique(maintain_order=True).rows())
    assert shown["base"] == 1 and shown["healed"] == shown["persona"] == 0.5 and shown["anti_persona"] is None
    told = io.StringIO()
    print_run(done, Console(file=told, width=400))
    assert "brevity: base 1.00 [0.90, 1.10]" in told.getvalue()
    assert "0.50 [0.40, 0.60]" in str(arms_table(arms, ""))


def test_gates_name_its_figures_and_see_its_floor_fall(done: Run, plain: tuple[Run, RunConfig]) -> None:
    for gate in done.gates()[1], done.gates()[3]:
        name, measured, seen, text = next(check for check in gate.checks if check[0] == "further reading fell")
        assert (measured, seen) == (True, True) and name in gate.also and gate.colour != "green"
        assert "brevity 1.00 [0.90, 1.10] base, 0.50 [0.40, 0.60] now; prompts_read 3.00 base" in text
    assert ws.judge(done) == done.gates()
    assert not [check for gate in plain[0].gates() for check in gate.checks if check[0] == "further reading fell"]


def test_another_list_of_readings_is_another_run_and_the_same_knee(done: Run, plain: tuple[Run, RunConfig]) -> None:
    run = plain[0]
    assert done.path != run.path
    keys = [{name: stage["key"] for name, stage in r.status["stages"].items()} for r in (run, done)]
    same = {name for name, key in keys[0].items() if keys[1][name] == key}
    assert {"0/direction", "0/dose", "0/data", "0/heal", "0/drift"} <= same
    assert not {"0/unsteered", "0/steer", "0/healed"} & same


def test_a_reading_that_is_not_named_is_left_out() -> None:
    lm, axis = ending_lm(), ws.load_axis("care_over_authority")
    how: dict[str, Any] = {"think": 0, "free_text": False, "exam": 4, "per_foundation": 2, "instrument": "vignettes"}
    report = ws.evaluate(lm, axis, readings=["dilemmas"], **how)
    assert report.identity["capability"] is None and math.isnan(report.capability) and report.dilemmas.height
    bare = ws.evaluate(lm, axis, readings=[], **how)
    assert bare.identity["dilemmas"] is None and math.isnan(bare.logratio)
    with pytest.raises(UserError, match="no reading 'levity'"):
        ws.evaluate(lm, axis, readings=["levity"], **how)


def test_an_axis_that_its_questions_judge_needs_them() -> None:
    axis = ws.load_axis("honesty")
    with pytest.raises(UserError, match="dilemmas"):
        ws.evaluate(ending_lm(), axis, readings=["exam"], think=0, free_text=False)


def test_what_a_file_lacks_is_said(written: Path) -> None:
    (written / "bare.py").write_text("COLUMNS = {}\n")
    (written / "floorless.py").write_text(BREVITY.replace('"brevity_low": mean - 0.1, ', ""))
    try:
        with pytest.raises(UserError, match="no asks, read, figures"):
            reading("bare")
        with pytest.raises(UserError, match="brevity_low"):
            figures_of("floorless", pl.DataFrame(schema=reading("floorless").COLUMNS))
    finally:
        (written / "bare.py").unlink()
        (written / "floorless.py").unlink()
    with pytest.raises(ValueError, match="already"):
        arms_frame([], ["capability"])


# Runs of the version before


def test_a_report_of_before_opens_with_what_it_lacks_empty() -> None:
    frame = Run(EXAMPLE).frame("eval").head(1)
    assert Report.from_frame(frame).exam.height == Run(EXAMPLE).config.evaluation.exam
    report = Report.from_frame(frame.drop("exam", "text"))
    assert report.exam.height == report.text.height == 0 and report.exam.schema == Report.from_frame(frame).exam.schema
    assert math.isnan(report.capability) and report.rows.height


@pytest.mark.parametrize("path", [EXAMPLE, EXAMPLE_ROUNDS], ids=["one", "rounds"])
def test_stored_configurations_and_keys_are_as_they_were(path: Path) -> None:
    run = Run(path)
    assert run.config.evaluation.readings is None and to_dict(run.config) == read_json(path / "config.json")
    assert all(arm.report.parts.keys() == set(STANDING) for arm in reports_of(run.frame("eval")))
    names = ("fingerprint", "axis", "items", "device", "dtype", "threads", "chat")
    how = Round.reading.fget(SimpleNamespace(config=run.config))  # type: ignore[attr-defined]
    inputs = [{name: run.env[name] for name in names}, [how, run.config.controls.engineered], [], []]
    key = digest(["unsteered", VERSIONS["unsteered"], inputs])
    assert key == run.status["stages"]["0/unsteered"]["key"]
