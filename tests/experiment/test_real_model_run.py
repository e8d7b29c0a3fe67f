"""The real chat model through a whole run on an axis that its questions read, with few texts; and its doctor."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import polars as pl
import pytest

import ws
from ws.experiment.doctor import alive
from ws.experiment.loop import run
from ws.gating import Thresholds
from ws.models.lm import LM
from ws.runs.recipes import recipe_for

pytestmark = pytest.mark.slow
AXIS = "cheerful_over_gloomy"


def test_a_whole_run(smollm2: LM, tmp_path: Path) -> None:
    own, new = recipe_for("smollm2"), dataclasses.replace
    assert own.axis == AXIS
    config = new(
        own, max_new_tokens=24, threads=1, controls=new(own.controls, engineered=False, sft_base=False, prompted=False),
        dose=new(own.dose, grid=(1.0, 2.0), texts=8, random_draws=2, coherence=0.5),
        data=new(own.data, doses=(1.0,), samples=1, prompts=24, keep=16, finished=False),
        heal=new(own.heal, min_rows=4, epochs=1), evaluation=new(own.evaluation, texts=16, exam=8),
    )  # fmt: skip
    done = run(config, out=tmp_path, lm=smollm2)
    assert done.finished and done.instrument.by_questions and not list(tmp_path.glob("instruments/*")), "no glance"
    arms = done.arms()
    steered = arms.filter(pl.col("arm") == "steer", pl.col("chosen")).row(0, named=True)
    randoms = arms.filter(pl.col("arm") == "random")["d_target"].abs()
    assert steered["d_target_low"] > 0 and steered["d_target"] > 2 * randoms.max()  # type: ignore[operator]
    assert steered["p_ans_any"] is None and steered["d_answer"] > steered["d_target"]
    gates = {gate.gate: gate for gate in ws.judge(done)}
    assert "reads by questions" in gates[0].also and gates[1].outcome not in ("wrong sign", "non-specific disruption")
    assert arms.filter(pl.col("arm") == "healed")["retain"][0] is not None


def test_an_axis_that_is_alive(smollm2: LM) -> None:
    row = alive(smollm2, ws.load_axis(AXIS))
    assert row["verdict"] == "alive" and row["steered_low"] > Thresholds().guard
    assert row["plus"] > 0 > row["minus"] and row["steered"] > 4 * row["random_most"]
