"""The first estimate of a run: whose stages it counts, and what it says of settings that it does not know."""

from __future__ import annotations

import dataclasses

import pytest

from ws.experiment.estimate import first_estimate, shares_of
from ws.models.recipe import RECIPES, recipe_of
from ws.runs.recipes import recipe_for
from ws.runs.stages import STAGES, stage_of


@pytest.mark.parametrize("model", RECIPES)
def test_every_stage_that_computes_has_its_share(model: str) -> None:
    named = {stage_of(name).name for name, _ in recipe_of(model).costs}
    assert named == set(STAGES) - {"table", "judge"}
    said = first_estimate(recipe_for(model), 2)
    shares = [int(part.split()[-2]) for part in said.split("Shares: ")[1].rstrip(".").split(", ")]
    assert 97 <= sum(shares) <= 103 and "yours differ" not in said and "with 2 workers" in said


def test_rounds_seeds_and_controls_are_counted() -> None:
    own = recipe_for("smollm2")
    one = shares_of(own)
    three = shares_of(dataclasses.replace(own, seeds=(0, 1, 2), rounds=2))
    assert three["heal"] == 6 * one["heal"] and three["dose"] == 2 * one["dose"]
    bare = dataclasses.replace(own.controls, sft=False, unfiltered=False)
    left = shares_of(dataclasses.replace(own, controls=bare, dose=dataclasses.replace(own.dose, random_draws=0)))
    assert set(one) - set(left) == {"plain.sft", "plain.unfiltered", "plain.sft_unfiltered", "random"}


def test_other_settings_are_named_and_other_models_not_guessed() -> None:
    other = dataclasses.replace(recipe_for("mini"), batch_size=3)
    assert "yours differ" in first_estimate(other, 1) and "with 1 worker " in first_estimate(other, 1)
    assert "yours differ" not in first_estimate(dataclasses.replace(recipe_for("mini"), seeds=(3, 4)), 1)
    assert first_estimate(recipe_for("some/model"), 2) == ""
