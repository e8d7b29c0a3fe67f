"""Intervals and separations, in numpy and vectorised: paired bootstrap, Wilson shares, AUC.

The log of a mean of probabilities is skewed: a few rows carry most of the mean, and the plain percentile bootstrap
covers too seldom. Measured coverage of a nominal 95 % in three planted populations, 1500 data sets each, of 132 and
of 49 items: percentile 93-94 % and 91-92 %, BCa 93-95 % and 91-94 %, bootstrap-t 94-97 % and 93-97 %. Hence
bootstrap-t (Efron 1981; Hall 1988): each draw's shift is divided by its own standard error, from the influence of
the rows (delta method). The test's 2000 data sets: at 132 items bootstrap-t 95.6 % (percentile 92.8 %), at 66 items
96.0 % (92.6 %), at 49 items 94.7 % (90.3 %). Small sets are promised 92 to 98 % only: their worst population gave 93 %.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ws.errors import UserError

__all__ = ["Interval", "auc", "paired_log_mean", "paired_mean", "resamples", "share_ratios", "wilson"]

Array = NDArray[np.float64]
Z95 = 1.959963984540054


@dataclass(frozen=True)
class Interval:
    """A value with its 95 % interval, NaN where it cannot be had; n: rows, bad: rows not finite."""

    value: float
    low: float
    high: float
    n: int
    bad: int = 0


@lru_cache(maxsize=8)
def resamples(n: int, draws: int = 2000, seed: int = 0) -> Array:
    """(draws, n), read-only: how often each of n rows is drawn, so that a bootstrapped mean is a matrix product."""
    if n < 1 or draws < 1:
        raise UserError(f"a bootstrap needs rows and draws (got {n} rows, {draws} draws).")
    rng = np.random.default_rng(seed)
    weights = rng.multinomial(n, np.full(n, 1 / n), size=draws).astype(np.float64)
    weights.flags.writeable = False
    return weights


def paired_log_mean(base: ArrayLike, other: ArrayLike, draws: int = 2000, seed: int = 0) -> Interval:
    """ln mean(other) - ln mean(base) over the same rows, paired bootstrap-t interval; base, other: (n,)
    probabilities.

    One row that is not finite makes all three numbers NaN and is counted.
    """
    b, x = _pair(base, other)
    bad = int((~np.isfinite(b + x)).sum())
    if bad or not len(b) or b.mean() <= 0 or x.mean() <= 0:
        return Interval(_log_ratio(b, x), math.nan, math.nan, len(b), bad)
    n, weights = len(b), resamples(len(b), draws, seed)
    value, error = _log_ratio(b, x), math.sqrt(np.square(x / x.mean() - b / b.mean()).sum() / (n * max(1, n - 1)))
    mean_b, mean_x = weights @ b / n, weights @ x / n
    with np.errstate(divide="ignore", invalid="ignore"):
        drawn = np.log(mean_x / mean_b)
        own = weights @ (x * x) / mean_x**2 + weights @ (b * b) / mean_b**2
        spread = own - 2 * (weights @ (x * b)) / (mean_x * mean_b)
    errors = np.sqrt(np.maximum(spread, 0) / (n * max(1, n - 1)))
    return _bootstrap_t(value, error, drawn, errors, n)


def paired_mean(base: ArrayLike, other: ArrayLike, draws: int = 2000, seed: int = 0) -> Interval:
    """mean(other - base) over the same rows, with its bootstrap-t interval; base, other: (n,)."""
    b, x = _pair(base, other)
    d, n = x - b, len(b)
    bad = int((~np.isfinite(d)).sum())
    if bad or n < 2:
        return Interval(float(d.mean()) if n else math.nan, math.nan, math.nan, n, bad)
    weights = resamples(n, draws, seed)
    mean = weights @ d / n
    errors = np.sqrt(np.maximum(weights @ (d * d) / n - mean**2, 0) / (n - 1))
    return _bootstrap_t(float(d.mean()), float(d.std(ddof=1) / math.sqrt(n)), mean, errors, n)


def _bootstrap_t(value: float, error: float, drawn: Array, errors: Array, n: int) -> Interval:
    """value - t(97.5 %) * error .. value - t(2.5 %) * error, t = (drawn - value) / its own error."""
    if error <= 1e-12 * max(1.0, abs(value)):  # every row agrees: nothing varies
        return Interval(value, value, value, n)
    moved = drawn - value
    with np.errstate(divide="ignore", invalid="ignore"):
        t = np.where(np.abs(moved) <= 1e-12, 0.0, moved / errors)
    t = np.where(np.isnan(t), np.inf, t)  # a draw without any probability: the far end
    low, high = np.quantile(t, [0.025, 0.975], method="nearest")
    return Interval(value, float(value - high * error), float(value - low * error), n)


def _pair(base: ArrayLike, other: ArrayLike) -> tuple[Array, Array]:
    b, x = np.asarray(base, dtype=np.float64), np.asarray(other, dtype=np.float64)
    if b.shape != x.shape or b.ndim != 1:
        raise UserError(f"paired rows must be the same rows (got shapes {b.shape} and {x.shape}). Use one item set.")
    return b, x


def _log_ratio(b: Array, x: Array) -> float:
    with np.errstate(divide="ignore", invalid="ignore"):
        return float(np.log(x.mean()) - np.log(b.mean())) if len(b) else math.nan


def wilson(successes: float, n: int) -> tuple[float, float]:
    """Wilson's 95 % interval of a share (Wilson 1927); (NaN, NaN) without trials."""
    if n < 1:
        return math.nan, math.nan
    p, z2 = successes / n, Z95 * Z95
    middle, half = (p + z2 / (2 * n)) / (1 + z2 / n), Z95 * math.sqrt(p * (1 - p) / n + z2 / (4 * n * n)) / (1 + z2 / n)
    return max(0.0, middle - half), min(1.0, middle + half)


def share_ratios(hits: ArrayLike, base: ArrayLike, draws: int = 2000, seed: int = 0, *, paired: bool) -> Array:
    """(draws,) plausible values of share(hits)/share(base), both (n,) bool.

    Drawn from the posterior of the paired table's four cells (or of the two shares) and not by resampling: ten
    readable texts of ten do not prove a share of 1. Priors: Dirichlet(1/4), Beta(1/2).
    """
    rng, x, b = np.random.default_rng(seed), np.asarray(hits, dtype=bool), np.asarray(base, dtype=bool)
    if paired:
        cells = np.array([(x & b).sum(), (x & ~b).sum(), (~x & b).sum(), (~x & ~b).sum()])
        drawn = rng.dirichlet(cells + 0.25, size=draws)
        return (drawn[:, 0] + drawn[:, 1]) / (drawn[:, 0] + drawn[:, 2])
    top, bottom = (rng.beta(s.sum() + 0.5, (~s).sum() + 0.5, size=draws) for s in (x, b))
    return top / bottom


def auc(scores: ArrayLike, labels: ArrayLike) -> float:
    """Probability that a true row scores higher than a false one, ties half (Mann-Whitney); NaN without both
    kinds."""
    s, y = np.asarray(scores, dtype=np.float64), np.asarray(labels, dtype=bool)
    if y.all() or not y.any() or np.isnan(s).any():
        return math.nan
    order = np.sort(s[~y])
    below, upto = np.searchsorted(order, s[y], "left"), np.searchsorted(order, s[y], "right")
    return float((below + upto).mean() / (2 * len(order)))


def with_interval(value: float | None, low: float | None, high: float | None, digits: int = 2) -> str:
    """Value with its interval, as in 1.20 [1.00, 1.40]; "-" for what is missing."""
    if value is None or math.isnan(value):
        return "-"
    if low is None or high is None or math.isnan(low) or math.isnan(high):
        return f"{value:.{digits}f}"
    return f"{value:.{digits}f} [{low:.{digits}f}, {high:.{digits}f}]"


def interval_of(row: dict[str, Any], name: str) -> str:
    """`with_interval` of the columns name, name_low, name_high of a row."""
    return with_interval(row[name], row[f"{name}_low"], row[f"{name}_high"])


def finite_or_none(value: float) -> float | None:
    """NaN and infinities as None, for JSON."""
    return float(value) if math.isfinite(value) else None


def as_float(value: Any) -> float:
    """A float; None is NaN."""
    return math.nan if value is None else float(value)
