"""The two runs that ship with the package: made by this version's weights and stages, small, whole, of no machine."""

from __future__ import annotations

import shutil
from pathlib import Path

import polars as pl
import pytest

from tests.builders.records import record_changes
from ws.experiment.examples import EXAMPLE, EXAMPLE_ROUNDS, EXAMPLES, LOOPS, ROUNDS, betas_of, shipped, stale
from ws.files import read_json, write_json
from ws.models.lm import LM
from ws.models.recipe import missing_weights
from ws.runs.heal_variants import VariantSettings, find_variant
from ws.runs.reader import open_run

SIZES = {"mini": (4 * 2**20, 1_000_000), "smollm2": (12 * 2**20, 1_500_000)}
SHIPPED = [
    pytest.param(place, rounds, size, id=f"{name}-{model}")
    for model, sizes in SIZES.items()
    for name, place, rounds, size in (("example", EXAMPLES[model], 1, sizes[0]),
                                      ("rounds", LOOPS[model], ROUNDS[model], sizes[1]))
    if place in [*shipped().values(), *shipped(LOOPS).values()]
]  # fmt: skip


def needs(path: Path) -> None:
    """Skip where the run's model is not installed."""
    missing = missing_weights(open_run(path).config.model)
    if missing:
        pytest.skip(f"THE REAL MODEL IS NOT INSTALLED: {missing}")


@pytest.mark.parametrize(("path", "rounds", "size"), SHIPPED)
def test_a_shipped_run_is_not_stale(path: Path, rounds: int, size: float, mini: LM) -> None:
    needs(path)
    command = "make example" if rounds == 1 else "make example-rounds"
    assert stale(path, rounds) == [], f"the model, the recipe or a stage has changed: {command}"


@pytest.mark.parametrize(("path", "rounds", "size"), SHIPPED)
def test_a_stale_run_is_noticed(path: Path, rounds: int, size: float, tmp_path: Path, mini: LM) -> None:
    needs(path)
    copy = tmp_path / "copy"
    shutil.copytree(path, copy)
    changes = {
        "env.json": {"fingerprint": "0" * 16, "axis": "1" * 16, "items": "2" * 16},
        "config.json": {"rounds": 9},
    }
    for name, values in changes.items():
        write_json(copy / name, read_json(copy / name) | values)
    record_changes(copy, format=99)
    found = " ".join(stale(copy, rounds))
    for words in ("fingerprint: made with 0000", "axis: made with 1111", "items: made with 2222", "another recipe"):
        assert words in found
    assert "format 99" in found and "stages" not in found


@pytest.mark.parametrize(("path", "rounds", "file", "key"), [
    (EXAMPLE, 1, "env.json", "stages"), (EXAMPLE_ROUNDS, ROUNDS["mini"], "stamp.json", "versions"),
])  # fmt: skip
def test_other_stages_are_noticed(path: Path, rounds: int, file: str, key: str, tmp_path: Path, mini: LM) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(path, copy)
    stored = read_json(copy / file)
    write_json(copy / file, stored | {key: stored[key] | {"direction": 99}})
    record_changes(copy)
    assert [line.split(":")[0] for line in stale(copy, rounds)] == ["stages"]


def test_a_missing_stop_is_noticed(tmp_path: Path, mini: LM) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(EXAMPLE, copy)
    shutil.rmtree(copy / "rounds/0/stops")
    assert "no stop at beta 0.3" in stale(copy)


@pytest.mark.parametrize(("path", "rounds", "size"), SHIPPED)
def test_a_shipped_run_is_small_whole_and_names_no_machine(path: Path, rounds: int, size: float) -> None:
    files = [file for file in path.rglob("*") if file.is_file()]
    assert sum(file.stat().st_size for file in files) < size
    run = open_run(path)
    assert (run.rounds, run.finished, run.config.rounds) == (rounds, True, rounds)
    told = [file.read_text() for file in files if file.suffix == ".json"]
    assert not [text for text in told if "/tmp" in text or str(Path.home()) in text]


def test_what_made_them_is_a_command_that_exists() -> None:
    assert open_run(EXAMPLE).env["argv"] == ["python", "-m", "ws.experiment.examples"]
    assert open_run(EXAMPLE_ROUNDS).env["argv"] == ["ws", "run", "--rounds", str(ROUNDS["mini"])]


def test_the_shipped_heal_of_the_real_model_meets_its_bars() -> None:
    """At beta .1 it keeps half of what was steered within five points of base's coherence; at beta 1 it is undone; and
    what it writes keeps to its question. Read off the shipped run: a fresh one takes half an hour."""
    needs(EXAMPLES["smollm2"])
    run = open_run(EXAMPLES["smollm2"])
    assert run.config.heal.beta == 0.1
    own, undone = (find_variant(run, VariantSettings(beta)) for beta in betas_of("smollm2"))
    assert own is not None and undone is not None
    healed = run.arms().filter(pl.col("arm") == "healed").row(0, named=True)
    assert healed["retain"] >= 0.5 and healed["coherence"] >= 0.95
    assert undone.arm["retain"][0] < 0.35
    gates = {gate.gate: gate for gate in run.gates()}
    assert gates[1].colour == "green" and not {"off the question"} & {*gates[1].also, *gates[3].also}
    assert gates[3].outcome not in ("broken", "undo", "memorised")
