"""The dose search: a grid of doses, then more texts where they decide, and the knee off the fitted curve.

Pure arithmetic over a function that measures doses. The knee is the dose at which the fitted curve (`ws.gating.knee`)
falls through the floor, of coherence or of what ties text to its question, to two figures, and no probe by itself: 48
texts a dose choose a dose by luck. Every round brings other dice, for the base as for two doses: about the crossing,
and a third above it, where the fall is steep and each text says most.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import polars as pl

from ws.gating.knee import is_vague, knee_of
from ws.intervals import Interval

__all__ = ["Probe", "find_knee", "plain_dose"]


Probe = Callable[[Sequence[float], int], pl.DataFrame]
"""(doses, round) -> all that is known by then, as `knee_of` reads it; each round has dice of its own, which its doses
share."""


WIDEN = 1.5
ABOVE = 1.3
LAST = 3  # doses that are measured at the crossing, at most


def find_knee(probe: Probe, grid: Sequence[float], rounds: int, floor: float, topic: float) -> float | None:
    """The dose at which coherence falls through the floor, or the tie to the prompt through `topic` of what unsteered
    text has; None: under the weakest that was tried. `knee_of` of what is known by then says which, and how surely.

    grid: rising, above 0. At most `rounds` rounds of further texts, until the crossing's interval is narrow; where it
    lies outside of what was tried, the next dose is half the weakest or half again the strongest. Where the unsteered
    model itself seems to be under the floor, further texts of it come first. The knee is a dose that was measured, the
    strongest one where none is incoherent.
    """
    known = probe(grid, 0)
    for i in range(1, rounds + 1):  # one text too few decides nothing either
        if _unsteered(known) >= floor:
            break
        known = probe([], i)
    if not _unsteered(known) >= floor:
        return None  # the base itself, or the student of earlier rounds, is under it
    for i in range(1, rounds + 1):
        found = knee_of(known, floor, topic).at
        if _settled(found, _doses(known)):
            break
        known = probe(_next(found, _doses(known)), i)
    return _measured(probe, known, floor, topic)


def _measured(probe: Probe, known: pl.DataFrame, floor: float, topic: float) -> float | None:
    """The crossing's dose, measured. Its own texts may move it: then the next one is measured."""
    for _ in range(LAST):
        at, doses = knee_of(known, floor, topic).at, _doses(known)
        c = min(plain_dose(at.value), doses[-1])
        if c < doses[0] or c in doses:
            break
        known = probe([c], 0)
    return None if c < doses[0] else c


def _unsteered(known: pl.DataFrame) -> float:
    """Coherence without any steering."""
    return float(known.filter(pl.col("c") == 0)["coherence"][0])


def _settled(found: Interval, doses: Sequence[float]) -> bool:
    """Whether the crossing lies among the doses and its interval is narrow."""
    return doses[0] <= found.value <= doses[-1] and not is_vague(found)


def _doses(known: pl.DataFrame) -> list[float]:
    return sorted(c for c in known["c"].to_list() if c > 0)


def _next(found: Interval, doses: Sequence[float]) -> list[float]:
    """Which doses the next texts are spent on."""
    if not math.isfinite(found.value):
        return [doses[-1] * WIDEN]
    if found.value < doses[0]:
        return [plain_dose(doses[0] / 2)]
    return list(dict.fromkeys([plain_dose(found.value), plain_dose(found.value * ABOVE)]))


def plain_dose(c: float) -> float:
    """The nearest dose that is plainly written, within 5 %: 0.9, 0.95, 1, 1.1 ... 2, 2.2 ... 5, 5.5; inf stays."""
    if not math.isfinite(c) or c <= 0:
        return c
    unit = 10.0 ** math.floor(math.log10(c))
    step = 0.1 if c < 2 * unit else 0.2 if c < 5 * unit else 0.5
    return float(f"{round(c / unit / step) * step * unit:.6g}")
