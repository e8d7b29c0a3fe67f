"""The knee: where coherence falls through the floor as the dose rises, or text leaves its question before that.

    knee_of(probes_of(arms), 0.95, 0.85).at       # Interval
    crossing(probes_of(arms), 0.95)               # of coherence alone

The share of readable texts falls with the dose as a exp(-(c / m)^k): a text is readable while no token breaks it, and
the hazard of breaking grows as a power of the dose (Weibull). a is the unsteered share, which base and weak doses give
together; m and k come from all doses, so that one lucky probe decides nothing. The posterior is summed over a grid of
(a, m, k), flat in a and log m, log k within a factor 1.6 of 4; the crossing is its median, the interval its middle
95 %. Other parts of coherence than text (the answers' mass), which have no such noise, are interpolated between doses
and count where they cross first. What planted searches gave: tests/experiment/test_dose_search.py.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import NDArray

from ws.gating.arm_table import BASE, STEER, STUDENT
from ws.gating.knee_topic import leaving, unsteered_tie
from ws.gating.schemas import TOPIC
from ws.intervals import Z95, Interval

__all__ = ["Knee", "crossing", "is_vague", "knee_of", "probes_of"]

Array = NDArray[np.float64]
POWERS = np.geomspace(1.2, 14, 18)  # k
USUAL, SPREAD = 4.0, 1.6
"""k before anything is measured: the embedded model's curve has 4.3."""
PLACES = 17  # values of a
SCALES = 90  # values of m, from a quarter of the weakest dose to six times the strongest
NARROW = 1.3
"""A crossing whose interval's ends differ by more than this factor rests on noise."""


@dataclass(frozen=True)
class Knee:
    """Where a dose is too strong, and by what."""

    floor: float
    """of coherence"""
    coherent: Interval
    """the dose at which coherence falls through it"""
    share: float
    """of unsteered text's, the least of what ties text to its prompt"""
    on_topic: Interval | None
    """the dose at which text is tied to its prompt by less than that; None: not read"""

    @property
    def at(self) -> Interval:
        """The weaker of the two doses; n: texts."""
        if self.on_topic is None:
            return self.coherent
        found = (self.coherent, self.on_topic)
        value, low, high = (min(getattr(at, end) for at in found) for end in ("value", "low", "high"))
        return Interval(value, low, high, self.coherent.n)

    @property
    def by_topic(self) -> bool:
        """Whether text leaves its question before sentences break."""
        return self.on_topic is not None and self.on_topic.value < self.coherent.value

    @property
    def text(self) -> str:
        """Where that is, in words."""
        ends = (self.at.value, self.at.low, self.at.high)
        value, low, high = (f"{x:.3g}" if math.isfinite(x) else "beyond" for x in ends)
        where = "past the strongest dose tried" if value == "beyond" else f"at c {value}"
        told = f"coherence falls through {self.floor:g}"
        if self.by_topic:
            told = f"text leaves its question (its tie to the prompt falls under {self.share:g} of unsteered text's)"
        return f"{told} {where} [{low}, {high}]"


def knee_of(probes: pl.DataFrame, floor: float, share: float) -> Knee:
    """Where coherence falls through `floor`, and what ties text to its prompt through `share` of the base's.

    probes: see `crossing` and `ws.gating.knee_topic.leaving`.
    """
    return Knee(floor, crossing(probes, floor), share, leaving(probes, share))


def crossing(probes: pl.DataFrame, floor: float) -> Interval:
    """The dose at which coherence falls through `floor`, with its 95 % interval; n: texts.

    probes: c, coherence, coh_text, n_text, p_ans_any, a row at c = 0 among them. inf: beyond the strongest dose; 0:
    under the floor without any steering. A probe whose coherence is NaN or null counts as wholly incoherent.
    """
    student = "arm" in probes.columns and STUDENT in probes["arm"]
    rows = probes.sort("c").select("c", "coherence", "coh_text", "n_text", "p_ans_any").cast(pl.Float64)
    c, value, share, n, mass = rows.fill_null(math.nan).to_numpy().T
    n = np.where(np.isnan(n), 0.0, n)
    lost = np.isnan(value)
    share, coherence = np.where(lost | np.isnan(share), 0.0, share), np.where(lost, 0.0, value)
    if coherence[0] < floor:
        return Interval(0.0, 0.0, 0.0, int(n.sum()))
    # the curve falls from the unsteered share, which is base's own or, in later rounds, a student's that lost some
    own = min(floor / coherence[0], 1 - 1e-9) if student else floor
    at = _fitted(c, np.rint(share * n), n, own)
    other = _other(c, coherence, mass, floor)
    value, low, high = (_within(min(x, other), c[-1]) for x in at)
    return Interval(value, low, high, int(n.sum()))


def _fitted(c: Array, hits: Array, n: Array, floor: float) -> tuple[float, float, float]:
    """Median, 2.5 % and 97.5 % of the posterior of the crossing; inf where nothing was read."""
    if not n[c > 0].sum():
        return math.inf, 0.0, math.inf
    m = np.geomspace(c[c > 0][0] / 4, 6 * c[-1], SCALES)
    a = _shares(hits[0], n[0])[:, None, None]
    log = np.zeros((len(a), len(m), len(POWERS))) - (np.log(POWERS / USUAL) / math.log(SPREAD)) ** 2 / 2
    for dose, h, total in zip(c, hits, n, strict=True):
        hazard = np.minimum((dose / m[:, None]) ** POWERS, 40.0)  # m k
        log += h * (np.log(a) - hazard) + (total - h) * np.log1p(-a * np.exp(-hazard))
    weight = np.exp(log - log.max()).sum(0).ravel()
    at = (m[:, None] * (-math.log(floor)) ** (1 / POWERS)).ravel()
    order = np.argsort(at)
    mass = np.cumsum(weight[order]) / weight.sum()
    middle, low, high = (float(at[order][np.searchsorted(mass, q)]) for q in (0.5, 0.025, 0.975))
    return middle, low, high


def _shares(hits: float, n: float) -> Array:
    """Values of a: the unsteered texts' own share, 3.5 standard errors either way."""
    share = (hits + 0.5) / (n + 1)
    reach = 3.5 * math.sqrt(share * (1 - share) / (n + 1))
    return np.clip(np.linspace(share - reach, share + reach, PLACES), 1e-3, 1 - 1e-4)


def _other(c: Array, value: Array, mass: Array, floor: float) -> float:
    """Where coherence falls through the floor since the answers' mass does, which is then its value; else inf."""
    with np.errstate(invalid="ignore", divide="ignore"):
        bound = np.isclose(value, mass, rtol=0, atol=1e-6) | np.isclose(value, mass / mass[0], rtol=0, atol=1e-6)
    part = np.where(bound, value, 1.0)
    under = np.flatnonzero((part < floor) & (c > 0))
    if not len(under):
        return math.inf
    i = int(under[0])
    return float(c[i - 1] + (part[i - 1] - floor) / (part[i - 1] - part[i]) * (c[i] - c[i - 1]))


def _within(x: float, strongest: float) -> float:
    """A dose that was tried, or inf: what lies beyond is not known."""
    return x if x <= strongest else math.inf


def is_vague(found: Interval) -> bool:
    """Whether the interval is too wide for one more search to find nearly the same dose."""
    return not found.high <= NARROW * found.low


def probes_of(arms: pl.DataFrame) -> pl.DataFrame:
    """The rows of a dose search that `knee_of` reads: c >= 0 on the student of earlier rounds, or on the base; with
    tied and tied_error, a text's tie to its prompt as a share of base's, the persona's or the student's, the least of
    them."""
    unsteered = STUDENT if STUDENT in arms["arm"] else BASE
    arms = arms.with_columns(_tied(arms)) if set(TOPIC) <= set(arms.columns) else arms
    return arms.filter((pl.col("arm") == unsteered) | ((pl.col("arm") == STEER) & (pl.col("c") > 0)))


def _tied(arms: pl.DataFrame) -> list[pl.Expr]:
    """The two columns; null where unsteered text keeps to no prompt, or was not read."""
    value, low, high = (pl.col(name).cast(pl.Float64) for name in TOPIC)
    # a student of earlier rounds is what is steered: a dose is held against what it takes from there
    own, least = unsteered_tie(arms, STUDENT) or (math.nan, math.nan)
    if not least > 0:
        return [pl.lit(None, pl.Float64).alias(name) for name in ("tied", "tied_error")]
    return [(value / own).alias("tied"), ((high - low) / (2 * Z95 * own)).alias("tied_error")]
