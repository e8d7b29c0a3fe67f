"""The real chat model end to end on an axis that its questions read: bars that a fresh direction must meet."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest

import ws
from ws.axes.axis import Axis
from ws.evaluation.report import Report
from ws.experiment.controls import random_directions
from ws.experiment.doctor import alive
from ws.gating import Thresholds
from ws.generation.second_look import second_look
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


def test_it_steers_heals_and_is_undone(smollm2: LM) -> None:
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

    kept = written(lm, axis, v, base.subject["text_limits"]["worst_ppl"])
    settings = ws.HealConfig(beta=0.1, tau=0.03, epochs=3, batch=4, min_rows=16)
    healed = ws.evaluate(lm, axis, adapters=[ws.heal(lm, kept, settings, axis=axis)], **how)
    assert shift(base, healed) >= 0.5 * shift(base, steered) and healed.coherence >= base.coherence - 0.05
    held = dataclasses.replace(settings, beta=1000.0, tau=0.0, epochs=1)
    undone = ws.heal(lm, kept.head(16), held, axis=axis)
    back = ws.evaluate(lm, axis, adapters=[undone], free_text=False, **how)
    assert abs(shift(base, back)) < 0.25 * shift(base, steered)


def written(lm: LM, axis: Axis, v: ws.Direction, limit: float) -> Any:
    """The first 32 texts at the dose that the filter keeps."""
    prompts = [ws.Prompt(text, split="train") for text in axis.train]
    texts = second_look(lm, ws.score(lm, ws.generate(lm, prompts, v, c=DOSE, n=2), axis), axis, limit)
    return ws.keep(texts, worst_ppl=limit, loop=0.3).head(32)
