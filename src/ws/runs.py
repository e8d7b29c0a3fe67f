"""A run is one folder: what was asked, what came out, and enough to go on after a kill.

    out/runs/<utc>-<axis>-<key>/
        config.json  env.json  status.json  labels.parquet (when somebody labelled)
        rounds/0/{direction.safetensors, dose.parquet, grid.parquet, arms.parquet, eval.parquet, samples.parquet,
                  completions.parquet, adapter/, heal.parquet, gates.json}   rounds/1/...

`RunFolder` writes (one writer at a time), `Run` reads. A finished stage is reused when its key (inputs, weights,
upstream keys, stage version) and the checksums of its files still hold; otherwise it is computed again.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import Any

import polars as pl

from ws import __version__
from ws.config import RunConfig, from_dict, to_dict
from ws.environment import environment
from ws.errors import UserError
from ws.filtering import SCORES, reasons
from ws.gating.frames import Trait
from ws.gating.gate import Gate
from ws.generation import SCHEMA
from ws.storing import (
    checksum,
    digest,
    folder_lock,
    read_frame,
    read_json,
    sweep_temporaries,
    write_atomic,
    write_frame,
    write_json,
)

FORMAT = 1  # of the run folder; another number cannot be read by this version
Say = Callable[[str], None]


def run_key(config: RunConfig, identity: dict[str, Any]) -> str:
    """10 hex characters naming one experiment: the whole configuration, and what it ran on (weights, axis, threads)."""
    return digest([to_dict(config), identity], 10)


def find_run(out: Path, key: str) -> Path | None:
    """The newest run folder of this key under `out`/runs, or None."""
    found = sorted(p for p in (out / "runs").glob(f"*-{key}") if (p / "config.json").exists())
    return found[-1] if found else None


class RunFolder:
    """The writing side of a run's folder, held under its lock. Made by `open_for_writing`."""

    def __init__(self, path: Path, status: dict[str, Any], say: Say) -> None:
        self.path = path
        self.status = status
        self.say = say
        self.reuse_from: list[Path] = []

    def stage(
        self, name: str, version: int, inputs: Any, files: tuple[str, ...], compute: Callable[[], tuple[Any, ...]]
    ) -> tuple[Any, ...]:
        """The values of `files`, read back from disk: stored ones where key and checksums hold, else computed now.

        `name` is "<round>/<stage>"; files lie in rounds/<round>/ and their suffix says how they are written (.parquet a
        frame, .json plain values, .safetensors a Direction, none an Adapter's folder).
        """
        key = digest([name.split("/")[-1], version, inputs])
        places = [self.path / "rounds" / name.rsplit("/", 1)[0] / file for file in files]
        if not self._intact(name, key, places) and not self._borrow(name, key, places):
            self._write_status(state="running", stage=name)
            began = time.monotonic(), time.process_time()
            values = compute()
            for place, value in zip(places, values, strict=True):
                save(place, value)
            self._finish(name, key, places, time.monotonic() - began[0], time.process_time() - began[1])
        return tuple(load(place) for place in places)

    def key(self, name: str) -> str:
        """The key of a finished stage, for the inputs of those after it."""
        return str(self.status["stages"][name]["key"])

    def _intact(self, name: str, key: str, places: list[Path]) -> bool:
        """Whether the stage is stored and whole. A damaged file is named and moved aside."""
        done = self.status["stages"].get(name)
        if done is None or done["key"] != key:
            return False
        bad = [p for p in places if not p.exists() or checksum(p) != done["files"].get(p.name)]
        for place in bad:
            self.say(f"{place} is {_set_aside(place)}; computing {name} again.")
        return not bad

    def _borrow(self, name: str, key: str, places: list[Path]) -> bool:
        """Copy the stage from another run that has computed the very same one."""
        for folder in self.reuse_from:
            done = folder_status(folder)["stages"].get(name)
            sources = [folder / p.relative_to(self.path) for p in places]
            if not done or done["key"] != key or any(not s.exists() for s in sources):
                continue
            if any(checksum(s) != done["files"].get(s.name) for s in sources):
                continue
            for source, place in zip(sources, places, strict=True):
                write_atomic(place, lambda tmp, source=source: _copy(source, tmp))  # type: ignore[misc]
            self.say(f"{name}: taken from {folder.name}, same inputs.")
            self._finish(name, key, places, 0.0, 0.0)
            return True
        return False

    def _finish(self, name: str, key: str, places: list[Path], seconds: float, cpu: float) -> None:
        files = {p.name: checksum(p) for p in places}
        self.status["stages"][name] = {"key": key, "files": files, "seconds": round(seconds, 3), "cpu": round(cpu, 3)}
        self._write_status()

    def _write_status(self, **changes: Any) -> None:
        self.status |= changes | {"updated": now()}
        write_json(self.path / "status.json", self.status)

    def close(self, state: str, **extra: Any) -> None:
        """Record how it ended: finished, interrupted or failed."""
        self._write_status(state=state, **extra)


def save(path: Path, value: Any) -> None:
    """Store a frame, a Direction, an Adapter or plain values under `path`, atomically."""
    if isinstance(value, pl.DataFrame):
        write_frame(path, value)
    elif path.suffix == ".json":
        write_json(path, value)
    else:
        write_atomic(path, value.save)


def load(path: Path) -> Any:
    """What `save` stored under `path`, by its suffix."""
    if path.suffix == ".parquet":
        return read_frame(path)
    if path.suffix == ".json":
        return read_json(path)
    if path.suffix == ".safetensors":
        from ws.steering import Direction

        return Direction.load(path)
    from ws.adapters import Adapter

    return Adapter.load(path)


def _set_aside(place: Path) -> str:
    if not place.exists():
        return "missing"
    aside = place.with_name(f"{place.name}.damaged-{datetime.now(UTC):%Y%m%dT%H%M%S%f}")
    place.rename(aside)
    return f"damaged (moved to {aside.name})"


def _copy(source: Path, target: Path) -> None:
    if source.is_dir():
        shutil.copytree(source, target)
    else:
        shutil.copyfile(source, target)


def now() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def folder_status(path: Path) -> dict[str, Any]:
    """status.json of a run folder, or an empty one when it is missing or damaged (its stages are then unknown)."""
    try:
        status = read_json(path / "status.json")
    except UserError:
        status = {}
    return {"stages": {}} | (status if isinstance(status, dict) else {})


def check_format(path: Path, status: dict[str, Any]) -> None:
    """UserError when the folder was written by a version with another layout."""
    written = status.get("format", FORMAT)
    if written != FORMAT:
        raise UserError(
            f"{path} was written by ws {status.get('version', '?')} (run format {written}); "
            f"this is ws {__version__} (format {FORMAT}). Open it with that version, or start a new run with --new."
        )


def _prepare(out: Path, config: RunConfig, identity: dict[str, Any], new: bool) -> Path:
    """The folder to write: the unfinished or finished one of the same key, or a fresh one."""
    key = run_key(config, identity)
    found = None if new else find_run(out, key)
    if found is not None:
        return found
    while True:
        slug = "".join(ch if ch.isalnum() or ch in "_-" else "-" for ch in Path(config.axis).stem)
        path = out / "runs" / f"{datetime.now(UTC):%Y%m%dT%H%M%SZ}-{slug}-{key}"
        if not path.exists():
            break
        time.sleep(0.2)
    status = {"format": FORMAT, "version": __version__, "state": "running", "started": now(), "stages": {}}
    write_json(path / "config.json", to_dict(config))
    write_json(path / "status.json", status)
    return path


@contextmanager
def open_for_writing(
    out: Path, config: RunConfig, identity: dict[str, Any], *, new: bool = False, say: Say = print
) -> Iterator[RunFolder]:
    """The run's folder under its lock: found again by its key, or made. Damaged records are set aside and rebuilt.

    UserError when another process writes it, or when it is from a version with another layout.
    """
    with folder_lock(out / "runs", "list of runs", wait=True):
        path = _prepare(out, config, identity, new)
    with folder_lock(path):
        sweep_temporaries(path)
        status = _recover_status(path, config, say)
        folder = RunFolder(path, status, say)
        if not new:
            others = sorted((out / "runs").glob("*/status.json"), reverse=True)
            folder.reuse_from = [p.parent for p in others if p.parent != path and folder_status(p.parent)["stages"]]
        if status.get("state") != "finished":
            write_json(path / "env.json", environment() | identity)
        yield folder


def _recover_status(path: Path, config: RunConfig, say: Say) -> dict[str, Any]:
    """status.json of a folder about to be written; damaged config or status files are set aside and written anew."""
    try:
        status = read_json(path / "status.json")
    except UserError:
        say(f"{path / 'status.json'} is {_set_aside(path / 'status.json')}; its stages are computed again.")
        status = {"format": FORMAT, "version": __version__, "state": "running", "started": now(), "stages": {}}
    check_format(path, status)
    try:
        same = read_json(path / "config.json") == to_dict(config)
    except UserError:
        same = False
    if not same:
        say(f"{path / 'config.json'} is {_set_aside(path / 'config.json')}; writing it again.")
        write_json(path / "config.json", to_dict(config))
    return dict(status)


@dataclass(frozen=True)
class Run:
    """The reading side of a run: frames by name and round. Nothing here writes."""

    path: Path

    @cached_property
    def status(self) -> dict[str, Any]:
        return folder_status(self.path)

    @cached_property
    def config(self) -> RunConfig:
        return from_dict(read_json(self.path / "config.json"))

    @cached_property
    def env(self) -> dict[str, Any]:
        return dict(read_json(self.path / "env.json"))

    @property
    def finished(self) -> bool:
        return self.status.get("state") == "finished"

    @property
    def rounds(self) -> int:
        """How many rounds have a judged result."""
        return sum(1 for _ in self.path.glob("rounds/[0-9]*/gates.json"))

    def has(self, file: str, round: int = 0) -> bool:
        return (self.path / "rounds" / str(round) / file).exists()

    def get(self, file: str, round: int = 0) -> Any:
        """A stage's file: "arms.parquet", "adapter", "direction.safetensors", "gates.json" ..."""
        return load(self.path / "rounds" / str(round) / file)

    def frame(self, name: str, round: int = 0) -> pl.DataFrame:
        """A frame by its stem: dose, grid, arms, samples, completions, heal, eval."""
        return read_frame(self.path / "rounds" / str(round) / f"{name}.parquet")

    def arms(self, round: int = 0) -> pl.DataFrame:
        """The table of arms of a round: the report's, or the dose search's where the round ended there."""
        return self.frame("arms" if self.has("arms.parquet", round) else "dose", round)

    def limits(self, round: int = 0) -> dict[str, Any]:
        """The filter's limits of a round, as ws.keep takes them."""
        data = self.config.data
        fixed = {name: getattr(data, name) for name in ("rep", "narrates", "refuses", "finished")}
        return {"tail_ppl": self.get("knee.json", round)["tail_ppl"]} | fixed

    def marked(self, round: int = 0) -> pl.DataFrame:
        """The round's completions, dose grid and training data, with `dropped`: null or the first reason."""
        columns = [*SCHEMA, *SCORES, "grammatical"]
        frames = [self.frame(name, round) for name in ("grid", "completions") if self.has(f"{name}.parquet", round)]
        filled = [
            f.with_columns(pl.lit(None, pl.Float64).alias(c) for c in columns if c not in f.columns) for f in frames
        ]
        return reasons(pl.concat([f.select(columns) for f in filled]), **self.limits(round))

    def gates(self, round: int = 0) -> list[Gate]:
        """The stored verdicts of a round, with the researcher's notes."""
        notes = self.notes(round)
        gates = [Gate.from_dict(values) for values in self.get("gates.json", round)]
        return [gate.with_note(notes.get(str(gate.gate), "")) for gate in gates]

    def notes(self, round: int = 0) -> dict[str, str]:
        """Gate number (as text) -> the researcher's own judgement."""
        return dict(self.get("notes.json", round)) if self.has("notes.json", round) else {}

    def note(self, gate: int, text: str, round: int = 0) -> None:
        """Store the researcher's own judgement of a gate, beside the verdict; an empty text removes it."""
        notes = self.notes(round) | {str(gate): text}
        write_json(self.path / "rounds" / str(round) / "notes.json", {k: v for k, v in notes.items() if v})

    def samples(self, round: int = 0) -> list[tuple[str, pl.DataFrame]]:
        """(title, completions) of everything that was written in a round: doses, report arms, training data."""
        found = []
        for name in ("grid", "completions"):
            texts = self.frame(name, round) if self.has(f"{name}.parquet", round) else pl.DataFrame({"c": []})
            found += [(f"{name}, c {c:+.3g}", part) for (c,), part in texts.group_by("c", maintain_order=True)]
        reports = self.frame("eval", round) if self.has("eval.parquet", round) else pl.DataFrame({"text": []})
        for i in range(reports.height):
            texts = pl.DataFrame(reports["text"][i].to_list())
            if texts.height:
                found.append((f"{reports['arm'][i]}, c {reports['c'][i]:+.3g}", texts))
        return found

    @cached_property
    def axis(self) -> dict[str, Any]:
        """The axis as it was when the run began."""
        return dict(read_json(self.path / "axis.json"))

    @property
    def summary(self) -> dict[str, Any]:
        """What `ws run --json` prints: the best round's steer, heal and gates outside, every round inside."""
        return dict(read_json(self.path / "summary.json"))

    @property
    def best(self) -> int:
        """The round to deliver; 0 until the run has finished."""
        return int(self.status.get("best_round", 0))


@dataclass(frozen=True)
class Facts:
    """The frames and settings that a round's gates are judged from."""

    grid: pl.DataFrame
    arms: pl.DataFrame
    texts: pl.DataFrame | None
    curve: pl.DataFrame | None
    trait: Trait
    beta: float
    min_keep: int
    seeds: int
    notes: dict[str, str]


def read_facts(run: Run, round: int | None = None) -> Facts:
    """What `ws.judge` reads of a run. UserError when the round has no results yet."""
    number = run.best if round is None else round
    if not run.has("dose.parquet", number):
        raise UserError(
            f"Round {number} of {run.path} has nothing to judge yet. Run the same `ws run` command to go on."
        )
    return Facts(
        grid=run.frame("dose", number),
        arms=run.arms(number),
        texts=run.marked(number) if run.has("completions.parquet", number) else None,
        curve=run.frame("heal", number) if run.has("healed.parquet", number) else None,
        trait=Trait(run.axis["target"], dict(run.axis["intended"])),
        beta=float(run.get("heal.json", number)["beta"]) if run.has("heal.json", number) else 0.0,
        min_keep=run.config.heal.min_rows,
        seeds=len(run.config.seeds),
        notes=run.notes(number),
    )


def open_run(path: str | Path) -> Run:
    """Open a run for reading. UserError when the folder is missing, is no run, or is from another version."""
    path = Path(path)
    if not path.is_dir():
        raise UserError(f"There is no run folder {path}. `ws results` lists the runs of this folder.")
    if not (path / "config.json").exists():
        raise UserError(f"{path} is no run: it holds no config.json. A run is a folder under out/runs/.")
    run = Run(path)
    check_format(path, run.status)
    return run


def newest_run(out: Path = Path("out")) -> Path:
    """The newest finished run under `out`, else the newest of any state. UserError when there is none."""
    runs = sorted(p.parent for p in (out / "runs").glob("*/config.json"))
    if not runs:
        raise UserError(f"There is no run under {out}/runs yet. `ws run` makes one.")
    done = [p for p in runs if folder_status(p).get("state") == "finished"]
    return (done or runs)[-1]
