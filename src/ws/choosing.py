"""Which runs a notebook offers: those under out/, or the shipped example, so that no first screen is empty."""

from __future__ import annotations

from pathlib import Path

from ws.comparing import finished_runs
from ws.errors import UserError
from ws.exampling import EXAMPLE_ROUNDS
from ws.runs import Run, open_run

__all__ = ["chosen_run", "comparable_runs", "looped", "run_choices"]


def run_choices(out: Path, asked: object = None) -> tuple[dict[str, str], list[str]]:
    """Label -> folder: the run that was asked for on the command line, then runs of several rounds, newest first, the
    shipped example, runs of one round; and a line for every folder that cannot be read. UserError without any run."""
    runs, skipped = finished_runs(out)
    shipped = [open_run(EXAMPLE_ROUNDS)] if EXAMPLE_ROUNDS.is_dir() else []
    several = [run for run in reversed(runs) if looped(run)]
    first = [open_run(Path(str(asked)))] if asked else []
    # an example of a loop says more about one than a run without a second round
    ordered = [*first, *several, *shipped, *(run for run in reversed(runs) if not looped(run))]
    if not ordered:
        raise UserError(f"There is no finished run under {out}/runs, and no example is shipped. `ws run --rounds 3`.")
    labels: dict[str, str] = {}
    for run in ordered:
        labels.setdefault(_label(run, run in shipped), str(run.path))
    return labels, skipped


def looped(run: Run) -> bool:
    """Whether the run has a second round to show."""
    return run.rounds > 1


def _label(run: Run, shipped: bool) -> str:
    rounds = f"{run.rounds} rounds" if looped(run) else "1 round"
    name = "shipped example" if shipped else run.path.name
    return f"{name} ({rounds}, {run.axis['name']} on {run.config.model})"


def chosen_run(folder: str, allowed: dict[str, str]) -> Run:
    """The run of that folder. UserError for a folder that was not offered: names from outside are data."""
    if folder not in allowed.values():
        raise UserError(f"{folder!r} is none of the runs offered here.")
    return open_run(folder)


def comparable_runs(out: Path) -> tuple[dict[str, Run], list[str]]:
    """Folder name -> finished run with a report, oldest first; the shipped example where there is none; and what to
    tell the reader about it."""
    found, said = finished_runs(out)
    runs = {run.path.name: run for run in found if run.has("arms.parquet", run.best)}
    if runs:
        return runs, said
    said.append(f"No finished run under {out}/runs yet: this is the shipped example, one run. `ws run` adds to it.")
    return {EXAMPLE_ROUNDS.name: open_run(EXAMPLE_ROUNDS)}, said
