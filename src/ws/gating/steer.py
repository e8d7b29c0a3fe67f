"""Gate 1: does steering move the target while the model stays coherent? Judged at the chosen dose, report set."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence

import polars as pl

from ws.gating.advice import advice
from ws.gating.arm_table import RANDOM, STEER
from ws.gating.evidence import babble, lost, moved, readable, unfinite
from ws.gating.facts import (
    SteerFacts,
    best_prompt,
    fell_beyond,
    further_rows,
    left_topic,
    off_target,
    self_caveat,
    surgical_of,
)
from ws.gating.foundations import FOUNDATIONS
from ws.gating.gate import Finding, Gate, Row, decide, near_end, seed_caveat, verdict, worst
from ws.gating.schemas import Trait
from ws.gating.thresholds import DEFAULTS, Thresholds
from ws.intervals import as_float, finite_or_none, interval_of

SHOULD = (
    f"the target moves by {DEFAULTS.shift:g} nat or more as intended, at coherence >= {DEFAULTS.coherent:g}, "
    "and a random direction does not"
)


def _no_dose(f: SteerFacts) -> bool:
    return f.steer["c"] is None


def _stale(f: SteerFacts) -> Finding:
    stale = f.steer["stale"]
    if stale is None:
        return None, "fingerprints were not recorded"
    return (
        stale,
        "the direction was extracted on other weights" if stale else "direction and weights have one fingerprint",
    )


def _nonfinite(f: SteerFacts) -> Finding:
    if f.steer["nonfinite"] is None:
        return None, "not counted"
    n = int(f.steer["nonfinite"])
    return n > 0, f"{n} of {f.steer['n_items']} rows are not finite"


def _too_strong(f: SteerFacts) -> Finding:
    passing = f.doses.filter(pl.col("coherence") >= f.limits.coherent)
    cliff = f.doses.filter(pl.col("coherence") < f.limits.broken)
    edge = f"first broken grid dose c = {cliff['c'][0]:.3g}" if cliff.height else "no grid dose is broken"
    if _no_dose(f):
        return passing.height == 0 and f.doses.height > 0, f"no dose of the grid is coherent; {edge}"
    high = as_float(f.steer["coherence_high"])
    certain = high < f.limits.coherent or f.coherence < f.limits.broken
    return certain, f"{f.coherence_text}; {edge}; {f.knee_text}"


def _collapse(f: SteerFacts) -> Finding:
    if f.steer["p_ans_any"] is None or f.base["p_ans_any"] is None or _no_dose(f):
        return None, "no answer mass was measured"
    if f.trait.fails("p_ans_any"):
        return None, f.trait.unread
    mass = math.log(max(as_float(f.steer["p_ans_any"]), 1e-9) / max(as_float(f.base["p_ans_any"]), 1e-9))
    lows = {g: as_float(f.steer[f"d_{g}_low"]) + mass for g in FOUNDATIONS}
    rising = [g for g, low in lows.items() if low > 0]
    falling = all(as_float(f.steer[f"d_{g}"]) + mass < 0 for g in FOUNDATIONS)
    text = f"rising: {', '.join(rising) or 'none'}; answer mass {mass:+.2f} nat; coherence {f.coherence:.2f}"
    return not rising and falling and f.coherence < f.limits.coherent, text


def _draws(f: SteerFacts) -> pl.Series:
    """How far each random direction moves the target, whatever its sign, nats."""
    return (f.arms.filter(pl.col("arm") == RANDOM)["d_target"].drop_nulls() - f.start).abs()


def _band(f: SteerFacts) -> float:
    """The shift that random directions reach; -inf where none was run. What is inside it has no sign."""
    draws = _draws(f)
    return as_float(draws.quantile(f.limits.random_percentile, "linear")) if draws.len() else -math.inf


def _random(f: SteerFacts) -> Finding:
    draws, bar = _draws(f), _band(f)
    if not draws.len() or f.steer["d_target"] is None:
        return None, "no random direction was run"
    text = (
        f"{draws.len()} random directions move it by {as_float(draws.mean()):.2f} on average, {bar:.2f} at the 95th"
        f" centile; the direction {interval_of(f.steer, 'd_target')}; one more draw beats them all in 1 of"
        f" {draws.len() + 1} tries"
    )
    low, high = f.ends(f.steer)
    real = low > 0 or high < 0
    return real and abs(f.shift) <= bar, text


def _wrong_sign(f: SteerFacts) -> Finding:
    if f.steer["d_target"] is None:
        return None, "no dose was judged"
    against = f.ends(f.steer)[1] < 0
    if against and abs(f.shift) <= _band(f):
        return False, f"{f.target_text}: no more than random directions do, so it has no sign"
    return against, f"{f.target_text}; positive = as intended"


def _other_side(f: SteerFacts) -> tuple[float, str]:
    rows = f.arms.filter(pl.col("arm") == STEER, pl.col("c") < 0)
    if not rows.height:
        return math.nan, "-c was not run"
    row = rows.sort("c").row(0, named=True)
    text = f"at -c: d_target {interval_of(row, 'd_target')} {f.trait.unit}"
    return near_end(*f.ends(row)), text


def _saddle(f: SteerFacts) -> Finding:
    other, text = _other_side(f)
    if math.isnan(other) or math.isnan(f.shift):
        return None, text
    bar = f.limits.same_way
    return (f.shift >= bar and other >= bar) or (f.shift <= -bar and other <= -bar), f"{f.target_text}; {text}"


def _one_sided(f: SteerFacts) -> Finding:
    other, text = _other_side(f)
    if math.isnan(other) or math.isnan(f.shift):
        return None, text
    return f.shift >= f.limits.shift and -f.limits.shift < other < f.limits.shift, f"{f.target_text}; {text}"


def _spare(f: SteerFacts) -> Finding:
    if _no_dose(f):
        return None, "no dose was judged"
    top = f.doses.height > 0 and as_float(f.steer["c"]) >= as_float(f.doses["c"].max()) - 1e-9
    room = f.coherence >= f.limits.coherent + f.limits.spare
    text = f"{f.target_text} with {f.coherence_text}; " + (
        "the strongest dose tried" if top else "stronger doses were tried"
    )
    text += f"; {f.knee_text}"
    if f.knee is not None and f.knee.by_topic and as_float(f.steer["c"]) >= f.knee.at.low:
        return False, text  # a stronger dose is still coherent, about something else
    small = 0 < f.shift < f.limits.shift
    return room and (small or (top and f.shift > 0)), text


def _small_and_spare(f: SteerFacts) -> Finding:
    seen, text = _spare(f)
    return (None, text) if seen is None else (seen and f.shift < f.limits.shift, text)


def _too_weak(f: SteerFacts) -> Finding:
    if f.steer["d_target"] is None:
        return None, "no dose was judged"
    return 0 <= f.shift < f.limits.shift, f"{f.target_text}; {f.coherence_text}"


def _knee_missed(f: SteerFacts) -> Finding:
    rows = f.doses.select("c", "d_target_low", "d_target_high", "coherence").rows()
    for (c0, low0, high0, _), (c1, _, _, coherence1) in itertools.pairwise(rows):
        if near_end(as_float(low0), as_float(high0)) == 0 and as_float(coherence1) < f.limits.broken:
            return True, f"c = {c0:.3g} has no trait and c = {c1:.3g} is broken, nothing between"
    return (False, "no such neighbours on the grid") if len(rows) > 1 else (None, "fewer than two doses")


def _imprecise(f: SteerFacts) -> Finding:
    rows = [row for row in f.doses.rows(named=True) if abs(as_float(row["d_target"])) >= f.limits.guard]
    if not rows or f.trait.target not in FOUNDATIONS:
        return None, "no dose moves the target" if not rows else "the target is no foundation"
    name, most = off_target(f.steer if not _no_dose(f) else rows[-1], f.trait)
    if math.isnan(most):
        return None, "no other foundation was measured"
    return all(surgical_of(row, f.trait) is False for row in rows), f"largest shift off target: {name} {most:.2f} nat"


def _bad_pareto(f: SteerFacts) -> Finding:
    moved = f.doses.filter(pl.col("d_target_low") >= f.limits.shift)
    if not f.doses.height:
        return None, "no dose grid"
    best = as_float(moved["coherence"].max()) if moved.height else math.nan
    text = (
        f"best coherence among doses that move the target: {best:.2f}" if moved.height else "no dose moves the target"
    )
    return moved.height > 0 and best < f.limits.broken, text


def _format_alive(f: SteerFacts) -> Finding:
    share, alive = f.steer["coh_text"], f.steer["p_ans_any"]
    if share is None or alive is None:
        return None, "no free text was read"
    relative = share / max(as_float(f.base["coh_text"]), 1e-9)
    seen = alive >= f.limits.format_alive and relative < f.limits.text_dead
    return seen, f"p_ans_any {alive:.2f} while readable text is {relative:.2f} of base's"


def _capability(f: SteerFacts) -> Finding:
    if f.steer["capability"] is None or f.base["capability"] is None:
        return None, "capability was not measured"
    now, was = f.steer, f.base
    text = f"capability {interval_of(now, 'capability')} against base {interval_of(was, 'capability')}"
    return fell_beyond(now, was, "capability"), text


def _prompting(f: SteerFacts) -> tuple[float, float, str]:
    """d_target's interval for the persona as a system prompt, plain or engineered: the one that moves more."""
    row, kind = best_prompt(f.arms)
    text = f"{kind} as system prompt {interval_of(row, 'd_target')} against {f.target_text}"
    return as_float(row["d_target_low"]), as_float(row["d_target_high"]), text


def _prompting_wins(f: SteerFacts) -> Finding:
    low, _, text = _prompting(f)
    if math.isnan(low) or _no_dose(f):
        return None, "the persona was not run" if math.isnan(low) else "no dose was judged"
    return low > as_float(f.steer["d_target_high"]), text


def _prompting_ties(f: SteerFacts) -> Finding:
    low, high, text = _prompting(f)
    if math.isnan(low) or _no_dose(f):
        return None, "the persona was not run" if math.isnan(low) else "no dose was judged"
    return low <= as_float(f.steer["d_target_high"]) and high >= as_float(f.steer["d_target_low"]), text


def _left_topic(f: SteerFacts) -> Finding:
    return left_topic(f.steer, f.arms, f.limits)


def _coherence_rose(f: SteerFacts) -> Finding:
    if math.isnan(f.d_coh):
        return None, "coherence was not measured"
    low = as_float(f.steer["coherence_low"]) - as_float(f.base["coherence"])
    return low > 0, f"coherence {f.d_coh:+.3f} against base"


def _good_knee(f: SteerFacts) -> Finding:
    if _no_dose(f):
        return None, "no dose was judged"
    high = as_float(f.steer["coherence_high"])
    good = f.shift >= f.limits.shift and f.coherence >= f.limits.broken and high >= f.limits.coherent
    return good, f"{f.target_text}; {f.coherence_text}; {f.knee_text}"


TABLE: tuple[Row[SteerFacts], ...] = (
    Row("stale direction", _stale, red=True),
    Row("non-finite rows", _nonfinite, red=True, shows=unfinite(STEER)),
    Row("collapse posing as signal", _collapse, red=True, shows=babble(STEER)),
    Row("format alive, text dead", _format_alive, shows=babble(STEER)),
    Row("too strong", _too_strong, yellow=True, shows=babble(STEER)),
    Row("non-specific disruption", _random, red=True, shows=moved(STEER)),
    Row("wrong sign", _wrong_sign, red=True, shows=moved(STEER)),
    Row("saddle", _saddle, red=True, shows=moved(STEER)),
    Row("coherence to spare", _small_and_spare, shows=moved(STEER) + readable(STEER)),
    Row("knee missed", _knee_missed),
    Row("bad pareto", _bad_pareto),
    Row("too weak", _too_weak, shows=moved(STEER) + readable(STEER)),
    Row("imprecise", _imprecise),
    Row("good knee", _good_knee, shows=moved(STEER) + readable(STEER)),
    Row("one-sided", _one_sided, decides=False),
    Row("capability cliff", _capability, decides=False, yellow=True, shows=lost(STEER)),
    Row("off the question", _left_topic, decides=False, yellow=True, shows=readable(STEER)),
    Row("prompting wins", _prompting_wins, decides=False),
    Row("prompting ties", _prompting_ties, decides=False),
    Row("coherence to spare", _spare, decides=False, shows=moved(STEER) + readable(STEER)),
    Row("coherence rose", _coherence_rose, decides=False, shows=readable(STEER)),
)
OTHERWISE: Row[SteerFacts] = Row(
    "unclear", lambda f: (True, f"{f.target_text}; {f.coherence_text}"), shows=moved(STEER) + babble(STEER)
)


def judge_steer(
    grid: pl.DataFrame,
    arms: pl.DataFrame,
    trait: Trait,
    limits: Thresholds | None = None,
    seeds: int = 1,
    evidence: pl.DataFrame | None = None,
    floors: Sequence[str] = (),
) -> Gate:
    """Gate 1 from two arms frames: the dose grid (select set) and the arms of the report set.

    evidence: rows and samples to name behind the figures. floors: figures of further readings that must not fall.
    """
    f = SteerFacts(grid, arms, trait, limits or Thresholds(), tuple(floors))
    further = further_rows(arms.columns, f.steer, f.base, f.floors)
    primary, checks, seen = decide((*TABLE, *further), f, OTHERWISE, evidence)
    s = f.steer
    colour = verdict(
        f.shift,
        f.coherence,
        as_float(s["coherence_low"]),
        f.d_coh,
        as_float(s["d_target"]),
        surgical=surgical_of(s, trait),
        finite=not s["nonfinite"],
        limits=f.limits,
    )
    also = [row.outcome for row in seen if row is not primary and row.outcome != primary.outcome]
    return Gate(
        gate=1,
        name="steer",
        outcome=primary.outcome,
        also=list(dict.fromkeys(also)),
        checks=_merged(checks),
        colour=worst(colour, seen),
        value=finite_or_none(as_float(s["d_target"])),
        low=finite_or_none(as_float(s["d_target_low"])),
        high=finite_or_none(as_float(s["d_target_high"])),
        should=SHOULD,
        next=advice(1, primary.outcome, also),
        unit=trait.unit,
        caveats=f.vague + seed_caveat(seeds, f.limits) + _caveats(f, colour),
    )


def _merged(checks: list[tuple[str, bool, bool, str]]) -> list[tuple[str, bool, bool, str]]:
    """One check per outcome: an outcome read twice (as decider and beside) is seen when either is."""
    merged: dict[str, tuple[str, bool, bool, str]] = {}
    for outcome, measured, seen, text in checks:
        old = merged.get(outcome)
        merged[outcome] = (outcome, measured, seen or bool(old and old[2]), text)
    return list(merged.values())


def _caveats(f: SteerFacts, colour: str) -> list[str]:
    notes: list[str] = []
    s = f.steer
    if s["d_diag"] is not None and as_float(s["d_diag"]) * as_float(s["d_target"]) < 0:
        notes.append(f"nats_diag disagrees in sign: {as_float(s['d_diag']):+.2f}")
    notes += self_caveat(s)
    if surgical_of(s, f.trait) is False:
        name, most = off_target(s, f.trait)
        notes.append(f"not surgical: {name} moved {most:.2f} nat")
    if colour != "red" and as_float(s["coherence_low"]) < f.limits.coherent <= f.coherence:
        notes.append(
            f"coherence cannot be told from {f.limits.coherent} with {s['n_text']} texts: more texts or a lower dose"
        )
    return notes
