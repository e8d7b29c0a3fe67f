"""One escaping for text that is somebody else's, in the terminal, in pages and in the app."""

from __future__ import annotations

from pathlib import Path

import pytest

from ws.app.views.token_html import escaped
from ws.reporting.journal.entry import code
from ws.reporting.journal.html import text
from ws.reporting.terminal import readable
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
