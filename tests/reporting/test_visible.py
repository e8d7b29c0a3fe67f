"""One escaping for text that is somebody else's, in the terminal, in pages and in the app."""

from __future__ import annotations

import io
from pathlib import Path

import polars as pl
import pytest
from rich.console import Console

from ws.app.views.token_html import escaped
from ws.gating import Gate
from ws.reporting.journal.entry import code
from ws.reporting.journal.html import text
from ws.reporting.tables import diary_table, verdict_text
from ws.reporting.terminal import print_gates, readable
from ws.reporting.visible import visible

TRICKY = ["\x1b[2J", "\x08", "\x9b", "\u202e", "\u2066", "\u200b", "\ufeff", "\ud800", "\x00"]


@pytest.mark.parametrize("mark", TRICKY)
def test_no_place_shows_what_moves_or_hides_its_neighbours(mark: str) -> None:
    said = f"a{mark}b"
    for shown in (visible(said), escaped(said), str(text(said)), code(said), readable(said)):
        assert mark[0] not in shown and ascii(mark[0])[1:-1] in shown and "a" in shown and "b" in shown


def test_plain_text_in_any_script_stays() -> None:
    said = "Grüße, नमस्ते, שלום, مرحبا, 你好\tone\ntwo"
    assert visible(said) == said
    assert escaped("<b>\r\n'") == "&lt;b&gt;&#10;&#x27;"


def test_the_ledger_is_printed_without_control_characters(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from ws.app.cli import main
    from ws.runs.ledger import COLUMNS, append_result

    append_result(tmp_path, dict.fromkeys(COLUMNS, "x") | {"run": "out/runs/1", "axis": "\x1b[31mred\x9b"})
    assert main(["results", "--out", str(tmp_path)]) == 0
    out = capsys.readouterr().out
    assert "\x1b[31mred" not in out and "\x9b" not in out and "\\x1b[31mred" in out


def test_tables_and_verdicts_show_no_trick_of_a_text() -> None:
    """Evidence names exam answers and questions of anybody's files; a diary holds what a model wrote."""
    tricky = "a\x1b[2Jb\u202ec"
    gate = Gate(1, "steer", "good knee", [], [("good knee", True, True, tricky)], "green", None, None, None, "", "",
                note=tricky)  # fmt: skip
    console = Console(record=True, width=200, file=io.StringIO(), force_terminal=False)
    print_gates([gate], console)
    rows = pl.DataFrame({"kind": ["healed"], "round": [0], "c": [None], "prompt_id": ["p"], "prompt": [tricky],
                         "tail_ppl": [1.0], "readable": [True], "text": [tricky]},
                        schema_overrides={"c": pl.Float64})  # fmt: skip
    for shown in (console.export_text(), verdict_text(gate), *diary_table(rows)["text"]):
        assert "\x1b" not in shown and "\u202e" not in shown and "\\x1b[2Jb\\u202ec" in shown
