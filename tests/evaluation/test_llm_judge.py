"""The judge against a stub endpoint on loopback: good answers, a bias for one place, nonsense, errors, kills."""

from __future__ import annotations

import importlib.util
import json
import logging
import re
import subprocess
import sys
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
from ws.evaluation.judge_answers import Kept, read_choice
from ws.evaluation.llm_judge import JUDGED, Endpoint, judge_pairs, question_for, win_share
from ws.files import read_frame, write_frame, write_json
from ws.runs.whole import write_status

PAIRS = pl.DataFrame({
    "prompt_id": ["p", "q", "r"], "sample": [0, 0, 0], "prompt": ["May I lie?", "Shall I stay?", "Is it late?"],
    "a": ["plain one", "kind two", "same"], "b": ["kind one", "plain two", "same"],
}, schema_overrides={"sample": pl.Int32})  # fmt: skip
Answer = Callable[[str], Any]
Serve = Callable[[Answer | int], "Stub"]
SECRET = "sk-s3cret-0123"
needs_openai = pytest.mark.skipif(importlib.util.find_spec("openai") is None, reason="needs: pip install -e '.[judge]'")


def chat(text: Any, finish: str = "stop") -> dict[str, Any]:
    return {"choices": [{"message": {"content": text}, "finish_reason": finish}]}


def kind(asked: str) -> dict[str, Any]:
    """A fair judge: the reply that says "kind", a tie where both or none do."""
    first, second = re.findall(r"<reply_\d>\n(.*?)\n</reply_\d>", asked, re.DOTALL)
    if ("kind" in first) == ("kind" in second):
        return chat("Tie.")
    return chat("1" if "kind" in first else "<think>the second, surely</think>\n**Reply 2**")


class Stub(ThreadingHTTPServer):
    """Answers chat completions with `answer` (a status code, or a function of the judge's prompt that gives a reply, a
    status code or both) and keeps what came in."""

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
        headers = {name.lower(): value for name, value in self.headers.items()}
        self.server.seen.append((self.path, headers, body))  # type: ignore[attr-defined]
        answer = self.server.answer  # type: ignore[attr-defined]
        told = answer if isinstance(answer, int) else answer(body["messages"][0]["content"])
        status, reply = (told, "down") if isinstance(told, int) else told if isinstance(told, tuple) else (200, told)
        self.send_response(status)
        self.send_header("Retry-After-Ms", "5")
        self.end_headers()
        self.wfile.write((reply if isinstance(reply, str) else json.dumps(reply)).encode())

    def log_message(self, *args: Any) -> None:
        pass


@pytest.fixture
def serve(monkeypatch: pytest.MonkeyPatch) -> Iterator[Serve]:
    pytest.importorskip("openai")
    monkeypatch.setenv("no_proxy", "*")
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
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
    serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MY_KEY", SECRET)
    stub = serve(kind)
    judged = judge_pairs(Endpoint(stub.url + "/", "m", key="MY_KEY"), PAIRS, "Which is kinder?")
    assert judged.schema == pl.Schema(JUDGED)
    assert judged["verdict"].to_list() == ["b", "a", "tie"]
    assert judged["choice_ab"].to_list() == judged["choice_ba"].to_list() == ["b", "a", "tie"]
    assert judged["answer_ab"][0] == "<think>the second, surely</think>\n**Reply 2**" and judged["answer_ba"][0] == "1"
    path, headers, body = stub.seen[0]
    assert (path, headers["authorization"], body["model"]) == ("/v1/chat/completions", f"Bearer {SECRET}", "m")
    assert body["temperature"] == 0 and body["messages"][0]["content"] == judged["asked_ab"][0]
    assert judged["asked_ab"][0].index("plain one") < judged["asked_ab"][0].index("kind one")
    assert judged["asked_ba"][0].index("kind one") < judged["asked_ba"][0].index("plain one")
    assert not re.search(r"base|heal|steer|model", judged["asked_ab"][0], re.IGNORECASE), "the judge must be blind"
    settings = json.loads(judged["settings"][0])
    assert settings["question"] == "Which is kinder?" and settings["model"] == "m" and SECRET not in str(settings)
    found = win_share(judged)
    assert (found.value, found.n, found.bad) == (0.5, 3, 1) and found.low < 0.5 < found.high


def test_a_judge_that_favours_a_place_gives_ties_only(serve: Serve) -> None:
    for place in ("1", "2"):
        judged = judge_pairs(Endpoint(serve(lambda _, place=place: chat(place)).url, "m"), PAIRS, "Which?")
        assert judged["verdict"].to_list() == ["tie"] * 3
        assert judged["choice_ab"].to_list() != judged["choice_ba"].to_list()


def test_no_key_no_header(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_ADMIN_KEY", SECRET)
    monkeypatch.setenv("OPENAI_CUSTOM_HEADERS", f"Authorization: Bearer {SECRET}")
    stub = serve(kind)
    judge_pairs(Endpoint(stub.url, "m"), PAIRS.head(1), "Which?")
    assert SECRET not in str(stub.seen[0][1]) and "authorization" not in stub.seen[0][1]


def slow(_: str) -> dict[str, Any]:
    time.sleep(0.6)
    return chat("1")


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (500, r"refused with HTTP 500: 'down', asked once\. Try again later"),
        (429, r"refused with HTTP 429"),
        (401, r"refused with HTTP 401.*OPENAI_API_KEY"),
        (404, r"refused with HTTP 404.*Check the url, the model's name \(m\)"),
        (400, r"answers nothing, 3 times in a row: it refused with HTTP 400: 'down'"),
        (slow, r"gave no answer in 0\.2 s, asked once.*Raise the timeout"),
        (lambda _: "<html>hello", r"sent '<html>hello', which is no chat completion.*/v1"),
        (lambda _: {"error": "no such model"}, r"no such model.*no chat completion"),
        (lambda _: {"choices": []}, r"no chat completion"),
    ],
)
def test_a_judge_that_cannot_be_asked_is_told_clearly(
    serve: Serve, tmp_path: Path, answer: Answer | int, message: str
) -> None:
    endpoint = Endpoint(serve(answer).url, "m", timeout=0.2 if answer is slow else 10, retries=0)
    with pytest.raises(UserError, match=message):
        judge_pairs(endpoint, PAIRS, "Which?", keep=tmp_path / "kept.jsonl")


def test_unreachable_and_impossible_endpoints(serve: Serve) -> None:
    with pytest.raises(UserError, match=r"cannot be reached .*Check the url"):
        judge_pairs(Endpoint("http://127.0.0.1:9", "m", timeout=2, retries=0), PAIRS, "Which?")
    for bad in ({"url": "localhost:80"}, {"url": "file:///etc/hosts"}, {"url": "http://x", "timeout": 0},
                {"url": "http://x", "retries": -1}):  # fmt: skip
        with pytest.raises(UserError, match="must be"):
            Endpoint(**({"model": "m"} | bad))  # type: ignore[arg-type]


def test_without_the_package_the_command_to_install_it_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ws.evaluation.judge_client.importlib.util.find_spec", lambda name: None)
    with pytest.raises(UserError, match=r"openai, which is not installed: pip install -e '\.\[judge\]'"):
        judge_pairs(Endpoint("http://127.0.0.1:9", "m"), PAIRS, "Which?")


READ = {
    "1": "1", "2.": "2", "Tie.": "tie", "**1**": "1", "(1)": "1", "[1]": "1", "#2": "2", "reply_2": "2",
    "Option 2": "2",
    "Reply 1 is better.": "1", "Answer: 1": "1", "**Answer:** 2": "2", "Answer: Reply 2": "2", "Answer: tie": "tie",
    '{"answer": 1}': "1", '```json\n{"winner": "Reply 2", "reason": "1 is cold"}\n```': "2",
    '{"verdict": "tie"}': "tie",
    "Reply 2 fits this description better than Reply 1.": "2", "The first reply is better": "1", "It's a tie.": "tie",
    "I prefer reply 2.": "2", "$\\boxed{2}$": "2", "Final answer: **Reply 1**": "1", "1 is the better one": "1",
    "1\n\nReply 1 shows more care.": "1", "Reply 1 is warm. Reply 2 is not.\n\n**2**": "2", "Reply 2 wins.": "2",
    "The better reply is 2.": "2", "Reply 1 is better, but only slightly.": "1", "1, because it is warmer": "1",
    "<think>2? 1?</think>\nReply 1": "1", "Reply 1 is warmer, while Reply 2 fits better.": "2",
    "My choice is the second.": "2", "Response 1 is the best fit.": "1",
    "Reply 1: kind.\nReply 2: plain.\nAnswer: 1": "1",
    # nothing is guessed
    "Both have their merits.": None, "12": None, "": None, "3": None, "1.5": None, "Neither.": None, "no idea": None,
    "Reply 1 is not better.": None, "Reply 1 is worse than Reply 2.": None, "Reply 1 is far from better": None,
    "<think>1 is better": None, "Answer with one word: 1, 2 or tie.": None, "1, 2 or tie": None, "Answer: 1 or 2": None,
    "Reply 1 is better. Reply 2 is better.": None, "If reply 1 is better, say so.": None, "Reply 10 is better": None,
    "1. Reply 1 is honest.\n2. Reply 2 is kind.": None, '{"answer": "both"}': None, '{"answer": 1, "winner": 2}': None,
    "{}": None, "I cannot answer that.": None, "The answer is either 1 or 2.": None,
}  # fmt: skip


@pytest.mark.parametrize("answer", READ)
def test_an_answer_is_read_in_any_of_its_forms_and_never_guessed(answer: str) -> None:
    assert read_choice(answer) == READ[answer]


def count_calls(*odd: tuple[int, Any]) -> Answer:
    """A fair judge whose calls of these numbers get something else."""
    calls, others = iter(range(1, 10_000)), dict(odd)
    return lambda asked: others.get(next(calls)) or kind(asked)


def many(n: int) -> pl.DataFrame:
    """n pairs, all different, b the kind one."""
    rows = [{"prompt_id": str(i), "sample": 0, "prompt": f"P {i}?", "a": f"plain {i}", "b": f"kind {i}"}
            for i in range(n)]  # fmt: skip
    return pl.DataFrame(rows, schema_overrides={"sample": pl.Int32})


@pytest.mark.parametrize("status", [429, 500, 503])
def test_a_busy_endpoint_is_asked_again_and_the_wait_is_told(serve: Serve, status: int) -> None:
    stub, said = serve(count_calls((7, status), (8, status))), []  # type: ignore[var-annotated]
    judged = judge_pairs(Endpoint(stub.url, "m"), many(5), "Which?", tell=said.append)
    assert judged["verdict"].to_list() == ["b"] * 5 and len(stub.seen) == 12
    assert len(said) == 2 and f"{stub.url}: Retrying request in 0.005" in said[0] and "retry 2 of 6" in said[1]
    assert not logging.getLogger("openai._base_client").handlers, "the log is as it was"


@pytest.mark.parametrize("odd", ["Both have their merits.", "", None])
def test_one_odd_answer_is_kept_raw_and_counted(serve: Serve, odd: str | None) -> None:
    stub = serve(count_calls((3, chat(odd))))
    judged = judge_pairs(Endpoint(stub.url, "m"), many(5), "Which?")
    assert judged["verdict"].to_list() == ["b", None, "b", "b", "b"]
    assert judged["choice_ab"][1] is None and judged["answer_ab"][1] == (odd or "") and judged["choice_ba"][1] == "b"
    assert (win_share(judged).value, win_share(judged).n) == (1.0, 4)


def test_one_refused_question_is_counted_and_three_in_a_row_stop(serve: Serve) -> None:
    refusal = (400, {"error": {"message": "against our rules"}})
    apart = count_calls((1, refusal), (2, refusal), (4, refusal))
    judged = judge_pairs(Endpoint(serve(apart).url, "m"), many(4), "Which?")
    assert judged["verdict"].to_list() == [None, None, "b", "b"] and "against our rules" in judged["answer_ab"][0]
    with pytest.raises(UserError, match=r"answers nothing, 3 times in a row.*against our rules"):
        judge_pairs(Endpoint(serve(count_calls((4, refusal), (5, refusal), (6, refusal))).url, "m"), many(5), "Which?")


def test_a_judge_that_fails_late_loses_nothing(serve: Serve, tmp_path: Path) -> None:
    """A refusal at question 97 of 100: the next call asks the four that are left, and the odd one again."""
    stub, keep = serve(count_calls((5, chat("who knows")), (97, 403))), tmp_path / "kept.jsonl"
    with pytest.raises(UserError, match=r"HTTP 403.*96 answers are kept in .*kept\.jsonl: the same command goes on"):
        judge_pairs(Endpoint(stub.url, "m"), many(50), "Which?", keep=keep)
    assert len(stub.seen) == 97
    judged = judge_pairs(Endpoint(stub.url, "m", max_tokens=9), many(50), "Which?", keep=keep)
    assert judged["verdict"].to_list() == ["b"] * 50 and len(stub.seen) == 97 + 5
    assert [body["max_tokens"] for _, _, body in stub.seen[97:]] == [9] * 5
    judge_pairs(Endpoint(stub.url, "m"), many(50), "Which?", keep=keep)
    assert len(stub.seen) == 102, "everything is known"


def test_a_line_that_a_kill_cut_off_is_asked_again(serve: Serve, tmp_path: Path) -> None:
    stub, keep = serve(kind), tmp_path / "kept.jsonl"
    judge_pairs(Endpoint(stub.url, "m"), many(3), "Which?", keep=keep)
    keep.write_bytes(keep.read_bytes()[:-20])
    judged = judge_pairs(Endpoint(stub.url, "m"), many(3), "Which?", keep=keep)
    assert judged["verdict"].to_list() == ["b"] * 3 and len(stub.seen) == 7
    with Kept(keep) as kept:
        assert len(kept.found) == 6


def takes_only(**values: Any) -> Callable[[dict[str, Any]], str]:
    """What an endpoint says of a request with parameters other than these."""
    def refusal(body: dict[str, Any]) -> str:
        for name in ("max_tokens", "temperature"):
            if name in body and body[name] != values.get(name):
                return f"Unsupported parameter: '{name}' is not supported with this model."
        return ""
    return refusal


@pytest.mark.parametrize(
    ("known", "sent", "calls"),
    [
        ({"max_tokens": 1024, "temperature": 0}, {"max_tokens": 1024, "temperature": 0}, 6),
        ({"temperature": 0}, {"max_completion_tokens": 1024, "temperature": 0}, 7),
        ({"max_tokens": 1024}, {"max_tokens": 1024}, 7),
        ({}, {"max_completion_tokens": 1024}, 8),
    ],
)
def test_a_reasoning_model_is_asked_as_it_wants_and_that_is_said_once(
    serve: Serve, known: dict[str, Any], sent: dict[str, Any], calls: int
) -> None:
    refusal = takes_only(**known)
    said: list[str] = []

    def answer(asked: str) -> Any:
        why = refusal(stub.seen[-1][2])
        return (400, {"error": {"message": why}}) if why else kind(asked)

    stub = serve(answer)
    judged = judge_pairs(Endpoint(stub.url, "m"), many(3), "Which?", tell=said.append)
    assert judged["verdict"].to_list() == ["b"] * 3
    body = stub.seen[-1][2]
    assert {name: body[name] for name in body if name not in ("model", "messages")} == sent
    assert json.loads(judged["settings"][0]) == {"url": stub.url, "model": "m", "question": "Which?"} | sent
    assert len(stub.seen) == calls and len(said) == calls - 6 and all("from here on" in line for line in said)


@pytest.mark.parametrize("reasoning", [True, False])
def test_the_parameters_can_be_said_beforehand(serve: Serve, reasoning: bool) -> None:
    stub = serve(kind)
    judge_pairs(Endpoint(stub.url, "m", reasoning=reasoning), many(1), "Which?")
    assert ("max_completion_tokens" in stub.seen[0][2], "temperature" in stub.seen[0][2]) == (reasoning, not reasoning)
    refusing = serve(lambda _: (400, "max_tokens? temperature?"))
    with pytest.raises(UserError, match="3 times in a row"):
        judge_pairs(Endpoint(refusing.url, "m", reasoning=reasoning), many(3), "Which?")
    assert len(refusing.seen) == 3, "asked as it was said, no other way"


def test_an_answer_that_was_cut_off_says_what_to_raise(serve: Serve) -> None:
    said: list[str] = []
    judge_pairs(Endpoint(serve(lambda _: chat(None, "length")).url, "m"), many(1), "Which?", tell=said.append)
    assert said == ["an answer was cut off at 1024 tokens, thinking included: raise max_tokens"] * 2


def test_the_key_is_in_no_file_no_log_and_no_message(
    serve: Serve, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    monkeypatch.setenv("MY_KEY", f"{SECRET}\n")
    said: list[str] = []
    echoes = ((1, chat(f"Your key is {SECRET}.")), (2, 429), (4, (400, f"bad key {SECRET}")), (6, (401, SECRET)))
    stub, keep = serve(count_calls(*echoes)), tmp_path / "kept.jsonl"
    with pytest.raises(UserError, match=r"HTTP 401: '\*\*\*'") as told:
        judge_pairs(Endpoint(stub.url, "m", key="MY_KEY"), many(5), "Which?", keep=keep, tell=said.append)
    assert stub.seen[0][1]["authorization"] == f"Bearer {SECRET}" and len(stub.seen) == 6
    kept = keep.read_text()
    assert "Your key is ***." in kept and "bad key ***" in kept
    assert SECRET not in kept + str(told.value) + caplog.text + str(said)


@needs_openai
def test_a_key_in_the_wrong_place_is_refused_and_not_repeated(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BROKEN", "sk- s3cret")
    for endpoint in ({"key": SECRET}, {"key": "hf_s3cret0123"}, {"key": "BROKEN"}):
        with pytest.raises(UserError, match="key") as told:
            judge_pairs(Endpoint("http://127.0.0.1:9", "m", **endpoint), PAIRS, "Which?")
        assert "s3cret" not in str(told.value)
    for url in (f"http://me:{SECRET}@host/v1", f"http://host/v1?key={SECRET}"):
        with pytest.raises(UserError, match="url must be a base address") as told:
            Endpoint(url, "m")
        assert SECRET not in str(told.value)


def finished(folder: Path, pairs: pl.DataFrame = PAIRS) -> Path:
    """As much of a run's folder as a judge reads: base, a healed model (two seeds), a steered one without texts."""
    texts = {name: pairs.select("prompt_id", "sample", "prompt", text=pl.col(name)) for name in ("a", "b")}
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
    serve: Serve, tmp_path: Path, capsys: pytest.CaptureFixture[str]
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


def test_a_judge_that_was_stopped_goes_on(serve: Serve, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    place, stub = finished(tmp_path / "run"), serve(count_calls((2, 403), (3, chat("no idea"))))
    args = ["judge", str(place), "--model", "m", "--url", stub.url]
    assert main(args) == 2
    assert "1 answers are kept" in capsys.readouterr().err
    assert main([*args, "--json"]) == 0
    printed = json.loads(capsys.readouterr().out)
    assert (printed["pairs"], printed["unreadable"]) == (2, 1) and len(stub.seen) == 6, "one text was both orders'"
    assert main([*args, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["unreadable"] == 0 and len(stub.seen) == 7


@pytest.mark.slow
def test_a_killed_judge_has_every_answer_that_came(serve: Serve, tmp_path: Path) -> None:
    """The process is killed between two questions of its 40; the next one asks those alone that are left."""
    place, reached, go_on = finished(tmp_path / "run", many(20)), threading.Event(), threading.Event()

    def answer(asked: str) -> dict[str, Any]:
        if len(stub.seen) == 24:
            reached.set()
            go_on.wait(30)
        return kind(asked)

    stub = serve(answer)
    args = ["judge", str(place), "--model", "m", "--url", stub.url]
    asking = subprocess.Popen([sys.executable, "-m", "ws", *args])
    assert reached.wait(60)
    asking.kill()
    asking.wait()
    go_on.set()
    assert main(args) == 0
    stored = read_frame(next((place / "rounds/0").glob("judge-*.parquet")))
    assert len(stub.seen) == 24 + 17 and win_share(stored).n == 20


def test_several_judges_are_asked_in_turn_and_one_that_fails_costs_the_others_nothing(
    serve: Serve, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    place, down, fair = finished(tmp_path / "run"), serve(403), serve(kind)
    args = ["judge", str(place), "--json", "--model", "m1", "m2", "--url"]
    assert main([*args, down.url, fair.url]) == 2
    told = capsys.readouterr()
    assert json.loads(told.out)["judge"] == "m2" and f"{down.url} refused with HTTP 403" in told.err
    assert main([*args, fair.url]) == 0
    printed = json.loads(capsys.readouterr().out)
    assert [judge["judge"] for judge in printed["judges"]] == ["m1", "m2"] and printed["win_share"] == 0.5
    assert len({judge["path"] for judge in printed["judges"]}) == 2
    assert len(fair.seen) == 5 + 5, "m2 was known"
    for wrong in ([down.url, fair.url, down.url], [fair.url, "--key", "A", "B", "C"], [fair.url, "--model", "m", "m"]):
        assert main([*args, *wrong]) == 2
        assert re.search("one for each judge|Name each once", capsys.readouterr().err)


def test_a_folder_that_cannot_be_written_is_told_before_the_first_question(
    serve: Serve, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    place, stub = finished(tmp_path / "run"), serve(kind)
    place = place.rename(tmp_path / "stored")
    real = Path.open

    def refuse(path: Path, *args: Any, **kwargs: Any) -> Any:
        if path.name.startswith("judge-"):
            raise OSError(30, "Read-only file system")
        return real(path, *args, **kwargs)

    monkeypatch.setattr(Path, "open", refuse)
    assert main(["judge", str(place), "--model", "m", "--url", stub.url]) == 2
    assert "could not be written" in capsys.readouterr().err and not stub.seen


def test_a_judge_that_answers_nothing_leaves_nothing_behind(
    serve: Serve, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    place = finished(tmp_path / "run")
    args = ["judge", str(place), "--model", "m", "--url", serve(401).url]
    assert main(args) == 2
    assert "refused with HTTP 401" in capsys.readouterr().err
    assert [p.name for p in (place / "rounds/0").iterdir()] == ["eval.parquet"]
    for wrong, message in (
        (["--arm", "steer"], "no arm 'steer' with texts in this report. Arms with texts: base, healed"),
        (["--round", "3"], "Round 3"), (["-n", "0"], "at least 1"), (["--url", "here"], "http://"),
    ):  # fmt: skip
        assert main([*args, *wrong]) == 2
        assert message in capsys.readouterr().err
