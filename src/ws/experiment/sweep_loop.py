"""`ws.sweep`: every arm of a grid as a run in one folder, one after the other; what arms share is computed once.

    found = ws.sweep("grid.toml", out="out")     # the same call goes on where one was stopped
    found.table                                  # ws.runs.sweeps

All arms are looked at before the first begins (`check_arms`): the grid, what needs no model, and with each model what
only it knows. A run takes a stage from any other run under the same `out` whose stage had the same inputs, so arms
need no order for that; they are ordered by model, so that each is loaded once. An arm whose run ends with a message of
its own (no coherent dose, too few texts kept) is recorded as failed, and the others go on.
"""

from __future__ import annotations

import dataclasses
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ws.errors import UserError
from ws.experiment.estimate import minutes, sweep_estimate
from ws.experiment.findings import Finding
from ws.experiment.identity import load_configured
from ws.experiment.inputs import axis_of
from ws.experiment.loop import run
from ws.experiment.preflight import before_loading
from ws.experiment.preflight_model import with_model
from ws.experiment.progress import Event, Listener, say
from ws.files import Unwritable, folder_lock
from ws.models.lm import LM
from ws.runs.config import RunConfig, to_dict
from ws.runs.environment import environment
from ws.runs.grid import SweepArm, arms_of, read_grid
from ws.runs.sweeps import Sweep, open_sweep, run_of, sweep_folder, write_sweep
from ws.runs.writer import now

__all__ = ["Models", "check_arms", "sweep"]

LOADED = ("model", "device", "dtype", "quantize", "template")
"""Settings that say which weights are loaded, and how."""
OURS = "Wait for it or stop it: the same command goes on from what it has finished."


def sweep(
    grid: str | Path | Mapping[str, Any],
    on_progress: Listener | None = None,
    *,
    out: str | Path = "out",
    lm: LM | None = None,
    cancel: threading.Event | None = None,
    workers: int = 1,
) -> Sweep:
    """Run every arm of a grid: a TOML file, or its tables as a mapping. Finished runs are returned, others go on.

    on_progress gets events that name their arm. lm: a model that is loaded already, for all arms. cancel, workers: as
    in `ws.run`. UserError: what `arms_of` and `check_arms` refuse, before anything is written; a full disk; another
    process that writes this sweep.
    """
    arms = arms_of(read_grid(grid) if isinstance(grid, str | Path) else grid)
    out, models = Path(out), Models(lm)
    told = check_arms(arms, out, models, workers)
    folder = sweep_folder(out, Path(grid).stem if isinstance(grid, str | Path) else "sweep", arms)
    with folder_lock(folder, "sweep", way=OURS):
        for line in [*told, sweep_estimate([arm.config for arm in arms], workers)]:
            if line:
                say(on_progress, line)
        _Arms(folder, arms, on_progress, out).play(models, cancel, workers)
    return open_sweep(folder)


class Models:
    """Loads the model of a configuration; the last one stays, so that arms of one model load it once."""

    def __init__(self, given: LM | None = None) -> None:
        self.given, self.which, self.lm = given, (), given

    def of(self, config: RunConfig) -> LM:
        """The model that was given, or the configuration's own."""
        which = tuple(getattr(config, name) for name in LOADED)
        if self.lm is None or (self.given is None and which != self.which):
            self.lm = None  # before the next one needs the memory
            self.lm, self.which = load_configured(config), which
        return self.lm


def check_arms(arms: Sequence[SweepArm], out: Path, models: Models, workers: int = 1) -> list[str]:
    """What the pre-flight says of every arm: the doubts, a line each. UserError with all that is refused, by row.

    Loads each model once, where nothing is refused before.
    """
    known = () if models.given is None else (models.given.recipe, models.given.name)
    found = {arm.name: before_loading(arm.config, out, *known) for arm in arms}
    _refuse(arms, found)
    for arm in _by_model(arms):
        lm = models.of(arm.config)
        found[arm.name] += with_model(lm, axis_of(arm.config, lm.recipe, lm.name), arm.config, out, workers)
    _refuse(arms, found)
    return _together(arms, found, "warn")


def _refuse(arms: Sequence[SweepArm], found: Mapping[str, Sequence[Finding]]) -> None:
    if refused := _together(arms, found, "refused"):
        raise UserError("\n".join(refused))


def _together(arms: Sequence[SweepArm], found: Mapping[str, Sequence[Finding]], state: str) -> list[str]:
    """What was said of arms in this state, a line for all of whom it was said."""
    said: dict[str, list[str]] = {}
    for arm in arms:
        for one in found[arm.name]:
            if one.state == state:
                said.setdefault(one.said, []).append(arm.place)
    every = len(arms)
    return [f"{'all arms' if len(places) == every else ', '.join(places)}: {text}" for text, places in said.items()]


def _by_model(arms: Sequence[SweepArm]) -> list[SweepArm]:
    """The arms, those of one model behind each other, else in their order."""
    groups: dict[tuple[Any, ...], list[SweepArm]] = {}
    for arm in arms:
        groups.setdefault(tuple(getattr(arm.config, name) for name in LOADED), []).append(arm)
    return [arm for group in groups.values() for arm in group]


class _Arms:
    """A sweep being written: its record, and the clock of its progress."""

    def __init__(self, folder: Path, arms: Sequence[SweepArm], listen: Listener | None, out: Path) -> None:
        self.folder, self.arms, self.listen, self.out = folder, arms, listen, out
        self.took: list[float] = []
        made, before = environment(), _before(folder)
        self.record = {
            "started": before.get("started", now()),
            **{name: made[name] for name in ("commit", "argv")},
            "arms": [_entry(arm, known) for arm, known in zip(arms, before.get("arms", [{}] * len(arms)), strict=True)],
        }
        self.store()

    def store(self) -> None:
        write_sweep(self.folder, self.record | {"updated": now()})

    def play(self, models: Models, cancel: threading.Event | None, workers: int) -> None:
        """Every arm, those of one model behind each other."""
        for number, arm in enumerate(_by_model(self.arms), start=1):
            self.play_one(number, arm, models.of(arm.config), cancel, workers)

    def play_one(
        self, number: int, arm: SweepArm, lm: LM, cancel: threading.Event | None, workers: int
    ) -> None:
        """One run, recorded before and after."""
        entry = self.record["arms"][self.arms.index(arm)]
        say(self.listen, f"Arm {number} of {len(self.arms)}, {arm.name}{self.left(number)}")
        entry |= {"state": "running", "said": None, "run": None}
        self.store()
        began = time.time()
        try:
            done = run(arm.config, self.heard(arm), out=self.out, lm=lm, cancel=cancel, workers=workers)
            entry |= {"state": "finished", "run": done.path.name}
            if (done.path / "status.json").stat().st_mtime >= began:  # not of one that was finished before
                self.took.append(time.time() - began)
        except Unwritable:
            raise  # the disk is full: no other arm could be stored either
        except UserError as error:
            entry |= {"state": "failed", "run": run_of(self.out, entry["config"]), "said": str(error)}
            say(self.listen, f"{arm.name}: {error}")
        self.store()

    def heard(self, arm: SweepArm) -> Listener:
        """The listener of one arm's run: its events say whose they are."""

        def listen(event: Event) -> None:
            if self.listen is not None:
                self.listen(dataclasses.replace(event, arm=arm.name))

        return listen

    def left(self, number: int) -> str:
        """How long the others may take; the first that was computed has what all share, and is no measure of them."""
        if not (measured := self.took[1:]):
            return "."
        rest = (len(self.arms) - number + 1) * sum(measured) / len(measured)
        return f" (about {minutes(rest)} left, by the arms before it)."


def _before(folder: Path) -> dict[str, Any]:
    """The record of the same arms that was stopped before; empty where there is none, or it is damaged."""
    try:
        return open_sweep(folder).record
    except UserError:
        return {}


def _entry(arm: SweepArm, before: Mapping[str, Any]) -> dict[str, Any]:
    """An arm in the record; one that was stopped waits again."""
    state = before.get("state", "waiting")
    known = {name: before.get(name) for name in ("run", "said")} | {"state": "waiting" if state == "running" else state}
    return {"name": arm.name, "varied": arm.varied, "config": to_dict(arm.config)} | known
