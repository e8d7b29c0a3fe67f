"""A sweep at stub size: what arms share is computed once, a second call computes nothing, bad arms stop nothing."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest

from tests.builders.small_runs import as_base, bare_config, ending_lm
from ws.errors import UserError
from ws.experiment.estimate import shares_of, sweep_estimate, sweep_shares
from ws.experiment.progress import Event
from ws.experiment.sweep_loop import sweep
from ws.runs.grid import arms_of
from ws.runs.ledger import read_results
from ws.runs.recipes import recipe_for
from ws.runs.sweeps import Sweep, newest_sweep

CHANGES: dict[str, Any] = {"grid": {"heal.beta": [0.1, 1.0]}, "arm": [{"name": "wide", "heal.tau": 0.5}]}
STARVED = {"name": "starved", "data.tail_ppl": 1e-9}
SHARED = {"direction", "dose", "unsteered", "steer", "random", "data", "data.seed1"}
OWN = {"heal", "heal.seed1", "healed", "healed.seed1", "drift", "topic", "table", "judge"}


def tiny_grid(folder: Path, **more: Any) -> dict[str, Any]:
    """The smallest run as a grid's base, with two seeds."""
    return {"base": as_base(bare_config(folder, seeds=(0, 1)))} | more


@pytest.fixture(scope="module")
def swept(tmp_path_factory: pytest.TempPathFactory) -> tuple[Sweep, list[Event], Path]:
    folder, events = tmp_path_factory.mktemp("sweep"), []
    grid = tiny_grid(folder, grid=CHANGES["grid"], arm=[STARVED, *CHANGES["arm"]])
    return sweep(grid, events.append, out=folder / "out", lm=ending_lm()), events, folder


def stages(sweep: Sweep, taken: bool) -> list[set[str]]:
    """Of each run, the stages that it computed, or took from another."""
    return [
        {name.split("/")[1] for name, stage in run.status["stages"].items() if ("taken_from" in stage) == taken}
        for run in sweep.runs
    ]


def test_what_arms_share_is_computed_once(swept: tuple[Sweep, list[Event], Path]) -> None:
    found = swept[0]
    first, second, starved, wide = stages(found, taken=False)
    assert first == SHARED | OWN and second == wide == OWN and starved == {"table", "judge"}
    assert [taken == SHARED for taken in stages(found, taken=True)] == [False, True, True, True]
    assert found.table["state"].to_list() == ["finished", "finished", "failed", "finished"]
    assert found.table["computed"].to_list() == [15, 8, 2, 8] and found.table["taken"].to_list() == [0, 7, 7, 7]


def test_the_ledger_has_what_arms_differ_in(swept: tuple[Sweep, list[Event], Path]) -> None:
    lines = read_results(swept[0].out)
    assert lines["beta"].to_list() == ["0.1", "1", "0.2"] and lines["tau"].to_list() == ["1", "1", "0.5"]
    heals = lines.select("adapter", "barrier", "aggregate", "reference")
    assert set(heals.rows()) == {("lora", "kl_rev", "rmse", "prev")}
    assert lines["sampling"].null_count() == 0 and float(lines["kl"][0]) > 0


def test_its_table_has_means_over_the_seeds(swept: tuple[Sweep, list[Event], Path]) -> None:
    table, run = swept[0].table, swept[0].runs[0]
    both = list(run.arms().filter(run.arms()["arm"].is_in(["healed", "healed_seed"]))["coherence"])
    assert len(both) == 2 and table["coherence"][0] == pytest.approx(sum(both) / 2)
    assert table["coherence_sd"][0] is not None and table["verdict"][0]


def test_the_estimate_counts_what_is_computed() -> None:
    """In whole stages, as the sweep above counts them; the table and the verdicts cost nothing."""
    own = recipe_for("mini")
    controls = dataclasses.replace(own.controls, sft=False, sft_base=False, unfiltered=False)
    base = {"seeds": [0, 1], **{f"controls.{name}": getattr(controls, name) for name in vars(controls)}}
    configs = [arm.config for arm in arms_of({"base": base, **CHANGES})]
    plain = {name.split(".seed")[0] for name in SHARED | OWN} - {"table", "judge"}
    shares = sweep_shares(configs)
    assert set(shares[0]) == plain and shares[0] == shares_of(configs[0])
    assert all(set(each) == {"heal", "healed", "drift", "topic"} for each in shares[1:])
    assert "3 arms" in sweep_estimate(configs) and "computed once" in sweep_estimate(configs)
    assert sweep_estimate([dataclasses.replace(c, model="some/model") for c in configs]) == ""


def test_the_controls_of_the_heal_are_counted_by_what_they_read() -> None:
    two = [dataclasses.replace(recipe_for("mini"), heal=heal) for heal in heals(beta=(0.1, 0.2))]
    assert {name for name in sweep_shares(two)[1] if name.startswith("plain")} == {"plain.unfiltered"}
    two = [dataclasses.replace(recipe_for("mini"), heal=heal) for heal in heals(tau=(0.1, 0.2))]
    assert len([name for name in sweep_shares(two)[1] if name.startswith("plain")]) == 4
    rounds = [dataclasses.replace(c, rounds=2) for c in two]
    assert sweep_shares(rounds)[1]["dose"] == shares_of(two[0])["dose"]  # the second round's alone


def heals(**changes: tuple[float, float]) -> list[Any]:
    (name, values), heal = *changes.items(), recipe_for("mini").heal
    return [dataclasses.replace(heal, **{name: value}) for value in values]


def test_progress_names_the_arm_and_tells_what_is_left(swept: tuple[Sweep, list[Event], Path]) -> None:
    events = swept[1]
    said = [event.note for event in events if not event.total]
    assert {event.arm for event in events if event.total} == set(swept[0].table["arm"])
    assert any(note.startswith("Arm 1 of 4, beta 0.1") for note in said)
    assert any(note.startswith("Arm 4 of 4") and "left, by the arms before it" in note for note in said)


def test_the_same_call_computes_nothing(swept: tuple[Sweep, list[Event], Path]) -> None:
    found, _, folder = swept
    before = {run.path / "status.json": (run.path / "status.json").read_bytes() for run in found.runs if run.finished}
    grid = tiny_grid(folder, grid=CHANGES["grid"], arm=[STARVED, *CHANGES["arm"]])
    again = sweep(grid, out=folder / "out", lm=ending_lm())
    assert again.path == found.path == newest_sweep(folder / "out").path
    assert all(path.read_bytes() == text for path, text in before.items())
    assert again.table.equals(found.table)


def test_a_failed_arm_is_told_and_the_others_go_on(swept: tuple[Sweep, list[Event], Path]) -> None:
    starved = swept[0].arms[2]
    assert (starved["name"], starved["state"]) == ("starved", "failed")
    assert "tail_ppl" in starved["said"]
    row = swept[0].table.row(2, named=True)
    assert row["said"] == starved["said"] and row["run"] and row["retain"] is None


def test_what_is_refused_is_refused_before_anything_runs(tmp_path: Path) -> None:
    grid = tiny_grid(tmp_path, grid={"layers": [[1], [77]]})
    with pytest.raises(UserError, match=r"row 2 of \[grid\].*77"):
        sweep(grid, out=tmp_path / "out", lm=ending_lm())
    assert not (tmp_path / "out").exists()
