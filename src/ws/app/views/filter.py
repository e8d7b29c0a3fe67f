"""A threshold on stored completions: what it keeps, its counts, borderline rows and verdict.

Nothing is generated or scored again.
"""

from __future__ import annotations

import math
from functools import lru_cache
from pathlib import Path
from typing import Any

import polars as pl

from ws.filtering.limits import borderline, reasons
from ws.gating import Gate, judge_filter
from ws.intervals import wilson
from ws.runs.reader import Run

__all__ = ["border_rows", "completions", "counts", "filter_gate", "marked", "shares", "tail_steps"]

KEPT = "kept"


def completions(run: Run, round: int = 0) -> pl.DataFrame:
    """The round's scored completions, doses of the grid and training data, with `id`: their number. Read once."""
    path = run.path / "rounds" / str(round)
    files = [path / name for name in ("grid.parquet", "completions.parquet", "knee.json")]
    return _completions(run.path, round, tuple(f.stat().st_mtime_ns for f in files if f.exists()))


@lru_cache(maxsize=8)
def _completions(path: Path, round: int, _: tuple[int, ...]) -> pl.DataFrame:
    return Run(path).marked(round).drop("dropped").with_row_index("id")


def tail_steps(run: Run, round: int = 0) -> list[float]:
    """Steps of the threshold slider: even in log perplexity, and the run's own limit among them."""
    own = run.threshold(round)[1]
    even = [round_to(math.exp(math.log(2.0) + i * math.log(500.0) / 80)) for i in range(81)]
    near = min(even, key=lambda step: abs(math.log(step / own)))
    return sorted([step for step in even if step != near] + [own])


def round_to(value: float, digits: int = 3) -> float:
    """A number with that many significant digits."""
    return float(f"{value:.{digits}g}")


def limits_at(run: Run, limit: float, round: int = 0) -> dict[str, Any]:
    """The run's limits with another threshold, as ws.keep takes them."""
    return run.limits(round) | {run.threshold(round)[0]: limit}


def marked(run: Run, limit: float, round: int = 0) -> pl.DataFrame:
    """The completions with `dropped` (null or the first reason) and `state` (kept or that reason) at this threshold."""
    found = reasons(completions(run, round), **limits_at(run, limit, round))
    return found.with_columns(state=pl.col("dropped").fill_null(KEPT))


def counts(frame: pl.DataFrame) -> dict[str, Any]:
    """generated, kept and their share among the training completions, and how many each reason dropped."""
    data = frame.filter(pl.col("split") == "train")
    kept = data.filter(pl.col("dropped").is_null()).height
    lost = dict(data["dropped"].drop_nulls().value_counts(sort=True).rows())
    low, high = wilson(kept, data.height)
    return {"generated": data.height, "kept": kept, "low": low, "high": high, "lost": lost}


def shares(frame: pl.DataFrame) -> pl.DataFrame:
    """Per dose and state: n, of all at that dose, their share and its 95 % interval (Wilson)."""
    table = frame.group_by("c", "state").agg(n=pl.len()).with_columns(of=pl.col("n").sum().over("c")).sort("c", "state")
    spans = [wilson(n, of) for n, of in table.select("n", "of").rows()]
    return table.with_columns(
        share=pl.col("n") / pl.col("of"),
        low=pl.Series([s[0] for s in spans], dtype=pl.Float64),
        high=pl.Series([s[1] for s in spans], dtype=pl.Float64),
    )


def border_rows(run: Run, limit: float, k: int = 5, round: int = 0) -> pl.DataFrame:
    """The k steered completions just kept and the k just dropped, nearest to the threshold first."""
    steered = completions(run, round).filter(pl.col("c") != 0)
    return borderline(steered, k, **limits_at(run, limit, round))


def filter_gate(run: Run, frame: pl.DataFrame, round: int = 0) -> Gate:
    """Gate 2 at this threshold, with the researcher's note."""
    grid = run.frame("dose", round)
    gate = judge_filter(frame, grid, min_keep=run.config.heal.min_rows, seeds=len(run.config.seeds))
    return gate.with_note(run.notes(round).get("2", ""))
