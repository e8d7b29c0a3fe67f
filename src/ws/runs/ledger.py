"""The ledger out/results.tsv: one line per finished run, fixed columns, safe for several processes at once."""

from __future__ import annotations

import os
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import polars as pl

from ws.errors import UserError
from ws.files import folder_lock, writing

COLUMNS = (
    "time", "run", "axis", "model", "method", "seeds", "rounds", "best_round", "c", "d_target", "low", "high",
    "coherence", "p_ans_any", "coh_text", "generated", "kept", "beta", "healed_d_target", "retain", "healed_coherence",
    "gates", "seconds", "commit", "argv",
)  # fmt: skip


def append_result(out: Path, row: dict[str, Any]) -> None:
    """Append one line, once per run. A ledger with other columns is set aside under a dated name, never mixed into.

    UserError when it cannot be written.
    """
    unknown = set(row) - set(COLUMNS)
    if unknown:
        raise ValueError(f"the ledger has no column {sorted(unknown)}")
    path = out / "results.tsv"
    with folder_lock(out, "ledger", wait=True):
        _check_header(path)
        if Path(row["run"]).name not in _runs(path):
            _append_line(path, "\t".join(_cell(row.get(c)) for c in COLUMNS))


def _check_header(path: Path) -> None:
    if path.exists():
        with path.open(encoding="utf-8") as file:
            header = file.readline().rstrip("\n")
        if header == "\t".join(COLUMNS):
            return
        path.rename(path.with_name(f"results.{datetime.now(UTC):%Y%m%dT%H%M%S%f}.tsv"))
    _append_line(path, "\t".join(COLUMNS))


def _runs(path: Path) -> set[str]:
    """The folders' names: one run may be told by several paths."""
    index = COLUMNS.index("run")
    lines = path.read_text(encoding="utf-8").splitlines()[1:]
    return {Path(cells[index]).name for cells in (line.split("\t") for line in lines) if len(cells) > index}


def _append_line(path: Path, line: str) -> None:
    """One write and one fsync; a write that does not fit on the disk is taken back."""
    with writing(path), path.open("ab") as file:
        size = file.seek(0, os.SEEK_END)
        try:
            file.write((line + "\n").encode())
            file.flush()
            os.fsync(file.fileno())
        except OSError:
            os.truncate(path, size)
            raise


def _cell(value: Any) -> str:
    if value is None:
        return ""
    text = f"{value:.6g}" if isinstance(value, float) else str(value)
    return text.replace("\t", " ").replace("\r", " ").replace("\n", " ")


def read_results(out: Path) -> pl.DataFrame:
    """The ledger as a frame of strings. UserError when there is none."""
    path = out / "results.tsv"
    if not path.exists():
        raise UserError(f"There is no {path} yet: it gets a line when a run finishes. `ws run` makes one.")
    try:
        return pl.read_csv(path, separator="\t", infer_schema=False, quote_char=None)
    except (pl.exceptions.PolarsError, pl.exceptions.PanicException, UnicodeDecodeError) as error:
        way = "Move it aside: the next run that finishes begins a new one."
        raise UserError(f"{path} is damaged ({error}). {way}") from error

