"""A run whose every text is an attack, each place with a marker of its own, so that a test can find it again."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import polars as pl

from tests.builders.records import record_changes
from ws.files import read_json, write_frame, write_json
from ws.runs.reader import Run, open_run

ATTACK = (
    '<script>document.title="owned"</script><iframe srcdoc="&lt;script&gt;top.x=1&lt;/script&gt;"></iframe>'
    '<img src=x onerror="document.title=1"><marimo-table data-data="[]"></marimo-table></td></style>'
    "**bold** [link](javascript:alert(1)) $\\frac{1}{2}$ \\(x\\) `code` | cell | {{ x }}"
)
# every kind of break-out at once, as a viewer or a model could write it; a page that reads it sets window.hit
HOSTILE = (
    '<img src=x onerror="window.hit=1"><script>window.hit=1</script><iframe srcdoc="<script>parent.hit=1</script>">'
    "</iframe><marimo-md></marimo-md> $\\frac{1}{2}$ **bold** \"quoted\" 'single' \u202e"
)
PLACES = ("sample", "prompt", "axis name", "persona", "note", "model", "axis path", "command", "error", "branch")


def attack(place: str) -> str:
    return f"[{place}] {ATTACK}"


def poison(source: Path, to: Path) -> Run:
    """A copy of a run with an attack planted in every place that a text can come from."""
    shutil.copytree(source, to)
    for name in ("grid", "completions", "eval"):
        for file in to.glob(f"rounds/*/{name}.parquet"):
            write_frame(file, _poisoned(pl.read_parquet(file)))
    axis, config = read_json(to / "axis.json"), read_json(to / "config.json")
    axis |= {"name": attack("axis name"), "positive": [attack("persona"), *axis["positive"][1:]]}
    write_json(to / "axis.json", axis)
    write_json(to / "config.json", config | {"model": attack("model"), "axis": attack("axis path")})
    env = read_json(to / "env.json")
    write_json(to / "env.json", env | {"argv": ["ws", attack("command")], "branch": attack("branch")})
    record_changes(to, error=attack("error"))
    run = open_run(to)
    for gate in run.gates(run.best):
        run.note(gate.gate, attack("note"), run.best)
    return open_run(to)


def _poisoned(frame: pl.DataFrame) -> pl.DataFrame:
    if isinstance(frame.schema["text"], pl.List):
        rows = [[_row(row) for row in texts] for texts in frame["text"].to_list()]
        return frame.with_columns(pl.Series("text", rows, dtype=frame.schema["text"]))
    return frame.with_columns(text=pl.lit(attack("sample")), prompt=pl.lit(attack("prompt")))


def _row(row: dict[str, Any]) -> dict[str, Any]:
    return row | {"text": attack("sample"), "prompt": attack("prompt")}
