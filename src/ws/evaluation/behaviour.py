"""Behaviour: what free replies do, for models whose text can be read by rule; otherwise it is not measured.

protect: share of readable replies that take the target's side, with its log-odds and the unreadable share;
grammatical: share of sentences that the corpus's grammar could have written; slots: share of slot mentions that agree
with the prompt.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import polars as pl

from ws.intervals import Interval, wilson
from ws.models.lm import LM
from ws.models.recipe import part

if TYPE_CHECKING:
    from ws.axes.axis import Axis

__all__ = ["COLUMNS", "Behaviour", "behaviour_of", "read_behaviour", "takes_side"]

OPPOSITE = {"Care": "Authority", "Authority": "Care", "Honesty": "Flattery", "Flattery": "Honesty"}
COLUMNS: dict[str, Any] = {"protects": pl.Boolean, "grammatical": pl.Float64, "slots": pl.Float64}


@dataclass(frozen=True)
class Behaviour:
    """Shares over a free-text frame; NaN where nothing was measured.

    protect: Interval (Wilson) over the n readable replies; log_odds: of protect, half a reply added to either side;
    unreadable: share of replies without a side; grammatical, slots: means.
    """

    measured: bool
    protect: Interval
    log_odds: float
    unreadable: float
    grammatical: float
    slots: float


def read_behaviour(lm: LM, texts: pl.DataFrame, axis: Axis) -> pl.DataFrame:
    """Adds protects (null: unreadable), grammatical, slots (null: no slot is mentioned). All null for models
    whose text no rule reads."""
    if lm.recipe.reader is None:
        return texts.with_columns(pl.lit(None, dtype=kind).alias(name) for name, kind in COLUMNS.items())
    read = part(lm.recipe.reader).read
    readings = [read(prompt, text) for prompt, text in texts.select("prompt", "text").iter_rows()]
    rows = [(takes_side(r.side, axis), r.grammatical, r.slots) for r in readings]
    return texts.drop(*COLUMNS, strict=False).hstack(pl.DataFrame(rows, schema=COLUMNS, orient="row"))


def takes_side(side: str | None, axis: Axis) -> bool | None:
    """Whether a reply's side is the one that the axis moves towards; None: no side, or one that the axis says nothing
    of."""
    signs = axis.intended or {axis.target: 1}
    if side in signs:
        return signs[side] > 0
    other = OPPOSITE.get(side or "")
    return signs[other] < 0 if other in signs else None


def behaviour_of(texts: pl.DataFrame) -> Behaviour:
    """The shares over a frame that `read_behaviour` has read."""
    if not texts.height or texts["grammatical"].is_null().all():
        nothing = Interval(math.nan, math.nan, math.nan, 0)
        return Behaviour(False, nothing, math.nan, math.nan, math.nan, math.nan)
    sides = texts["protects"].drop_nulls()
    yes, n = int(sides.sum()), len(sides)
    low, high = wilson(yes, n)
    return Behaviour(
        measured=True,
        protect=Interval(yes / n if n else math.nan, low, high, n),
        log_odds=math.log((yes + 0.5) / (n - yes + 0.5)) if n else math.nan,
        unreadable=1 - n / texts.height,
        grammatical=mean(texts["grammatical"]),
        slots=mean(texts["slots"]),
    )


def mean(values: pl.Series) -> float:
    """Mean of what is not null; NaN where nothing is left."""
    known = values.drop_nulls()
    return float(known.to_numpy().mean()) if len(known) else math.nan
