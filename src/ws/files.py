"""Reads and writes files whole or not at all: temporary name, fsync, rename; checksums; one writer per folder.

Everything that a run leaves behind goes through `write_atomic`. A reader sees the old file or the new one, never half.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import hashlib
import json
import os
import re
import shutil
import socket
import tempfile
from collections.abc import Callable, Container, Iterator, Mapping
from pathlib import Path
from typing import Any

import polars as pl

from ws.errors import UserError

FULL = (errno.ENOSPC, errno.EDQUOT)
WAYS = {
    errno.EFBIG: "Raise the limit on file sizes (ulimit -f) and run the same command.",
    **dict.fromkeys(
        (errno.EROFS, errno.EACCES, errno.EPERM), "Name a folder that you may write, or make this one writable."
    ),
}
"""What to do about a refusal of the file system."""
TEMPORARY = ".tmp-"
ANOTHER = "Wait for it, stop it, or start a separate one with --new."
"""What to do about a folder that another process writes."""
SEAL = "seal"
"""Where a file holds the checksum of its own content."""


class Unwritable(UserError):
    """A file system refused a write."""


def digest(value: Any, length: int = 16) -> str:
    """`length` hex characters of sha256 over the canonical JSON of `value` (plain types, tuples as lists)."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:length]


def checksum(path: Path) -> str:
    """16 hex characters of sha256 over a file's bytes, or over the names and bytes of a folder's files."""
    h = hashlib.sha256()
    for file in sorted(p for p in path.rglob("*") if p.is_file()) if path.is_dir() else [path]:
        h.update(str(file.relative_to(path)).encode() if path.is_dir() else b"")
        with file.open("rb") as f:
            while block := f.read(1 << 20):
                h.update(block)
    return h.hexdigest()[:16]


def write_atomic(path: Path, write: Callable[[Path], object]) -> None:
    """Let `write` make a file or folder under a temporary name, then put it in place of `path` in one step.

    UserError when it cannot be written; the temporary is removed and what was at `path` is untouched. What a killed
    writer of the same `path` left is removed, too.
    """
    temporary = temporary_of(path)
    with writing(path):
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            _sweep_dead(path)
            write(temporary)
            _fsync(temporary)
            _replace(temporary, path)
        except BaseException:
            with contextlib.suppress(OSError):  # where nothing can be written nothing can be removed, and is not there
                _remove(temporary)
            raise


def temporary_of(path: Path, what: str = "") -> Path:
    """Where this process prepares what is to stand at `path`: beside it, under its own number and the machine's name.
    """
    return path.parent / f"{TEMPORARY}{os.getpid()}{_behind_number(path, what)}"


def _behind_number(path: Path, what: str = "") -> str:
    return f"@{socket.gethostname()}-{what}{path.name}"


def _sweep_dead(path: Path) -> None:
    """Remove what this machine's writers of `path` left that are gone; a living one's is its own, but for ours."""
    for what in ("", "old-"):
        end = _behind_number(path, what)
        for entry in os.scandir(path.parent):
            number = entry.name.removeprefix(TEMPORARY).removesuffix(end)
            if entry.name == f"{TEMPORARY}{number}{end}" and number.isdecimal() and _ended(int(number)):
                _remove(Path(entry.path))


def _ended(number: int) -> bool:
    """Whether no other process has this number; what bears our own is from one that had it before."""
    if number == os.getpid():
        return True
    try:
        os.kill(number, 0)
    except ProcessLookupError:
        return True
    except PermissionError:  # somebody else's
        return False
    return False


@contextlib.contextmanager
def writing(path: Path) -> Iterator[None]:
    """What a file system refuses inside, as a UserError that names `path`, the reason and the way out."""
    try:
        yield
    except Exception as error:
        code = _refusal(error)
        if code is None:
            raise
        raise _unwritable(path, code) from error


def check_writable(folder: Path) -> Path:
    """UserError where nothing can be written to a folder, there or still to be made; nothing is left behind.

    Gives the folder that is there: itself, or the nearest above it.
    """
    there = next(place for place in (folder.absolute(), *folder.absolute().parents) if place.exists())
    with writing(folder), tempfile.TemporaryFile(dir=there) as file:
        file.write(bytes(4096))
        file.flush()
    return there


def _refusal(error: Exception) -> int | None:
    """The number of the system's error, also of one that a library tells as text ("... (os error 28)"); else None."""
    if isinstance(error, UserError):
        return None
    if isinstance(error, OSError) and error.errno is not None:
        return None if error.errno == errno.ENOENT else error.errno  # what was to be read is missing: no refusal
    told = re.search(r"\(os error (\d+)\)", str(error))
    return int(told.group(1)) if told else None


def _unwritable(path: Path, code: int) -> Unwritable:
    if code in FULL:
        with contextlib.suppress(OSError):
            free = shutil.disk_usage(path.parent if path.parent.exists() else Path(".")).free / 2**20
            return Unwritable(
                f"The disk is full: {path} could not be written ({free:.0f} MiB free). Nothing half written was left. "
                "Free some space and run the same command: it goes on from the last finished stage."
            )
        return Unwritable(f"The disk is full: {path} could not be written. Free some space and run the same command.")
    way = WAYS.get(code, "Name another folder, or mend this one, and run the same command.")
    return Unwritable(f"{path} could not be written: {os.strerror(code)}. Nothing half written was left. {way}")


def _fsync(path: Path) -> None:
    for file in [*path.rglob("*"), path] if path.is_dir() else [path]:
        _sync_one(file)


def _sync_one(path: Path) -> None:
    fd = os.open(path, os.O_RDONLY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def _replace(temporary: Path, path: Path) -> None:
    """Rename; a folder cannot be renamed over a full one, so the old one steps aside first."""
    old = temporary_of(path, "old-")
    if path.is_dir():
        path.rename(old)
    temporary.replace(path)
    _remove(old)
    _sync_one(path.parent)


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)


def sweep_temporaries(folder: Path, deep: bool = True) -> None:
    """Remove what a killed writer left behind, in all folders below or in this one. Only for the holder of the folder's
    lock."""
    for path in list((folder.rglob if deep else folder.glob)(f"{TEMPORARY}*")):
        _remove(path)


def write_text(path: Path, text: str) -> None:
    write_atomic(path, lambda tmp: tmp.write_text(text, encoding="utf-8"))


def write_json(path: Path, value: Any) -> None:
    write_text(path, json.dumps(value, indent=1, ensure_ascii=False, allow_nan=True) + "\n")


def read_json(path: Path) -> Any:
    """The JSON value in `path`. UserError naming the file when it is missing or damaged."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise UserError(f"{path} is missing. Run the same `ws run` command again to recompute it.") from error
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise UserError(f"{path} is damaged ({error}). Run the same `ws run` command again to recompute it.") from error


def sealed(values: Mapping[str, Any]) -> dict[str, Any]:
    """Plain values with the checksum of their JSON beside them."""
    bare = {name: value for name, value in values.items() if name != SEAL}
    return bare | {SEAL: digest(json.loads(json.dumps(bare)))}


def unsealed(values: Any) -> dict[str, Any] | None:
    """What `sealed` took, None where this is another; without a seal (an earlier version's) they are as they are."""
    if not isinstance(values, dict):
        return None
    bare = {name: value for name, value in values.items() if name != SEAL}
    return bare if values.get(SEAL) in (None, digest(bare)) else None


def read_sealed(path: Path, way: str) -> dict[str, Any]:
    """The values of a JSON file that was written `sealed`. way: what to do where it is damaged, for the UserError."""
    try:
        found = unsealed(json.loads(path.read_text(encoding="utf-8")))
    except FileNotFoundError as error:
        raise UserError(f"{path} is missing. {way}") from error
    except ValueError:
        found = None
    if found is None:
        raise UserError(f"{path} is damaged: it is not what was written. {way}")
    return found


def write_sealed_frame(path: Path, frame: pl.DataFrame) -> None:
    """A frame with the checksum of its rows in the file's metadata; for files that no record names."""
    write_atomic(path, lambda tmp: frame.write_parquet(tmp, metadata={SEAL: _rows_digest(frame)}))


def read_sealed_frame(path: Path, way: str) -> pl.DataFrame:
    """What `write_sealed_frame` wrote, or a frame of an earlier version. way: what to do where it is damaged."""
    try:
        frame, seal = read_frame(path), pl.read_parquet_metadata(path).get(SEAL)
    except (UserError, pl.exceptions.PolarsError, pl.exceptions.PanicException, OSError) as error:
        raise UserError(f"{path} is damaged: it is not what was written. {way}") from error
    if seal not in (None, _rows_digest(frame)):
        raise UserError(f"{path} is damaged: it is not what was written. {way}")
    return frame


def _rows_digest(frame: pl.DataFrame) -> str:
    return digest([str(frame.schema), frame.rows()])


def write_frame(path: Path, frame: pl.DataFrame) -> None:
    write_atomic(path, frame.write_parquet)


def read_frame(path: Path, columns: Container[str] | None = None) -> pl.DataFrame:
    """The polars frame in `path`, of these columns those that it has. UserError naming the file when it is missing or
    damaged."""
    try:
        if columns is None:
            return pl.read_parquet(path)
        return pl.read_parquet(path, columns=[name for name in pl.read_parquet_schema(path) if name in columns])
    except FileNotFoundError as error:
        raise UserError(f"{path} is missing. Run the same `ws run` command again to recompute it.") from error
    except (pl.exceptions.PolarsError, pl.exceptions.PanicException, OSError) as error:  # damage can make polars panic
        raise UserError(f"{path} is damaged ({error}). Run the same `ws run` command again to recompute it.") from error


@contextlib.contextmanager
def folder_lock(folder: Path, what: str = "run", wait: bool = False, way: str = ANOTHER) -> Iterator[None]:
    """Be the folder's only writer. UserError naming the holder's pid when another process writes it, and the way out.

    The kernel drops the lock with its process, so a killed writer never blocks the next one; the pid is for the reader.
    """
    with writing(folder / ".lock"):
        folder.mkdir(parents=True, exist_ok=True)
        lock = (folder / ".lock").open("a+", encoding="utf-8")
    with lock as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        except BlockingIOError as error:
            file.seek(0)
            holder = file.read().strip() or "unknown"
            raise UserError(f"Another process (pid {holder}) is writing the {what} {folder}. {way}") from error
        file.truncate(0)
        file.write(str(os.getpid()))
        file.flush()
        try:
            yield
        finally:
            file.truncate(0)
