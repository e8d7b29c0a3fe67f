"""The real chat model on an axis that its questions read: bars that a fresh direction must meet."""

from __future__ import annotations

from typing import Any

import pytest

import ws
from ws.evaluation.report import Report
from ws.experiment.controls import random_directions
from ws.experiment.doctor import alive
from ws.gating import Thresholds
from ws.models.lm import LM

pytestmark = pytest.mark.slow
AXIS = "cheerful_over_gloomy"
DOSE = 9.0
"""Under the knee of 14 that whole runs found."""


def shift(base: Report, arm: Report) -> float:
    """Nats per token of the questions' answers."""
    return float((arm.dilemmas["logratio"] - base.dilemmas["logratio"]).mean())  # type: ignore[arg-type]


def test_an_axis_that_is_alive(smollm2: LM) -> None:
    row = alive(smollm2, ws.load_axis(AXIS))
    assert row["verdict"] == "alive" and row["steered_low"] > Thresholds().guard
    assert row["plus"] > 0 > row["minus"] and row["steered"] > 4 * row["random_most"]


def test_a_fresh_direction_steers(smollm2: LM) -> None:
    lm, axis = smollm2, ws.load_axis(AXIS).on(smollm2)
    v = ws.extract(lm, axis)
    how: dict[str, Any] = {"split": "report", "texts": 40, "capability": False}
    base = ws.evaluate(lm, axis, **how)
    assert base.instrument.by_questions and base.dilemmas.height == 20
    (steered,) = ws.evaluate(lm, axis, direction=v, c=[DOSE], **how)
    assert shift(base, steered) >= 0.4 and steered.coherence >= 0.95
    drawn = random_directions(v, 2, 0)
    randoms = [ws.evaluate(lm, axis, direction=d, c=DOSE, free_text=False, **how) for d in drawn]
    assert max(abs(shift(base, report)) for report in randoms) < shift(base, steered) / 5
