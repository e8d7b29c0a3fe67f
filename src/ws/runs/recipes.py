"""Recipes: functions that return a whole configuration, for the embedded model (`make run`) and for others."""

from __future__ import annotations

import dataclasses

from ws.errors import UserError
from ws.healing.config import HealConfig, of_family
from ws.models.recipe import recipe_of
from ws.runs.config import ControlConfig, DataConfig, DoseConfig, EvalConfig, RunConfig, _with
from ws.steering.methods import method as method_of

__all__ = ["mini_full", "mini_quick", "real_default", "recipe_for", "with_adapter", "with_method"]


ABOVE = 1.4
"""Knees: data from there, too, where steering costs coherence and filter and barrier have something to do."""


def mini_quick() -> RunConfig:
    """The embedded model without thinking, with every control: about three minutes a round on two shared cores."""
    return RunConfig(
        dose=DoseConfig(grid=(0.5, 1.0, 1.5, 2.0), bisect=3, texts=48, random_draws=8),
        data=DataConfig(doses=(1.0, ABOVE), samples=2, keep=256),
        heal=HealConfig(beta=0.03, tau=0.03, lr=3e-3, batch=6, epochs=2),
        evaluation=EvalConfig(texts=80, think=0, batch_size=128),
        controls=ControlConfig(unfiltered=True),
        batch_size=256,
        threads=1,  # two are slower as soon as anything else runs beside them
    )


def mini_full() -> RunConfig:
    """The embedded model where intervals are narrow: three seeds, 200 texts per arm, sampled thinks beside."""
    quick = mini_quick()
    return dataclasses.replace(
        quick,
        dose=dataclasses.replace(quick.dose, bisect=4, texts=200, random_draws=16),
        evaluation=EvalConfig(texts=200, batch_size=128),
        seeds=(0, 1, 2),
    )


def real_default(model: str) -> RunConfig:
    """Any other model: the grid, the data and the filter of a run on Qwen3 or Gemma 3 of 0.6B to 4B parameters."""
    return RunConfig(
        model=model,
        data=DataConfig(doses=(1.0, ABOVE), keep=64),
        controls=ControlConfig(unfiltered=True),
        evaluation=EvalConfig(texts=200),
        batch_size=64,
        threads=1 if recipe_of(model).one_thread else None,
    )


def with_adapter(config: RunConfig, adapter: str) -> RunConfig:
    """A recipe with another family in the place of LoRA, and what the recipe sets for LoRA (lr) as that family needs
    it. UserError for an unknown family."""
    heal = dataclasses.replace(config.heal, adapter=adapter)
    own = of_family(adapter, {name: getattr(heal, name) for name in ("lr", "rank", "alpha")})
    return dataclasses.replace(config, heal=dataclasses.replace(heal, **own))


def with_method(config: RunConfig, name: str) -> RunConfig:
    """The same by another steering method: degrees and shares begin with doses of their own."""
    if name == config.method:
        return config
    grid = method_of(name).grid or config.dose.grid
    return dataclasses.replace(config, method=name, dose=dataclasses.replace(config.dose, grid=grid))


def recipe_for(
    model: str, name: str | None = None, method: str = RunConfig.method, adapter: str = HealConfig.adapter
) -> RunConfig:
    """The recipe of that name for that model; None is its own ("quick" for the embedded model, "real" for others).

    method, adapter: of steering and of the heal, with what the recipe sets as they need it (`with_method`,
    `with_adapter`). UserError for an unknown name.
    """
    own = recipe_of(model)
    recipes = {"quick": mini_quick, "full": mini_full, "real": lambda: real_default(model)}
    if own.run_settings:
        del recipes["full"]  # the embedded model's doses and rows
    name = name or own.run
    if name not in recipes:
        raise UserError(f"There is no recipe {name!r} for {model}. Recipes: {', '.join(recipes)}.")
    config = dataclasses.replace(recipes[name](), model=model, axis=own.axis)
    for setting, value in own.run_settings if name == own.run else ():
        config = _with(config, setting.split("."), value)
    return with_method(with_adapter(config, adapter), method)
