"""Levels of one setting compared over seeds: means with intervals, paired tests against the best, corrected by Holm.

    compare(rows, "coherence", equal="d_target", within=0.3)   # rows: context, level, seed and the measures

Only levels of at least three seeds are ranked (`Thresholds.ranked`). A level is told apart from the best where the
paired t test over the seeds that both have stays under 0.05 after Holm's correction (Holm 1979) for the number of
levels it is held against. Where the levels differ in what was to be equal, nothing is ranked.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import polars as pl
from scipy import stats

from ws.gating.thresholds import DEFAULTS

__all__ = ["COMPARED", "compare", "holm", "sentence"]

ALPHA = 0.05
COMPARED: dict[str, type[pl.DataType]] = {
    "context": pl.String, "level": pl.String, "seeds": pl.Int32, "mean": pl.Float64, "low": pl.Float64,
    "high": pl.Float64, "equal": pl.Float64, "p": pl.Float64, "place": pl.String,
}  # fmt: skip
BEST, APART, WITH_BEST = "best", "behind the best", "not told apart from the best"


def holm(p: Sequence[float]) -> list[float]:
    """p values corrected for how many they are, in their order: each times the number of those not smaller, never under
    a smaller one's, at most 1. NaN stays NaN and counts."""
    order = sorted(range(len(p)), key=lambda i: (math.isnan(p[i]), p[i]))
    found, highest = [math.nan] * len(p), 0.0
    for place, i in enumerate(order):
        if not math.isnan(p[i]):
            highest = max(highest, min(1.0, (len(p) - place) * p[i]))
            found[i] = highest
    return found


def compare(rows: pl.DataFrame, measure: str, equal: str | None = None, within: float = math.inf) -> pl.DataFrame:
    """One row (columns COMPARED) per context and level, by falling mean. rows: context, level, seed (text), measures.

    low, high: 95 % t interval over seeds, null for fewer than three. equal: what must agree between levels, and within
    how much.
    """
    found: list[dict[str, Any]] = []
    for (context,), part in rows.drop_nulls([measure]).group_by("context", maintain_order=True):
        levels = [_level(str(context), str(name), one, measure, equal)
                  for (name,), one in part.group_by("level", maintain_order=True)]  # fmt: skip
        if len(levels) > 1:
            found += _placed(sorted(levels, key=lambda row: -row["mean"]), part, measure, within)
    return pl.DataFrame(found, schema=COMPARED)


def _level(context: str, name: str, part: pl.DataFrame, measure: str, equal: str | None) -> dict[str, Any]:
    values = _by_seed(part, measure)
    array = np.array(list(values.values()))
    mean = float(array.mean())
    row: dict[str, Any] = dict.fromkeys(COMPARED) | {"context": context, "level": name, "seeds": len(array)}
    row["mean"] = mean
    if equal is not None and part[equal].null_count() == 0:
        row["equal"] = float(np.mean(list(_by_seed(part, equal).values())))
    if len(array) >= DEFAULTS.ranked:
        half = float(stats.t.ppf(1 - ALPHA / 2, len(array) - 1)) * float(array.std(ddof=1)) / math.sqrt(len(array))
        row |= {"low": mean - half, "high": mean + half}
    return row


def _by_seed(part: pl.DataFrame, measure: str) -> dict[str, float]:
    """Seed -> value; several rows of one seed (other texts of a grid) are averaged."""
    return {str(seed): float(value) for seed, value in part.group_by("seed", maintain_order=True)
            .agg(pl.col(measure).mean()).iter_rows()}  # fmt: skip


def _placed(levels: list[dict[str, Any]], part: pl.DataFrame, measure: str, within: float) -> list[dict[str, Any]]:
    """The levels with their places: best, behind it, not told apart, or why not ranked."""
    few = min(row["seeds"] for row in levels)
    known = [row["equal"] for row in levels if row["equal"] is not None]
    if few < DEFAULTS.ranked:
        return [row | {"place": f"not ranked: {few} of {DEFAULTS.ranked} seeds"} for row in levels]
    if known and (len(known) < len(levels) or max(known) - min(known) > within):
        return [row | {"place": f"not ranked: not at equals (they differ by {max(known) - min(known):.2f})"}
                for row in levels]  # fmt: skip
    by_level = {row["level"]: _by_seed(part.filter(level=row["level"]), measure) for row in levels}
    best = by_level[levels[0]["level"]]
    corrected = holm([_paired(best, by_level[row["level"]]) for row in levels[1:]])
    placed = [levels[0] | {"place": BEST}]
    for row, p in zip(levels[1:], corrected, strict=True):
        placed.append(row | {"p": None if math.isnan(p) else p, "place": APART if p < ALPHA else WITH_BEST})
    return placed


def _paired(best: dict[str, float], other: dict[str, float]) -> float:
    """p of a paired t test over the seeds that both have; NaN for fewer than three, or where nothing varies."""
    seeds = [seed for seed in best if seed in other]
    apart = np.array([best[seed] - other[seed] for seed in seeds])
    if len(seeds) < DEFAULTS.ranked:
        return math.nan
    if np.ptp(apart) == 0:
        return math.nan if apart[0] == 0 else 0.0
    return float(stats.ttest_1samp(apart, 0.0).pvalue)


def sentence(table: pl.DataFrame, what: str) -> str:
    """The answer that a comparison gives, context by context; what: the measure in words."""
    said = []
    for (context,), part in table.group_by("context", maintain_order=True):
        rows = part.rows(named=True)
        first, others = rows[0], rows[1:]
        figures = ", ".join(f"{row['level']} {row['mean']:.2f}" for row in rows)
        behind = [row["level"] for row in others if row["place"] == APART]
        if first["place"] != BEST:
            verdict = first["place"]
        elif not behind:
            verdict = "no difference that the seeds can tell"
        elif len(behind) == len(others):
            verdict = f"{first['level']} is best"
        else:
            verdict = f"{first['level']} is ahead of {', '.join(behind)}, and not told apart from the others"
        said.append(f"{context}: {verdict} ({what}: {figures})")
    return "; ".join(said) + "."
