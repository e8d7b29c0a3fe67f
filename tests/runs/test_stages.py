"""The table of stages: its keys are those of runs that earlier versions stored, and every stage stands in it."""

from __future__ import annotations

import dataclasses
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ws.axes.axis import load_axis
from ws.experiment.context import RunContext
from ws.experiment.examples import EXAMPLE, EXAMPLE_ROUNDS, LEFT_OUT
from ws.experiment.rounds import Round
from ws.files import digest
from ws.models.lm import load_model
from ws.runs.artifacts import load
from ws.runs.reader import Run
from ws.runs.stages import STAGES, VERSIONS, files_of, reads_of, stage_of
from ws.runs.writer import RunFolder

IDENTITY = ("fingerprint", "axis", "items", "device", "dtype", "threads", "chat")


class Keys(RunFolder):
    """A stored run's folder that computes nothing: each stage is asked for its key and its files."""

    def __init__(self, path: Path, status: dict[str, Any]) -> None:
        super().__init__(path, status, print)
        self.found: dict[str, str] = {}
        self.files: dict[str, tuple[str, ...]] = {}

    def stage(
        self, name: str, version: int, inputs: Any, files: tuple[str, ...], compute: Callable[[], Any]
    ) -> tuple[Any, ...]:
        self.found[name] = digest([name.split("/")[-1], version, inputs])
        self.files[name] = files
        self.status["stages"].setdefault(name, {"key": self.found[name]})
        places = [self.path / "rounds" / name.split("/")[0] / file for file in files]
        return tuple(load(place) if place.exists() and place.suffix == ".json" else None for place in places)


def played(path: Path, number: int = 0, **changes: Any) -> Keys:
    """Every stage of a stored round, asked for its key by this version."""
    run = Run(path)
    config = dataclasses.replace(run.config, **changes)
    stages = {name: stage for name, stage in run.status["stages"].items() if not changes or name.endswith("/dose")}
    folder = Keys(path, {"stages": stages})
    lm = load_model(config.model)
    keys = [run.status["stages"][f"{k}/heal"]["key"] for k in range(number)]
    identity = {name: run.env[name] for name in IDENTITY}
    job = RunContext(lm, load_axis(config.axis).on(lm), config, identity, folder, None, None, keys=keys)
    round = Round(job, number)
    for method, *arguments in round.calls().values():
        getattr(round, method)(*arguments)
    round.judge()
    return folder


@pytest.mark.parametrize(("path", "number"), [(EXAMPLE, 0), *((EXAMPLE_ROUNDS, n) for n in range(3))])
def test_a_stored_run_is_found_stage_by_stage(path: Path, number: int) -> None:
    """Keys and files are those that its version wrote, so that it resumes. Verdicts may be judged again."""
    stored = {n: s for n, s in Run(path).status["stages"].items() if n.startswith(f"{number}/")}
    folder = played(path, number)
    assert set(folder.found) == set(stored)
    again = [name for name in stored if folder.found[name] != stored[name]["key"]]
    assert set(again) <= {f"{number}/judge"}
    # what was left out of a shipped run is in no record of it
    assert all(set(stage["files"]) <= set(folder.files[name]) for name, stage in stored.items())
    assert set(stored[f"{number}/table"]["files"]) == set(folder.files[f"{number}/table"])


def test_a_seed_reads_what_is_its_own() -> None:
    every = {"heal": ["heal", "heal.seed1"], "healed": ["healed", "healed.seed1"], "plain": ["plain.sft"]}
    assert reads_of("heal.seed1", every) == ["dose", "data.seed1"] and reads_of("heal", every) == ["dose", "data"]
    assert reads_of("healed.seed1", every) == ["heal.seed1"] and reads_of("plain.sft", every) == ["dose", "data"]
    assert reads_of("drift", every) == ["direction", "dose", "data", "heal"]
    assert reads_of("table", every) == [
        "dose", "unsteered", "steer", "random", "healed", "healed.seed1", "plain.sft", "topic",
    ]  # fmt: skip
    assert reads_of("judge", every) == ["dose", "data", "heal", "heal.seed1", "drift", "table"]
    assert files_of("heal.seed1") == ("adapter.seed1", "heal.seed1.parquet", "heal.seed1.json")
    assert files_of("data.seed2") == ("completions.seed2.parquet",) and files_of("dose")[2] == "knee.json"
    assert files_of("plain.sft_base") == ("adapter.sft_base", "heal.sft_base.parquet", "sft_base.parquet")


def test_several_seeds_have_the_stages_of_the_version_before() -> None:
    """Names and files as they were when they stood in six tables of strings, and what came later: the two trainings
    without a filter, the tie between text and prompt."""
    folder = played(EXAMPLE, seeds=(4, 1))
    files = {name.split("/")[1]: found for name, found in folder.files.items()}
    assert files == {
        "direction": ("direction.safetensors",), "dose": ("dose.parquet", "grid.parquet", "knee.json"),
        "unsteered": ("unsteered.parquet",), "steer": ("steer.parquet",), "random": ("random.parquet",),
        "data": ("completions.parquet",), "data.seed1": ("completions.seed1.parquet",),
        "heal": ("adapter", "heal.parquet", "heal.json"),
        "heal.seed1": ("adapter.seed1", "heal.seed1.parquet", "heal.seed1.json"),
        "plain.sft": ("adapter.sft", "heal.sft.parquet", "sft.parquet"),
        "plain.sft_base": ("adapter.sft_base", "heal.sft_base.parquet", "sft_base.parquet"),
        "plain.unfiltered": ("adapter.unfiltered", "heal.unfiltered.parquet", "unfiltered.parquet"),
        "plain.sft_unfiltered": ("adapter.sft_unfiltered", "heal.sft_unfiltered.parquet", "sft_unfiltered.parquet"),
        "healed": ("healed.parquet",), "healed.seed1": ("healed.seed1.parquet",), "drift": ("drift.parquet",),
        "topic": ("topic.parquet",),
        "table": ("eval.parquet", "arms.parquet"), "judge": ("gates.json",),
    }  # fmt: skip
    assert {stage_of(name).name for name in files} == set(STAGES) == set(VERSIONS)


def test_no_stage_reads_one_that_comes_after_it() -> None:
    names = list(STAGES)
    for stage in STAGES.values():
        reads = [read.removesuffix(".*") for read in stage.reads]
        assert all(names.index(read) < names.index(stage.name) for read in reads), stage.name
        named = stage.per_seed or stage.name == "direction"  # one that stands beside carries its place
        assert all(("{seed}" in file) == named for file in stage.files), stage.name


def test_a_shipped_run_leaves_out_the_reports_that_are_stored_twice() -> None:
    read = set(reads_of("table", {"healed": ["healed"], "plain": []})) - {"dose", "topic"}
    reports = {files_of(name)[-1] for name in read}
    assert reports < set(LEFT_OUT) and {"sft.parquet", "adapter.sft_base"} <= set(LEFT_OUT)


def test_the_table_needs_no_torch() -> None:
    code = "import sys, ws.runs.stages; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
