"""Filter and barrier, each with and without: one table and one picture."""

from __future__ import annotations

import json

import polars as pl

from tests.builders.gate_frames import arm
from ws.gating.schemas import arms_frame
from ws.reporting import charts
from ws.runs.four_arms import FOUR, four_of


def planted(*names: str) -> pl.DataFrame:
    ends = {"retain_low": 0.5, "retain_high": 0.8, "chosen": None}
    return arms_frame([arm("base"), *(arm(name, retain=0.6 + i / 10, **ends) for i, name in enumerate(names))])


def test_the_four_stand_in_one_order() -> None:
    found = four_of(planted("sft_unfiltered", "unfiltered", "sft", "healed", "sft_base"), beta=0.1)
    assert found["what"].to_list() == ["filter and barrier", "filter only", "barrier only", "neither"]
    assert found["retain"].round(3).to_list() == [0.9, 0.8, 0.7, 0.6]


def test_a_heal_without_a_barrier_is_filter_only() -> None:
    found = four_of(planted("healed", "sft_unfiltered"), beta=0.0)
    assert found.select("what", "arm").rows() == [("filter only", "healed"), ("neither", "sft_unfiltered")]


def test_the_picture_has_every_arm_with_its_intervals() -> None:
    four = four_of(planted(*FOUR), beta=0.1)
    spec = json.dumps(charts.four_arms_chart(four).to_dict())
    assert all(what in spec for what in FOUR.values()) and "retain_low" in spec and "coherence_high" in spec
