"""Comparing reports: shifts with paired intervals, what they cost, and how much of a shift an adapter keeps.

`compare` refuses reports whose identity differs in anything but the model: unpaired rows make a no-op look like a
shift.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from ws.errors import UserError
from ws.evaluation.items import CONDITIONS
from ws.evaluation.report import Report
from ws.gating.foundations import FOUNDATIONS, is_surgical, poles_of
from ws.gating.thresholds import DEFAULTS
from ws.intervals import Interval, paired_log_mean, paired_mean, resamples

__all__ = ["COMPARED", "PARTS", "coh_cost", "compare", "refuse_unlike", "retain", "retain_behaviour", "summary"]

Array = NDArray[np.float64]
BESIDE = CONDITIONS[1]
FURTHER = "reading "
POLES = {1: "positive", -1: "negative"}  # columns of the questions' frame
PARTS = ("text", "capability", "dilemmas", "readings")  # of an identity; None or absent where it was not measured
FOUNDATION_COLUMNS: dict[str, Any] = {
    "foundation": pl.String,
    "intended": pl.Int32,
    "target": pl.Boolean,
    "base": pl.Float64,
    "value": pl.Float64,
    "d_nats": pl.Float64,
    "low": pl.Float64,
    "high": pl.Float64,
    "d_diag": pl.Float64,
    "diag_low": pl.Float64,
    "diag_high": pl.Float64,
    "d_clr": pl.Float64,
    "n": pl.Int32,
    "bad": pl.Int32,
}
SCALARS: dict[str, Any] = {
    **dict.fromkeys(
        (
            "d_target",
            "d_target_low",
            "d_target_high",
            "d_target_diag",
            "d_answer",
            "d_answer_low",
            "d_answer_high",
            "d_self",
            "d_self_low",
            "d_self_high",
            "coherence_base",
            "coherence",
            "coherence_low",
            "coherence_high",
            "d_coh",
            "d_coh_low",
            "d_coh_high",
            "d_p_ans_any",
            "coh_cost",
            "slope",
            "headroom",
            "headroom_down",
            "headroom_up",
            "sel_gated",
            "si_flips",
        ),
        pl.Float64,
    ),
    "surgical": pl.Boolean,
    "redistributes": pl.Boolean,
    "signs_disagree": pl.Boolean,
}
COMPARED: dict[str, Any] = {**FOUNDATION_COLUMNS, **SCALARS}
"""Columns of a comparison: one row per foundation, then figures of the whole comparison, the same in every row. base,
value: profiles; d_nats, d_diag: shifts in nats, not signed by intent (d_target is); headroom: base profile of the
target."""


def refuse_unlike(a: Report, b: Report) -> None:
    """UserError naming the first field in which two instruments differ. What only one of them measured is no
    difference."""
    one, other = (_fields(r.identity) for r in (a, b))
    for field in sorted(set(one) | set(other)):
        x, y = one.get(field), other.get(field)
        if x != y and not (None in (x, y) and (field in PARTS or field.startswith(FURTHER))):
            raise UserError(f"the reports differ in {field}: {x} and {y}. Evaluate both with the same settings.")


def _fields(identity: dict[str, Any]) -> dict[str, Any]:
    """The identity on one level: readings beside the standing ones are fields of their own."""
    further = {FURTHER + name: asked for name, asked in identity.get("readings", {}).items()}
    return {name: value for name, value in identity.items() if name != "readings"} | further


def compare(
    base: Report, report: Report, draws: int = 2000, seed: int = 0, *, minus: Report | None = None
) -> pl.DataFrame:
    """Shifts of `report` against `base`, columns COMPARED, 95 % intervals from a paired bootstrap over items.

    minus: the report at -c, for sel_gated and si_flips, which are null without it. UserError where identities differ.
    """
    for other in (report, *([minus] if minus is not None else [])):
        refuse_unlike(base, other)
    rows = [_foundation(base, report, f, draws, seed) for f in FOUNDATIONS]
    target = target_shift(base, report, draws, seed)
    diag = next((row["d_diag"] for row in rows if row["target"]), math.nan)
    sign, unread = report.intended.get(report.target, 1), report.instrument.by_questions
    coherence = _coherence(base, report, draws, seed)
    scalars: dict[str, Any] = {
        "d_target": target.value,
        "d_target_low": target.low,
        "d_target_high": target.high,
        "d_target_diag": sign * diag,
        **_answer_shift(base, report, draws, seed),
        **_self_shift(base, report, draws, seed),
        **coherence,
        **cost(coherence["d_coh"], target.value),
        "d_p_ans_any": report.p_ans_any - base.p_ans_any,
        **dict(zip(("headroom", "headroom_down", "headroom_up"), base.headroom.values(), strict=True)),
        "surgical": is_surgical(
            target.value, {row["foundation"]: row["d_nats"] for row in rows}, report.target, report.intended
        ),
        "redistributes": any(row["low"] > 0 for row in rows),
        "signs_disagree": bool(target.value * sign * diag < 0),
        "sel_gated": None if minus is None or unread else sel_gated(base, report, minus),
        "si_flips": None if minus is None or unread else si_flips(report, minus),
    }
    return pl.DataFrame([{**row, **scalars} for row in rows], schema=COMPARED)


def summary(compared: pl.DataFrame) -> dict[str, Any]:
    """The figures of the whole comparison, and d_<foundation> with _low and _high for every foundation."""
    first = compared.row(0, named=True)
    shifts = {
        f"d_{row['foundation']}{end}": row[column]
        for row in compared.iter_rows(named=True)
        for end, column in (("", "d_nats"), ("_low", "low"), ("_high", "high"))
    }
    return {name: first[name] for name in SCALARS} | shifts


def _foundation(base: Report, report: Report, f: str, draws: int, seed: int) -> dict[str, Any]:
    if report.instrument.by_questions:
        return _pole(base, report, f, draws, seed)
    k = FOUNDATIONS.index(f)
    shift = paired_log_mean(base.by_item(f"p_{f}"), report.by_item(f"p_{f}"), draws, seed)
    own = base.own_rows(f)
    before, after = (r.by_item(pl.col(f"p_{f}").log(), own) for r in (base, report))
    diag = paired_mean(before, after, draws, seed)
    return {
        "foundation": f,
        "intended": report.intended.get(f, 0),
        "target": f == report.target,
        "base": base.profile[f],
        "value": report.profile[f],
        "d_nats": shift.value,
        "low": shift.low,
        "high": shift.high,
        "d_diag": diag.value,
        "diag_low": diag.low,
        "diag_high": diag.high,
        "d_clr": float(np.mean(clr(report)[:, k] - clr(base)[:, k])),
        "n": shift.n,
        "bad": shift.bad,
    }


def _pole(base: Report, report: Report, f: str, draws: int, seed: int) -> dict[str, Any]:
    """`_foundation` where questions read the axis: how far a pole's answers moved against the plain ones, nats per
    token; NaN for foundations that are no pole."""
    sign = poles_of(report.target, report.intended).get(f)
    found = Interval(math.nan, math.nan, math.nan, 0)
    if sign is not None:
        found = _questions_shift(base, report, POLES[sign], draws, seed)
    return {
        "foundation": f,
        "intended": report.intended.get(f, 0),
        "target": f == report.target,
        **dict.fromkeys(("base", "value", "d_diag", "diag_low", "diag_high", "d_clr"), math.nan),
        "d_nats": found.value,
        "low": found.low,
        "high": found.high,
        "n": found.n,
        "bad": found.bad,
    }


def target_shift(base: Report, report: Report, draws: int = 2000, seed: int = 0) -> Interval:
    """`d_target`, signed so that positive is as intended: nats of the target, or nats per token of the logratio where
    the questions are what reads it."""
    if report.by_questions:
        return _questions_shift(base, report, "logratio", draws, seed)
    column = f"p_{report.target}"
    found = paired_log_mean(base.by_item(column), report.by_item(column), draws, seed)
    if report.intended[report.target] > 0:
        return found
    return Interval(-found.value, -found.high, -found.low, found.n, found.bad)


def _questions_shift(base: Report, report: Report, reading: str, draws: int, seed: int) -> Interval:
    """Mean shift of a column of the questions, paired by question."""
    before, after = (r.dilemmas[reading].cast(pl.Float64).to_numpy() for r in (base, report))
    return paired_mean(before, after, draws, seed)


def _answer_shift(base: Report, report: Report, draws: int, seed: int) -> dict[str, float]:
    """`d_target` per answer instead of per token, where questions read the target; NaN where they do not."""
    found = Interval(math.nan, math.nan, math.nan, 0)
    if report.by_questions:
        found = _questions_shift(base, report, "logratio_answer", draws, seed)
    return {"d_answer": found.value, "d_answer_low": found.low, "d_answer_high": found.high}


def _self_shift(base: Report, report: Report, draws: int, seed: int) -> dict[str, float]:
    """`d_target` under self_violate, read beside the headline; NaN where one of the two did not read it."""
    found = Interval(math.nan, math.nan, math.nan, 0)
    if base.has_condition(BESIDE) and report.has_condition(BESIDE):
        found = target_shift(base.at_condition(BESIDE), report.at_condition(BESIDE), draws, seed)
    return {"d_self": found.value, "d_self_low": found.low, "d_self_high": found.high}


def clr(report: Report) -> Array:
    """(rows, 7) score minus the row's mean score, nats."""
    return report.scores - report.scores.mean(1, keepdims=True)


def sel_gated(base: Report, plus: Report, minus: Report) -> float:
    """(on - 0.1 off) * coh^2, nats; d = +c arm minus -c arm, coh = min(1, min(p_ans_any of both) / p_ans_any of
    base)."""
    moved = dict(zip(FOUNDATIONS, (clr(plus) - clr(minus)).mean(0).tolist(), strict=True))
    on = [sign * moved[f] for f, sign in plus.intended.items()]
    off = [abs(moved[f]) for f in FOUNDATIONS if f not in plus.intended]
    if not on:
        return math.nan
    coh = min(1.0, min(plus.p_ans_any, minus.p_ans_any) / base.p_ans_any)
    return (float(np.mean(on)) - 0.1 * float(np.mean(off))) * coh**2


def si_flips(plus: Report, minus: Report) -> float:
    """Mean over intended f of sign_f * (share of rows that pick f at +c - at -c); NaN where a row is not finite."""
    if plus.n_bad or minus.n_bad or not plus.intended:
        return math.nan
    picks = [r.p.argmax(1) for r in (plus, minus)]
    shares = [[float((pick == FOUNDATIONS.index(f)).mean()) for pick in picks] for f in plus.intended]
    return float(np.mean([sign * (a - b) for sign, (a, b) in zip(plus.intended.values(), shares, strict=True)]))


def cost(d_coh: float, d_target: float) -> dict[str, float | None]:
    """coh_cost = max(0, -d_coh)/abs(d_target) and slope = 100 d_coh/d_target; None under `Thresholds.guard` nats."""
    if not abs(d_target) >= DEFAULTS.guard:
        return {"coh_cost": None, "slope": None}
    fallen = math.nan if math.isnan(d_coh) else max(0.0, -d_coh)
    return {"coh_cost": fallen / abs(d_target), "slope": 100 * d_coh / d_target}


def coh_cost(base: Report, report: Report, draws: int = 2000, seed: int = 0) -> Interval:
    """Coherence lost per nat of target, max(0, -d_coh)/abs(d_target), with a bootstrap interval over items.

    NaN where abs(d_target) < `Thresholds.guard`, and where coherence was not measured. UserError for unlike reports.
    """
    refuse_unlike(base, report)
    moved, moves = _target_draws(base, report, draws, seed)
    value = cost(report.coherence - base.coherence, float(moved))["coh_cost"]
    if value is None or math.isnan(value):
        return Interval(math.nan, math.nan, math.nan, report.rows.height)
    fallen = np.maximum(0.0, base.coherence_draws(draws, seed) - report.coherence_draws(draws, seed))
    with np.errstate(divide="ignore", invalid="ignore"):
        low, high = np.nanquantile(fallen / np.abs(moves), [0.025, 0.975])
    return Interval(value, float(low), float(high), report.rows.height)


def _coherence(base: Report, report: Report, draws: int, seed: int) -> dict[str, float]:
    mine, theirs = report.coherence_draws(draws, seed), base.coherence_draws(draws, seed)
    (low, high), (d_low, d_high) = (np.quantile(x, [0.025, 0.975]).tolist() for x in (mine, mine - theirs))
    return {
        "coherence_base": base.coherence,
        "coherence": report.coherence,
        "coherence_low": low,
        "coherence_high": high,
        "d_coh": report.coherence - base.coherence,
        "d_coh_low": d_low,
        "d_coh_high": d_high,
    }


def retain(
    base: Report, healed: Report, steered: Sequence[Report], doses: Sequence[float], draws: int = 2000, seed: int = 0
) -> Interval:
    """d_target(healed) over d_target(steered) averaged over the kept rows' doses, with a bootstrap interval over
    items.

    steered: one report per dose; doses: c of every kept row. NaN where the steered shift is under
    `Thresholds.guard`. UserError for a dose without a report, and for unlike reports.
    """
    by_dose = {report.c: report for report in steered}
    missing = sorted(set(doses) - set(by_dose))
    if missing or not len(doses):
        raise UserError(f"no steered report at c = {missing or 'any'} (got {sorted(by_dose)}). Evaluate those doses.")
    for report in (healed, *by_dose.values()):
        refuse_unlike(base, report)
    shares = {c: sum(d == c for d in doses) / len(doses) for c in by_dose}
    top, top_draws = _target_draws(base, healed, draws, seed)
    parts = [(share, *_target_draws(base, by_dose[c], draws, seed)) for c, share in shares.items() if share]
    under, under_draws = (sum(part[0] * part[i] for part in parts) for i in (1, 2))
    n = len(doses)
    if not abs(under) >= DEFAULTS.guard:
        return Interval(math.nan, math.nan, math.nan, n)
    low, high = np.nanquantile(top_draws / under_draws, [0.025, 0.975])
    return Interval(float(top / under), float(low), float(high), n)


def _target_draws(base: Report, report: Report, draws: int, seed: int) -> tuple[Any, Any]:
    """d_target and (draws,) resampled values of it; the same seed resamples the same items."""
    if report.by_questions:
        moved = report.dilemmas["logratio"].to_numpy() - base.dilemmas["logratio"].to_numpy()
        return moved.mean(), resamples(len(moved), draws, seed) @ moved / len(moved)
    b, x = (r.by_item(f"p_{r.target}") for r in (base, report))
    sign, weights = report.intended[report.target], resamples(len(b), draws, seed)
    with np.errstate(divide="ignore", invalid="ignore"):
        return sign * np.log(x.mean() / b.mean()), sign * np.log((weights @ x) / (weights @ b))


def retain_behaviour(base: Report, healed: Report, steered: Sequence[Report], doses: Sequence[float]) -> float:
    """`retain` of the protect rate's log-odds; NaN where behaviour was not measured or the steered shift is under
    `Thresholds.guard`."""
    odds = {report.c: report.behaviour.log_odds - base.behaviour.log_odds for report in steered}
    under = float(np.mean([odds[c] for c in doses])) if len(doses) else math.nan
    return (healed.behaviour.log_odds - base.behaviour.log_odds) / under if abs(under) >= DEFAULTS.guard else math.nan
