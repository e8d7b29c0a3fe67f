"""Whether a run's files are the ones that its record names: a damaged or missing one is said, never read.

    check_whole(folder, "rounds/0/arms.parquet", status)      # UserError
    record_again(folder)                                      # a copy that was cut: its record of what is left

status.json holds the checksum of every file of every finished stage and, of a finished run, of its other records. A
parquet or safetensors file with one flipped bit can be read, as other numbers.
"""

from __future__ import annotations

import fcntl
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ws.errors import UserError
from ws.files import checksum, read_sealed, sealed, write_json

__all__ = ["RECORDS", "check_beside", "check_in_run", "check_whole", "read_status", "record_again", "recorded",
           "records_of", "seal_folder", "write_status"]  # fmt: skip

RECORDS = ("config.json", "axis.json", "env.json", "summary.json")
"""Files beside the stages' that do not change once a run has finished."""
AGAIN = "Run the same `ws run` command again"
VARIANTS = "rounds/*/stops/*/heal.json"
"""Heads of the folders of variants (ws.runs.heal_variants)."""


def write_status(folder: Path, status: Mapping[str, Any]) -> None:
    """Store the record, sealed with its own checksum."""
    write_json(folder / "status.json", sealed(status))


def read_status(folder: Path) -> dict[str, Any]:
    """The record of a run. UserError where it is missing, damaged or not what was written."""
    path = folder / "status.json"
    found = read_sealed(path, f"{AGAIN}: it computes what it cannot find.")
    if not isinstance(found.get("stages", {}), dict):
        raise UserError(f"{path} is damaged. {AGAIN}: it computes what it cannot find.")
    return {"stages": {}} | found


def recorded(status: Mapping[str, Any]) -> dict[str, str]:
    """Checksums by the file's place in the folder."""
    found = dict(status.get("records", {}))
    for name, stage in status["stages"].items():
        folder = f"rounds/{name.rsplit('/', 1)[0]}"
        found |= {f"{folder}/{file}": sum_ for file, sum_ in stage.get("files", {}).items()}
    return found


def records_of(folder: Path) -> dict[str, str]:
    """Checksums of the folder's RECORDS, of those that are there."""
    return {name: checksum(folder / name) for name in RECORDS if (folder / name).exists()}


def check_whole(folder: Path, name: str, status: Mapping[str, Any]) -> None:
    """UserError where the record holds the file and it is missing or another. status: as it was read before; where it
    does not agree it is read anew, and a folder that is being written is in nobody's record yet."""
    if _agrees(folder, name, status):
        return
    if _agrees(folder, name, read_status(folder)) or _being_written(folder):
        return
    raise UserError(f"{folder / name} is {_wrong(folder / name)}. {AGAIN} to recompute it.")


def _wrong(path: Path) -> str:
    return "damaged (its bytes are not the recorded ones)" if path.exists() else "missing"


def check_in_run(path: Path) -> Path:
    """`check_whole` for a file that is named by its own path: where it lies in a run, that run's record holds it."""
    for folder in path.absolute().parents[:4]:
        if (folder / "status.json").exists() and (folder / "rounds").is_dir():
            check_whole(folder, str(path.absolute().relative_to(folder)), read_status(folder))
    return path


def seal_folder(head: Path) -> None:
    """Let a folder's JSON file `head` hold the checksums of what lies beside it, and its own."""
    others = {path.name: checksum(path) for path in sorted(head.parent.iterdir()) if path != head}
    write_json(head, sealed(read_sealed(head, "") | {"files": others}))


def check_beside(head: Path, values: Mapping[str, Any], name: str, way: str) -> Path:
    """A file beside `head`, which holds its checksum among its values; a head of an earlier version holds none.
    UserError with `way` where the file is missing or another."""
    path, wanted = head.parent / name, values.get("files", {}).get(name)
    if wanted is not None and not (path.exists() and checksum(path) == wanted):
        raise UserError(f"{path} is {_wrong(path)}. {way}")
    return path


def _agrees(folder: Path, name: str, status: Mapping[str, Any]) -> bool:
    wanted = recorded(status).get(name)
    return wanted is None or ((folder / name).exists() and checksum(folder / name) == wanted)


def _being_written(folder: Path) -> bool:
    """Whether a process holds the folder's lock, this one included."""
    try:
        with (folder / ".lock").open("rb") as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except FileNotFoundError:
        return False
    except BlockingIOError:
        return True
    return False


def record_again(folder: Path) -> None:
    """Make the record of a copy say what the copy holds: stages keep their keys and the files that are still there,
    variants theirs."""
    status = read_status(folder)
    for name, stage in status["stages"].items():
        places = {file: folder / "rounds" / name.rsplit("/", 1)[0] / file for file in stage["files"]}
        stage["files"] = {file: checksum(place) for file, place in places.items() if place.exists()}
    if "records" in status:
        status["records"] = records_of(folder)
    write_status(folder, status)
    for head in sorted(folder.glob(VARIANTS)):
        seal_folder(head)
