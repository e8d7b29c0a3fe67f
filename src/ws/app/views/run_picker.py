"""Chooses the runs that a notebook offers, and the one that a page opens with.

Offered are those under out/, or the shipped example, so that no first screen is empty. What a link or a viewer asks for
is data: it chooses among the offered and nothing else.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from statistics import median
from typing import Any

import polars as pl

from ws.app.page_link import nearest, not_offered, picked
from ws.errors import UserError
from ws.experiment.examples import LOOPS, shipped
from ws.reporting.leaderboard import common_shift, instruments
from ws.runs.reader import Run, finished_runs, open_run

__all__ = [
    "chosen_arm",
    "chosen_run",
    "comparable_runs",
    "first_arm",
    "first_run",
    "looped",
    "run_choices",
    "shift_steps",
]


def run_choices(out: Path, asked: object = None) -> tuple[dict[str, str], list[str]]:
    """Label -> folder: the run that was asked for on the command line, then runs of several rounds, newest first, the
    shipped example, runs of one round; and a line for every folder that cannot be read. UserError without any run."""
    runs, skipped = finished_runs(out)
    examples = [open_run(path) for path in shipped(LOOPS).values()]
    several = [run for run in reversed(runs) if looped(run)]
    first = [open_run(Path(str(asked)))] if asked else []
    # an example of a loop says more about one than a run without a second round
    ordered = [*first, *several, *examples, *(run for run in reversed(runs) if not looped(run))]
    if not ordered:
        raise UserError(f"There is no finished run under {out}/runs, and no example is shipped. `ws run --rounds 3`.")
    labels: dict[str, str] = {}
    for run in ordered:
        labels.setdefault(_label(run, run in examples), str(run.path))
    return labels, skipped


def looped(run: Run) -> bool:
    """Whether the run has a second round to show."""
    return run.rounds > 1


def _label(run: Run, shipped: bool) -> str:
    rounds = f"{run.rounds} rounds" if looped(run) else "1 round"
    name = "shipped example" if shipped else run.path.name
    return f"{name} ({rounds}, {run.axis['name']} on {run.config.model})"


def first_run(choices: dict[str, str], given: Mapping[str, str]) -> tuple[str, list[str]]:
    """The label of the run that a page opens with: the link's, by its folder's name, else the first that is offered;
    and a line for the reader where the link's is none of them."""
    names: dict[str, str] = {}
    for label, folder in choices.items():
        names.setdefault(Path(folder).name, label)
    return names.get(given.get("run", ""), next(iter(choices))), not_offered(given, "run", names)


def chosen_run(folder: str, allowed: dict[str, str]) -> Run:
    """The run of that folder. UserError for a folder that was not offered: names from outside are data."""
    if folder not in allowed.values():
        raise UserError(f"{folder!r} is none of the runs offered here.")
    return open_run(folder)


def comparable_runs(out: Path) -> tuple[dict[str, Run], list[str]]:
    """Folder name -> finished run with a report, oldest first; the shipped examples where there is none; and what to
    tell the reader about it."""
    found, said = finished_runs(out)
    runs = {run.path.name: run for run in found if run.has("arms.parquet", run.best)}
    if runs:
        return runs, said
    said.append(f"No finished run under {out}/runs yet: these are the shipped examples. `ws run` makes your own.")
    folders = [*shipped().values(), *shipped(LOOPS).values()]
    return {folder.name: open_run(folder) for folder in folders}, said


def first_arm(points: pl.DataFrame, given: Mapping[str, str]) -> tuple[dict[str, str], list[str]]:
    """The instrument, the arm and the run (ids and a name) that a page of arms opens with, each of those that the one
    before leaves: the link's, else the instrument with most runs, its first arm, the newest run behind it; and a line
    for each of the link's that is not there. points: ws.reporting.leaderboard.points_frame."""
    found: dict[str, str] = {}
    said: list[str] = []
    for name in ("instrument", "arm", "run"):
        offered = [*instruments(points).values()] if name == "instrument" else [*dict.fromkeys(points[name])]
        said += not_offered(given, name, offered)
        found[name] = picked(given.get(name), offered, offered[-1 if name == "run" else 0])
        points = points.filter(pl.col(name) == found[name])
    return found, said


def chosen_arm(arms: pl.DataFrame, arm: object) -> dict[str, Any]:
    """The row of that arm (its id), the first row for any other; `#` is its number. arms:
    ws.reporting.leaderboard.arms_table."""
    ids = arms["arm"].to_list()
    number = ids.index(picked(arm, ids, ids[0]))
    return arms.row(number, named=True) | {"#": number}


def shift_steps(arms: pl.DataFrame) -> tuple[list[float], float]:
    """Shifts (nats) to compare at, every 0.01 to a fifth beyond the largest mean, and the one that a page opens with:
    a shift that every family has measured, else the middle arm's."""
    reached = [shift for shift in arms["d_target"].to_list() if shift is not None and math.isfinite(shift)]
    top = max([0.1, *(1.2 * shift for shift in reached)]) if reached else 1.0
    steps = [i / 100 for i in range(round(10 * top) * 10 + 1)]
    common = common_shift(arms)
    return steps, nearest(median(reached or [0.5]) if common is None else common, steps, 0.0)
