"""A damaged or missing file of a run is named, never read as other numbers."""

from __future__ import annotations

import random
import shutil
from pathlib import Path
from typing import Any

import pytest

from tests.builders.records import record_changes
from ws.app.cli import main
from ws.errors import UserError
from ws.experiment.examples import EXAMPLE_ROUNDS
from ws.files import folder_lock, read_json, write_json
from ws.runs.reader import Run, open_run
from ws.runs.whole import read_status, recorded


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    shutil.copytree(EXAMPLE_ROUNDS, tmp_path / "run")
    record_changes(tmp_path / "run", records={})  # of an earlier version: its records beside the stages' are named now
    return tmp_path / "run"


def flip(path: Path, rng: random.Random) -> None:
    """One bit of one byte."""
    raw = bytearray(path.read_bytes())
    place = rng.randrange(len(raw))
    raw[place] ^= 1 << rng.randrange(8)
    path.write_bytes(bytes(raw))


def numbers(run: Run) -> Any:
    """Everything that a reader takes from a run."""
    parts: list[Any] = [run.config, run.env, run.axis, run.summary, run.best, run.rounds, run.finished]
    for n in range(run.rounds):
        parts += [run.frame(name, n).to_dicts() for name in ("arms", "dose", "heal", "drift", "eval")]
        parts += [run.get(name, n) for name in ("knee.json", "heal.json")] + [run.gates(n)]
        parts.append(run.get("direction.safetensors", n).fingerprint)
    return repr(parts)


def test_every_file_that_was_written_is_in_the_record(copy: Path) -> None:
    named = set(recorded(read_status(copy)))
    there = {str(path.relative_to(copy)) for path in copy.rglob("*") if path.is_file()}
    assert there - named <= {"status.json", "stamp.json", ".lock"}


def test_one_flipped_bit_is_named_or_without_effect(copy: Path, tmp_path: Path) -> None:
    """Anywhere in any file: the numbers as before, or a message that names a file, never others."""
    rng, before = random.Random(0), numbers(open_run(copy))
    files = sorted(path.relative_to(copy) for path in copy.rglob("*") if path.is_file() and path.name != "stamp.json")
    named = 0
    for i in range(60):
        work = tmp_path / "flipped"
        shutil.copytree(copy, work)
        flip(work / files[i % len(files)], rng)
        try:
            assert numbers(open_run(work)).replace("flipped", "run") == before, files[i % len(files)]
        except UserError as error:
            named += 1
            assert files[i % len(files)].name in str(error), error
        shutil.rmtree(work)
    assert named > 50  # healed.parquet is read by nobody


@pytest.mark.parametrize(
    ("file", "command"),
    [("arms.parquet", "show"), ("dose.parquet", "show"), ("gates.json", "show"), ("gates.json", "gates"),
     ("arms.parquet", "journal"), ("eval.parquet", "journal")],
)  # fmt: skip
def test_a_file_that_is_gone_is_named(copy: Path, file: str, command: str, capsys: pytest.CaptureFixture[str]) -> None:
    """The round does not seem to end there."""
    (copy / "rounds/2" / file).unlink()
    assert main([command, str(copy)]) == 2
    told = capsys.readouterr().err
    assert f"rounds/2/{file} is missing" in told and "ws run" in told


@pytest.mark.parametrize("cut", ["", "{", "[1]", '{"stages": []}'])
def test_without_its_record_no_round_is_the_best(copy: Path, cut: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Round 0 would be exported in place of the best one, without a word."""
    (copy / "status.json").write_text(cut)
    for command in (["gates", str(copy)], ["export", str(copy), str(copy / "adapter"), "--what", "adapter"]):
        assert main(command) == 2
        assert "status.json is damaged" in capsys.readouterr().err
    (copy / "status.json").unlink()
    assert main(["gates", str(copy)]) == 2
    assert "status.json is missing" in capsys.readouterr().err


def test_a_value_changed_by_hand_is_damage(copy: Path) -> None:
    status = read_json(copy / "status.json")
    write_json(copy / "status.json", status | {"best_round": 0})
    with pytest.raises(UserError, match=r"status\.json is damaged"):
        open_run(copy)


def test_a_run_that_is_being_written_is_nobodys_damage(copy: Path) -> None:
    run = open_run(copy)
    assert run.gates(0)
    gates = read_json(copy / "rounds/1/gates.json")
    write_json(copy / "rounds/1/gates.json", [])
    with folder_lock(copy):
        assert run.gates(1) == []
    with pytest.raises(UserError, match=r"gates\.json is damaged"):
        open_run(copy).gates(1)
    write_json(copy / "rounds/1/gates.json", gates)
    assert open_run(copy).gates(1)


def test_a_reader_that_was_there_before_takes_the_new_record(copy: Path) -> None:
    run = open_run(copy)
    _ = run.status
    write_json(copy / "rounds/1/gates.json", [])
    record_changes(copy)
    assert run.gates(1) == []
