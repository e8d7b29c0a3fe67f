"""Where standard output is odd, and paths are: nothing ends half way, and what the system refuses is one message."""

from __future__ import annotations

import io
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from ws.app import cli, options, output
from ws.app.commands import _json
from ws.axes.axis import load_axis
from ws.errors import UserError

SHOW = "from ws.app.cli import main; import sys; sys.exit(main(['--help']))"


@pytest.mark.parametrize("reads", [True, False])
def test_a_closed_pipe_is_no_mistake_and_a_full_one_is(reads: bool) -> None:
    code = (
        "from ws.app import cli, output\n"
        "def act(args):\n"
        "    console = output.PipedConsole(width=80)\n"
        "    for _ in range(20000): console.print('x' * 70)\n"
        "    return 0\n"
        "cli._dispatch = act\n"
        "raise SystemExit(cli.main(['show']))\n"
    )
    if reads:
        with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
            assert process.stdout and process.stderr
            process.stdout.readline()
            process.stdout.close()
            assert (process.stderr.read(), process.wait()) == (b"", 0)
        return
    with Path("/dev/full").open("w") as full:
        done = subprocess.run([sys.executable, "-c", code], stdout=full, stderr=subprocess.PIPE, text=True, check=False)
    assert done.returncode == 2 and done.stderr.startswith("ws: standard output could not be written: No space left")
    assert done.stderr.count("\n") == 1


def test_what_is_still_in_the_buffer_at_the_end_is_refused_too() -> None:
    with Path("/dev/full").open("w") as full:
        done = subprocess.run([sys.executable, "-c", SHOW], stdout=full, stderr=subprocess.PIPE, text=True, check=False)
    assert done.returncode == 2 and "could not be written" in done.stderr and "Traceback" not in done.stderr


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "utf-8"])
def test_a_character_that_the_encoding_lacks_is_escaped(encoding: str, monkeypatch: pytest.MonkeyPatch) -> None:
    raw = io.BytesIO()
    stream = io.TextIOWrapper(raw, encoding=encoding)
    output.printable(stream, None)
    output.PipedConsole(file=stream, width=40).print("好 ü \udcff")
    monkeypatch.setattr(sys, "stdout", stream)
    _json({"text": "好 ü \udcff"})
    stream.flush()
    shown, line = raw.getvalue().decode(encoding).splitlines()
    assert shown == "好 ü \udcff".encode(encoding, "backslashreplace").decode(encoding)
    assert json.loads(line) == {"text": "好 ü \udcff"}


@pytest.mark.parametrize("args", [["show", "x" * 300], ["results", "--out", "x" * 300], ["show", "--out", "x" * 300],
                                  ["export", "run", "x" * 300]])  # fmt: skip
def test_a_name_that_the_system_refuses_is_named(args: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    from ws.experiment.examples import EXAMPLE

    at = [str(EXAMPLE) if arg == "run" else arg for arg in args]
    assert cli.main([*at, "--what", "direction"] if args[0] == "export" else at) == 2
    err = capsys.readouterr().err
    assert "xxx" in err and "File name too long. Name another place" in err


def test_what_the_system_says_of_anything_else_keeps_its_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    def act(args: list[str]) -> int:
        raise FileNotFoundError(2, "No such file or directory", "inner")

    monkeypatch.setattr(cli, "_dispatch", act)
    with pytest.raises(FileNotFoundError):
        cli.main(["show"])


@pytest.mark.parametrize("name", sorted(cli.COMMANDS))
def test_only_what_stores_its_stages_says_that_it_goes_on(
    name: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def act(args: list[str]) -> int:
        raise KeyboardInterrupt

    monkeypatch.setattr(cli, "_dispatch", act)
    assert cli.main([name]) == 130
    assert ("goes on from there" in capsys.readouterr().err) is (name in ("run", "sweep", "judge"))


def test_home_is_meant_by_a_tilde_in_a_path(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    found: Any = cli._parse("show", ["~/a", "--out=~/runs"])
    assert (found.run, found.out) == (tmp_path / "a", tmp_path / "runs")
    assert cli._parse("run", ["--out=~/runs"]).out == tmp_path / "runs"
    assert cli._parse("steer", ["~/a"]) == options.SteerArgs("~/a")
    (tmp_path / "mine.toml").write_text("name = 3")
    with pytest.raises(UserError, match=r"mine\.toml: "):
        load_axis("~/mine.toml")
