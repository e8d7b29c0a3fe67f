"""The real chat model on an axis that its questions read."""

from __future__ import annotations

import pytest

import ws
from ws.experiment.doctor import alive
from ws.gating import Thresholds
from ws.models.lm import LM

pytestmark = pytest.mark.slow


def test_an_axis_that_is_alive(smollm2: LM) -> None:
    row = alive(smollm2, ws.load_axis("cheerful_over_gloomy"))
    assert row["verdict"] == "alive" and row["steered_low"] > Thresholds().guard
    assert row["plus"] > 0 > row["minus"] and row["steered"] > 4 * row["random_most"]
