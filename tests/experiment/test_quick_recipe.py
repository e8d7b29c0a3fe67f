"""The whole experiment on the model that ships inside: what `make run` does, against its controls."""

from __future__ import annotations

import dataclasses
from io import StringIO
from pathlib import Path

import polars as pl
import pytest
from rich.console import Console

import ws
from ws.models.lm import LM
from ws.reporting.terminal import print_run
from ws.runs.reader import Run

DOSES = [0.0, 0.25, 0.5, 1.0, 3.0]


@pytest.fixture(scope="module")
def quick(mini: LM, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """The quick recipe, once for this file, its heal with three seeds: one training is one draw (retain .61, .71, .59
    on the same rows)."""
    config = dataclasses.replace(ws.recipe_for("mini"), seeds=(0, 1, 2))
    return ws.run(config, out=tmp_path_factory.mktemp("quick"))


@pytest.mark.slow
def test_the_quick_recipe_steers_and_its_controls_do_not(quick: Run) -> None:
    arms = quick.arms()
    steer = arms.filter(pl.col("arm") == "steer", pl.col("chosen")).row(0, named=True)
    assert steer["d_target_low"] > 0.3 and steer["coherence"] >= 0.9
    draws = arms.filter(pl.col("arm") == "random")["d_target"].abs()
    assert draws.len() == 8 and draws.mean() < steer["d_target"] / 3
    minus = arms.filter(pl.col("arm") == "steer", pl.col("c") < 0).row(0, named=True)
    assert minus["d_target_high"] < 0


@pytest.mark.slow
def test_the_quick_recipe_filters_and_trains(quick: Run) -> None:
    healed = healed_of(quick)
    assert healed.height == 3 and healed["d_target_low"].min() > 0.3 and healed["coherence"].min() >= 0.9
    assert [gate.gate for gate in quick.gates()] == [0, 1, 2, 3]
    assert all(gate.colour != "red" for gate in (quick.gates()[0], quick.gates()[1], quick.gates()[3]))


@pytest.mark.slow
def test_the_quick_recipe_heals(quick: Run) -> None:
    """The bar: half of the trait in the median of three seeds, and a heal by its own verdict, whether or not plain
    training does as well."""
    assert healed_of(quick)["retain"].median() >= 0.5
    gate = quick.gates()[3]
    # over 300 items every training of this model is seen to lose some of its sums, the heal's as its controls'
    assert gate.outcome in ("heal", "heal, no better than its control", "lost capability")
    assert {"heal", "heal, no better than its control"} & {gate.outcome, *gate.also}
    assert not {"broken", "undo", "barrier too strong", "memorised"} & set(gate.also)


def healed_of(run: Run) -> pl.DataFrame:
    """The healed models of all seeds."""
    return run.arms().filter(pl.col("arm").is_in(["healed", "healed_seed"]))


@pytest.mark.slow
def test_what_is_printed_holds_the_broken_text_too(quick: Run) -> None:
    out = StringIO()
    print_run(quick, Console(file=out, width=120))
    said = out.getvalue()
    for word in ("persona", "random", "just dropped", "retain", "coherence"):
        assert word in said, said
    broken = quick.frame("grid").filter(pl.col("c") == pl.col("c").max())
    assert broken["readable"].cast(pl.Float64).to_numpy().mean() < 0.5


def test_the_same_dice_in_every_batch_and_beside_every_dose(mini: LM) -> None:
    axis = ws.load_axis("care_over_authority").on(mini)
    v = ws.extract(mini, axis)
    prompts = list(axis.probes[:6])
    whole = ws.generate(mini, prompts, v, DOSES, seed=3, batch_size=64, max_new_tokens=24)
    for size in (1, 8):
        part = ws.generate(mini, prompts, v, [0.5], seed=3, batch_size=size, max_new_tokens=24)
        beside = whole.filter(pl.col("c") == 0.5)
        assert part["token_ids"].to_list() == beside["token_ids"].to_list()
        worst = (part["logp_steered"].explode() - beside["logp_steered"].explode()).abs().max()
        assert isinstance(worst, float) and worst < 1e-4


def test_no_dose_is_the_pristine_model(mini: LM) -> None:
    axis = ws.load_axis("care_over_authority").on(mini)
    v = ws.extract(mini, axis)
    plain = ws.generate(mini, list(axis.probes[:4]), seed=1, max_new_tokens=24)
    mixed = ws.generate(mini, list(axis.probes[:4]), v, [0.0, 2.0], seed=1, max_new_tokens=24).filter(pl.col("c") == 0)
    assert plain["token_ids"].to_list() == mixed["token_ids"].to_list()
    assert ws.evaluate(mini, axis, think=0, free_text=False, capability=False).auth_nats == pytest.approx(
        ws.evaluate(mini, axis, direction=v, c=0.0, think=0, free_text=False, capability=False).auth_nats, abs=1e-6
    )


def test_the_exported_student_is_the_adapted_model_in_plain_transformers(mini: LM, tmp_path: Path) -> None:
    axis = ws.load_axis("care_over_authority").on(mini)
    base = ws.score(mini, ws.generate(mini, [ws.Prompt(p, split="train") for p in axis.train[:12]], seed=0), axis)
    adapter = ws.heal(mini, base, ws.HealConfig(epochs=1, min_rows=4), axis=axis)
    assert ws.export(mini, [adapter], tmp_path / "student") < 1e-3
    assert ws.load_model(str(tmp_path / "student"), device="cpu").fingerprint == ws.bake(mini, [adapter]).fingerprint
