"""A damaged or missing file of a run is named, never read as other numbers."""

from __future__ import annotations

import random
import shutil
from pathlib import Path
from typing import Any

import polars as pl
import pytest

import ws
from tests.builders.records import record_changes
from ws.app.cli import main
from ws.app.views.labels import read_labels, save_label
from ws.errors import UserError
from ws.experiment.examples import EXAMPLE, EXAMPLE_ROUNDS
from ws.files import folder_lock, read_json, write_frame, write_json
from ws.runs import heal_variants
from ws.runs.heal_variants import variants_of
from ws.runs.reader import Run, newest_run, open_run
from ws.runs.whole import check_in_run, read_status, recorded, write_status
from ws.steering.direction import Direction


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


# What no record of the run names


@pytest.fixture
def example(tmp_path: Path) -> Path:
    """The example of one round with a variant, each of which holds its checksums."""
    shutil.copytree(EXAMPLE, tmp_path / "example")
    for folder in sorted((tmp_path / "example/rounds/0/stops").iterdir())[1:]:
        shutil.rmtree(folder)
    record_changes(tmp_path / "example", records={})
    return tmp_path / "example"


@pytest.mark.parametrize("name", ["adapter/adapter_model.safetensors", "healed.parquet", "arms.parquet", "heal.json"])
def test_a_damaged_variant_is_named_and_may_be_removed(example: Path, name: str) -> None:
    folder = next((example / "rounds/0/stops").iterdir())
    assert len(variants_of(open_run(example))) == 2
    raw = bytearray((folder / name).read_bytes())
    raw[len(raw) // 2] ^= 1
    (folder / name).write_bytes(bytes(raw))
    heal_variants._read.cache_clear()  # as another process
    with pytest.raises(UserError, match=r"Remove the folder .*/stops/") as caught:
        assert [variant.adapter.digest for variant in variants_of(open_run(example))]
    assert name.split("/")[0] in str(caught.value)
    shutil.rmtree(folder)
    assert len(variants_of(open_run(example))) == 1


def test_damaged_notes_are_named_and_may_be_moved_aside(example: Path) -> None:
    run = open_run(example)
    run.note(1, "as I would say")
    assert run.notes() == {"1": "as I would say"}
    notes = example / "rounds/0/notes.json"
    notes.write_text(notes.read_text().replace("would", "could"))
    with pytest.raises(UserError, match=r"notes\.json is damaged.* Move it aside"):
        open_run(example).gates()
    notes.rename(notes.with_suffix(".aside"))
    assert open_run(example).gates()[1].note == ""


def test_labels_with_another_row_are_named(example: Path) -> None:
    run, path = open_run(example), example / "labels.parquet"
    rows = run.marked()
    save_label(run, rows.row(0, named=True), coherent=True)
    seal, before = pl.read_parquet_metadata(path)["seal"], read_labels(run)
    before.with_columns(coherent=~pl.col("coherent")).write_parquet(path, metadata={"seal": seal})
    with pytest.raises(UserError, match=r"labels\.parquet is damaged.* Move it aside"):
        read_labels(run)
    path.unlink()
    assert save_label(run, rows.row(0, named=True), coherent=True).height == 1
    write_frame(path, before)  # of an earlier version
    assert read_labels(run).height == 1


@pytest.mark.parametrize("old", ['"rounds"', '"seeds"', '"texts"'])
def test_a_damaged_key_of_the_settings_names_the_file(copy: Path, old: str) -> None:
    """Also where no record holds it, as in runs of an earlier version."""
    status = read_status(copy)
    del status["records"]
    write_status(copy, status | {"version": ws.__version__})
    config = copy / "config.json"
    config.write_text(config.read_text().replace(old, old.replace("s", "r")))
    with pytest.raises(UserError, match=r"config\.json is damaged"):
        _ = open_run(copy).config
    write_status(copy, status | {"version": "0.0.1"})
    with pytest.raises(UserError, match=r"config\.json is of another version"):
        _ = open_run(copy).config


def test_without_its_settings_a_run_is_a_damaged_one(copy: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (copy / "config.json").unlink()
    assert main(["show", str(copy)]) == 2
    assert "config.json is missing" in capsys.readouterr().err


def test_the_newest_run_is_not_passed_over_for_an_older_one(copy: Path, tmp_path: Path) -> None:
    for name in ("1", "2"):
        shutil.copytree(copy, tmp_path / "out/runs" / name)
    assert newest_run(tmp_path / "out").name == "2"
    (tmp_path / "out/runs/2/status.json").write_text("{")
    with pytest.raises(UserError, match=r"runs/2/status\.json is damaged"):
        newest_run(tmp_path / "out")


def test_a_direction_taken_out_of_a_run_is_compared(copy: Path, tmp_path: Path) -> None:
    place = copy / "rounds/0/direction.safetensors"
    v = Direction.load(check_in_run(place))
    v.save(tmp_path / "v.safetensors")
    for path, told in ((place, "is damaged"), (tmp_path / "v.safetensors", "not those that were written")):
        raw = bytearray(path.read_bytes())
        raw[-3] ^= 1
        path.write_bytes(bytes(raw))
        with pytest.raises(UserError, match=told):
            Direction.load(check_in_run(path))
