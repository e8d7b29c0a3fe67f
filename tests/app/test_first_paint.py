"""The first screen in the answer itself: what it holds, where it is put, that it goes when the page is there."""

from __future__ import annotations

import asyncio
import dataclasses
import re
import sys
import urllib.request
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import altair as alt
import pytest

from tests.builders.browser import CHROMIUM, IN_SIGHT, Browser, serving, until
from tests.builders.hostile import HOSTILE
from tests.builders.planted_run import plant
from ws.app.server.first_paint import FirstPaint
from ws.app.server.main import warm_up
from ws.app.views import escaped
from ws.app.views.first_paint import first_paint_html
from ws.app.views.gate_tiles import tile
from ws.experiment.examples import shipped
from ws.models.lm import LM
from ws.reporting.charts import compiled_chart
from ws.runs.reader import open_run

FACE = open_run(next(iter(shipped().values())))
OUTCOMES = [gate.outcome for gate in FACE.gates() if gate.gate > 0]
ROOT = '<html><body><div id="root"></div></body></html>'


def html(text: str) -> SimpleNamespace:
    return SimpleNamespace(text=text)


def drawn(word: str) -> Any:
    def build() -> alt.Chart:
        values = alt.Data(values=[{"x": 1, "word": word}])
        return alt.Chart(values).mark_text().encode(x="x:Q", text="word:N")

    return compiled_chart(word, build)


def test_a_first_screen_ends_with_the_first_picture_and_holds_no_control() -> None:
    outputs = [
        None,
        html("<marimo-sidebar data-x='1'><marimo-slider></marimo-slider></marimo-sidebar>"),
        html("<div>verdicts<marimo-ui-element><marimo-text-area>\nnote</marimo-text-area></marimo-ui-element></div>"),
        html("<div><marimo-ui-element><marimo-dropdown></marimo-dropdown></marimo-ui-element></div>"),
        html("<p>samples</p>"),
        drawn("first words"),
        html("<p>what follows</p>"),
        drawn("second words"),
    ]
    shown = first_paint_html(outputs, f"May I lie? {HOSTILE}")
    assert "<marimo-" not in shown and "note" not in shown.split("<aside>")[1].split("</aside>")[1]
    order = [shown.index(words) for words in ("<div>verdicts</div>", "prompt<br>May I lie?", "samples", "first words")]
    assert order == sorted(order)
    assert "what follows" not in shown and "second words" not in shown and "slider>" not in shown
    assert escaped(HOSTILE) in shown and HOSTILE not in shown
    assert first_paint_html(outputs[:5], "x") == ""
    message = html("<marimo-callout-output data-html='there is no such run'></marimo-callout-output>")
    assert first_paint_html([message, *outputs], "x") == "", "a reader would miss it"


def test_a_picture_in_a_first_screen_holds_its_words_as_words() -> None:
    shown = first_paint_html([drawn("<script>alert(1)</script>")], "x")
    assert shown.count("<script>") == 1 and "alert(1)" in shown
    assert shown.index("&lt;script&gt;alert(1)") < shown.index("<script>")


def answer(layer: FirstPaint, path: str = "/", query: bytes = b"", method: str = "GET") -> tuple[dict[str, str], str]:
    sent: list[dict[str, Any]] = []

    async def send(message: Any) -> None:
        sent.append(message)

    scope = {"type": "http", "method": method, "path": path, "query_string": query}
    asyncio.run(layer(scope, None, send))  # type: ignore[arg-type]
    assert [message["type"] for message in sent] == ["http.response.start", *["http.response.body"] * (len(sent) - 1)]
    assert not sent[-1].get("more_body")
    headers = {name.decode(): value.decode() for name, value in sent[0]["headers"]}
    return headers, b"".join(message["body"] for message in sent[1:]).decode()


def app_of(*parts: str, status: int = 200, **headers: str) -> Any:
    """An app that answers everything with these parts, one after the other."""

    async def app(scope: Any, receive: Any, send: Any) -> None:
        length = str(sum(len(part.encode()) for part in parts))
        given = {"Content-Length": length, "content-type": "text/html"} | headers if parts else headers
        pairs = [(name.encode(), value.encode()) for name, value in given.items()]
        await send({"type": "http.response.start", "status": status, "headers": pairs})
        for place, part in enumerate(parts or ("",)):
            more = place + 1 < len(parts)
            await send({"type": "http.response.body", "body": part.encode(), "more_body": more})

    return app


def test_a_first_screen_stands_behind_the_root_of_a_page_without_settings() -> None:
    layer = FirstPaint(app_of(ROOT[:20], ROOT[20:], etag="of the page without it"), "<p>naïve</p>")
    headers, body = answer(layer)
    assert body == '<html><body><div id="root"></div><p>naïve</p></body></html>'
    assert headers == {"content-type": "text/html", "content-length": str(len(body.encode()))}


def test_other_answers_are_left_as_they_are() -> None:
    layer, none = FirstPaint(app_of(ROOT), "<p>glance</p>"), FirstPaint(app_of(ROOT), "")
    settings = {"query": b"c=1"}, {"path": "/health"}, {"method": "POST"}
    for found in (*(answer(layer, **asked) for asked in settings), answer(none)):  # type: ignore[arg-type]
        assert found == ({"Content-Length": str(len(ROOT)), "content-type": "text/html"}, ROOT)
    for other in (app_of("who are you?"), app_of(status=304, etag="1"), app_of(ROOT, status=404)):
        assert answer(FirstPaint(other, "<p>glance</p>")) == answer(FirstPaint(other, ""))


def test_the_first_screen_of_the_app_is_its_example(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], mini: LM
) -> None:
    page = Path(__file__).parents[2] / "nbs/gates.py"
    words = ["hosting.py", "run", str(page), "--", "--out", str(tmp_path / "out")]
    monkeypatch.setattr(sys, "argv", words)
    shown = warm_up(words)
    c = FACE.get("knee.json")["c"]
    outcomes = re.findall(r'class="ws-outcome">.*?</span> (.*?)</span>', shown)
    assert outcomes == OUTCOMES
    assert re.findall(r'class="ws-title">(.*?)<', shown) == ["baseline, c = 0", f"c = +{c:g}", f"c = -{c:g}"]
    assert "shift against base (nat" in shown and "<marimo-" not in shown
    assert warm_up(["hosting.py", "run", str(page.with_name("compare.py")), *words[3:]]) == ""
    assert "was not rehearsed" not in capsys.readouterr().err


def test_a_hostile_run_on_a_first_screen_stays_text(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mini: LM) -> None:
    plant(tmp_path / "out/runs/hostile")
    page = Path(__file__).parents[2] / "nbs/gates.py"
    words = ["hosting.py", "run", str(page), "--", "--out", str(tmp_path / "out"), "--run", "hostile"]
    monkeypatch.setattr(sys, "argv", words)
    shown = warm_up(words)
    assert shown.count("&lt;img src=x") > 3
    assert re.findall(r"<(?:img|iframe|marimo|script)\b", shown) == ["<script"]


@pytest.mark.browser
@pytest.mark.skipif(CHROMIUM is None, reason="no chromium: the glance was not seen in a browser")
def test_a_viewer_sees_the_example_at_once_and_then_the_page(tmp_path: Path) -> None:
    with serving(["--out", str(tmp_path)]) as url, Browser() as page:
        page.call("Page.navigate", url=url)
        glance = " && ".join(IN_SIGHT % f"#ws-glance {part}" for part in (".ws-tiles", ".ws-cards", "figure svg"))
        words = "document.querySelector('#ws-glance').innerText"
        said = until(lambda: page.js(f"{glance} && !({IN_SIGHT % '#root .ws-tiles'}) && {words}"), 60, "no glance")
        assert all(outcome in said for outcome in OUTCOMES)
        page.wait("document.querySelector('#root .marks')")
        # marimo hides a page for up to two seconds after it has come
        assert page.js(" && ".join(IN_SIGHT % f"#root {part}" for part in (".ws-tiles", ".ws-cards", ".marks")))
        until(lambda: not page.js("!!document.getElementById('ws-glance')"), 3, "the glance stayed")
        page.wait("location.search.includes('c=')")
        with urllib.request.urlopen(f"{url}/?c=1") as other:
            assert "ws-glance" not in other.read().decode().split("<body")[1]
        assert page.errors == []


def test_the_tile_says_the_unit_of_the_run_that_is_shown() -> None:
    steer = next(gate for gate in FACE.gates() if gate.gate == 1)
    assert FACE.trait.unit == "nat per token" and steer.figure.endswith("] nat per token")


def test_the_face_of_a_tile_says_what_else_was_seen() -> None:
    """A verdict may be yellow for what stands beside its outcome: fluent text that left its question, here."""
    steer = next(gate for gate in FACE.gates() if gate.gate == 1)
    shown = tile(1, dataclasses.replace(steer, also=["off the question"]))
    assert "also off the question" in shown.split("</summary>")[0]
