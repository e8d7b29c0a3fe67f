"""The table of outcomes seen: what it declares exists, and what it says of a run is what the gate said."""

from __future__ import annotations

import importlib.util
import os
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from ws.experiment.examples import EXAMPLE
from ws.gating import filter as filter_table
from ws.gating import heal, instrument, steer
from ws.gating.gate import Gate
from ws.runs.reader import open_run

FILE = Path(__file__).parents[2] / "docs/gates_seen.py"
TABLES: dict[int, Any] = {0: instrument.TABLE, 1: steer.TABLE, 2: filter_table.TABLE, 3: heal.TABLE}


@pytest.fixture
def seen(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> ModuleType:
    """The script as a module, its runs in an empty folder."""
    spec = importlib.util.spec_from_file_location("gates_seen", FILE)
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, "gates_seen", module)
    spec.loader.exec_module(module)
    monkeypatch.setattr(module, "RUNS", tmp_path)
    return module


def gate(outcome: str, also: list[str]) -> Gate:
    return Gate(3, "heal", outcome, also, [(outcome, True, True, "retain 0.02")], "red", None, None, None, "", "")


def test_every_case_names_an_outcome_that_exists(seen: ModuleType) -> None:
    for case in seen.CASES:
        assert case.outcome in {row.outcome for row in TABLES[case.gate]}, case


def test_the_verdict_line_says_where_another_outcome_was_seen(seen: ModuleType) -> None:
    case = next(case for case in seen.CASES if case.outcome == "undo")
    run = SimpleNamespace(status={"state": "failed"})
    assert seen.verdict_line(case, gate("undo", []), run) == "red: undo. retain 0.02\n"
    assert "Not what was expected: undo" in seen.verdict_line(case, gate("heal", []), run)
    assert "Seen beside the verdict" in seen.verdict_line(case, gate("heal", ["undo"]), run)
    assert "ended before this gate: failed" in seen.verdict_line(case, None, run)


def test_a_stored_run_is_read_and_a_missing_one_is_said(seen: ModuleType) -> None:
    case = next(case for case in seen.CASES if (case.gate, case.outcome) == (1, "good knee"))
    text = seen.section(case, open_run(EXAMPLE))
    assert "good knee" in text and text.count('" -> "') == 2 and "d_target" in text
    assert "Not run yet" in seen.section(case, None)
    assert seen.page(seen.CASES, make=False).count("not run yet") == len(seen.CASES)


def test_the_page_is_the_scripts(seen: ModuleType) -> None:
    page = (FILE.parent / "gates_seen.md").read_text("utf-8")
    told = [line.split("|")[1:-1] for line in page.splitlines() if line.startswith("|")][2:]
    lines = [[cell.strip() for cell in row] for row in told]
    assert [[row[0], row[1], row[2], row[4]] for row in lines] == [
        [str(case.gate), case.outcome, case.model, f"`{case.command}`"] for case in seen.CASES
    ]


def test_a_run_is_known_by_what_its_command_printed_or_else_by_its_time(seen: ModuleType, tmp_path: Path) -> None:
    for i, name in enumerate(("a", "b")):
        (tmp_path / "runs" / name).mkdir(parents=True)
        (tmp_path / "runs" / name / "status.json").write_text("{}")
        os.utime(tmp_path / "runs" / name / "status.json", (i, i))
    assert seen.name_of('words\n{"run": "a"}\n') == "a"
    assert seen.name_of("") == seen.name_of("no JSON") == "b", "it ended early, or went on in its old folder"
