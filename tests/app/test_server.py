"""What an app may do: the command line decides, whatever a viewer sends; hostile values become messages, no more."""

from __future__ import annotations

import asyncio
import importlib
import os
import re
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections import OrderedDict
from pathlib import Path
from typing import Any

import marimo
import pytest
from marimo._cli.parse_args import parse_args

from tests.builders.browser import ROOT, free_port, until
from ws.app import cli
from ws.app.access import AppSettings, is_loopback
from ws.app.page_link import picked, run_named
from ws.app.server import syntax_trees
from ws.app.server.body_limit import LARGEST, BodyLimit
from ws.app.server.command import app_command, check_there, notebook_file, token_file
from ws.app.server.main import warm_up
from ws.app.server.own_host import OwnHost, refusal
from ws.app.server.password import banner, same, without_banner
from ws.app.server.static_files import Assets
from ws.app.views import PageSettings, tokens_of
from ws.errors import UserError
from ws.experiment.examples import EXAMPLE
from ws.models.lm import LM

HERE = ("python", "-m", "marimo", "run", "nbs/gates.py")


def test_settings_go_through_a_command_line() -> None:
    settings = AppSettings("Qwen/Qwen3-0.6B", Path("my runs"), Path("out/runs/a b"), True, True, 99, 3, 500, 2)
    assert AppSettings.from_args(parse_args(settings.to_args()), HERE) == settings
    assert AppSettings().to_args() == []
    assert AppSettings.from_args({}, HERE) == AppSettings()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--max-tokens", "0"], "at least 1"),
        (["--max-tokens=-5"], "at least 1"),
        (["--max-samples", "1e9"], "whole number"),
        (["--max-jobs", "many"], "whole number"),
        (["--max-jobs"], "whole number"),
        (["--max-jobs", "true"], "whole number"),
        (["--allow-write", "maybe"], "is a switch"),
        (["--model"], "needs a value"),
        (["--model", "a", "--model", "b"], "2 times"),
    ],
)
def test_bad_options_say_the_way_out(words: list[str], message: str) -> None:
    with pytest.raises(UserError, match=message):
        AppSettings.from_args(parse_args(words), HERE)


@pytest.mark.parametrize("flag", [["--host", "0.0.0.0"], ["--host=192.168.1.5"], ["--host", "::"], ["--host", "box"]])
def test_a_server_beyond_loopback_is_shared_whatever_it_says(flag: list[str]) -> None:
    settings = AppSettings.from_args({"shared": False}, [*HERE, *flag])
    assert settings.shared
    with pytest.raises(UserError, match="--allow-write"):
        settings.check_write("Training")
    allowed = AppSettings.from_args({"allow-write": ""}, [*HERE, *flag])
    allowed.check_write("Training")


@pytest.mark.parametrize("flag", [[], ["--host", "127.0.0.1"], ["--host=localhost"], ["--host", "::1"]])
def test_a_local_app_writes(flag: list[str]) -> None:
    AppSettings.from_args({}, [*HERE, *flag, "--", "--host", "0.0.0.0"]).check_write("Training")


def test_loopback() -> None:
    assert all(map(is_loopback, ("127.0.0.1", "127.9.9.9", "::1", "[::1]", "localhost")))
    assert not any(map(is_loopback, ("", "0.0.0.0", "::", "10.0.0.1", "localhost.evil.org", "127.0.0.1.nip.io")))


def test_bounds_say_what_they_are() -> None:
    settings = AppSettings(max_tokens=80, max_samples=4, max_prompt=20)
    settings.check_size(80, 4)
    for tokens, samples in ((81, 1), (0, 1), (1, 5), (1, -1)):
        with pytest.raises(UserError, match="this app gives 1 to"):
            settings.check_size(tokens, samples)
    assert settings.check_prompt("<b>hi</b>") == "<b>hi</b>"
    with pytest.raises(UserError, match="21 characters, this app takes 20"):
        settings.check_prompt("x" * 21)
    with pytest.raises(UserError, match="empty"):
        settings.check_prompt(" \n")


def test_a_shared_app_wants_a_password_file(tmp_path: Path) -> None:
    empty, good = tmp_path / "empty", tmp_path / "good"
    empty.write_text(" \n")
    good.write_text("hunter2\n")
    for path, message in ((None, "none was named"), (tmp_path / "no", "There is no"), (empty, "is empty")):
        with pytest.raises(UserError, match=message):
            token_file(path)
    with pytest.raises(UserError, match="There is no"):
        token_file(tmp_path)
    good.chmod(0o644)
    with pytest.raises(UserError, match=r"can be read by others \(mode 644\)"):
        token_file(good)
    good.chmod(0o600)
    assert token_file(good) == good
    for password in ("pässword", "пароль", "two\x1bparts", "two\nlines"):
        good.write_text(password)
        with pytest.raises(UserError, match="nobody could log in"):
            token_file(good)


@pytest.mark.parametrize("sent", ["../../etc/passwd", "/etc/shadow", 3, None, ["a"], "__import__('os')", "a\x00"])
def test_what_a_url_sends_becomes_an_offered_value(sent: Any) -> None:
    assert picked(sent, ["a", "b"], "a") == "a"
    assert picked("b", ["a", "b"], "a") == "b"
    assert picked("0.5", [0.0, 0.5], 0.0) == 0.5


@pytest.mark.parametrize("name", ["..", ".", "", "../runs/good", "good/", "/etc", "good\x00", "linked", "plain"])
def test_a_run_name_cannot_leave_the_runs_folder(tmp_path: Path, name: str) -> None:
    good, outside = tmp_path / "runs/good", tmp_path / "outside"
    for folder in (good, outside, tmp_path / "runs/plain"):
        folder.mkdir(parents=True)
    for folder in (good, outside):
        (folder / "config.json").write_text("{}")
    (tmp_path / "runs/linked").symlink_to(outside)
    assert run_named(tmp_path, "good") == good
    with pytest.raises(UserError, match="There is no run"):
        run_named(tmp_path, name)


def test_the_command_of_a_shared_app(tmp_path: Path) -> None:
    password = tmp_path / "token"
    password.write_text("hunter2")
    password.chmod(0o600)
    words = app_command(AppSettings("some/model"), notebook="gates", share=True, password=password)
    assert words[words.index("--host") + 1] == "0.0.0.0"
    assert words[words.index("--token-password-file") + 1] == str(password)
    assert "--token" in words and "--headless" in words and "--no-token" not in words
    assert "hunter2" not in " ".join(words), "a password on a command line is seen by every user of the machine"
    behind = AppSettings.from_args(parse_args(words[words.index("--") + 1 :]), words)
    assert (behind.model, behind.shared, behind.writes) == ("some/model", True, False)
    assert "127.0.0.1" in app_command(AppSettings(), notebook="gates")
    assert "127.0.0.1" in app_command(AppSettings(), notebook="gates", share=True, password=password, host="127.0.0.1")


@pytest.mark.parametrize("flags", [["--share"], ["--share", "--host", "127.0.0.1"], ["--host", "0.0.0.0"]])
def test_ws_app_refuses_to_share_without_a_password_file(
    flags: list[str], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("os.execv", lambda *words: pytest.fail(f"started {words}"))
    assert cli.main(["app", "--notebook", "gates", *flags]) == 2
    assert "needs a token password file" in capsys.readouterr().err
    assert cli.main(["app", "--notebook", "../../etc/passwd"]) == 2
    assert "no notebook" in capsys.readouterr().err


def test_ws_app_hands_its_settings_on(monkeypatch: pytest.MonkeyPatch) -> None:
    started: list[list[str]] = []
    monkeypatch.setattr("os.execv", lambda file, words: started.append(words))
    assert cli.main(["app", "--notebook", "gates", "--model", "some/model", "--max-jobs", "2", "--port", "9999"]) == 0
    words = started[0]
    assert words[words.index("--port") + 1] == "9999"
    assert words[words.index("--") + 1 :] == ["--model=some/model", "--max-jobs=2"]


@pytest.mark.slow
def test_a_shared_server_lets_nobody_in_without_the_password(tmp_path: Path) -> None:
    password, port = tmp_path / "token", free_port()
    password.write_text("hunter2-hunter2\n")
    password.chmod(0o600)
    words = app_command(AppSettings(out=tmp_path), share=True, password=password, host="127.0.0.1", port=port)
    env = os.environ | {"PYTHONPATH": str(ROOT / "src")}
    log, address = tmp_path / "log", f"http://127.0.0.1:{port}"
    with open(log, "w") as out:
        server = subprocess.Popen(words, env=env, stdout=out, stderr=subprocess.STDOUT)
    try:
        until(lambda: status(f"{address}/health") == 200, 200, "the server did not start")
        assert status(f"{address}/api/status") in (401, 403)
        assert status(f"{address}/api/status?access_token=p%C3%A4ssword") in (401, 403), "a guess and not a failure"
        large = urllib.request.Request(f"{address}/auth/login", b"password=" + b"x" * (LARGEST + 1))
        assert status(large) == 413
        assert read(address), "the login page"
        for stranger in (address, f"{address}/?access_token=hunter3"):
            assert not {"gates", "ws-glance"} & set(re.findall(r"[\w-]+", read(stranger))), "it is behind the password"
        let_in = read(f"{address}/?access_token=hunter2-hunter2")
        assert "gates" in let_in and 'id="ws-glance"' in let_in
    finally:
        server.terminate()
        server.wait(30)
    printed = log.read_text()
    assert "hunter2" not in printed and f"Serving gates.py on {address}; the password is what {password}" in printed


def read(url: str) -> str:
    """A page, or the login page that it leads to; empty where nobody answers."""
    opener = urllib.request.build_opener(urllib.request.HTTPCookieProcessor())
    try:
        with opener.open(url, timeout=20) as answer:
            return str(answer.read().decode())
    except OSError:
        return ""


def status(url: str | urllib.request.Request) -> int:
    try:
        with urllib.request.urlopen(url, timeout=5) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as error:
        return int(error.code)
    except OSError:
        return 0


def test_a_page_says_when_its_three_replies_are_more_than_the_app_gives() -> None:
    assert tokens_of(AppSettings(max_samples=3), PageSettings()) is None
    assert tokens_of(AppSettings(max_tokens=20), PageSettings()) == 20
    with pytest.raises(UserError, match="3 samples were asked for, this app gives 1 to 2"):
        tokens_of(AppSettings(max_samples=2), PageSettings())


def test_a_warmed_up_page_is_remembered_and_writes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mini: LM
) -> None:
    seen: OrderedDict[Any, Any] = OrderedDict()
    monkeypatch.setattr(importlib.import_module("ws.reporting.charts.compiled"), "_SEEN", seen)
    words = ["hosting.py", "run", str(notebook_file("gates")), "--headless", "--", "--out", str(tmp_path / "out")]
    monkeypatch.setattr(sys, "argv", words)
    warm_up(words)
    drawn = {name for _, name, _ in seen}
    assert {"response_chart", "filter_chart", "tradeoff_chart", "beta_sweep_chart", "drift_chart"} <= drawn
    assert sys.argv is words and not (tmp_path / "out").exists()


def test_a_warm_up_that_fails_is_said_and_ends_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    page = tmp_path / "page.py"
    page.write_text("import marimo\napp = marimo.App()\n@app.cell\ndef _():\n    1 / 0\n    return\n")
    warm_up(["hosting.py", "run", str(page)])
    warm_up(["hosting.py", "--help"])
    assert "was not rehearsed: division by zero" in capsys.readouterr().err


def test_files_of_the_page_come_from_memory_and_all_else_from_the_app(tmp_path: Path) -> None:
    """What is asked for by another method, from another place or under no known name goes on to marimo."""
    (tmp_path / "index-abc.js").write_text("export default 1")
    (tmp_path / "notes.txt").write_text("not a page's file")
    passed: list[str] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        passed.append(f"{scope.get('method')} {scope['path']}")

    layer = Assets(app, tmp_path)

    def asked(path: str, method: str = "GET", kind: str = "http") -> list[dict[str, Any]]:
        sent: list[dict[str, Any]] = []

        async def send(message: Any) -> None:
            sent.append(message)

        asyncio.run(layer({"type": kind, "method": method, "path": path}, None, send))  # type: ignore[arg-type]
        return sent

    for _ in range(2):
        start, body = asked("/assets/index-abc.js")
        headers = dict(start["headers"])
        assert (start["status"], body["body"]) == (200, b"export default 1")
        assert headers[b"content-type"].startswith(b"text/javascript") and b"immutable" in headers[b"cache-control"]
    others = ["/assets/notes.txt", "/assets/../secret.js", "/assets/none.js", "/index-abc.js", "/"]
    assert [asked(path) for path in others] == [[]] * 5
    assert asked("/assets/index-abc.js", "HEAD") == asked("/assets/index-abc.js", kind="websocket") == []
    assert passed == [f"GET {path}" for path in others] + ["HEAD /assets/index-abc.js", "GET /assets/index-abc.js"]


def test_every_file_that_browsers_keep_for_ever_is_named_by_its_content() -> None:
    files = Assets(None, Path(marimo.__file__).parent / "_static/assets").files  # type: ignore[arg-type]
    assert len(files) > 500
    assert [name for name in files if not re.search(r"-[\w-]{8}\.\w+$", name)] == []


OWN = {"host": "127.0.0.1:2718"}


@pytest.mark.parametrize(
    ("headers", "local", "reading", "answered"),
    [
        (OWN, True, True, True),
        ({"host": "localhost:2718", "origin": "http://localhost:2718"}, True, False, True),
        ({"host": "[::1]:2718"}, True, True, True),
        ({"host": "rebound.example:2718"}, True, True, False),
        ({"host": "127.0.0.1.example"}, True, True, False),
        ({"host": ""}, True, True, False),
        ({}, True, True, False),
        ({"host": "[half"}, True, True, False),
        (OWN | {"origin": "http://other.example"}, True, False, False),
        (OWN | {"origin": "http://127.0.0.1:9999"}, True, False, False),
        (OWN | {"origin": "null"}, True, False, False),
        (OWN | {"origin": "http://[half"}, True, False, False),
        (OWN | {"origin": "http://other.example"}, True, True, True),  # a link from elsewhere opens the page
        ({"host": "lab.example"}, False, True, True),
        ({"host": "lab.example", "origin": "https://lab.example"}, False, False, True),
        ({"host": "a:80", "x-forwarded-host": "lab.example", "origin": "https://lab.example"}, False, False, True),
        ({"host": "lab.example", "origin": "https://other.example"}, False, False, False),
    ],
)
def test_only_the_apps_own_address_is_answered(
    headers: dict[str, str], local: bool, reading: bool, answered: bool
) -> None:
    assert (refusal(headers, local=local, reading=reading) is None) == answered


def test_a_websocket_of_another_site_is_closed_before_it_opens() -> None:
    passed, sent = [], []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        passed.append(scope["type"])

    async def send(message: Any) -> None:
        sent.append(message)

    layer = OwnHost(app, local=True)
    for origin in (b"http://other.example", b"http://127.0.0.1:1"):
        scope = {"type": "websocket", "headers": [(b"Host", b"127.0.0.1:1"), (b"Origin", origin)]}
        asyncio.run(layer(scope, None, send))  # type: ignore[arg-type]
    asyncio.run(layer({"type": "lifespan"}, None, send))  # type: ignore[arg-type]
    assert passed == ["websocket", "lifespan"] and [message["type"] for message in sent] == ["websocket.close"]


@pytest.mark.slow
def test_a_local_server_answers_no_other_name(tmp_path: Path) -> None:
    port = free_port()
    words = app_command(AppSettings(out=tmp_path), headless=True, port=port)
    env = os.environ | {"PYTHONPATH": str(ROOT / "src")}
    server = subprocess.Popen(words, env=env, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    address = f"http://127.0.0.1:{port}"
    try:
        until(lambda: status(f"{address}/health") == 200, 200, "the server did not start")
        with pytest.raises(urllib.error.HTTPError) as refused:
            urllib.request.urlopen(urllib.request.Request(address, headers={"Host": "rebound.example"}), timeout=20)
        assert refused.value.code == 403 and "own address only" in refused.value.read().decode()
    finally:
        server.terminate()
        server.wait(30)


# The password, the size of a request, syntax trees, what is not there


def test_the_password_is_in_no_banner(tmp_path: Path) -> None:
    words = ["main.py", "run", "nbs/gates.py", "--host", "0.0.0.0", "--port", "8000", "--token"]
    words += ["--token-password-file", str(tmp_path / "token")]
    assert without_banner(words) == ["main.py", "--quiet", *words[1:]]
    said = banner(words)
    assert said is not None and "gates.py on http://0.0.0.0:8000; the password is what" in said
    assert "hunter2" not in str(banner([*words[:-2], "--token-password", "hunter2"]))
    plain = ["main.py", "run", "nbs/gates.py"]
    assert banner(plain) is None and without_banner(plain) == plain


GUESSES = [("hunter2", True), ("hunter3", False), ("pässword", False), ("\ud800", False)]


@pytest.mark.parametrize(("guess", "right"), GUESSES)
def test_any_guess_is_compared(guess: str, right: bool) -> None:
    assert same(guess, "hunter2") == right


def test_a_password_opens_no_browser_with_it_in_its_address(tmp_path: Path) -> None:
    password = tmp_path / "token"
    password.write_text("hunter2")
    password.chmod(0o600)
    assert "--headless" in app_command(AppSettings(), password=password)
    assert "--headless" not in app_command(AppSettings())


def test_a_request_larger_than_a_page_sends_is_refused_before_it_is_held() -> None:
    """Whether it says its length, lies about it, or says none."""
    taken: list[bytes] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        body, more = b"", True
        while more:
            part = await receive()
            body, more = body + part["body"], part.get("more_body", False)
        taken.append(body)

    def answered(parts: list[bytes], length: bytes | None = None) -> list[int]:
        sent: list[int] = []
        left = list(parts)

        async def receive() -> Any:
            return {"type": "http.request", "body": left.pop(0), "more_body": bool(left)}

        async def send(message: Any) -> None:
            sent.extend([message["status"]] if "status" in message else [])

        headers = [] if length is None else [(b"content-length", length)]
        asyncio.run(BodyLimit(app, 10)({"type": "http", "method": "POST", "headers": headers}, receive, send))
        return sent

    assert answered([b"01234", b"56789"]) == answered([b"0123456789"], b"10") == []
    assert taken == [b"0123456789"] * 2
    assert answered([b"01234"] * 3) == answered([b"x"], b"11") == answered([b"x"], b"-1") == [413]
    assert len(taken) == 2


@pytest.mark.parametrize("length", [b"30", None])
def test_what_is_on_its_way_is_read_before_it_is_refused(length: bytes | None) -> None:
    """A server that closes with bytes unread resets the connection, and the sender never sees the answer."""
    left = [b"0123456789"] * 3

    async def receive() -> Any:
        return {"type": "http.request", "body": left.pop(0), "more_body": bool(left)}

    async def send(message: Any) -> None:
        assert not left, "answered while more was coming"

    headers = [] if length is None else [(b"content-length", length)]
    asyncio.run(BodyLimit(send, 10)({"type": "http", "method": "POST", "headers": headers}, receive, send))
    assert not left


def test_trees_are_made_in_turn_where_two_at_once_fail(monkeypatch: pytest.MonkeyPatch) -> None:
    versions = ((3, 11, 0), (3, 11, 7), (3, 11, 8), (3, 12, 0))
    assert [syntax_trees.affected(version) for version in versions] == [True, True, False, False]
    assert "3.11.8" in str(syntax_trees.advice((3, 11, 7))) and syntax_trees.advice((3, 11, 8)) is None
    inside, most = 0, 0

    def make(text: str) -> str:
        nonlocal inside, most
        inside += 1
        most = max(most, inside)
        time.sleep(0.01)
        inside -= 1
        return text

    waiting = syntax_trees.in_turn(make)
    threads = [threading.Thread(target=waiting, args=("x",)) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert most == 1 and waiting("y") == "y"


@pytest.mark.parametrize("affected", [True, False])
def test_a_server_makes_trees_in_turn_on_those_versions_alone(monkeypatch: pytest.MonkeyPatch, affected: bool) -> None:
    import ast

    from marimo._ast import compiler

    before = ast.parse, compiler.ast_compile
    monkeypatch.setattr(ast, "parse", ast.parse)
    monkeypatch.setattr(compiler, "ast_compile", compiler.ast_compile)
    monkeypatch.setattr(syntax_trees, "affected", lambda: affected)
    syntax_trees.make_in_turn()
    changed = (ast.parse is not before[0], compiler.ast_compile is not before[1])
    assert changed == (affected, affected) and compiler.module_compile("x = 1").body


def test_ws_app_does_not_serve_a_model_or_a_run_that_is_not_there(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("os.execv", lambda *words: pytest.fail(f"started {words}"))
    monkeypatch.chdir(tmp_path)
    assert cli.main(["app", "--model", "./nope"]) == 2
    assert "there is no folder or file './nope'. Check the path" in capsys.readouterr().err
    assert cli.main(["app", "--run", "nope"]) == 2
    assert "There is no run 'nope' under out/runs" in capsys.readouterr().err


def test_ws_app_serves_what_is_there(tmp_path: Path) -> None:
    (tmp_path / "model").mkdir()
    for model in (None, "mini", "smollm2", "some/hub-id", str(tmp_path / "model")):
        check_there(AppSettings(model, run=EXAMPLE))
