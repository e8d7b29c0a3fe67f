"""Verdicts on an axis before any run, planted."""

from __future__ import annotations

import math

import pytest

from ws.gating.alive import ADVICE, alive_verdict
from ws.intervals import Interval


def at(value: float, half: float = 0.05) -> Interval:
    return Interval(value, value - half, value + half, 16)


@pytest.mark.parametrize(
    ("steered", "persona", "randoms", "verdict"),
    [
        (0.54, 0.84, (0.04, -0.07), "alive"),
        (0.54, 0.84, (), "alive"),
        (0.54, 0.0, (0.04,), "alive"),
        (-0.54, 0.84, (0.04,), "steered backwards"),
        (0.54, 0.0, (0.1, -0.52), "non-specific"),
        (-0.54, 0.0, (0.1, -0.52), "non-specific"),
        (0.54, 0.84, (0.1, -0.52), "persona only"),
        (0.02, 0.84, (0.01,), "persona only"),
        (0.02, 0.03, (0.01,), "dead"),
        (0.02, -0.84, (0.01,), "dead"),
        (0.09, 0.0, (), "dead"),  # the interval's near end, .04, does not count
        (math.nan, math.nan, (), "dead"),
    ],
)
def test_verdicts(steered: float, persona: float, randoms: tuple[float, ...], verdict: str) -> None:
    assert alive_verdict(at(steered), at(persona), randoms) == verdict
    assert verdict in ADVICE


@pytest.mark.parametrize(("half", "verdict"), [(0.139, "dead"), (0.141, "too few questions")])
def test_ten_questions_do_not_show_that_an_axis_is_dead(half: float, verdict: str) -> None:
    assert alive_verdict(at(0.01, half), at(0.0, 0.5), (0.02,)) == verdict
