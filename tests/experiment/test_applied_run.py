"""A run whose direction is applied in another way than usual: every stage takes it, and its record says so."""

from __future__ import annotations

import io

import polars as pl
import pytest
from rich.console import Console

from tests.builders.small_runs import bare_config, ending_lm
from ws.errors import UserError
from ws.experiment.loop import run
from ws.reporting.terminal import print_run
from ws.runs.config import from_dict, to_dict
from ws.runs.reader import Run
from ws.runs.recipes import mini_quick, recipe_for, with_method
from ws.steering.direction import Direction

HOW = {
    "schedule": "window:0:6",
    "gate": "below:0.9",
    "backtrack": True,
    "also": ("rotation:20", "care_over_authority:0.5"),
}


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> tuple[Run, Run]:
    """The usual way, and the other."""
    folder = tmp_path_factory.mktemp("applied")
    usual = run(bare_config(folder), out=folder / "out", lm=ending_lm())
    return usual, run(bare_config(folder, **HOW), out=folder / "out", lm=ending_lm())


def test_its_stages_are_its_own(runs: tuple[Run, Run]) -> None:
    keys = [{name: stage["key"] for name, stage in found.status["stages"].items()} for found in runs]
    shared = {name for name in keys[0] if keys[0][name] == keys[1][name]}
    assert {"0/direction", "0/unsteered"} <= shared
    assert not shared & {"0/dose", "0/steer", "0/random", "0/data", "0/heal", "0/drift"}
    assert {"0/direction.0", "0/direction.1"} == set(keys[1]) - set(keys[0])
    assert [Direction.load(runs[1].path / f"rounds/0/direction.{i}.safetensors").method for i in range(2)] == [
        "rotation", "mean_diff",
    ]  # fmt: skip


def test_it_steers_otherwise_and_the_base_is_the_same(runs: tuple[Run, Run]) -> None:
    usual, other = (found.frame("completions") for found in runs)
    assert not usual["text"].equals(other["text"]) and {"scale", "rollbacks"} <= set(other.columns)
    base = [found.frame("dose").filter(pl.col("arm") == "base")["d_target"].to_list() for found in runs]
    assert base[0] == base[1]


def test_its_record_and_its_report_say_so(runs: tuple[Run, Run]) -> None:
    usual, other = runs
    assert to_dict(other.config)["also"] == list(HOW["also"]) and "also" not in to_dict(usual.config)  # type: ignore
    assert from_dict(to_dict(other.config)) == other.config
    assert usual.steering == "mean_diff, c in multiples"
    out = io.StringIO()
    print_run(other, Console(file=out, width=200))
    said = (
        "steering: mean_diff, c in multiples; schedule window:0:6; gate below:0.9; backtracking; beside it rotation:20"
    )
    assert said in out.getvalue()


def test_the_same_command_returns_it(runs: tuple[Run, Run]) -> None:
    again = run(runs[1].config, out=runs[1].path.parents[1], lm=ending_lm())
    assert again.path == runs[1].path


def test_a_method_brings_its_own_doses() -> None:
    quick = mini_quick()
    turned = recipe_for("mini", method="rotation")
    assert turned.method == "rotation" and turned.dose.grid[0] >= 1 and with_method(quick, "mean_diff") == quick
    assert with_method(quick, "pca").dose == quick.dose
    with pytest.raises(UserError, match="no steering method"):
        recipe_for("mini", method="nope")
