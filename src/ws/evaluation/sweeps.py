"""Dilemmas over personas and doses: one table keyed by (persona, c, question), and what each persona's sweep says.

table = read_sweep(lm, axis.questions, {"neutral": None, "care": axis.positive[0]}, direction=v, cs=[-1, 0, 1])
sweep_figures(table)          # per persona: T, dd_delta, spread, monotone
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl

from ws.errors import UserError
from ws.evaluation.readings.dilemmas import (
    COLUMNS,
    frac_low_pmass,
    gain,
    mean_shift,
    monotone,
    read_dilemmas,
    t_statistic,
)
from ws.models.lm import LM

if TYPE_CHECKING:
    from ws.axes.axis_file import Question

__all__ = ["FIGURES", "SWEEP", "read_sweep", "sweep_figures"]

SWEEP: dict[str, Any] = {"persona": pl.String, "c": pl.Float64, **COLUMNS}
FIGURES: dict[str, Any] = {
    "persona": pl.String,
    "n": pl.Int32,
    "doses": pl.List(pl.Float64),
    "means": pl.List(pl.Float64),
    "T": pl.Float64,
    "gain": pl.Float64,
    "dd_delta": pl.Float64,
    "spread": pl.Float64,
    "monotone": pl.Boolean,
    "frac_low_pmass": pl.Float64,
}
"""One row per persona. n: questions; means: mean logratio per dose, nats per token. T: over c = -1, 0, 1. dd_delta: c =
1 minus c = 0. spread: the largest dose that was read on both sides, +c minus -c. monotone: over all doses.
frac_low_pmass: over all rows. What lacks its doses is NaN."""


def read_sweep(
    lm: LM,
    questions: Sequence[Question],
    personas: Mapping[str, str | None],
    *,
    direction: Any = None,
    cs: Sequence[float] = (0.0,),
    stale: bool = False,
    batch_size: int = 64,
) -> pl.DataFrame:
    """One row per persona, dose and question, columns SWEEP. personas: name -> system prompt, None = the neutral one.

    UserError without personas, questions or doses, and where two rows would have one key.
    """
    if not personas or not questions or not len(cs):
        raise UserError(
            f"a sweep needs personas ({len(personas)}), questions ({len(questions)}) and doses ({len(cs)});"
            " one of them is empty. Name at least one of each."
        )
    for what, keys in (("doses", list(cs)), ("questions", [q.text for q in questions])):
        if len(set(keys)) < len(keys):
            raise UserError(f"the {what} of a sweep repeat ({keys!r:.120}). Name each of them once.")
    frames = []
    for name, persona in personas.items():
        read = read_dilemmas(lm, questions, direction=direction, cs=cs, persona=persona, stale=stale,
                             batch_size=batch_size)  # fmt: skip
        keyed = [f.with_columns(persona=pl.lit(name), c=pl.lit(float(c))) for c, f in zip(cs, read, strict=True)]
        frames += [f.select(*SWEEP) for f in keyed]
    return pl.concat(frames)


def sweep_figures(table: pl.DataFrame, d_nll: float = 0.0) -> pl.DataFrame:
    """Figures of each persona's sweep, columns FIGURES. d_nll: rise of the mean NLL of neutral text, for `gain`."""
    rows = [_figures(str(name), part, d_nll) for (name,), part in table.group_by("persona", maintain_order=True)]
    return pl.DataFrame(rows, schema=FIGURES)


def _figures(name: str, part: pl.DataFrame, d_nll: float) -> dict[str, Any]:
    by_dose = {float(c): f for (c,), f in sorted(part.group_by("c", maintain_order=True))}
    means = [float(f["logratio"].to_numpy().mean()) for f in by_dose.values()]
    t = math.nan
    if {-1.0, 0.0, 1.0} <= set(by_dose):
        doses = [-1.0, 0.0, 1.0]
        t = t_statistic(doses, np.stack([by_dose[c]["logratio"].to_numpy() for c in doses], 1))
    both = max((c for c in by_dose if c > 0 and -c in by_dose), default=None)
    return {
        "persona": name,
        "n": part["question"].n_unique(),
        "doses": list(by_dose),
        "means": means,
        "T": t,
        "gain": gain(t, d_nll),
        "dd_delta": mean_shift(by_dose[0.0], by_dose[1.0]) if {0.0, 1.0} <= set(by_dose) else math.nan,
        "spread": math.nan if both is None else mean_shift(by_dose[-both], by_dose[both]),
        "monotone": monotone(means),
        "frac_low_pmass": frac_low_pmass(part),
    }
