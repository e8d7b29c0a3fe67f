"""The record of a sweep, out/sweeps/<name>-<key>/sweep.json: its arms and how far each is. Read while it runs, too.

    found = open_sweep("out/sweeps/betas-1f2e3d4c5b")    # or newest_sweep("out")
    sweep_table(found)                                  # one row an arm: state, shift, retain, coherence, stages shared

The runs themselves lie under out/runs as all do. A stage that two arms share was computed by one of them, and the
others' records say from whom they took it.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import polars as pl

from ws.errors import UserError
from ws.files import digest, read_json, read_sealed, sealed, write_json
from ws.gating.arm_table import STEER, seed_arms
from ws.intervals import as_float
from ws.runs.config import to_dict
from ws.runs.grid import SweepArm
from ws.runs.reader import Run, folder_status

__all__ = [
    "RECORD", "STATES", "Sweep", "newest_sweep", "open_sweep", "run_of", "sweep_folder", "sweep_table", "sweeps_of",
    "write_sweep",
]  # fmt: skip

RECORD = "sweep.json"
STATES = ("waiting", "running", "finished", "failed")
"""Of an arm; failed: the run ended with a message of its own (no coherent dose, too few texts kept)."""
AGAIN = "Run the same `ws sweep` command again: it writes the record anew and goes on."
TABLE: dict[str, type[pl.DataType]] = {
    "arm": pl.String, "state": pl.String, "seeds": pl.Int32, "c": pl.Float64, "steered": pl.Float64,
    "d_target": pl.Float64, "d_target_sd": pl.Float64, "retain": pl.Float64, "retain_sd": pl.Float64,
    "coherence": pl.Float64, "coherence_sd": pl.Float64, "verdict": pl.String, "computed": pl.Int32, "taken": pl.Int32,
    "cpu": pl.Float64, "run": pl.String, "said": pl.String,
}  # fmt: skip


@dataclass(frozen=True)
class Sweep:
    """A sweep's folder, opened for reading."""

    path: Path

    @cached_property
    def record(self) -> dict[str, Any]:
        """What was stored last when this was opened. UserError where it is missing or damaged."""
        return read_sealed(self.path / RECORD, AGAIN)

    @property
    def out(self) -> Path:
        """Where its runs lie, in runs/."""
        return self.path.parents[1]

    @property
    def arms(self) -> list[dict[str, Any]]:
        """name, varied, config, state, run (the folder's name, None until it is known), said (why it failed)."""
        return list(self.record["arms"])

    @property
    def runs(self) -> list[Run]:
        """The runs that there are, in the order of the arms."""
        return [Run(self.out / "runs" / arm["run"]) for arm in self.arms if arm["run"]]

    @property
    def table(self) -> pl.DataFrame:
        """`sweep_table` of this."""
        return sweep_table(self)


def sweep_folder(out: Path, name: str, arms: list[SweepArm]) -> Path:
    """Where the record of these arms lies: the same arms find it again, whatever else has changed in the file."""
    key = digest([[arm.name, to_dict(arm.config)] for arm in arms], 10)
    slug = "".join(ch if ch.isalnum() or ch in "_-" else "-" for ch in name) or "sweep"
    return out / "sweeps" / f"{slug}-{key}"


def write_sweep(path: Path, record: dict[str, Any]) -> None:
    """Store a record whole, with its own checksum."""
    write_json(path / RECORD, sealed(record))


def open_sweep(path: str | Path) -> Sweep:
    """UserError where there is none."""
    found = Sweep(Path(path))
    if not (found.path / RECORD).exists():
        raise UserError(f"{path} is no sweep: it holds no {RECORD}. `ws sweep GRID.toml` makes one under out/sweeps/.")
    _ = found.record
    return found


def newest_sweep(out: str | Path = "out") -> Sweep:
    """The sweep under `out` that was written to last. UserError where there is none."""
    found = sweeps_of(out)
    if not found:
        raise UserError(f"There is no sweep under {Path(out) / 'sweeps'} yet. `ws sweep GRID.toml` makes one.")
    return found[-1]


def sweeps_of(out: str | Path = "out") -> list[Sweep]:
    """The sweeps under `out`, the one that was written to last at the end. UserError where that one is damaged."""
    found = sorted(Path(out).glob(f"sweeps/*/{RECORD}"), key=lambda path: path.stat().st_mtime_ns)
    sweeps = [Sweep(path.parent) for path in found]
    if sweeps:
        _ = sweeps[-1].record
    return sweeps


def run_of(out: Path, config: dict[str, Any]) -> str | None:
    """The folder's name of the newest run of a stored configuration; None where none has begun."""
    for path in sorted((out / "runs").glob("*/config.json"), reverse=True):
        try:
            if read_json(path) == config:
                return path.parent.name
        except UserError:  # a damaged one is of no known configuration; its own `ws run` mends it
            continue
    return None


def sweep_table(sweep: Sweep) -> pl.DataFrame:
    """One row an arm (columns TABLE). d_target, retain and coherence of the healed model without steering: means over
    the seeds, `_sd` their spread (null for one seed); steered: d_target at the knee. computed, taken: stages of the
    run, and those of another arm; cpu: seconds of those computed."""
    return pl.DataFrame([_row(sweep, arm) for arm in sweep.arms], schema=TABLE)


def _row(sweep: Sweep, arm: dict[str, Any]) -> dict[str, Any]:
    name = arm["run"] or (run_of(sweep.out, arm["config"]) if arm["state"] == "running" else None)
    row = dict.fromkeys(TABLE) | {"arm": arm["name"], "state": arm["state"], "run": name, "said": arm["said"],
                                  "seeds": len(arm["config"]["seeds"])}  # fmt: skip
    if name is None:
        return row
    run = Run(sweep.out / "runs" / name)
    stages = folder_status(run.path)["stages"].values()
    taken = sum("taken_from" in stage for stage in stages)
    row |= {"taken": taken, "computed": len(stages) - taken, "cpu": sum(as_float(s.get("cpu")) for s in stages)}
    return row | (_figures(run) if arm["state"] == "finished" else {})


def _figures(run: Run) -> dict[str, Any]:
    """What the best round of a finished run found."""
    arms, best = run.arms(run.best), run.best
    steered = arms.filter(pl.col("arm") == STEER, pl.col("chosen"))
    healed = arms.filter(pl.col("arm").is_in(list(seed_arms())))
    figures: dict[str, Any] = {"c": steered["c"][0], "steered": steered["d_target"][0]} if steered.height else {}
    for name in ("d_target", "retain", "coherence"):
        values = healed[name]
        if values.len() and not values.null_count():  # no mean over those seeds alone that could be read
            figures |= {name: values.mean(), f"{name}_sd": values.std()}
    gate = next((gate for gate in run.gates(best) if gate.gate == 3), None)
    return figures | {"verdict": f"{gate.outcome} ({gate.colour})" if gate else None}
