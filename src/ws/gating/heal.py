"""Gate 3: did the adapter learn something different and coherent? Floors first, retain and the controls last."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import polars as pl

from ws.gating.advice import advice
from ws.gating.arm_table import HEALED, SFT, seed_arms
from ws.gating.bet import bet_of, reading_of
from ws.gating.evidence import babble, lost, moved, readable, unfinite
from ws.gating.facts import fell_beyond, further_rows, left_topic, off_target, row_of, self_caveat, surgical_of
from ws.gating.foundations import FOUNDATIONS
from ws.gating.gate import Finding, Gate, Row, decide, seed_caveat, verdict, worst
from ws.gating.heal_controls import Contrast, contrasts, paid, prompt_moves_more, trades, uncompared
from ws.gating.heal_facts import HealFacts
from ws.gating.schemas import Trait
from ws.gating.thresholds import DEFAULTS, Thresholds
from ws.intervals import as_float, finite_or_none, interval_of

SHOULD = (
    f"retain near 1, coherence >= {DEFAULTS.coherent:g} and nearer base's than the steered model's at the doses of the "
    "data, samples on-trait, better than its controls at equal retain"
)


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
    text += f"; the target moved by {f.gained:+.2f} {f.trait.unit} from where the training began"
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
    mean, rmse = (reading_of(f, name, "kept", "after")["value"] for name in ("D_mean", "D_rmse"))
    tau = reading_of(f, "tau", "barrier", "after")["value"]
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
        other, name = f.steered, "healed and steered"
    gap = abs(as_float(f.healed["d_target"]) - as_float(other["d_target"]))
    return spread > gap, f"{values.len()} seeds spread over {spread:.2f} {f.trait.unit}; {name} differ by {gap:.2f}"


def _came_back(f: HealFacts) -> Finding:
    """Whether the trait stayed and coherence came back, whatever the controls did."""
    if f.healed["retain"] is None or f.healed["coherence"] is None:
        return None, "retain or coherence is missing"
    base, steered = as_float(f.base["coherence"]), as_float(f.steered["coherence"])
    # nearer to base than to steered, as far as the texts can tell; where steering cost nothing the two are one place
    high = as_float(f.healed["coherence_high"])
    home = base - steered < f.limits.damage or high >= (base + steered) / 2 - 1e-9
    kept = as_float(f.healed["retain"]) >= f.limits.retain and f.shift >= f.limits.shift
    coherent = as_float(f.healed["coherence_high"]) >= f.limits.coherent and f.coherence >= f.limits.broken
    return kept and coherent and home, f"{f.retain_text}; {f.coherence_text}"


def _against(f: HealFacts, which: Callable[[Contrast], bool], says: str) -> Finding:
    """Whether a heal meets a control of that kind, and the figures of all that do."""
    back, text = _came_back(f)
    found = contrasts(f)
    met = [contrast.text for contrast in found if which(contrast)]
    if not back or not found:
        return None if back is None or not found else False, text if found else "no control was trained"
    said = [says, *paid(f)] if met else []
    return bool(met), "; ".join([*said, *(met or [c.text for c in found]), text])


def _no_better(f: HealFacts) -> Finding:
    says = "its control does better" if any(c.worse for c in contrasts(f)) else "its control does as well"
    return _against(f, lambda c: not c.beaten and not c.price, says)


def _price(f: HealFacts) -> Finding:
    return _against(f, lambda c: c.price, "better than its control in one, worse in the other")


def _heal(f: HealFacts) -> Finding:
    back, text = _came_back(f)
    found = contrasts(f)
    text = "; ".join([*paid(f), *(c.text for c in found), text])
    return (back and all(c.beaten for c in found) if back else back), text


def _part(f: HealFacts) -> Finding:
    if f.healed["retain"] is None:
        return None, "the steered shift is too small to form retain"
    r = as_float(f.healed["retain"])
    return (
        f.limits.undone <= r < f.limits.retain and f.coherence >= f.limits.broken,
        f"{f.retain_text}; {f.coherence_text}",
    )


def _left_topic(f: HealFacts) -> Finding:
    return left_topic(f.healed, f.arms, f.limits)


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
    Row("heal, at a price", _price, yellow=True, shows=moved(HEALED) + readable(HEALED)),
    Row("heal, no better than its control", _no_better, yellow=True, shows=moved(HEALED) + readable(HEALED)),
    Row("heal", _heal, shows=moved(HEALED) + readable(HEALED)),
    Row("part heal", _part, yellow=True, shows=moved(HEALED) + readable(HEALED)),
    Row("seed noise", _seeds, decides=False, yellow=True),
    Row("not compared", uncompared, decides=False, yellow=True),
    Row("off the question", _left_topic, decides=False, yellow=True, shows=readable(HEALED)),
    Row("prompting wins", prompt_moves_more, decides=False),
    Row("the bet holds", bet_of, decides=False),
    Row("just trades", trades, decides=False),
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
    doses: Sequence[float] = (),
) -> Gate:
    """Gate 3 from the arms of the report set, the training curve and the drift. value: retain with its interval.

    evidence: rows and samples to name behind the figures. floors: figures of further readings that must not fall.
    doses: c of every training row, where steered coherence and shift are read; none: at the chosen dose.
    """
    f = HealFacts(arms, curve, trait, limits or Thresholds(), beta, drift, tuple(floors), tuple(doses))
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
    also = [row.outcome for row in seen if row is not primary]
    return Gate(
        gate=3,
        name="heal",
        outcome=primary.outcome,
        also=also,
        checks=checks,
        colour=worst(colour, seen),
        value=finite_or_none(as_float(h["retain"])),
        low=finite_or_none(as_float(h["retain_low"])),
        high=finite_or_none(as_float(h["retain_high"])),
        should=SHOULD,
        next=advice(3, primary.outcome, also),
        caveats=_first(f) + seed_caveat(seeds, f.limits) + _caveats(f),
    )


def _first(f: HealFacts) -> list[str]:
    """What stands on a tile's face: a prompt that moves the target more."""
    more, text = prompt_moves_more(f)
    return [f"a prompt moves it more: {text}"] if more else []


def _caveats(f: HealFacts) -> list[str]:
    h, notes = f.healed, []
    if h["d_diag"] is not None and as_float(h["d_diag"]) * as_float(h["d_target"]) < 0:
        notes.append(f"nats_diag disagrees in sign: {as_float(h['d_diag']):+.2f}")
    notes += self_caveat(h)
    low = as_float(h["coherence_low"])
    if f.coherence >= f.limits.coherent > low and not math.isnan(low):
        notes.append(f"coherence cannot be told from {f.limits.coherent} with {h['n_text']} texts")
    near, far = as_float(h["retain_low"]), as_float(h["retain_high"])
    if near < f.limits.retain <= far:
        notes.append(f"rests on noise: retain {interval_of(h, 'retain')} cannot be told from {f.limits.retain:g}")
    if h["retain"] is None:
        notes.append(f"retain is blank: the steered shift is under {f.limits.guard:g} nat")
    return notes
