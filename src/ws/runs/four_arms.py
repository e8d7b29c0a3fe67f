"""Filter and barrier, each with and without: four trainings on as many texts of the same completions.

    four_arms(run, 0)     # what, d_target, coherence, retain, capability with their intervals; arms that were trained
"""

from __future__ import annotations

import polars as pl

from ws.gating.arm_table import HEALED, SFT, SFT_UNFILTERED, UNFILTERED
from ws.runs.reader import Run

__all__ = ["FOUR", "four_arms", "four_of"]

FOUR = {
    HEALED: "filter and barrier",
    SFT: "filter only",
    UNFILTERED: "barrier only",
    SFT_UNFILTERED: "neither",
}
"""Arm -> what was done, in the order of the table."""
READ = ("d_target", "coherence", "retain", "capability")
FIGURES = [f"{name}{end}" for name in READ for end in ("", "_low", "_high")]


def four_arms(run: Run, round: int = 0) -> pl.DataFrame:
    """The four of a round, of which those that were not trained are left out."""
    beta = float(run.get("heal.json", round)["beta"]) if run.has("heal.json", round) else 0.0
    return four_of(run.arms(round), beta)


def four_of(arms: pl.DataFrame, beta: float) -> pl.DataFrame:
    """One row each of what, arm and figures; a heal at beta 0 has no barrier and stands as "filter only"."""
    words = FOUR if beta > 0 else {HEALED: FOUR[SFT], SFT_UNFILTERED: FOUR[SFT_UNFILTERED]}
    order = {what: i for i, what in enumerate(FOUR.values())}
    found = arms.filter(pl.col("arm").is_in(list(words)), pl.col("retain").is_not_null())
    named = found.with_columns(what=pl.col("arm").replace_strict(words, default=None, return_dtype=pl.String))
    place = pl.col("what").replace_strict(order, default=None, return_dtype=pl.Int8)
    return named.sort(place).select("what", "arm", *FIGURES)
