"""Writes a run's folder: found again by its key, held under a lock, filled stage by stage.

A finished stage is reused when its key (inputs, weights, upstream keys, stage version) and the checksums of its files
still hold; otherwise it is computed again. A damaged file is named and moved aside, never half-read.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from ws import __version__
from ws.errors import UserError
from ws.files import checksum, digest, folder_lock, read_json, sweep_temporaries, write_atomic, write_json
from ws.runs.artifacts import load, save
from ws.runs.config import RunConfig, to_dict
from ws.runs.environment import environment
from ws.runs.reader import FORMAT, check_format, folder_status
from ws.runs.whole import RECORDS, read_status, records_of, write_status

__all__ = ["FinishedFolder", "Outdated", "RunFolder", "find_run", "finished_folder", "open_for_writing", "run_key"]

Say = Callable[[str], None]
RECORDED = ("status.json", "config.json")
"""Files that a run's folder begins with; either of them makes it one."""


def run_key(config: RunConfig, identity: dict[str, Any]) -> str:
    """10 hex characters naming one experiment: the whole configuration, and what it ran on (weights, axis, threads)."""
    return digest([to_dict(config), identity], 10)


def find_run(out: Path, key: str) -> Path | None:
    """The newest run folder of this key under `out`/runs, or None."""
    found = sorted(p for p in (out / "runs").glob(f"*-{key}") if any((p / name).exists() for name in RECORDED))
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
            self.write_status(state="running", stage=name)
            began = time.monotonic(), time.process_time()
            values = compute()
            for place, value in zip(places, values, strict=True):
                save(place, value)
            self._finish(name, key, places, time.monotonic() - began[0], time.process_time() - began[1])
        return tuple(load(place) for place in places)

    @property
    def finished(self) -> bool:
        return self.status.get("state") == "finished"

    def key(self, name: str) -> str:
        """The key of a finished stage, for the inputs of those after it."""
        return str(self.status["stages"][name]["key"])

    def _intact(self, name: str, key: str, places: list[Path]) -> bool:
        """Whether the stage is stored and whole. A damaged file is named and moved aside."""
        done = self.status["stages"].get(name)
        if done is None or done["key"] != key:
            return False
        bad = [p for p in places if _differs(p, done["files"].get(p.name))]
        for place in bad:
            self.say(f"{place} is {_set_aside(place)}; computing {name} again.")
        return not bad

    def _borrow(self, name: str, key: str, places: list[Path]) -> bool:
        """Copy the stage from another run that has computed the very same one."""
        for folder in self.reuse_from:
            done = folder_status(folder)["stages"].get(name)
            sources = [folder / p.relative_to(self.path) for p in places]
            if not done or done["key"] != key:
                continue
            if any(_differs(s, done["files"].get(s.name)) for s in sources):
                continue
            for source, place in zip(sources, places, strict=True):
                write_atomic(place, lambda tmp, source=source: _copy(source, tmp))  # type: ignore[misc]
            self.say(f"{name}: taken from {folder.name}, same inputs.")
            self._finish(name, key, places, 0.0, 0.0, {"taken_from": folder.name})
            return True
        return False

    def _finish(
        self, name: str, key: str, places: list[Path], seconds: float, cpu: float, more: dict[str, str] | None = None
    ) -> None:
        files = {p.name: checksum(p) for p in places}
        took = {"seconds": round(seconds, 3), "cpu": round(cpu, 3)}
        self.status["stages"][name] = {"key": key, "files": files} | took | (more or {})
        self.write_status()

    def take(self, stages: dict[str, Any]) -> None:
        """Record stages that another process of this run has finished."""
        self.status["stages"] |= stages
        self.write_status()

    def keep(self, name: str, values: Any) -> None:
        """Store one of RECORDS; the record's next version holds its checksum."""
        write_json(self.path / name, values)
        self.status.setdefault("records", {})[name] = checksum(self.path / name)

    def write_status(self, **changes: Any) -> None:
        """Change the record and store it."""
        self.status |= changes | {"updated": now()}
        write_status(self.path, self.status)

    def close(self, state: str, **extra: Any) -> None:
        """Record how it ended: finished (when first), interrupted or failed."""
        if state == "finished":
            self.status.setdefault("finished", now())
            extra["records"] = records_of(self.path)
        self.write_status(state=state, **extra)


class Outdated(Exception):
    """A finished run is not, or not any more, what its settings would leave now."""


class FinishedFolder(RunFolder):
    """A finished run's folder that is only looked at. Outdated where a stage would be computed again."""

    def _intact(self, name: str, key: str, places: list[Path]) -> bool:
        done = self.status["stages"].get(name)
        if done is None or done["key"] != key or any(_differs(p, done["files"].get(p.name)) for p in places):
            raise Outdated(name)
        return True


def finished_folder(out: Path, config: RunConfig, identity: dict[str, Any]) -> FinishedFolder | None:
    """The finished run of these settings, its records whole, to be returned as it is; None where there is none.

    Nothing is locked or written: the folder may be one that nobody can write to.
    """
    found = find_run(out, run_key(config, identity))
    status = {} if found is None else folder_status(found)
    if found is None or status.get("state") != "finished" or status.get("format", FORMAT) != FORMAT:
        return None
    known = status.get("records", {})  # none in a run of an earlier version
    if any(not (found / name).exists() or (name in known and _differs(found / name, known[name])) for name in RECORDS):
        return None
    try:
        same = read_json(found / "config.json") == to_dict(config)
    except UserError:
        same = False
    return FinishedFolder(found, status, lambda _: None) if same else None


def _differs(place: Path, known: str | None) -> bool:
    return not place.exists() or checksum(place) != known


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


def _new_status() -> dict[str, Any]:
    return {"format": FORMAT, "version": __version__, "state": "running", "started": now(), "stages": {}}


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
    write_status(path, _new_status())  # first: who sees a configuration finds its record beside it
    write_json(path / "config.json", to_dict(config))
    return path


@contextmanager
def open_for_writing(
    out: Path,
    config: RunConfig,
    identity: dict[str, Any],
    facts: dict[str, Any] | None = None,
    *,
    new: bool = False,
    say: Say = print,
) -> Iterator[RunFolder]:
    """The run's folder under its lock: found again by its key, or made. Damaged records are set aside and rebuilt.

    facts: what env.json says beside the identity; no part of the key.

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
        known = status.pop("records", {})
        folder.write_status()  # no record holds the files beside the stages' until they are written again
        env = path / "env.json"
        if folder.finished and env.exists() and known.get("env.json") in (None, checksum(env)):
            folder.status["records"] = {"env.json": checksum(env)}  # where it was first computed
        else:
            folder.keep("env.json", environment() | identity | (facts or {}))
        folder.keep("config.json", to_dict(config))
        yield folder


def _recover_status(path: Path, config: RunConfig, say: Say) -> dict[str, Any]:
    """status.json of a folder about to be written; a damaged one is set aside, as is a damaged config.json."""
    try:
        status = read_status(path)
    except UserError:
        say(f"{path / 'status.json'} is {_set_aside(path / 'status.json')}; its stages are computed again.")
        status = _new_status()
    check_format(path, status)
    try:
        same = read_json(path / "config.json") == to_dict(config)
    except UserError:
        same = False
    if not same:
        say(f"{path / 'config.json'} is {_set_aside(path / 'config.json')}; writing it again.")
    return dict(status)
