"""Every outcome of gates 0 to 4 planted in a frame: it is named, its neighbours are not, and one number decides it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import polars as pl
import pytest

from tests.builders.gate_frames import FALLING, TRAIT, arm, bet, curve, grid, heal, loop, steer, swap, texts
from ws.gating import Gate, Trait, instrument, judge_filter, judge_heal, judge_instrument, judge_loop, judge_steer
from ws.gating import filter as filter_table
from ws.gating import heal as heal_table
from ws.gating import loop as loop_table
from ws.gating import steer as steer_table
from ws.gating.foundations import FOUNDATIONS
from ws.gating.schemas import TOPIC, arms_frame

Build = Callable[..., Gate]
N = 40


def named(gate: Gate) -> set[str]:
    return {gate.outcome, *gate.also}


def gate0(who: str = "base", trait: Trait = TRAIT, **changes: Any) -> Gate:
    return judge_instrument(arms_frame(swap(steer(), who, **changes)), trait)


def blind(shift: float, said: float) -> Gate:
    """Vignettes moved by `shift`, the protect rate from 0.5 to `said`, both with narrow intervals."""
    text = {"protect": said, "protect_low": said - 0.05, "protect_high": said + 0.05}
    arms = swap(steer(shift=shift), "base", protect=0.5, protect_low=0.4, protect_high=0.6)
    return judge_instrument(arms_frame(swap(arms, "steer", **text)), TRAIT)


def gate1(points: Any = (), other: float = -1.0, extra: Any = (), randoms: float = 0.1, **changes: Any) -> Gate:
    """A good knee with: another grid, another -c arm, further arms, random draws of that size, a changed dose."""
    arms = [row for row in steer(**changes) if not (row["arm"] == "steer" and row["c"] < 0)]
    arms = [row | {"d_target": randoms} if row["arm"] == "random" else row for row in arms]
    below = arm("persona", shift=changes.get("shift", 1.2) - 0.4)
    arms = [row for row in arms if row["arm"] != "persona"] + [below, arm("steer", -1.0, other, chosen=False), *extra]
    return judge_steer(points if isinstance(points, pl.DataFrame) else grid(*points), arms_frame(arms), TRAIT, seeds=3)


def gate2(kept: dict[float, int] = FALLING, points: Any = (), min_keep: int = 30, **columns: Any) -> Gate:
    return judge_filter(texts(kept, **columns), grid(*points), min_keep=min_keep, seeds=3)


def gate3(
    logged: dict[str, Any] | None = None, drift: Any = None, extra: Any = (), steered: float = 0.95, **changes: Any
) -> Gate:
    """A heal with: another curve, drift, further arms, a steered arm of that coherence, a changed healed arm."""
    instead = {row["arm"] for row in extra} - {"steer"}
    arms = [row | {"coherence": steered} if row["arm"] == "steer" else row for row in heal(**changes)]
    frame = arms_frame([*(row for row in arms if row["arm"] not in instead), *extra])
    return judge_heal(frame, curve(**(logged or {})), TRAIT, beta=0.3, seeds=3, drift=drift)


def gate4(**last: Any) -> Gate:
    """A loop of three rounds that accumulates, with a changed last one; `flat`: the rounds before did not gain."""
    flat = {"d_target": 0.6} if last.pop("flat", False) else {}
    return judge_loop(loop({}, flat, last), seeds=3)


def diluted(rmse: float) -> pl.DataFrame:
    rows = [("D_mean", "kept", 0.2), ("D_rmse", "kept", rmse), ("tau", "barrier", 0.3)]
    full = [(name, group, "after", v, v, v, 9) for name, group, v in rows]
    return pl.DataFrame(full, schema=bet().schema, orient="row")


def tied(number: int, high: float) -> Gate:
    """Gate 1 or 3 where base's text is tied to its prompt by 1 nat per token, the judged by `high` at most."""
    judged, arms = ("steer", steer()) if number == 1 else ("healed", heal())
    ends = {"base": (1.0, 0.9, 1.1), judged: (high - 0.1, high - 0.2, high)}
    read = [row | dict(zip(TOPIC, ends[row["arm"]], strict=True)) if row["arm"] in ends and row["c"] >= 0 else row
            for row in arms]  # fmt: skip
    frame = arms_frame(read)
    if number == 1:
        return judge_steer(grid(), frame, TRAIT, seeds=3)
    return judge_heal(frame, curve(), TRAIT, beta=0.3, seeds=3)


def alone(yes: bool) -> Gate:
    """The heal, with its controls or without them."""
    arms = [row for row in heal() if not (yes and row["arm"].startswith("sft"))]
    return judge_heal(arms_frame(arms), curve(), TRAIT, beta=0.3, seeds=3)


def exact(retain: float) -> list[dict[str, Any]]:
    """Training without a barrier that keeps that much of the trait, without noise."""
    return sft(retain=retain, retain_low=retain, retain_high=retain)


def sft(**changes: Any) -> list[dict[str, Any]]:
    return [arm("sft", chosen=None, **({"shift": 0.6, "coherence": 0.90, "retain": 0.75} | changes))]


ALL = {f"d_{f}{end}": -0.4 for f in FOUNDATIONS for end in ("", "_low", "_high")}
BROAD = {"d_Loyalty": 2.0}
IMPRECISE = arms_frame([arm("base", split="select"), arm("steer", 1.0, 0.5, split="select", chosen=False, **BROAD)])
FLAT = {"nll": [2.0] * N, "val_nll": [2.0] * N}
RISING = [1.5 - 0.02 * i if i < 20 else 1.1 + 0.03 * (i - 20) for i in range(N)]
MID = {"tail_ppl": pl.when(pl.col("dropped").is_null()).then(3.0 + pl.col("c")).otherwise(80.0),
       "logp_base": pl.lit([-0.5] * 10)}  # fmt: skip

# gate -> outcome -> (a frame in which it holds, everything else that holds there and cannot be kept apart)
PLANTS: dict[int, dict[str, tuple[Callable[[], Gate], set[str]]]] = {
    0: {
        "sane": (gate0, set()),
        "non-finite rows": (lambda: gate0(nonfinite=1), set()),
        "unpaired rows": (lambda: gate0(identity="other"), set()),
        "answers off the list": (lambda: gate0(p_ans_any=0.3), set()),
        "dead or saturated axis": (lambda: gate0(profile_target=0.97), set()),
        "readout biased": (lambda: gate0(order_gap=0.4), set()),
        "think budget": (lambda: gate0(think="64"), set()),
        "probe blind": (lambda: blind(1.2, 0.5), set()),
        "base's text is mush": (lambda: gate0(tail_ppl=12.0), set()),
        "reads by questions": (lambda: gate0(trait=replace(TRAIT, by_questions=True)), {"sane"}),
    },
    1: {
        "good knee": (gate1, set()),
        "stale direction": (lambda: gate1(stale=True), {"good knee"}),
        "non-finite rows": (lambda: gate1(nonfinite=2), {"good knee"}),
        # all foundations fall with coherence: the text is broken and no grid dose that moved stays coherent
        "collapse posing as signal": (
            lambda: gate1(coherence=0.3, p_ans_any=0.3, coh_text=0.3, **ALL), {"too strong"}),
        "format alive, text dead": (lambda: gate1(coherence=0.4, coh_text=0.4, p_ans_any=0.94), {"too strong"}),
        "too strong": (lambda: gate1(shift=3.0, coherence=0.7, p_ans_any=0.7, coh_text=0.7), set()),
        "wrong sign": (lambda: gate1(shift=-1.2, other=1.0), set()),
        "saddle": (lambda: gate1(other=0.9), {"good knee"}),
        "non-specific disruption": (lambda: gate1(randoms=1.5), {"good knee"}),
        "coherence to spare": (
            lambda: gate1(((0.5, 0.1, 0.99), (1.0, 0.2, 0.99)), other=-0.6, shift=0.25, coherence=0.99), {"too weak"}),
        "knee missed": (lambda: gate1(((0.5, 0.0, 0.97), (1.0, 3.0, 0.2)), shift=0.0, coherence=0.97),
                        {"too weak", "bad pareto"}),
        "bad pareto": (lambda: gate1(((0.5, 0.2, 0.97), (1.0, 1.2, 0.8)), shift=0.25, coherence=0.97), {"too weak"}),
        "too weak": (lambda: gate1(((0.5, 0.0, 0.97), (1.0, 0.05, 0.97)), shift=0.05, coherence=0.97), set()),
        "off the question": (lambda: tied(1, 0.6), {"good knee"}),
        "imprecise": (lambda: gate1(IMPRECISE, shift=1.2, coherence=0.97, **BROAD), {"good knee"}),
        "one-sided": (lambda: gate1(other=0.05), {"good knee"}),
        "capability cliff": (lambda: gate1(capability=0.3, capability_low=0.2, capability_high=0.4), {"good knee"}),
        "prompting wins": (lambda: gate1(extra=[arm("persona_engineered", shift=2.0)]), {"good knee"}),
        "prompting ties": (lambda: gate1(extra=[arm("persona_engineered", shift=1.3)]), {"good knee"}),
        "coherence rose": (lambda: gate1(coherence_low=0.985), {"good knee"}),
    },
    2: {
        "works": (gate2, set()),
        "no passing dose": (lambda: gate2(points=((0.5, 1.0, 0.6), (1.0, 1.0, 0.2))), {"works"}),
        "starvation": (lambda: gate2({0.0: 40, 0.5: 2, 1.0: 1, 2.0: 0}), {"works"}),
        "inert": (lambda: gate2({0.0: 40, 0.5: 40, 1.0: 40, 2.0: 40}), set()),
        "keeps base-like text": (lambda: gate2(bite=pl.lit(0.001)), {"works"}),
        "narration leaks": (lambda: gate2(narrates=pl.lit(True)), {"works"}),
        "refusal boilerplate": (lambda: gate2(refuses=pl.lit(True)), {"works"}),
        "loops leak": (lambda: gate2(distinct3=pl.lit(0.2)), {"works"}),
        "style proxy": (lambda: gate2({0.0: 40, 0.5: 30, 1.0: 20, 2.0: 8}, grammatical=pl.lit(1.0)), {"works"}),
        "mid-completion collapse": (lambda: gate2({0.0: 40, 0.5: 34, 1.0: 30, 2.0: 8}, **MID), {"works"}),
        "confounds": (lambda: gate2(n_tokens=pl.when(pl.col("c") > 0).then(60).otherwise(30)), {"works"}),
    },
    3: {
        "heal": (gate3, set()),
        "non-finite rows": (lambda: gate3(nonfinite=2), {"heal"}),
        "off the question": (lambda: tied(3, 0.6), {"heal"}),
        "broken": (lambda: gate3(coherence=0.8), set()),
        "frozen adapter": (lambda: gate3({"update_norm": [0.1] * N}), {"heal"}),
        "barrier too strong": (
            lambda: gate3({"pressure": [9.0] * N}, coherence=0.86, shift=0.02, retain=0.1, steered=0.85), set()),
        "nothing to learn": (lambda: gate3(FLAT, shift=0.1, retain=0.8), set()),
        "undo": (lambda: gate3(shift=0.02, retain=0.02), set()),
        "memorised": (lambda: gate3({"val_nll": RISING}), {"heal"}),
        "lost capability": (lambda: gate3(capability=0.5, capability_low=0.4, capability_high=0.6), {"heal"}),
        "broad after heal": (lambda: gate3(d_Sanctity=-2.0), {"heal"}),
        "barrier inert": (lambda: gate3({"active": [0.0] * N}), {"heal"}),
        "mean dilution": (lambda: gate3(drift=diluted(0.7)), {"heal"}),
        "part heal": (lambda: gate3(shift=0.5, retain=0.35), set()),
        "seed noise": (lambda: gate3(extra=[arm("healed_seed", shift=1.6, chosen=None), *sft(shift=0.8)]), {"heal"}),
        "the bet holds": (lambda: gate3(drift=bet(), steered=0.9), {"heal"}),
        "just trades": (lambda: gate3(extra=sft(retain=0.95)), {"heal, at a price"}),
        "heal, at a price": (lambda: gate3(extra=exact(0.95)), {"just trades"}),
        "heal, no better than its control": (lambda: gate3(extra=sft(coherence=0.955)), set()),
        "not compared": (lambda: alone(True), {"heal"}),
        "prompting wins": (lambda: gate3(extra=[arm("persona", shift=1.4)]), {"heal"}),
    },
    4: {
        "accumulates": (gate4, set()),
        "hidden collapse": (lambda: gate4(coherence=0.62), set()),
        "erodes": (lambda: gate4(d_target=0.9, coherence=0.955), set()),
        "history erased": (lambda: gate4(d_target=0.9, reference="base"), set()),
        "wanders": (lambda: gate4(cos_v0=0.3), {"accumulates"}),
        "saturates": (lambda: gate4(flat=True, d_target=0.65), set()),
        "drifts": (lambda: gate4(kl_base=0.9), {"accumulates"}),
    },
}  # fmt: skip
TABLES: dict[int, Any] = {
    0: instrument.TABLE, 1: steer_table.TABLE, 2: filter_table.TABLE, 3: heal_table.TABLE, 4: loop_table.TABLE
}  # fmt: skip
CASES = [pytest.param(g, name, id=f"{g} {name}") for g, plants in PLANTS.items() for name in plants]


@pytest.mark.parametrize(("number", "outcome"), CASES)
def test_a_planted_outcome_is_named_and_its_neighbours_are_not(number: int, outcome: str) -> None:
    build, beside = PLANTS[number][outcome]
    gate = build()
    assert named(gate) == {outcome} | beside, gate.checks
    decides = any(row.outcome == outcome and row.decides for row in TABLES[number])
    assert gate.outcome == outcome or not decides or outcome == "drifts"
    assert next(c for c in gate.checks if c[0] == gate.outcome)[3], "a verdict comes with its evidence"


@pytest.mark.parametrize("number", PLANTS)
def test_every_row_of_every_table_has_its_plant(number: int) -> None:
    assert {row.outcome for row in TABLES[number]} <= set(PLANTS[number])


CLEAN = {0: "sane", 1: "good knee", 2: "works", 3: "heal", 4: "accumulates"}


@pytest.mark.parametrize("number", CLEAN)
def test_a_clean_result_names_nothing_and_is_green(number: int) -> None:
    gate = PLANTS[number][CLEAN[number]][0]()
    assert (gate.outcome, gate.also, gate.colour) == (CLEAN[number], [], "green")


def among_kept(column: str, x: int) -> Gate:
    """Gate 2 where the first x of the 76 kept texts are marked in that column."""
    kept = pl.col("dropped").is_null() & (pl.col("split") == "train")
    return gate2(**{column: kept & (kept.cum_sum() <= x)})


def fluent_drops(x: int) -> Gate:
    """Gate 2 where x of the 22 texts that were dropped from the data are wholly grammatical."""
    lost = pl.col("dropped").is_not_null() & (pl.col("split") == "train")
    said = pl.when(lost & (lost.cum_sum() <= x)).then(1.0).otherwise(0.5)
    return gate2({0.0: 40, 0.5: 30, 1.0: 28, 2.0: 8}, grammatical=said)


def mid_collapse(x: int) -> Gate:
    """Gate 2 where the mean perplexity of x of the 16 texts dropped for their tail looks fine."""
    lost = pl.col("dropped").is_not_null() & (pl.col("split") == "train")
    fine = lost & (lost.cum_sum() <= x)
    mean = pl.when(fine).then(pl.lit([-0.5] * 10)).otherwise(pl.lit([-9.0] * 10))
    return gate2({0.0: 40, 0.5: 34, 1.0: 30, 2.0: 8}, **MID | {"logp_base": mean})


SLOW = [2.0] * 36
# (gate, outcome, builder from the one number, a value on the side where it is not seen, one where it is)
BOUNDARIES: list[tuple[int, str, Callable[[Any], Gate], Any, Any]] = [
    (0, "non-finite rows", lambda x: gate0(nonfinite=x), 0, 1),
    (0, "unpaired rows", lambda x: gate0(identity=x), "same", "other"),
    (0, "think budget", lambda x: gate0(think=x), "0", "64"),
    (0, "answers off the list", lambda x: gate0(p_ans_any=x), 0.851, 0.849),
    (0, "dead or saturated axis", lambda x: gate0(profile_target=x), 0.021, 0.019),
    (0, "dead or saturated axis", lambda x: gate0(profile_target=x), 0.939, 0.941),
    (0, "readout biased", lambda x: gate0(order_gap=x), 0.149, 0.151),
    (0, "probe blind", lambda x: blind(0.0, x), 0.54, 0.56),
    (0, "probe blind", lambda x: blind(x, 0.9), 0.41, 0.39),
    (0, "base's text is mush", lambda x: gate0(tail_ppl=x), 7.9, 8.1),
    (0, "base's text is mush", lambda x: gate0(coh_text=x), 0.11, 0.09),
    (0, "reads by questions", lambda x: gate0(trait=replace(TRAIT, by_questions=x)), False, True),
    (1, "stale direction", lambda x: gate1(stale=x), False, True),
    (1, "non-finite rows", lambda x: gate1(nonfinite=x), 0, 1),
    (1, "collapse posing as signal", lambda x: gate1(coherence=x, **ALL), 0.951, 0.949),
    (1, "wrong sign", lambda x: gate1(shift=x, coherence=0.97, randoms=0.0), -0.09, -0.11),
    (1, "coherence to spare", lambda x: gate1(((0.5, 0.1, 0.99), (1.0, 0.2, 0.99)), coherence=x), 0.979, 0.981),
    (1, "knee missed", lambda x: gate1(((0.5, x, 0.97), (1.0, 3.0, 0.2)), shift=0.0, coherence=0.97), 0.11, 0.09),
    (1, "prompting wins", lambda x: gate1(extra=[arm("persona_engineered", shift=x)]), 1.39, 1.41),
    (1, "too weak", lambda x: gate1(shift=x, coherence=0.97), 0.401, 0.399),
    (1, "too strong", lambda x: gate1(coherence=0.93, coherence_high=x), 0.951, 0.949),
    (1, "format alive, text dead", lambda x: gate1(coherence=0.7, p_ans_any=x, coh_text=0.4), 0.89, 0.91),
    (1, "non-specific disruption", lambda x: gate1(randoms=x), 1.09, 1.11),
    (1, "saddle", lambda x: gate1(other=x, shift=1.2), -0.5, 0.41),
    (1, "one-sided", lambda x: gate1(other=x), -0.41, -0.39),
    (1, "imprecise", lambda x: gate1(IMPRECISE.with_columns(d_Loyalty=x), shift=1.0, coherence=0.97), 0.49, 0.51),
    (1, "capability cliff", lambda x: gate1(capability=0.9, capability_high=x), 0.951, 0.949),
    (1, "prompting ties", lambda x: gate1(extra=[arm("persona_engineered", shift=x)]), 0.99, 1.01),
    (1, "off the question", lambda x: tied(1, x), 0.851, 0.849),
    (1, "coherence rose", lambda x: gate1(coherence_low=x), 0.98, 0.981),
    (1, "bad pareto", lambda x: gate1(((1.0, 1.2, x),), coherence=0.97), 0.851, 0.849),
    (2, "no passing dose", lambda x: gate2(points=((1.0, 1.0, x), (2.0, 1.0, 0.2))), 0.951, 0.949),
    (2, "starvation", lambda x: gate2(min_keep=x), 76, 77),
    (2, "inert", lambda x: gate2({0.0: 40, 0.5: 40, 1.0: 40, 2.0: x}), 35, 37),
    (2, "narration leaks", lambda x: among_kept("narrates", x), 1, 2),
    (2, "refusal boilerplate", lambda x: among_kept("refuses", x), 1, 2),
    (2, "style proxy", fluent_drops, 11, 12),
    (2, "mid-completion collapse", mid_collapse, 3, 4),
    (2, "keeps base-like text", lambda x: gate2(bite=pl.lit(x)), 0.021, 0.019),
    (2, "loops leak", lambda x: gate2(distinct3=pl.lit(x)), 0.51, 0.49),
    (2, "loops leak", lambda x: gate2(loop=pl.lit(x)), 0.299, 0.301),
    (2, "confounds", lambda x: gate2(n_tokens=pl.when(pl.col("c") > 0).then(x).otherwise(100)), 129, 131),
    (3, "non-finite rows", lambda x: gate3(nonfinite=x), 0, 1),
    (3, "broken", lambda x: gate3(coherence=x), 0.851, 0.849),
    (3, "barrier too strong",
     lambda x: gate3({"pressure": [x] * N}, coherence=0.86, shift=0.02, retain=0.1, steered=0.85), 2.99, 3.01),
    (3, "nothing to learn",
     lambda x: gate3({"nll": [*SLOW, *[x] * 4], "val_nll": [2.0] * N}, shift=0.1, retain=0.8), 1.939, 1.941),
    (3, "nothing to learn", lambda x: gate3(FLAT, shift=x, retain=0.8), 0.301, 0.299),
    (3, "nothing to learn", lambda x: gate3(FLAT, extra=[arm("student", shift=x, chosen=None)]), 0.599, 0.601),
    (3, "undo", lambda x: gate3(shift=0.5, retain=x), 0.201, 0.199),
    (3, "part heal", lambda x: gate3(shift=0.5, retain=x), 0.501, 0.499),
    (3, "memorised", lambda x: gate3({"val_nll": [2.0, 1.0, x, *[None] * 37]}), 1.029, 1.031),
    (3, "lost capability", lambda x: gate3(capability=0.9, capability_high=x), 0.951, 0.949),
    (3, "broad after heal", lambda x: gate3(d_Sanctity=x), 0.89, 0.91),
    (3, "barrier inert", lambda x: gate3({"active": [x] * N}), 0.01, 0.0),
    (3, "mean dilution", lambda x: gate3(drift=diluted(x)), 0.59, 0.61),
    (3, "mean dilution", lambda x: gate3({"D": [x] * N}, drift=diluted(0.7)), 0.31, 0.29),
    (3, "frozen adapter", lambda x: gate3({"update_norm": [0.0] + [1.0] * 38 + [x]}), 1.021, 1.019),
    (3, "seed noise", lambda x: gate3(extra=[arm("healed_seed", shift=x, chosen=None), *sft(shift=0.6)]), 1.19, 1.21),
    (3, "the bet holds", lambda x: gate3(drift=bet(gap=x), steered=0.9), 0.09, 0.11),
    (3, "the bet holds", lambda x: gate3(drift=bet(mass=x), steered=0.9), 0.59, 0.61),
    (3, "just trades", lambda x: gate3(extra=sft(retain=x)), 0.79, 0.81),
    (3, "just trades", lambda x: gate3(extra=sft(coherence=x)), 0.969, 0.971),
    (3, "heal, at a price", lambda x: gate3(extra=exact(x)), 0.899, 0.901),
    (3, "heal, no better than its control", lambda x: gate3(extra=sft(coherence=x)), 0.951, 0.953),
    (3, "off the question", lambda x: tied(3, x), 0.851, 0.849),
    (3, "not compared", alone, False, True),
    (3, "prompting wins", lambda x: gate3(extra=[arm("persona", shift=x)]), 1.09, 1.11),
    (4, "wanders", lambda x: gate4(cos_v0=x), 0.501, 0.499),
    (4, "drifts", lambda x: gate4(kl_base=x), 0.79, 0.81),
    (4, "saturates", lambda x: gate4(flat=True, d_target=x), 0.701, 0.699),
    (4, "hidden collapse", lambda x: gate4(coherence=0.94, coherence_high=x), 0.951, 0.949),
    (4, "hidden collapse", lambda x: judge_loop(loop({"coherence": x}, {"coherence": x}, {"coherence": 0.92})),
     0.935, 0.945),
    (4, "history erased", lambda x: gate4(d_target=x, reference="base"), 1.101, 1.099),
    (4, "erodes", lambda x: gate4(d_target=x, coherence=0.955), 1.101, 1.099),
    (4, "erodes", lambda x: gate4(d_target=0.9, coherence=0.955, coherence_high=x), 0.986, 0.984),
]  # fmt: skip


# one number orders these: past its boundary the one takes the other's place
GIVES_WAY = {
    (1, "wrong sign"): {"too weak"}, (1, "prompting wins"): {"prompting ties"}, (3, "undo"): {"part heal"},
}  # fmt: skip


@pytest.mark.parametrize(
    ("number", "outcome", "build", "off", "on"), BOUNDARIES, ids=[f"{b[0]} {b[1]} at {b[4]}" for b in BOUNDARIES]
)
def test_one_number_across_its_boundary_changes_one_outcome(
    number: int, outcome: str, build: Callable[[Any], Gate], off: Any, on: Any
) -> None:
    """The clean outcome, and `unclear` where nothing is named, give way and do not count."""
    rest = {CLEAN[number], "unclear", "unproven"}
    before, after = named(build(off)) - rest, named(build(on)) - rest
    assert after - before == {outcome}, (before, after)
    assert before - after <= GIVES_WAY.get((number, outcome), set()), (before, after)


@pytest.mark.parametrize("number", PLANTS)
def test_every_row_of_every_table_has_its_boundary(number: int) -> None:
    crossed = {outcome for gate, outcome, *_ in BOUNDARIES if gate == number}
    assert {row.outcome for row in TABLES[number]} - crossed == {CLEAN[number]} - {"sane"}
