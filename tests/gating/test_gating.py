"""Planted outcomes: frames in which one thing is true, and the gate that has to say so."""

from __future__ import annotations

import ast
import dataclasses
import json
import math
import re
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from tests.builders.gate_frames import FALLING, TRAIT, arm, bet, curve, grid, heal, loop, steer, swap, texts
from ws import gating
from ws.evaluation import DEFINITIONS
from ws.gating import (
    Gate,
    Thresholds,
    Trait,
    judge_filter,
    judge_heal,
    judge_instrument,
    judge_loop,
    judge_steer,
    verdict,
)
from ws.gating.advice import ADVICE
from ws.gating.evidence import EVIDENCE, EvidenceQuery
from ws.gating.foundations import FOUNDATIONS
from ws.gating.gate import near_end, seed_caveat
from ws.gating.instrument import headroom_text
from ws.gating.schemas import arms_frame
from ws.gating.thresholds import DEFAULTS
from ws.reporting.leaderboard import MIN_SEEDS


def gate1(arms: list[dict[str, Any]], g: pl.DataFrame | None = None, seeds: int = 3) -> Gate:
    return judge_steer(grid() if g is None else g, arms_frame(arms), TRAIT, seeds=seeds)


# Gate 1


def test_good_knee_is_green_and_keeps_its_interval() -> None:
    gate = gate1(steer())
    assert (gate.outcome, gate.colour, gate.also) == ("good knee", "green", [])
    assert (gate.value, gate.low, gate.high) == pytest.approx((1.2, 1.1, 1.3))
    assert gate.checks[0][0] == "good knee"
    assert "1.20 [1.10, 1.30]" in gate.evidence


@pytest.mark.parametrize(
    ("outcome", "colour", "changes", "points"),
    [
        ("too weak", "red", {"shift": 0.05}, ((0.5, 0.0, 0.97), (1.0, 0.05, 0.97))),
        ("too strong", "red", {"shift": 3.0, "coherence": 0.5, "p_ans_any": 0.6}, ()),
        ("too strong", "yellow", {"coherence": 0.90}, ()),
        ("format alive, text dead", "red", {"coherence": 0.4, "coh_text": 0.4, "p_ans_any": 0.94}, ()),
        ("wrong sign", "red", {"shift": -1.2}, ()),
        ("coherence to spare", "red", {"shift": 0.25, "coherence": 0.995}, ((0.5, 0.1, 0.99), (1.0, 0.25, 0.99))),
        ("stale direction", "red", {"stale": True}, ()),
        ("non-finite rows", "red", {"nonfinite": 1}, ()),
        ("imprecise", "red", {"d_Loyalty": 2.0, "shift": 0.5}, None),
        ("knee missed", "red", {"shift": 0.0}, ((0.5, 0.0, 0.98), (1.0, 3.0, 0.2))),
    ],
)
def test_planted_steering(outcome: str, colour: str, changes: dict[str, Any], points: Any) -> None:
    g = arms_frame([arm("steer", 1.0, 0.5, d_Loyalty=2.0, split="select")]) if points is None else grid(*points)
    gate = gate1(steer(**changes), g)
    assert gate.outcome == outcome, gate.checks
    assert gate.colour == colour
    assert gate.next == ADVICE[1][outcome]


def test_collapse_is_no_signal() -> None:
    falling = {f"d_{f}{end}": -0.4 for f in FOUNDATIONS for end in ("", "_low", "_high")}
    gate = gate1(steer(coherence=0.3, p_ans_any=0.3, coh_text=0.3, **falling))
    assert (gate.outcome, gate.colour) == ("collapse posing as signal", "red")
    assert "too strong" in gate.also


def test_random_as_good() -> None:
    arms = [row | {"d_target": 1.5} if row["arm"] == "random" else row for row in steer()]
    gate = gate1(arms)
    assert (gate.outcome, gate.colour) == ("non-specific disruption", "red")


def test_one_lucky_random_draw_of_many_is_no_disruption() -> None:
    arms = steer() + [arm("random", 1.0, 0.05, draw=k) for k in range(8, 40)] + [arm("random", 1.0, 2.0, draw=40)]
    assert gate1(arms).outcome == "good knee"


def test_prompting_wins_and_ties_stand_beside() -> None:
    assert gate1(swap(steer(), "persona", d_target=2.0, d_target_low=1.8, d_target_high=2.2)).also == ["prompting wins"]
    assert gate1(swap(steer(), "persona", d_target=1.2, d_target_low=1.1, d_target_high=1.3)).also == ["prompting ties"]


def test_the_better_of_two_prompts_is_compared() -> None:
    best = arm("persona_engineered", shift=2.0)
    gate = gate1([*steer(), best])
    assert gate.also == ["prompting wins"]
    assert any("engineered" in check[3] for check in gate.checks if check[0] == "prompting wins")
    assert gate1([*steer(), best | {"d_target": 0.1, "d_target_low": 0.0, "d_target_high": 0.2}]).also == []


def test_saddle_and_one_sided() -> None:
    def other(shift: float) -> list[dict[str, Any]]:
        return [arm("steer", -1.0, shift, chosen=False) if row["c"] < 0 else row for row in steer()]

    assert gate1(other(0.9)).outcome == "saddle"
    assert gate1(other(0.05)).also == ["one-sided"]


def test_a_later_round_is_judged_from_where_its_student_stands() -> None:
    """All arms stand on the student's 1.0 nat: +c adds 1.2, -c takes 0.8 away, random directions add nothing."""

    def on(start: float, added: float = 1.2) -> list[dict[str, Any]]:
        rows = [arm("base"), arm("student", shift=start), arm("steer", 1.0, start + added)]
        rows += [arm("steer", -1.0, start - 0.8, chosen=False), arm("persona", shift=start + 0.5)]
        return rows + [arm("random", 1.0, start + 0.05, draw=k) for k in range(8)]

    gate = gate1(on(1.0))
    assert (gate.outcome, gate.colour, gate.also) == ("good knee", "green", [])
    assert "from 1.00 of the rounds before" in gate.evidence
    assert (gate.value, gate.low) == pytest.approx((2.2, 2.1))  # the table's figure stays against base
    assert gate1(on(1.0, 0.1)).outcome == "too weak"
    assert gate1(on(1.0, -0.5)).outcome == "wrong sign"
    assert gate1(on(0.0)).outcome == "good knee"


def test_capability_cliff_holds_the_colour_at_yellow() -> None:
    gate = gate1(steer(capability=0.3, capability_low=0.2, capability_high=0.4))
    assert (gate.outcome, gate.colour, gate.also) == ("good knee", "yellow", ["capability cliff"])


def test_a_knee_at_the_top_of_the_grid_has_coherence_to_spare() -> None:
    gate = gate1(steer(coherence=0.99), grid((0.5, 0.6, 0.99), (1.0, 1.2, 0.99)))
    assert gate.outcome == "good knee"
    assert "coherence to spare" in gate.also


def test_no_passing_dose_is_too_strong() -> None:
    arms = [row for row in steer() if row["arm"] != "steer"]
    gate = gate1(arms, grid((0.5, 1.0, 0.7), (1.0, 1.2, 0.3)))
    assert (gate.outcome, gate.colour, gate.value) == ("too strong", "red", None)


def test_the_verdict_reads_the_near_end() -> None:
    assert gate1(steer(shift=0.39, half=0.1, coherence=0.97)).outcome == "too weak"  # 0.29 at the near end
    assert gate1(steer(shift=0.41, half=0.1)).outcome == "good knee"
    unsure = gate1(steer(coherence=0.96))  # 0.94 at the low end
    assert (unsure.outcome, unsure.colour) == ("good knee", "yellow")
    assert any("cannot be told" in caveat for caveat in unsure.caveats)


def test_diag_disagreement_and_single_seed_are_said() -> None:
    assert "single seed" in gate1(steer(), seeds=1).caveats
    assert any("nats_diag" in caveat for caveat in gate1(steer(d_diag=-0.5)).caveats)


def test_unmeasured_outcomes_say_so() -> None:
    arms = [row for row in steer() if row["arm"] in ("base", "steer") and row["c"] >= 0]
    checks = {check[0]: check for check in gate1(arms).checks}
    assert checks["prompting wins"][1] is False
    assert checks["non-specific disruption"][1] is False
    assert checks["saddle"][1] is False


def test_every_outcome_of_every_table_is_reported() -> None:
    names = {check[0] for check in gate1(steer()).checks}
    assert set(ADVICE[1]) - names == {"unclear"}
    assert {check[0] for check in judge_heal(arms_frame(heal()), curve(), TRAIT, beta=0.3).checks} >= set(ADVICE[3]) - {
        "unclear"
    }


def test_every_number_of_a_verdict_is_a_threshold() -> None:
    """Numbers in the words of a gate are those that it judges by, and a caveat follows the thresholds asked for."""
    assert f"{DEFAULTS.shift:g} nat" in gate1(steer()).should and f"{DEFAULTS.guard:g} nat" in DEFINITIONS["coh_cost"]
    assert f"at least {DEFAULTS.ranked} seeds" in ADVICE[3]["seed noise"] and DEFAULTS.ranked == MIN_SEEDS
    more = dataclasses.replace(Thresholds(), ranked=5)
    assert seed_caveat(4, more) == ["4 seeds: arms are not ranked before 5"] and not seed_caveat(4, Thresholds())
    for file in Path(gating.__file__).parent.glob("*.py"):
        compares = [node for node in ast.walk(ast.parse(file.read_text("utf-8"))) if isinstance(node, ast.Compare)]
        against = {side.value for node in compares for side in node.comparators if isinstance(side, ast.Constant)}
        assert {x for x in against if isinstance(x, int | float)} <= {0, 1, 2}, f"{file.name} compares with {against}"


# Verdict order


@pytest.mark.parametrize(
    ("colour", "shift", "coherence", "low", "surgical", "finite"),
    [
        ("green", 0.3, 0.97, 0.95, True, True),
        ("yellow", 0.3, 0.97, 0.949, True, True),
        ("red", 0.299, 0.99, 0.98, True, True),
        ("red", 5.0, 0.849, 0.84, True, True),
        ("yellow", 5.0, 0.85, 0.84, True, True),
        ("red", 1.0, 0.99, 0.98, False, True),
        ("red", 1.0, 0.99, 0.98, True, False),
        ("red", math.nan, 0.99, 0.98, True, True),
        ("red", 1.0, math.nan, 0.98, True, True),
    ],
)
def test_verdict_boundaries(
    colour: str, shift: float, coherence: float, low: float, surgical: bool, finite: bool
) -> None:
    got = verdict(shift, coherence, low, 0.0, 1.0, surgical=surgical, finite=finite, limits=Thresholds())
    assert got == colour


def test_what_cannot_be_called_surgical_is_not_held_against_it() -> None:
    def paint(surgical: bool | None) -> str:
        return verdict(1.0, 0.98, 0.96, 0.0, 1.0, surgical=surgical, finite=True, limits=Thresholds())

    assert [paint(answer) for answer in (True, None, False)] == ["green", "green", "red"]


def test_cost_boundary() -> None:
    def paint(d_coh: float) -> str:
        return verdict(1.0, 0.98, 0.96, d_coh, 1.0, surgical=True, finite=True, limits=Thresholds())

    assert paint(-0.05) == "green"
    assert paint(-0.051) == "yellow"


def test_near_end() -> None:
    assert (near_end(0.2, 1.0), near_end(-1.0, -0.2), near_end(-0.1, 0.2)) == (0.2, -0.2, 0.0)
    assert math.isnan(near_end(math.nan, 1.0))


# Gate 0


def test_sane_instrument() -> None:
    gate = judge_instrument(arms_frame(steer()), TRAIT)
    assert (gate.outcome, gate.colour) == ("sane", "green")


@pytest.mark.parametrize(
    ("outcome", "colour", "changes"),
    [
        ("non-finite rows", "red", {"nonfinite": 1}),
        ("unpaired rows", "red", {"identity": "other"}),
        ("dead or saturated axis", "yellow", {"profile_target": 0.005}),
        ("dead or saturated axis", "yellow", {"profile_target": 0.97}),
        ("answers off the list", "red", {"p_ans_any": 0.3}),
        ("readout biased", "yellow", {"order_gap": 0.4}),
        ("think budget", "yellow", {"think": "64"}),
    ],
)
def test_planted_instrument(outcome: str, colour: str, changes: dict[str, Any]) -> None:
    gate = judge_instrument(arms_frame(swap(steer(), "base", **changes)), TRAIT)
    assert (gate.outcome, gate.colour) == (outcome, colour)


def test_probe_blind_where_only_the_text_changed() -> None:
    said = {"protect": 0.9, "protect_low": 0.85, "protect_high": 0.95}
    arms = swap(swap(steer(shift=0.0), "base", protect=0.5, protect_low=0.4, protect_high=0.6), "steer", **said)
    assert judge_instrument(arms_frame(arms), TRAIT).outcome == "probe blind"


def test_a_table_without_base_is_unpaired() -> None:
    arms = [row for row in steer() if row["arm"] != "base"]
    assert judge_instrument(arms_frame(arms), TRAIT).outcome == "unpaired rows"


# Gate 2


def test_filter_works() -> None:
    gate = judge_filter(texts(FALLING), grid(), seeds=3)
    assert (gate.outcome, gate.colour) == ("works", "green")
    assert gate.value == pytest.approx(76 / 80)
    assert gate.low < gate.value < gate.high  # type: ignore[operator]


@pytest.mark.parametrize(
    ("outcome", "kept", "columns"),
    [
        ("inert", {0.0: 40, 0.5: 40, 1.0: 40, 2.0: 40}, {}),
        ("starvation", {0.0: 40, 0.5: 2, 1.0: 1, 2.0: 0}, {}),
        ("keeps base-like text", {0.0: 40, 0.5: 40, 1.0: 40, 2.0: 8}, {"bite": pl.lit(0.001)}),
        ("narration leaks", FALLING, {"narrates": pl.lit(True)}),
        ("narration leaks", FALLING, {"text": pl.lit("As someone who never bows, I say no. ") + pl.col("text")}),
        ("refusal boilerplate", FALLING, {"refuses": pl.lit(True)}),
        ("loops leak", FALLING, {"distinct3": pl.lit(0.2)}),
        ("loops leak", FALLING, {"text": pl.lit("the same reply")}),
        ("loops leak", FALLING, {"loop": pl.lit(0.31)}),
        ("style proxy", {0.0: 40, 0.5: 30, 1.0: 20, 2.0: 8}, {"grammatical": pl.lit(1.0)}),
        ("style proxy", {0.0: 40, 0.5: 30, 1.0: 20, 2.0: 8}, {"fluent": pl.lit(True)}),
    ],
)
def test_planted_filter(outcome: str, kept: dict[float, int], columns: dict[str, Any]) -> None:
    gate = judge_filter(texts(kept, **columns), grid(), seeds=3)
    assert gate.outcome == outcome, gate.checks
    assert gate.colour == ("red" if outcome in ("inert", "starvation") else "yellow")


def test_starvation_boundary_is_the_recipes_minimum() -> None:
    frame = texts({0.0: 40, 0.5: 20, 1.0: 10, 2.0: 0})
    assert judge_filter(frame, grid(), min_keep=30).outcome != "starvation"
    assert judge_filter(frame, grid(), min_keep=31).outcome == "starvation"


def test_a_grid_without_a_broken_dose_cannot_call_the_filter_inert() -> None:
    flat = {0.0: 40, 0.5: 40, 1.0: 40}
    gate = judge_filter(texts(flat), grid((0.5, 0.6, 0.98), (1.0, 1.2, 0.97)))
    assert gate.outcome == "unproven"


def test_no_passing_dose() -> None:
    assert judge_filter(texts(FALLING), grid((0.5, 1.0, 0.6), (1.0, 1.0, 0.2))).outcome == "no passing dose"


def test_length_confound_stands_beside() -> None:
    frame = texts(FALLING).with_columns(n_tokens=pl.when(pl.col("c") > 0).then(60).otherwise(30))
    assert judge_filter(frame, grid()).also == ["confounds"]


def test_unscored_completions_are_refused() -> None:
    with pytest.raises(ValueError, match="tail_ppl"):
        judge_filter(texts(FALLING).drop("tail_ppl"), grid())


# Gate 3


def gate3(arms: list[dict[str, Any]], c: pl.DataFrame | None = None, beta: float = 0.3, seeds: int = 3) -> Gate:
    return judge_heal(arms_frame(arms), curve() if c is None else c, TRAIT, beta=beta, seeds=seeds)


def test_heal_is_green() -> None:
    gate = gate3(heal())
    assert (gate.outcome, gate.colour, gate.also) == ("heal", "green", [])
    assert (gate.value, gate.low, gate.high) == (0.75, 0.6, 0.9)


N = 40


@pytest.mark.parametrize(
    ("outcome", "colour", "changes", "logged"),
    [
        ("broken", "red", {"coherence": 0.8}, {}),
        ("non-finite rows", "red", {"nonfinite": 2}, {}),
        ("non-finite rows", "red", {}, {"nll": [math.nan] * N}),
        ("undo", "red", {"shift": 0.02, "retain": 0.02}, {}),
        ("barrier too strong", "red", {"shift": 0.02, "retain": 0.02}, {"pressure": [9.0] * N, "nll": [2.0] * N}),
        ("barrier inert", "yellow", {}, {"active": [0.0] * N}),
        ("frozen adapter", "red", {}, {"update_norm": [0.1] * N}),
        ("nothing to learn", "red", {"shift": 0.02, "retain": 0.02}, {"nll": [2.0] * N, "val_nll": [2.0] * N}),
        (
            "memorised",
            "yellow",
            {},
            {"val_nll": [1.5 - 0.02 * i if i < 20 else 1.1 + 0.03 * (i - 20) for i in range(N)]},
        ),
        ("lost capability", "yellow", {"capability": 0.5, "capability_low": 0.4, "capability_high": 0.6}, {}),
        ("broad after heal", "red", {"d_Sanctity": -2.0}, {}),
        ("part heal", "yellow", {"shift": 0.5, "retain": 0.35}, {}),
    ],
)
def test_planted_heal(outcome: str, colour: str, changes: dict[str, Any], logged: dict[str, Any]) -> None:
    gate = gate3(heal(**changes), curve(**logged))
    assert gate.outcome == outcome, gate.checks
    assert gate.colour == colour
    assert gate.next == ADVICE[3][outcome]


def test_no_barrier_is_never_inert_or_too_strong() -> None:
    gate = gate3(heal(), curve(active=[0.0] * N, pressure=[9.0] * N), beta=0.0)
    assert gate.outcome == "heal"


def test_coming_back_is_asked_as_far_as_the_texts_can_tell() -> None:
    """base .99, steered .96: a heal at .95 with its high end under the middle has not come back, with its high end
    above it may have; where steering cost nothing (.975) there is nothing to come back from."""
    found = []
    for steered, high in ((0.96, 0.97), (0.96, 0.98), (0.975, 0.97)):
        arms = heal(coherence=0.95, coherence_high=high)
        arms[1] = arm("steer", 1.0, 1.2, coherence=steered)
        found.append(gate3(arms).outcome)
    assert [outcome == "unclear" for outcome in found] == [True, False, False], found


def test_broken_comes_before_any_ratio() -> None:
    gate = gate3(heal(coherence=0.5, retain=1.5, shift=2.0))
    assert (gate.outcome, gate.colour) == ("broken", "red")


def test_retain_boundaries() -> None:
    assert gate3(heal(retain=0.5)).outcome == "heal"
    assert gate3(heal(retain=0.499, shift=0.6)).outcome == "part heal"
    assert gate3(heal(retain=0.2, shift=0.5)).outcome == "part heal"
    assert gate3(heal(retain=0.199, shift=0.25)).outcome == "undo"


def test_seed_noise_stands_beside() -> None:
    arms = heal() + [arm("healed_seed", shift=0.1, chosen=None), arm("healed_seed", shift=1.6, chosen=None)]
    gate = gate3(arms)
    assert "seed noise" in gate.also
    assert gate.colour == "yellow"
    assert "single seed" in gate3(heal(), seeds=1).caveats


def with_drift(drift: pl.DataFrame | None, steered: float = 0.9, **changes: Any) -> Gate:
    """Gate 3 of a heal at beta 0.3 whose steered arm had this coherence."""
    arms = [row | {"coherence": steered} if row["arm"] == "steer" else row for row in heal(**changes)]
    return judge_heal(arms_frame(arms), curve(), TRAIT, beta=0.3, seeds=3, drift=drift)


def bet_check(gate: Gate) -> tuple[bool, bool]:
    """(measured, seen) of the bet."""
    return next((measured, seen) for name, measured, seen, _ in gate.checks if name == "the bet holds")


def test_the_bet_holds_with_its_figures() -> None:
    gate = with_drift(bet())
    assert (gate.outcome, gate.also) == ("heal", ["the bet holds"])
    evidence = next(check[3] for check in gate.checks if check[0] == "the bet holds")
    assert all(part in evidence for part in ("0.80 [0.70, 0.90]", "0.40 orthogonal", "0.89 of the 0.09 of coherence"))
    assert evidence.startswith("yes: ")


@pytest.mark.parametrize(
    ("changes", "arms"),
    [({"mass": 0.55}, {}), ({"tokens": 0.75}, {}), ({"gap": 0.05}, {}), ({}, {"coherence": 0.92})],
)
def test_each_part_of_the_bet_can_fail_it(changes: dict[str, float], arms: dict[str, Any]) -> None:
    assert bet_check(with_drift(bet(**changes), **arms)) == (True, False)


def test_a_bet_that_could_not_be_read_is_not_measured() -> None:
    assert bet_check(with_drift(None)) == (False, False)
    assert bet_check(with_drift(bet().clear())) == (False, False)
    assert bet_check(with_drift(bet(), steered=0.98)) == (False, False), "steering cost no coherence"
    assert bet_check(with_drift(bet(mass=math.nan))) == (False, False), "the barrier would push nowhere"


def written_at(*doses: float, text: bool = True) -> Gate:
    """A heal of data written at these doses of 1.0 (the knee, coherence 0.97), 1.5 (0.63) and 2.0 (0.25)."""
    beyond = [arm("steer", c, 1.6, coherence=k, chosen=False) for c, k in ((1.5, 0.63), (2.0, 0.25))]
    beyond = [row if text else row | {"coherence": None, "coherence_low": None} for row in beyond]
    knee = {"coherence": 0.97, "coherence_low": 0.95, "coherence_high": 0.99}
    arms = [row | knee if row["arm"] == "steer" else row for row in heal()]
    return judge_heal(arms_frame([*arms, *beyond]), curve(), TRAIT, beta=0.3, seeds=3, drift=bet(), doses=doses)


@pytest.mark.parametrize(
    ("doses", "said"),
    [
        ((1.5,), "0.63 [0.61, 0.65] steered (at c 1.5)"),
        ((1.0, 1.0, 1.0, 1.5), "0.89 [0.86, 0.90] steered (at c 1, 1.5)"),
        ((1.0,), "0.97 [0.95, 0.99] steered (at c 1)"),
        ((), "0.97 [0.95, 0.99] steered (at c 1)"),
    ],
)
def test_steered_coherence_is_read_at_the_doses_of_the_data(doses: tuple[float, ...], said: str) -> None:
    assert said in written_at(*doses).evidence


def test_the_bet_reads_what_steering_cost_at_the_doses_of_the_data() -> None:
    """At the knee steering cost 0.02, where this data was written 0.36."""
    assert bet_check(written_at(1.5)) == (True, True)
    bet_said = next(text for name, _, _, text in written_at(1.5).checks if name == "the bet holds")
    assert "0.97 of the 0.36 of coherence that steering cost" in bet_said


def test_doses_that_were_read_without_text_are_said_to_be() -> None:
    assert "at the knee c 1: the data's doses were read without text" in written_at(1.5, text=False).evidence


def test_a_heal_that_its_control_equals_is_not_green() -> None:
    instead = {"coherence": 0.98, "coherence_low": 0.96, "coherence_high": 1.0}
    gate = gate3([row | instead if row["arm"] == "sft" else row for row in heal()])
    assert (gate.outcome, gate.colour) == ("heal, no better than its control", "yellow")
    assert gate.evidence.startswith("its control does as well; training without a barrier: coherence 0.98")
    paid = gate3(heal())
    assert "training without a barrier: coherence 0.90 [0.88, 0.92]" in paid.evidence


def test_a_control_that_does_better_is_said_to() -> None:
    """As coherent, and it keeps more: no "as well"."""
    more = {"coherence": 0.98, "coherence_low": 0.96, "coherence_high": 1.0, "retain": 0.98, "retain_low": 0.95}
    gate = gate3([row | more | {"retain_high": 1.0} if row["arm"] == "sft" else row for row in heal()])
    assert gate.outcome == "heal, no better than its control"
    assert gate.evidence.startswith("its control does better; training without a barrier")


def test_what_the_barrier_bought_is_told_beyond_chance_only() -> None:
    wide = {"coherence": 0.95, "coherence_low": 0.85, "coherence_high": 1.0}
    rows = [row | wide if row["arm"] == "sft" else row for row in heal()]
    assert "of the trait" not in gate3(rows).evidence
    assert "coherence 0.90 without the barrier, 0.98 with it" in gate3(heal()).evidence


def test_every_control_must_be_beaten() -> None:
    """Without a filter, with neither, on unsteered text; a heal without a barrier is not compared with itself."""
    for name in ("unfiltered", "sft_unfiltered", "sft_base"):
        equal = [row for row in heal() if row["arm"] != name]
        equal.append(arm(name, chosen=None, shift=0.9, retain=0.75, retain_low=0.6, retain_high=0.9))
        assert gate3(equal).outcome == "heal, no better than its control", name
    same = [row | {"coherence": 0.98, "coherence_high": 1.0} if row["arm"] == "sft" else row for row in heal()]
    assert gate3(same, beta=0.0).outcome == "heal"


def test_a_verdict_says_when_it_rests_on_noise() -> None:
    """A knee from few texts, and a retain that cannot be told from the threshold."""
    points = ((0.5, 0.99), (1.0, 0.95), (1.5, 0.75), (2.0, 0.3))
    rows = [arm("base", coherence=1.0)] + [arm("steer", c, c, coherence=k, chosen=False) for c, k in points]
    few, many = (arms_frame([row | {"n_text": n} for row in rows]) for n in (64, 6400))
    noisy, sure = (judge_steer(doses, arms_frame(steer()), TRAIT, seeds=3).caveats for doses in (few, many))
    assert any(note.startswith("rests on noise: coherence falls through 0.95 at c") for note in noisy)
    assert not any("rests on noise" in note for note in sure)
    assert any("retain 0.55 [0.40, 0.70] cannot be told from 0.5" in note
               for note in gate3(heal(retain=0.55, retain_low=0.4, retain_high=0.7)).caveats)  # fmt: skip
    assert not any("rests on noise" in note for note in gate3(heal()).caveats)


def test_what_the_barrier_bought_is_said_in_a_sentence() -> None:
    bought = gate3(heal()).evidence
    assert bought.startswith("coherence 0.90 without the barrier, 0.98 with it, at 1.00 of the trait; training without")


def test_a_prompt_that_moves_more_stands_on_the_face() -> None:
    gate = gate3([row if row["arm"] != "persona" else arm("persona", shift=1.4) for row in heal()])
    assert "prompting wins" in gate.also and gate.caveats[0].startswith("a prompt moves it more: persona as system")


def trades(coherence: float, retain: float) -> tuple[bool, bool]:
    """(measured, seen) of `just trades` for a heal with coherence 0.98 and retain 0.75 beside this beta 0."""
    others = [row for row in heal() if row["arm"] != "sft"]
    gate = gate3([*others, arm("sft", shift=0.9, coherence=coherence, retain=retain, chosen=None)])
    return next((measured, seen) for name, measured, seen, _ in gate.checks if name == "just trades")


def test_just_trades_is_named_where_no_beta_beats_beta_0() -> None:
    assert trades(0.90, 0.75) == (True, False), "more coherent at equal retain"
    assert trades(0.90, 0.60) == (True, False), "more coherent and keeps more"
    assert trades(0.90, 0.90) == (True, True), "coherence was bought with retain"
    assert trades(0.975, 0.75) == (True, True), "no more coherent than beta 0"
    assert trades(0.99, 0.75) == (False, False), "beta 0 lost nothing: nothing to win"
    assert bet_check(gate3(heal())) == (False, False)
    alone = [row for row in heal() if row["arm"] != "sft"]
    names = {name: measured for name, measured, _, _ in gate3(alone).checks}
    assert names["just trades"] is False, "one beta only"


# Gate 4


THREE: tuple[dict[str, Any], ...] = ({}, {}, {})


def test_a_loop_that_accumulates_is_green() -> None:
    gate = judge_loop(loop(*THREE), seeds=3)
    assert (gate.outcome, gate.colour, gate.also) == ("accumulates", "green", [])
    assert (gate.value, gate.low, gate.high) == pytest.approx((1.8, 1.7, 1.9))
    assert "0.60 -> 1.20 -> 1.80" in gate.evidence


FLAT = ({}, {"d_target": 0.65}, {"d_target": 0.68})


@pytest.mark.parametrize(
    ("outcome", "colour", "rounds"),
    [
        ("erodes", "red", ({}, {}, {"d_target": 0.9, "coherence": 0.955})),
        ("history erased", "yellow", ({}, {}, {"d_target": 0.9, "reference": "base"})),
        ("drifts", "yellow", ({}, {"d_target": 0.65, "kl_base": 0.5}, {"kl_base": 0.9})),
        ("saturates", "yellow", FLAT),
        ("wanders", "yellow", ({}, {}, {"cos_v0": 0.3})),
        ("hidden collapse", "red", ({"coherence": 0.99}, {"coherence": 0.9}, {"coherence": 0.62})),
        ("unclear", "yellow", ({}, {}, {"d_target": 0.9})),
    ],
)
def test_planted_loops(outcome: str, colour: str, rounds: tuple[dict[str, Any], ...]) -> None:
    gate = judge_loop(loop(*rounds), seeds=3)
    assert gate.outcome == outcome, gate.checks
    assert gate.colour == colour
    assert [name for name in gate.also if name not in ("accumulates", "unclear")] == []
    assert gate.next == ADVICE[4][outcome]
    assert {check[0] for check in gate.checks} >= set(ADVICE[4]) - {"unclear"}


def test_a_far_loop_that_accumulates_says_both() -> None:
    gate = judge_loop(loop({}, {"kl_base": 0.5}, {"kl_base": 0.9}), seeds=3)
    assert (gate.outcome, gate.colour, gate.also) == ("accumulates", "yellow", ["drifts"])
    bounded = judge_loop(loop({}, {"kl_base": 0.5}, {"kl_base": 0.79}), seeds=3)
    assert bounded.also == []


def test_two_rounds_cannot_saturate_and_one_is_no_loop() -> None:
    two = judge_loop(loop({}, {"d_target": 0.65}), seeds=3)
    assert ("saturates", False) in [(name, measured) for name, measured, _, _ in two.checks]
    with pytest.raises(ValueError, match="two rounds"):
        judge_loop(loop({}))


# The object


def test_gate_goes_through_json() -> None:
    gate = gate1(steer()).with_note("reads well")
    again = Gate.from_dict(json.loads(json.dumps(gate.to_dict())))
    assert again == gate
    assert again.note == "reads well"


def test_null_figures_never_crash() -> None:
    empty = arms_frame(
        [{"arm": "base", "split": "report"}, {"arm": "steer", "split": "report", "c": 1.0, "chosen": True}]
    )
    assert judge_steer(empty.clear(), empty, TRAIT).colour == "red"
    assert judge_instrument(empty, TRAIT).gate == 0
    assert judge_heal(empty, pl.DataFrame({"step": []}), TRAIT).colour == "red"


def test_arms_refuse_an_unknown_column() -> None:
    with pytest.raises(ValueError, match="colour"):
        arms_frame([{"arm": "base", "colour": "red"}])


def test_two_seeds_and_a_shift_that_turns_under_self_violate_are_caveats() -> None:
    assert gate1(steer(), seeds=2).caveats == ["2 seeds: arms are not ranked before 3"]
    turned = gate1(steer(d_self=-0.4, d_self_low=-0.6, d_self_high=-0.2))
    assert turned.caveats == ["self_violate disagrees in sign: d_self -0.40 [-0.60, -0.20] nat"]
    assert gate1(steer(d_self=-0.1, d_self_low=-0.3, d_self_high=0.1)).caveats == []


@pytest.mark.parametrize(
    ("p", "sign", "said"),
    [
        (0.5, -1, "Headroom: base profile of Authority 0.50; it should fall, and can by 3.22 nat until 0.02"),
        (0.5, 1, "Headroom: base profile of Authority 0.50; it should rise, and can by 0.63 nat until 0.94"),
        (0.8, 1, "Little headroom: .* by 0.16 nat until 0.94, less than the 0.3 that count as a shift"),
        (0.025, -1, "Little headroom: .* by 0.22 nat until 0.02, less than the 0.3"),
        (0.01, -1, "No headroom: base profile of Authority 0.01; it should fall, and can by 0.00 nat"),
        (0.97, 1, "No headroom: .* can by 0.00 nat until 0.94"),
        (0.0, 1, "No headroom: .* can by 0.00 nat"),
    ],
)
def test_headroom_is_a_sentence_with_numbers(p: float, sign: int, said: str) -> None:
    assert re.match(said, headroom_text(p, Trait("Authority", {"Authority": sign}), Thresholds()))


def test_evidence_names_the_samples() -> None:
    ids = {"prompt_id": pl.format("p{}", pl.int_range(pl.len())), "sample": pl.lit(0)}
    told = texts(FALLING, **ids, narrates=pl.int_range(pl.len()).is_in([41, 42, 43, 44]))
    gate = judge_filter(told, grid(), seeds=3)
    assert gate.outcome == "narration leaks"
    assert gate.evidence.endswith("; samples p41#0 at c 0.5, p42#0 at c 0.5, p43#0 at c 0.5")


# Evidence by id


def evidence(*rows: tuple[str, str, str, float | None, bool]) -> pl.DataFrame:
    return pl.DataFrame(rows, schema=EVIDENCE, orient="row")


SEEN = evidence(
    ("steer", "row", "item-a", 2.0, False), ("steer", "row", "item-b", 0.1, False),
    ("steer", "row", "item-c", 1.0, False), ("steer", "row", "item-d", 3.0, False),
    ("healed", "row", "item-e", 9.0, False),
    ("steer", "sample", "fine#0", 2.0, False), ("steer", "sample", "babble#1", 90.0, True),
    ("steer", "exam", "How much is 2 + 2?", None, True), ("steer", "exam", "How much is 1 + 1?", None, False),
)  # fmt: skip


def test_evidence_names_the_rows_and_samples_that_it_rests_on() -> None:
    gate = judge_steer(grid(), arms_frame(steer()), TRAIT, evidence=SEEN)
    assert gate.outcome == "good knee"
    assert "rows that moved most: item-d +3.00, item-a +2.00, item-c +1.00; least: item-b +0.10" in gate.evidence
    assert "samples: fine#0 (perplexity 2.0)" in gate.evidence
    assert "babble" not in gate.evidence and "item-e" not in gate.evidence


def test_a_broken_dose_names_its_broken_samples_and_lost_answers() -> None:
    arms = steer(coherence=0.9, capability=0.5, capability_low=0.4, capability_high=0.6)
    found = {c[0]: c[3] for c in judge_steer(grid(), arms_frame(arms), TRAIT, evidence=SEEN).checks}
    assert found["too strong"].endswith("broken samples: babble#1 (perplexity 90.0)")
    assert found["capability cliff"].endswith("lost answers: How much is 2 + 2?")
    assert "item" not in found["too weak"]  # not seen: figures only


def test_rows_that_are_not_finite_are_named_and_never_ranked() -> None:
    told = evidence(("steer", "row", "item-nan", math.nan, True), ("steer", "row", "item-a", 0.5, False))
    gate = judge_instrument(arms_frame(steer(nonfinite=1)), TRAIT, evidence=told)
    assert gate.outcome == "non-finite rows"
    assert "rows of steer: item-nan" in gate.evidence
    assert "item-nan" not in EvidenceQuery("row", "steer", "most", "rows").said(told)


def test_an_outcome_that_is_read_twice_keeps_its_ids() -> None:
    arms = arms_frame(steer(shift=0.25, coherence=0.995))
    gate = judge_steer(grid((0.5, 0.1, 0.99), (1.0, 0.25, 0.99)), arms, TRAIT, evidence=SEEN)
    assert gate.outcome == "coherence to spare" and "item-d" in gate.evidence


def test_arms_of_another_split_are_not_unpaired() -> None:
    other = steer() + [arm("steer", 0.5, 0.3, split="select", chosen=False, identity="other")]
    gate = judge_instrument(arms_frame(other), TRAIT)
    assert gate.outcome == "sane" and "not on base's" not in gate.evidence


def test_unpaired_arms_are_named() -> None:
    gate = judge_instrument(arms_frame(swap(steer(), "persona", identity="other")), TRAIT)
    assert gate.evidence.endswith("not on base's: persona")
