"""Gates of an axis that its questions read: what was not measured, what is named, and the band of random directions."""

from __future__ import annotations

from typing import Any

import pytest

from tests.builders.gate_frames import arm, grid, heal, steer
from ws.gating import Gate, Thresholds, Trait, judge_instrument, judge_steer
from ws.gating.facts import off_target, surgical_of
from ws.gating.foundations import FOUNDATIONS, poles_of
from ws.gating.instrument import mush
from ws.gating.schemas import arms_frame

TRAIT = Trait("Authority", {"Authority": -1, "Care": 1}, by_questions=True, failed=(("p_ans_any", 0.02),))
STAY = [f for f in FOUNDATIONS if f not in ("Authority", "Care")]
UNREAD: dict[str, Any] = dict.fromkeys(("p_ans_any", "p_ans_free", "profile_target", "order_gap", "think", "d_diag"))
UNREAD |= {f"d_{f}{end}": None for f in STAY for end in ("", "_low", "_high")}


def read(rows: list[dict[str, Any]], **changes: Any) -> list[dict[str, Any]]:
    """The arms as questions read them: two poles, no vignettes."""
    return [row | UNREAD | {"d_answer": 8.0} | changes for row in rows]


def checks(gate: Gate) -> dict[str, tuple[bool, bool, str]]:
    return {outcome: (measured, seen, text) for outcome, measured, seen, text in gate.checks}


def test_gate_0_names_the_instrument_and_what_it_did_not_measure() -> None:
    gate = judge_instrument(arms_frame(read(steer())), TRAIT)
    assert (gate.outcome, gate.also, gate.colour) == ("sane", ["reads by questions"], "green")
    found = checks(gate)
    for outcome in ("answers off the list", "dead or saturated axis", "readout biased", "think budget"):
        assert not found[outcome][0] and not found[outcome][1], outcome
    assert "not readable on this model: p_ans_any 0.02" in found["answers off the list"][2]
    assert "another instrument" in found["reads by questions"][2]
    outside = judge_instrument(arms_frame(read(steer())), Trait("Cheer", {}, by_questions=True))
    assert "another instrument" not in checks(outside)["reads by questions"][2]


def test_a_failed_part_is_in_no_gate_and_named_beside_coherence() -> None:
    failed = Trait("Authority", {"Authority": -1, "Care": 1}, failed=(("p_ans_any", 0.02),))
    low = {f"d_{f}{end}": -0.4 for f in FOUNDATIONS for end in ("", "_low", "_high")}
    rows = steer(coherence=0.3, p_ans_any=0.001, **low)
    before = checks(judge_steer(grid(), arms_frame(rows), Trait("Authority", {"Authority": -1, "Care": 1})))
    after = checks(judge_steer(grid(), arms_frame(rows), failed))
    assert before["collapse posing as signal"][1] and not after["collapse posing as signal"][0]
    assert "not readable on this model: p_ans_any 0.02" in after["too strong"][2]
    assert "p_ans_any 0.00" in before["too strong"][2] and "p_ans_any 0.00" not in after["too strong"][2]


def test_gate_1_counts_in_nats_per_token_and_is_green_without_other_foundations() -> None:
    gate = judge_steer(grid(), arms_frame(read(steer())), TRAIT, seeds=3)
    assert (gate.outcome, gate.colour) == ("good knee", "green") and not gate.caveats
    assert "nat per token (8.00 nat per answer) at c = 1" in gate.evidence and "p_ans_any nan" not in gate.evidence
    row = arms_frame(read(heal())).row(0, named=True)
    assert surgical_of(row, TRAIT) is None and off_target(row, TRAIT)[0] == "none"


@pytest.mark.parametrize(("randoms", "outcome"), [(1.5, "non-specific disruption"), (0.1, "wrong sign")])
def test_a_shift_inside_the_random_band_has_no_sign(randoms: float, outcome: str) -> None:
    rows = [row | {"d_target": randoms} if row["arm"] == "random" else row for row in steer(shift=-1.2)]
    gate = judge_steer(grid(), arms_frame(read(rows)), TRAIT)
    assert gate.outcome == outcome and gate.colour == "red"
    assert ("wrong sign" in {gate.outcome, *gate.also}) == (outcome == "wrong sign")


def test_a_saddle_inside_the_random_band_is_non_specific() -> None:
    rows = [row | {"d_target": 1.5} if row["arm"] == "random" else row for row in steer()]
    rows = [row | {"d_target": 0.9, "d_target_low": 0.8, "d_target_high": 1.0} if row["c"] < 0 else row for row in rows]
    assert judge_steer(grid(), arms_frame(rows), TRAIT).outcome == "non-specific disruption"


@pytest.mark.parametrize(
    ("changes", "seen"),
    [({}, False), ({"coh_text": 0.05}, True), ({"tail_ppl": 10.7}, True), ({"coh_text": None, "n_text": 0}, None)],
)
def test_mush(changes: dict[str, Any], seen: bool | None) -> None:
    assert mush(arm("base", **changes), Thresholds())[0] is seen


@pytest.mark.parametrize(
    ("target", "intended", "poles"),
    [
        ("Authority", {"Care": 1, "Authority": -1}, {"Authority": -1, "Care": 1}),
        ("Authority", {"Authority": -1}, {"Authority": -1}),
        ("Care", {"Care": 1, "Fairness": 1, "Loyalty": -1, "Liberty": -1}, {"Care": 1, "Loyalty": -1}),
        ("Cheer", {}, {}),
    ],
)
def test_poles(target: str, intended: dict[str, int], poles: dict[str, int]) -> None:
    assert poles_of(target, intended) == poles


def test_a_model_that_answers_now_and_then_is_judged_by_its_own_measure() -> None:
    """p_ans_any of .7: read relative to it, so the answers are on the list."""
    rows = [row | {"p_ans_any": 0.7} for row in steer()]
    axis = {"Authority": -1, "Care": 1}
    assert judge_instrument(arms_frame(rows), Trait("Authority", axis)).outcome == "answers off the list"
    gate = judge_instrument(arms_frame(rows), Trait("Authority", axis, relative=True))
    assert gate.colour != "red" and "read relative to it" in checks(gate)["answers off the list"][2]


def test_the_unit_of_an_axis_is_that_of_its_reading() -> None:
    assert Trait("Authority", {}).unit == "nat"
    assert Trait("Authority", {}, by_questions=True).unit == Trait("Honesty", {}).unit == "nat per token"
