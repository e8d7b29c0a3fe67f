"""A copy of the example run whose every text is an attack."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import polars as pl

from tests.builders.hostile import HOSTILE
from tests.builders.records import record_changes
from ws.experiment.examples import EXAMPLE
from ws.files import read_json, write_frame, write_json


def plant(path: Path) -> None:
    """A copy of the example whose every text is hostile."""
    shutil.copytree(EXAMPLE, path)
    for name in ("grid", "completions"):
        file = path / "rounds/0" / f"{name}.parquet"
        write_frame(file, pl.read_parquet(file).with_columns(text=pl.lit(HOSTILE), prompt=pl.lit(HOSTILE)))
    file = path / "rounds/0/eval.parquet"
    reports = pl.read_parquet(file)
    texts = [[t | {"text": HOSTILE, "prompt": HOSTILE} for t in row] for row in reports["text"].to_list()]
    write_frame(file, reports.with_columns(text=pl.Series(texts, dtype=reports.schema["text"])))
    axis = read_json(path / "axis.json")
    write_json(path / "axis.json", axis | {"name": HOSTILE, "probes": [HOSTILE]})
    write_json(path / "rounds/0/notes.json", {"1": HOSTILE})
    gates = (path / "rounds/0/gates.json").read_text()
    write_json(path / "rounds/0/gates.json", json.loads(gates.replace("65 rows each", json.dumps(HOSTILE)[1:-1])))
    record_changes(path)
