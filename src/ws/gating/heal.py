"""Gate 3: did the adapter learn something different and coherent? Floors first, retain last."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import polars as pl

from ws.gating.advice import ADVICE
from ws.gating.arm_table import BASE, HEALED, SFT, STEER, seed_arms
from ws.gating.evidence import babble, lost, moved, readable, unfinite
from ws.gating.facts import fell_beyond, further_rows, off_target, row_of, self_caveat, start_of, surgical_of
from ws.gating.foundations import FOUNDATIONS
from ws.gating.gate import Finding, Gate, Row, decide, near_end, seed_caveat, verdict, worst
from ws.gating.schemas import Trait
from ws.gating.thresholds import DEFAULTS, Thresholds
from ws.intervals import as_float, finite_or_none, interval_of, with_interval

SHOULD = (
    f"retain near 1, coherence >= {DEFAULTS.coherent:g} and nearer base's than the steered model's, samples on-trait"
)


@dataclass(frozen=True)
class HealFacts:
    """Arms base, steer (chosen) and healed on the report set, and the training curve."""

    arms: pl.DataFrame
    curve: pl.DataFrame
    trait: Trait
    limits: Thresholds
    beta: float
    drift: pl.DataFrame | None = None
    """the readings of ws.evaluation.drift"""
    floors: tuple[str, ...] = ()
    """figures of further readings that must not fall"""

    @cached_property
    def base(self) -> dict[str, Any]:
        return row_of(self.arms, BASE)

    @cached_property
    def steer(self) -> dict[str, Any]:
        return row_of(self.arms.filter(pl.col("chosen") | (pl.col("arm") != STEER)), STEER)

    @cached_property
    def healed(self) -> dict[str, Any]:
        return row_of(self.arms, HEALED)

    @cached_property
    def shift(self) -> float:
        return near_end(as_float(self.healed["d_target_low"]), as_float(self.healed["d_target_high"]))

    @cached_property
    def gained(self) -> float:
        """How far the target moved from the student that was trained, nats; before the first heal that is the base."""
        return as_float(self.healed["d_target"]) - start_of(self.arms)

    @cached_property
    def coherence(self) -> float:
        return as_float(self.healed["coherence"])

    @property
    def coherence_text(self) -> str:
        h = self.healed
        return (
            f"coherence {as_float(self.base['coherence']):.2f} base, {as_float(self.steer['coherence']):.2f} steered, "
            f"{interval_of(h, 'coherence')} healed"
        )

    @property
    def retain_text(self) -> str:
        h = self.healed
        target = interval_of(h, "d_target")
        return f"retain {interval_of(h, 'retain')}, d_target {target} nat"

    def logged(self, column: str) -> pl.Series:
        """The logged values of a column, without the steps that have none; empty where it was not logged."""
        if column not in self.curve.columns:
            return pl.Series([], dtype=pl.Float64)
        return self.curve[column].drop_nulls().drop_nans()

    def last(self, column: str) -> float:
        """Mean of a logged value over the last quarter of the steps; NaN where it was not logged."""
        values = self.logged(column)
        return as_float(values.tail(max(1, values.len() // 4)).mean())

    def fall(self, column: str) -> float | None:
        """Relative fall of a logged loss from its first to its last tenth; None where it was not logged."""
        values = self.logged(column)
        if values.len() < 2:
            return None
        k = max(1, values.len() // 10)
        first, last = as_float(values.head(k).mean()), as_float(values.tail(k).mean())
        return (first - last) / max(abs(first), 1e-9)


def _nonfinite(f: HealFacts) -> Finding:
    n = int(f.healed["nonfinite"] or 0)
    bad = sum(
        int((~f.curve[c].drop_nulls().is_finite()).sum()) for c in ("nll", "D", "update_norm") if c in f.curve.columns
    )
    return n > 0 or bad > 0, f"{n} rows of the report and {bad} steps of the training are not finite"


def _broken(f: HealFacts) -> Finding:
    if f.healed["coherence"] is None:
        return None, "coherence was not measured"
    return f.coherence < f.limits.broken, f.coherence_text


def _frozen(f: HealFacts) -> Finding:
    norms = f.curve["update_norm"].drop_nulls() if "update_norm" in f.curve.columns else pl.Series([], dtype=pl.Float64)
    if norms.len() < f.limits.learned_steps:
        return None, "fewer than three steps logged an update norm"
    first, last = float(norms[1]), float(norms[-1])
    text = f"update norm {first:.3g} after the first step, {last:.3g} at the end"
    return last <= first * (1 + f.limits.frozen), text


def _nothing(f: HealFacts) -> Finding:
    train, val = f.fall("nll"), f.fall("val_nll")
    if train is None:
        return None, "no loss was logged"
    text = f"train loss fell by {train:.1%}" + ("" if val is None else f", validation loss by {val:.1%}")
    flat = train < f.limits.stuck and (val is None or val < f.limits.stuck)
    learned = abs(f.gained) >= f.limits.shift  # a loss read over few steps is noisy: what moved the target was there
    text += f"; the target moved by {f.gained:+.2f} nat from where the training began"
    return flat and not learned and as_float(_mean(f, "pressure")) < f.limits.pressure, text


def _mean(f: HealFacts, column: str) -> float | None:
    values = f.logged(column)
    return as_float(values.mean()) if values.len() else None


def _too_strong(f: HealFacts) -> Finding:
    pressure, train = _mean(f, "pressure"), f.fall("nll")
    if f.beta == 0:
        return False, "beta is 0: there was no barrier"
    if pressure is None or train is None:
        return None, "pressure was not logged"
    held = train < f.limits.stuck or as_float(f.healed["retain"]) < f.limits.undone
    return (
        pressure > f.limits.pressure and held,
        f"mean pressure {pressure:.2f}, train loss fell by {train:.1%}; {f.retain_text}",
    )


def _inert(f: HealFacts) -> Finding:
    active = _mean(f, "active")
    if f.beta == 0:
        return False, "beta is 0: there was no barrier"
    if active is None:
        return None, "the active share was not logged"
    return active == 0, f"the barrier was active in {active:.0%} of steps; D at most {as_float(f.curve['D'].max()):.3f}"


def _undo(f: HealFacts) -> Finding:
    if f.healed["retain"] is None:
        return None, "the steered shift is too small to form retain"
    near = abs(f.coherence - as_float(f.base["coherence"])) <= f.limits.cost or f.coherence >= f.limits.coherent
    return as_float(f.healed["retain"]) < f.limits.undone and near, f"{f.retain_text}; {f.coherence_text}"


def _memorised(f: HealFacts) -> Finding:
    val = f.logged("val_nll")
    if val.len() < 2:
        return None, "fewer than two validation readings"
    lowest, last = as_float(val.min()), float(val[-1])
    rise = last / max(lowest, 1e-9) - 1
    text = f"validation loss {float(val[0]):.3f} first, {lowest:.3f} at its lowest, {last:.3f} at the end"
    return rise > f.limits.memorised and (f.fall("nll") or 0) > f.limits.stuck, text


def _dilution(f: HealFacts) -> Finding:
    mean, rmse = (_reading(f, name, "kept", "after")["value"] for name in ("D_mean", "D_rmse"))
    tau = _reading(f, "tau", "barrier", "after")["value"]
    if math.isnan(mean + rmse + tau):
        return None, "the drift from base was not read"
    own = f.last("D")  # a barrier that reads more than tau sees the peaks, it is only soft
    text = f"healed: mean KL {mean:.3f}, rmse {rmse:.3f}, tau {tau:.3f}; the barrier itself read {own:.3f} in the end"
    return mean < tau < rmse / f.limits.dilution and not own > tau, text


def _broad(f: HealFacts) -> Finding:
    if f.trait.target not in FOUNDATIONS or f.healed["d_target"] is None:
        return None, "the target is no foundation"
    name, most = off_target(f.healed, f.trait)
    if math.isnan(most):
        return None, "no other foundation was measured"
    text = f"largest shift off target: {name} {most:.2f} nat, target {abs(as_float(f.healed['d_target'])):.2f}"
    return surgical_of(f.healed, f.trait) is False and f.shift >= f.limits.shift, text


def _capability(f: HealFacts) -> Finding:
    now, was = f.healed, f.base
    if now["capability"] is None or was["capability"] is None:
        return None, "capability was not measured"
    text = f"capability {as_float(was['capability']):.2f} base, {interval_of(now, 'capability')} healed"
    return fell_beyond(now, was, "capability"), text


def _seeds(f: HealFacts) -> Finding:
    values = f.arms.filter(pl.col("arm").is_in(seed_arms()))["d_target"].drop_nulls()
    if values.len() < 2:
        return None, "single seed"
    spread = as_float(values.max()) - as_float(values.min())
    other, name = row_of(f.arms, SFT), "healed and trained without barrier"
    if other["d_target"] is None:
        other, name = f.steer, "healed and steered"
    gap = abs(as_float(f.healed["d_target"]) - as_float(other["d_target"]))
    return spread > gap, f"{values.len()} seeds spread over {spread:.2f} nat; {name} differ by {gap:.2f}"


def _reading(f: HealFacts, name: str, group: str, stage: str) -> dict[str, float]:
    """value, low, high of one reading of the drift; NaN where it was not taken."""
    at = (pl.col("reading") == name) & (pl.col("group") == group) & (pl.col("stage") == stage)
    rows = f.drift.filter(at) if f.drift is not None else pl.DataFrame()
    return rows.row(0, named=True) if rows.height else dict.fromkeys(("value", "low", "high"), math.nan)


def _mass(f: HealFacts) -> tuple[bool | None, str]:
    """Whether the barrier's penalty falls mostly on incoherent text, more than its share of the tokens."""
    mass = _reading(f, "barrier_mass", "dropped", "before")
    tokens = _reading(f, "tokens", "dropped", "before")["value"]
    if math.isnan(mass["value"]):
        return None, "the barrier would push nowhere"
    text = f"{with_interval(mass['value'], mass['low'], mass['high'])} of the barrier's penalty on incoherent text"
    return mass["low"] > max(f.limits.bet, tokens), f"{text}, which holds {as_float(tokens):.2f} of the tokens"


def _shrinks(f: HealFacts) -> tuple[bool | None, str]:
    """Whether drift orthogonal to the direction shrinks more than drift along it."""
    along, rest, gap = (_reading(f, "left", group, "after/before") for group in ("along", "orthogonal", "gap"))
    if math.isnan(gap["value"]):
        return None, "drift along the direction was not measured"
    text = f"left after the heal: {along['value']:.2f} of the drift along the direction, {rest['value']:.2f} orthogonal"
    return gap["low"] > 0, f"{text}, gap {with_interval(gap['value'], gap['low'], gap['high'])}"


def _returns(f: HealFacts) -> tuple[bool | None, str]:
    """Whether a larger share of the lost coherence comes back than of the trait is lost."""
    lost = as_float(f.base["coherence"]) - as_float(f.steer["coherence"])
    kept = as_float(f.healed["retain"])
    if math.isnan(lost) or math.isnan(kept):
        return None, "coherence or retain is missing"
    if lost < f.limits.damage:
        return None, f"steering cost {lost:+.3f} of coherence: nothing to return"
    back = (f.coherence - as_float(f.steer["coherence"])) / lost
    return back > 1 - kept, f"{back:.2f} of the lost coherence came back, {1 - kept:.2f} of the trait went"


def _bet(f: HealFacts) -> Finding:
    if f.drift is None or not f.drift.height:
        return None, "the drift from base was not read"
    parts = [_mass(f), _shrinks(f), _returns(f)]
    text = "; ".join(text for _, text in parts)
    if any(held is False for held, _ in parts):
        return False, text
    return (None if any(held is None for held, _ in parts) else True), text


def _trades(f: HealFacts) -> Finding:
    """No beta that was run beats beta 0 (the arm sft): more coherence at equal or better retain.

    Not measured where one beta was run only, or where beta 0 lost no coherence, so that there was nothing to win.
    """
    plain = row_of(f.arms, SFT)
    if f.beta == 0 or plain["coherence"] is None or f.healed["coherence"] is None:
        return None, "needs the heal at several beta, beta 0 (the arm sft) among them"
    if plain["retain"] is None or f.healed["retain"] is None:
        return None, "retain is missing"
    text = (
        f"beta {f.beta:g}: coherence {interval_of(f.healed, 'coherence')}, retain {interval_of(f.healed, 'retain')}; "
        f"beta 0: {interval_of(plain, 'coherence')} and {interval_of(plain, 'retain')}"
    )
    if as_float(f.base["coherence"]) - as_float(plain["coherence"]) <= f.limits.won:
        return None, f"{text}: no coherence was lost at beta 0, so there was nothing to win"
    wins = f.coherence - as_float(plain["coherence"]) > f.limits.won
    equal = as_float(f.healed["retain"]) >= as_float(plain["retain"]) - f.limits.equal
    return not (wins and equal), text


def _heal(f: HealFacts) -> Finding:
    if f.healed["retain"] is None or f.healed["coherence"] is None:
        return None, "retain or coherence is missing"
    home = abs(f.coherence - as_float(f.base["coherence"])) <= abs(f.coherence - as_float(f.steer["coherence"])) + 1e-9
    kept = as_float(f.healed["retain"]) >= f.limits.retain and f.shift >= f.limits.shift
    coherent = as_float(f.healed["coherence_high"]) >= f.limits.coherent and f.coherence >= f.limits.broken
    return kept and coherent and home, f"{f.retain_text}; {f.coherence_text}"


def _part(f: HealFacts) -> Finding:
    if f.healed["retain"] is None:
        return None, "the steered shift is too small to form retain"
    r = as_float(f.healed["retain"])
    return (
        f.limits.undone <= r < f.limits.retain and f.coherence >= f.limits.broken,
        f"{f.retain_text}; {f.coherence_text}",
    )


TABLE: tuple[Row[HealFacts], ...] = (
    Row("non-finite rows", _nonfinite, red=True, shows=unfinite(HEALED)),
    Row("broken", _broken, red=True, shows=babble(HEALED)),
    Row("frozen adapter", _frozen, red=True),
    Row("barrier too strong", _too_strong, red=True, shows=moved(HEALED)),
    Row("nothing to learn", _nothing, red=True),
    Row("undo", _undo, red=True, shows=moved(HEALED) + readable(HEALED)),
    Row("memorised", _memorised, yellow=True, shows=readable(HEALED)),
    Row("lost capability", _capability, yellow=True, shows=lost(HEALED)),
    Row("broad after heal", _broad, red=True),
    Row("barrier inert", _inert, yellow=True),
    Row("mean dilution", _dilution, yellow=True),
    Row("heal", _heal, shows=moved(HEALED) + readable(HEALED)),
    Row("part heal", _part, yellow=True, shows=moved(HEALED) + readable(HEALED)),
    Row("seed noise", _seeds, decides=False, yellow=True),
    Row("the bet holds", _bet, decides=False),
    Row("just trades", _trades, decides=False),
)
OTHERWISE: Row[HealFacts] = Row(
    "unclear", lambda f: (True, f"{f.retain_text}; {f.coherence_text}"), shows=moved(HEALED) + babble(HEALED)
)


def judge_heal(
    arms: pl.DataFrame,
    curve: pl.DataFrame,
    trait: Trait,
    limits: Thresholds | None = None,
    beta: float = 0.0,
    seeds: int = 1,
    drift: pl.DataFrame | None = None,
    evidence: pl.DataFrame | None = None,
    floors: Sequence[str] = (),
) -> Gate:
    """Gate 3 from the arms of the report set, the training curve and the drift. value: retain with its interval.

    evidence: rows and samples to name behind the figures. floors: figures of further readings that must not fall.
    """
    f = HealFacts(arms, curve, trait, limits or Thresholds(), beta, drift, tuple(floors))
    further = further_rows(arms.columns, f.healed, f.base, f.floors)
    primary, checks, seen = decide((*TABLE, *further), f, OTHERWISE, evidence)
    h = f.healed
    colour = verdict(
        f.shift,
        f.coherence,
        as_float(h["coherence_low"]),
        f.coherence - as_float(f.base["coherence"]),
        as_float(h["d_target"]),
        surgical=surgical_of(h, trait),
        finite=not h["nonfinite"],
        limits=f.limits,
    )
    return Gate(
        gate=3,
        name="heal",
        outcome=primary.outcome,
        also=[row.outcome for row in seen if row is not primary],
        checks=checks,
        colour=worst(colour, seen),
        value=finite_or_none(as_float(h["retain"])),
        low=finite_or_none(as_float(h["retain_low"])),
        high=finite_or_none(as_float(h["retain_high"])),
        should=SHOULD,
        next=ADVICE[3][primary.outcome],
        caveats=seed_caveat(seeds, f.limits) + _caveats(f),
    )


def _caveats(f: HealFacts) -> list[str]:
    h, notes = f.healed, []
    if h["d_diag"] is not None and as_float(h["d_diag"]) * as_float(h["d_target"]) < 0:
        notes.append(f"nats_diag disagrees in sign: {as_float(h['d_diag']):+.2f}")
    notes += self_caveat(h)
    low = as_float(h["coherence_low"])
    if f.coherence >= f.limits.coherent > low and not math.isnan(low):
        notes.append(f"coherence cannot be told from {f.limits.coherent} with {h['n_text']} texts")
    if h["retain"] is None:
        notes.append(f"retain is blank: the steered shift is under {f.limits.guard:g} nat")
    return notes
