"""Where text leaves its question as the dose rises: a fitted curve's crossing with its interval.

    leaving(probes_of(arms), 0.85)

What ties a text to its prompt (`ws.evaluation.topic`) falls with the dose as a exp(-(c / m)^k), a share of the base's
or of the prompted persona's: it may do so long before sentences break, and fluent text about something else is no dose
to learn from. A style of its own ties text less to any prompt (the prompted personas of a real 135M model: .66 to .88
of its base's), so the less tied of the two is the measure. a, m and k come from all doses by least squares, weighted by
each dose's own error: a is free, m flat in its logarithm, log k within a factor 1.6 of 1, which is what a real 135M
model has. The posterior is summed over a grid of (m, k). All doses answer the same prompts, which vary most and move
the curve as a whole: the interval is what the doses scatter about their curve, so it holds for these prompts.
"""

from __future__ import annotations

import math

import numpy as np
import polars as pl
from numpy.typing import NDArray

from ws.gating.arm_table import BASE, PERSONA
from ws.gating.schemas import TOPIC
from ws.intervals import Interval, as_float

__all__ = ["leaving", "unsteered_tie"]

Array = NDArray[np.float64]
POWERS = np.geomspace(0.4, 4, 14)  # k
SPREAD = 1.6
SCALES = 160  # values of m, from a quarter of the weakest dose to a hundred times the strongest
DOSES = 2  # with a reading, at least: one point draws no curve
LEAST = 0.6  # of the errors between prompts: texts of one prompt vary by that; points that scatter less have luck


def unsteered_tie(arms: pl.DataFrame, *more: str) -> tuple[float, float] | None:
    """What text is held against: the smallest tie of base, of the prompted persona and of the arms named beside, nats
    per token, and the smallest low end of their intervals; None where base's was not read."""
    columns = {name: pl.col(name).cast(pl.Float64) for name in TOPIC[:2]}
    read = arms.filter(pl.col("arm").is_in([BASE, PERSONA, *more])).select("arm", **columns).drop_nulls()
    if BASE not in read["arm"]:
        return None
    least, low = (as_float(read[name].min()) for name in TOPIC[:2])
    return least, low


def leaving(probes: pl.DataFrame, share: float) -> Interval | None:
    """The dose at which the curve of `tied` falls through `share`, with its 95 % interval; n: doses.

    probes: c, tied (share of the reference's) and tied_error (its standard error), as `ws.gating.knee.probes_of` gives
    them.
    inf: not among the doses tried; 0: under it without any steering, as a student of earlier rounds may be. None: fewer
    than two doses have a reading, or share is 0.
    """
    if not {"tied", "tied_error"} <= set(probes.columns) or not share:
        return None
    rows = probes.sort("c").select("c", "tied", "tied_error").cast(pl.Float64).fill_null(math.nan).to_numpy()
    c, tied, error = rows[np.isfinite(rows).all(1)].T
    if (c > 0).sum() < DOSES:
        return None
    value, low, high = _fitted(c, tied, error, share)
    strongest = float(probes["c"].max())  # type: ignore[arg-type]
    value, low, high = (x if x <= strongest else math.inf for x in (value, low, high))
    return Interval(value, low, high, len(c))


def _fitted(c: Array, tied: Array, error: Array, share: float) -> tuple[float, float, float]:
    """Median, 2.5 % and 97.5 % of the posterior of the crossing."""
    m = np.geomspace(c[c > 0][0] / 4, 100 * c[-1], SCALES)[:, None, None]
    curve = np.exp(-np.minimum((c / m) ** POWERS[:, None], 40.0))  # m k c
    weight = 1 / np.maximum(error, 1e-3) ** 2  # texts that agree wholly still say no more than a thousandth
    own = (weight * curve**2).sum(-1)
    a = (weight * curve * tied).sum(-1) / own
    miss = (weight * (tied - a[..., None] * curve) ** 2).sum(-1)
    miss = miss / max(LEAST**2, miss.min() / max(1, len(c) - 2))
    log = -miss / 2 - np.log(own) / 2 - (np.log(POWERS) / math.log(SPREAD)) ** 2 / 2
    at = (m[..., 0] * np.log(np.maximum(a, share) / share) ** (1 / POWERS)).ravel()
    order, chance = np.argsort(at), np.exp(log - log.max()).ravel()
    mass = np.cumsum(chance[order]) / chance.sum()
    middle, low, high = (float(at[order][np.searchsorted(mass, q)]) for q in (0.5, 0.025, 0.975))
    return middle, low, high
