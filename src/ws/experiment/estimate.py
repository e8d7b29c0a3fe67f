"""What a run will take, before it begins: the recipe's own stages as they were measured, and which share each has.

    first_estimate(config, workers=2)
    # 'First estimate: 68 min of processor time as measured on two AVX2 cores (float32), 34 min with 2 workers: ...'

A model whose recipe was never timed has none. Settings other than the recipe's change the figures; rounds and seeds are
counted, and nothing else is guessed.
"""

from __future__ import annotations

import dataclasses

from ws.gating.arm_table import SFT, SFT_BASE
from ws.models.recipe import recipe_of
from ws.runs.config import RunConfig
from ws.runs.recipes import recipe_for
from ws.runs.stages import stage_of

__all__ = ["first_estimate", "shares_of"]

FREE = ("axis", "rounds", "seeds", "threads", "device", "dtype")
"""Settings that leave a stage's cost as it is, or that are counted."""


def shares_of(config: RunConfig) -> dict[str, float]:
    """Stage -> processor seconds of all rounds and seeds; empty where the model's recipe was not timed."""
    costs, seeds = recipe_of(config.model).costs, len(config.seeds)
    times = {name: config.rounds * (seeds if stage_of(name).per_seed else 1) for name, _ in costs}
    return {name: seconds * times[name] for name, seconds in costs if _is_run(name, config)}


def _is_run(name: str, config: RunConfig) -> bool:
    """Whether the configuration has this stage; controls can be left out."""
    _, _, arm = name.partition(".")
    wanted = {SFT: config.controls.sft, SFT_BASE: config.controls.sft_base}
    return wanted.get(arm, config.controls.unfiltered if arm else True) and (
        name != "random" or config.dose.random_draws > 0
    )


def first_estimate(config: RunConfig, workers: int) -> str:
    """A line for the progress of a run; "" where nothing is known."""
    costs = shares_of(config)
    if not costs:
        return ""
    total = sum(costs.values())
    alone = max(total / workers, costs.get("dose", 0.0))  # a dose search is one worker's
    shares = ", ".join(f"{name} {100 * seconds / total:.0f} %" for name, seconds in costs.items())
    return (
        f"First estimate: {_minutes(total)} of processor time as measured on {recipe_of(config.model).timed_on}, "
        f"{_minutes(alone)} with {workers} worker{'s' * (workers > 1)}{_unlike(config)}. Shares: {shares}."
    )


def _minutes(seconds: float) -> str:
    return f"{seconds / 60:.0f} min" if seconds >= 90 else f"{seconds:.0f} s"


def _unlike(config: RunConfig) -> str:
    """That the figures are of other settings, where they are."""
    own = recipe_for(config.model)
    here = dataclasses.replace(config, **{name: getattr(own, name) for name in FREE if hasattr(own, name)})
    return "" if here == own else " (of the recipe's settings; yours differ)"
