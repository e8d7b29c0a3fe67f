"""The ledger out/results.tsv: one line per finished run, fixed columns, safe for several processes at once.

A ledger of an earlier version, with fewer columns, is read with empty cells for those that it lacks, and gets them when
the next run is appended.
"""

from __future__ import annotations

import os
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, BinaryIO

import polars as pl

from ws.errors import UserError
from ws.files import digest, folder_lock, write_text, writing

COLUMNS = (
    "time", "run", "axis", "model", "method", "seeds", "rounds", "best_round", "c", "d_target", "low", "high",
    "coherence", "p_ans_any", "coh_text", "generated", "kept", "beta", "healed_d_target", "retain", "healed_coherence",
    "gates", "seconds", "commit", "argv", "adapter", "barrier", "tau", "aggregate", "reference", "sampling", "kl",
)  # fmt: skip


ASIDE = "Move it aside: the next run that finishes begins a new one."
LINE = "Delete that line; the run's own folder, which `ws show` reads, has its numbers."
CHECK = "check"
"""The last column of the file: a checksum of the line's other cells."""
HEAD = [*COLUMNS, CHECK]


def append_result(out: Path, row: dict[str, Any]) -> None:
    """Append one line, once per run. A ledger with columns that this version does not know is set aside under a dated
    name, never mixed into; one of an earlier version is carried over.

    UserError when it cannot be written.
    """
    unknown = set(row) - set(COLUMNS)
    if unknown:
        raise ValueError(f"the ledger has no column {sorted(unknown)}")
    path = out / "results.tsv"
    with folder_lock(out, "ledger", wait=True):
        _check_header(path)
        if Path(row["run"]).name not in _runs(path):
            _append_line(path, _line([_cell(row.get(c)) for c in COLUMNS]))


def _check_header(path: Path) -> None:
    """Let the file be there with this version's columns."""
    if not path.exists():
        _append_line(path, "\t".join(HEAD))
        return
    head, *lines = _lines(path)
    if head == HEAD:
        return
    if _known(head):
        # a line that is not the one that was written stays as it is, for the reader to be told
        carried = [_line(_cells(head, cells)) if _whole(head, cells) else "\t".join(cells) for cells in lines]
        write_text(path, "\n".join(["\t".join(HEAD), *carried]) + "\n")
    else:
        path.rename(path.with_name(f"results.{datetime.now(UTC):%Y%m%dT%H%M%S%f}.tsv"))
        _append_line(path, "\t".join(HEAD))


def _known(head: list[str]) -> bool:
    """Whether a first line is this version's or an earlier one's: known columns, each once, with or without CHECK."""
    names = head[:-1] if head[-1:] == [CHECK] else head
    return names[:2] == list(COLUMNS[:2]) and set(names) <= set(COLUMNS) and len(set(names)) == len(names)


def _whole(head: list[str], cells: list[str]) -> bool:
    """Whether a line is the one that was written, as far as it says."""
    return len(cells) == len(head) and (head[-1] != CHECK or cells == _line(cells[:-1]).split("\t"))


def _cells(head: list[str], cells: list[str]) -> list[str]:
    """A line's cells in the order of COLUMNS; empty for a column that its version did not have."""
    told = dict(zip(head, cells, strict=True))
    return [told.get(name, "") for name in COLUMNS]


def _line(cells: list[str]) -> str:
    return "\t".join([*cells, digest(cells, 8)])


def _lines(path: Path) -> list[list[str]]:
    """Cells, line by line; the first line is the head. UserError where the file is no text."""
    try:
        text = path.read_bytes().decode("utf-8")
    except UnicodeDecodeError as error:
        raise UserError(f"{path} is damaged ({error}). {ASIDE}") from error
    return [line.split("\t") for line in text.removesuffix("\n").split("\n")]


def _runs(path: Path) -> set[str]:
    """The folders' names: one run may be told by several paths."""
    index = COLUMNS.index("run")
    return {Path(cells[index]).name for cells in _lines(path)[1:] if len(cells) > index}


def _append_line(path: Path, line: str) -> None:
    """One write and one fsync; a write that does not fit on the disk is taken back."""
    with writing(path), path.open("a+b") as file:
        size = file.seek(0, os.SEEK_END)
        try:
            file.write((_ended(file, size) + line + "\n").encode())
            file.flush()
            os.fsync(file.fileno())
        except OSError:
            os.truncate(path, size)
            raise


def _ended(file: BinaryIO, size: int) -> str:
    """What ends the line before, where it is cut or was written by hand."""
    file.seek(max(0, size - 1))
    return "" if file.read(1) in (b"", b"\n") else "\n"


def _cell(value: Any) -> str:
    if value is None:
        return ""
    text = f"{value:.6g}" if isinstance(value, float) else str(value)
    return text.replace("\t", " ").replace("\r", " ").replace("\n", " ")


def read_results(out: Path) -> pl.DataFrame:
    """The ledger as a frame of strings, COLUMNS; null for an empty cell. UserError when there is none, or a line is not
    the one that was written."""
    path = out / "results.tsv"
    if not path.exists():
        raise UserError(f"There is no {path} yet: it gets a line when a run finishes. `ws run` makes one.")
    head, *lines = _lines(path)
    if not _known(head):
        raise UserError(f"{path} is damaged, or of another version: its first line is not this version's. {ASIDE}")
    for number, cells in enumerate(lines, start=2):
        if not _whole(head, cells):
            raise UserError(f"{path} is damaged: line {number} is not what was written. {LINE}")
    return pl.DataFrame([[cell or None for cell in _cells(head, cells)] for cells in lines],
                        schema=dict.fromkeys(COLUMNS, pl.String), orient="row")  # fmt: skip
