"""The judge against a stub endpoint on loopback: good answers, a bias for one place, nonsense, errors, silence."""

from __future__ import annotations

import json
import re
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from ws.app.cli import main
from ws.errors import UserError
from ws.evaluation.llm_judge import JUDGED, Endpoint, judge_pairs, question_for, win_share
from ws.files import read_frame, write_frame, write_json
from ws.runs.whole import write_status

PAIRS = pl.DataFrame({
    "prompt_id": ["p", "q", "r"], "sample": [0, 0, 0], "prompt": ["May I lie?", "Shall I stay?", "Is it late?"],
    "a": ["plain one", "kind two", "same"], "b": ["kind one", "plain two", "same"],
}, schema_overrides={"sample": pl.Int32})  # fmt: skip
Answer = Callable[[str], Any]


def chat(text: Any) -> dict[str, Any]:
    return {"choices": [{"message": {"content": text}}]}


def kind(asked: str) -> dict[str, Any]:
    """A fair judge: the reply that says "kind", a tie where both or none do."""
    first, second = re.findall(r"<reply_\d>\n(.*?)\n</reply_\d>", asked, re.DOTALL)
    if ("kind" in first) == ("kind" in second):
        return chat("Tie.")
    return chat("1" if "kind" in first else "<think>the second, surely</think>\n**Reply 2**")


class Stub(ThreadingHTTPServer):
    """Answers chat completions with `answer` (a function of the judge's prompt, or a status code) and keeps what came
    in."""

    def __init__(self, answer: Answer | int) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.answer, self.seen = answer, []  # type: ignore[var-annotated]

    def handle_error(self, *args: Any) -> None:
        pass  # a client that gave up waiting

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}/v1"


class Handler(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.server.seen.append((self.path, dict(self.headers), body))  # type: ignore[attr-defined]
        answer = self.server.answer  # type: ignore[attr-defined]
        status, reply = (answer, "down") if isinstance(answer, int) else (200, answer(body["messages"][0]["content"]))
        self.send_response(status)
        self.end_headers()
        self.wfile.write((reply if isinstance(reply, str) else json.dumps(reply)).encode())

    def log_message(self, *args: Any) -> None:
        pass


@pytest.fixture
def serve(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[Answer | int], Stub]]:
    monkeypatch.setenv("no_proxy", "*")
    started: list[Stub] = []

    def start(answer: Answer | int) -> Stub:
        stub = Stub(answer)
        threading.Thread(target=stub.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
        started.append(stub)
        return stub

    yield start
    for stub in started:
        stub.shutdown()
        stub.server_close()


def test_both_orders_are_asked_blind_and_everything_is_kept(
    serve: Callable[[Answer | int], Stub], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MY_KEY", "s3cret")
    stub = serve(kind)
    judged = judge_pairs(Endpoint(stub.url + "/", "m", key="MY_KEY"), PAIRS, "Which is kinder?")
    assert judged.schema == pl.Schema(JUDGED)
    assert judged["verdict"].to_list() == ["b", "a", "tie"]
    assert judged["choice_ab"].to_list() == judged["choice_ba"].to_list() == ["b", "a", "tie"]
    assert judged["answer_ab"][0] == "<think>the second, surely</think>\n**Reply 2**" and judged["answer_ba"][0] == "1"
    path, headers, body = stub.seen[0]
    assert (path, headers["Authorization"], body["model"]) == ("/v1/chat/completions", "Bearer s3cret", "m")
    assert body["temperature"] == 0 and body["messages"][0]["content"] == judged["asked_ab"][0]
    assert judged["asked_ab"][0].index("plain one") < judged["asked_ab"][0].index("kind one")
    assert judged["asked_ba"][0].index("kind one") < judged["asked_ba"][0].index("plain one")
    assert not re.search(r"base|heal|steer|model", judged["asked_ab"][0], re.IGNORECASE), "the judge must be blind"
    settings = json.loads(judged["settings"][0])
    assert settings["question"] == "Which is kinder?" and settings["model"] == "m" and "s3cret" not in str(settings)
    found = win_share(judged)
    assert (found.value, found.n, found.bad) == (0.5, 3, 1) and found.low < 0.5 < found.high


def test_a_judge_that_favours_a_place_gives_ties_only(serve: Callable[[Answer | int], Stub]) -> None:
    for place in ("1", "2"):
        judged = judge_pairs(Endpoint(serve(lambda _, place=place: chat(place)).url, "m"), PAIRS, "Which?")
        assert judged["verdict"].to_list() == ["tie"] * 3
        assert judged["choice_ab"].to_list() != judged["choice_ba"].to_list()


def test_no_key_no_header(serve: Callable[[Answer | int], Stub], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    stub = serve(kind)
    judge_pairs(Endpoint(stub.url, "m"), PAIRS.head(1), "Which?")
    assert "Authorization" not in stub.seen[0][1]


def slow(_: str) -> dict[str, Any]:
    time.sleep(1.0)
    return chat("1")


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (500, r"refused with HTTP 500: 'down'.*OPENAI_API_KEY"),
        (401, r"refused with HTTP 401"),
        (slow, r"gave no answer in 0\.2 s.*Raise the timeout"),
        (lambda _: chat("Both have their merits."), r"answered 'Both have their merits\.' in place of 1, 2 or tie"),
        (lambda _: chat("12"), r"answered '12'"),
        (lambda _: chat(""), r"answered ''"),
        (lambda _: chat(None), r"no text \(content None\).*max_tokens"),
        (lambda _: "<html>hello", r"sent '<html>hello', which is no chat completion.*/v1"),
        (lambda _: {"error": "no such model"}, r"no such model.*no chat completion"),
        (lambda _: {"choices": []}, r"no chat completion"),
    ],
)
def test_a_judge_that_fails_is_told_clearly(
    serve: Callable[[Answer | int], Stub], answer: Answer | int, message: str
) -> None:
    endpoint = Endpoint(serve(answer).url, "m", timeout=0.2 if answer is slow else 10)
    with pytest.raises(UserError, match=message):
        judge_pairs(endpoint, PAIRS, "Which?")


def test_unreachable_and_impossible_endpoints() -> None:
    with pytest.raises(UserError, match=r"cannot be reached .*Check the url"):
        judge_pairs(Endpoint("http://127.0.0.1:9", "m", timeout=2), PAIRS, "Which?")
    for bad in ({"url": "localhost:80"}, {"url": "file:///etc/hosts"}, {"url": "http://x", "timeout": 0}):
        with pytest.raises(UserError, match="must be"):
            Endpoint(**({"model": "m"} | bad))  # type: ignore[arg-type]


def finished(folder: Path) -> Path:
    """As much of a run's folder as a judge reads: base, a healed model (two seeds), a steered one without texts."""
    texts = {name: PAIRS.select("prompt_id", "sample", "prompt", text=pl.col(name)) for name in ("a", "b")}
    rows = [("base", None, texts["a"]), ("steer", True, texts["a"].clear()), ("healed", None, texts["b"].reverse()),
            ("healed", None, texts["a"])]  # fmt: skip
    frames = [pl.DataFrame({"arm": [arm], "chosen": [chosen], "text": [text.to_dicts()]},
                           schema={"arm": pl.String, "chosen": pl.Boolean, "text": pl.List(pl.Struct(text.schema))})
              for arm, chosen, text in rows]  # fmt: skip
    write_json(folder / "config.json", {})
    write_status(folder, {"stages": {}})
    write_json(folder / "axis.json", {"positive": ["You are kind."]})
    write_frame(folder / "rounds/0/eval.parquet", pl.concat(frames))
    return folder


def test_the_command_stores_the_pairs_and_prints_the_share(
    serve: Callable[[Answer | int], Stub], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    place = finished(tmp_path / "run")
    args = ["judge", str(place), "--url", serve(kind).url, "--model", "m", "--json"]
    assert main(args) == 0
    printed = json.loads(capsys.readouterr().out)
    assert (printed["win_share"], printed["pairs"], printed["ties"]) == (0.5, 3, 1)
    stored = read_frame(Path(printed["path"]))
    assert stored["verdict"].to_list() == ["b", "a", "tie"] and set(stored["arm"]) == {"healed"}
    assert question_for("You are kind.") in stored["asked_ab"][0] and "kind one" in stored["asked_ab"][0]
    assert main([*args, "-n", "1", "--question", "Which is longer?"]) == 0
    printed = json.loads(capsys.readouterr().out)
    assert printed["pairs"] == 1 and "Which is longer?" in read_frame(Path(printed["path"]))["asked_ba"][0]


def test_a_failing_judge_leaves_nothing_behind(
    serve: Callable[[Answer | int], Stub], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    place, answers = finished(tmp_path / "run"), iter([chat("1"), chat("2"), chat("no idea")])
    args = ["judge", str(place), "--model", "m", "--url", serve(lambda _: next(answers)).url]
    assert main(args) == 2
    assert "answered 'no idea' in place of 1, 2 or tie" in capsys.readouterr().err
    assert [p.name for p in (place / "rounds/0").iterdir()] == ["eval.parquet"]
    for wrong, message in (
        (["--arm", "steer"], "no arm 'steer' with texts in this report. Arms with texts: base, healed"),
        (["--round", "3"], "Round 3"), (["-n", "0"], "at least 1"), (["--url", "here"], "http://"),
    ):  # fmt: skip
        assert main([*args, *wrong]) == 2
        assert message in capsys.readouterr().err
