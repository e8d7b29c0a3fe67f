"""Stored runs as rows that can be compared: a level of one setting, beside a context in which all else agrees."""

from __future__ import annotations

import functools
import json
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import polars as pl

from ws.files import digest
from ws.gating.arm_table import HEALED, STEER, short_words
from ws.reporting.leaderboard import points_frame
from ws.runs.reader import Run

__all__ = ["Stored", "at_equal_kl", "at_equal_shift", "levels_of", "place_of_run", "where"]

LEVELS: dict[str, type[pl.DataType]] = {
    "context": pl.String, "level": pl.String, "seed": pl.String, "beta": pl.Float64, "d_target": pl.Float64,
    "coherence": pl.Float64, "retain": pl.Float64, "run": pl.String,
}  # fmt: skip


class Stored:
    """The runs that are asked, and their arms (`points_frame`), read once."""

    def __init__(self, runs: Sequence[Run]) -> None:
        self.runs = [run for run in runs if run.rounds]

    @functools.cached_property
    def points(self) -> pl.DataFrame:
        return points_frame(self.runs)

    @property
    def healed(self) -> pl.DataFrame:
        """The healed models among them, of every seed and beta."""
        return self.points.filter(kind=short_words()[HEALED])

    def named(self, names: Sequence[str]) -> list[Run]:
        """Runs by the names of their folders."""
        return [run for run in self.runs if run.path.name in set(names)]


def where(row: dict[str, Any]) -> str:
    """A context for a reader: axis and model of a point."""
    return f"{row['axis']} on {row['model']}"


def place_of_run(run: Run) -> str:
    """`where` of a run."""
    return f"{run.axis['name']} on {run.config.model}"


def levels_of(
    points: pl.DataFrame, level: Callable[[dict[str, Any]], str | None], fields: Sequence[str]
) -> pl.DataFrame:
    """Arms as rows (columns LEVELS) of a level, in contexts where every setting but `fields` agrees and where there are
    two levels at least. level: of an arm's columns and settings, None where it has none."""
    rows = []
    for row in points.rows(named=True):
        settings = json.loads(row["settings"])
        name = level(row | settings)
        if name is not None:
            same = {key: value for key, value in settings.items() if key not in fields}
            alike = digest([row["instrument"], row["round"], same], 8)
            rows.append({key: row.get(key) for key in LEVELS} | {"level": name, "context": f"{where(row)} [{alike}]"})
    found = pl.DataFrame(rows, schema=LEVELS)
    return found.filter(pl.col("level").n_unique().over("context") > 1) if found.height else found


def at_equal_shift(rows: pl.DataFrame) -> pl.DataFrame:
    """The rows as one per context, level and seed: coherence where each moved the target by the middle of the shifts
    that all of them reached, linear between the two neighbouring betas. Contexts without such a shift are left out."""
    found = []
    for (context,), part in rows.drop_nulls(["d_target", "coherence"]).group_by("context", maintain_order=True):
        curves = {key: one.sort("d_target") for key, one in part.group_by("level", "seed", maintain_order=True)}
        low = max(curve["d_target"][0] for curve in curves.values())
        high = min(curve["d_target"][-1] for curve in curves.values())
        if low > high or len({key[0] for key in curves}) < 2:
            continue
        at = (low + high) / 2
        for (name, seed), curve in curves.items():
            value = float(np.interp(at, curve["d_target"].to_list(), curve["coherence"].to_list()))
            row = {"context": f"{context} at {at:.2f} nat", "level": name, "seed": seed, "run": curve["run"][0]}
            found.append(dict.fromkeys(LEVELS) | row | {"d_target": at, "coherence": value})
    return pl.DataFrame(found, schema=LEVELS)


def at_equal_kl(runs: Sequence[Run], level: Callable[[Run], str]) -> pl.DataFrame:
    """First rounds as rows of a level: d_target under steering at the KL (95th percentile per token) that all levels of
    a context reached, linear between the measured doses and 0; retain: what the healed model of the run keeps."""
    curves: dict[str, list[tuple[str, Run, list[float], list[float]]]] = {}
    for run in runs:
        arms = run.arms(0).filter(pl.col("arm") == STEER, pl.col("c") > 0).drop_nulls(["kl", "d_target"]).sort("kl")
        if arms.height:
            alike = digest([run.env.get("fingerprint"), run.env.get("axis"), arms["identity"][0]], 8)
            curve = [0.0, *arms["kl"].to_list()], [0.0, *arms["d_target"].to_list()]
            curves.setdefault(f"{place_of_run(run)} [{alike}]", []).append((level(run), run, *curve))
    found = []
    for context, members in curves.items():
        if len({name for name, *_ in members}) < 2:
            continue
        at = min(kl[-1] for _, _, kl, _ in members)
        for name, run, kl, shift in members:
            healed = run.arms(0).filter(arm=HEALED)
            found.append(dict.fromkeys(LEVELS) | {
                "context": f"{context} at KL {at:.2f}", "level": name, "seed": str(run.config.seeds[0]),
                "d_target": float(np.interp(at, kl, shift)), "run": run.path.name,
                "retain": healed["d_target"][0] if healed.height else None,
            })  # fmt: skip
    return pl.DataFrame(found, schema=LEVELS)
