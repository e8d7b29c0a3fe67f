"""What a run will take, before it begins: the recipe's own stages as they were measured, and which share each has.

    first_estimate(config, workers=2)
    # 'First estimate: 68 min of processor time as measured on two AVX2 cores (float32), 34 min with 2 workers: ...'

    sweep_estimate(configs, workers=1)   # the same for runs that share stages, each of those counted once

A model whose recipe was never timed has none. Settings other than the recipe's change the figures; rounds and seeds are
counted, and nothing else is guessed.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

from ws.gating.arm_table import SFT, SFT_BASE, UNFILTERED
from ws.models.recipe import recipe_of
from ws.runs.config import RunConfig, flat, to_dict
from ws.runs.recipes import recipe_for
from ws.runs.stages import stage_of

__all__ = ["first_estimate", "minutes", "shares_of", "sweep_estimate", "sweep_shares"]

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
        f"First estimate: {minutes(total)} of processor time as measured on {recipe_of(config.model).timed_on}, "
        f"{minutes(alone)} with {workers} worker{'s' * (workers > 1)}{_unlike(config)}. Shares: {shares}."
    )


def minutes(seconds: float) -> str:
    """Seconds for a reader."""
    return f"{seconds / 60:.0f} min" if seconds >= 90 else f"{seconds:.0f} s"


def _unlike(config: RunConfig) -> str:
    """That the figures are of other settings, where they are."""
    own = recipe_for(config.model)
    here = dataclasses.replace(config, **{name: getattr(own, name) for name in FREE if hasattr(own, name)})
    return "" if here == own else " (of the recipe's settings; yours differ)"


EARLY = ("direction", "dose", "unsteered", "random")
"""Stages that read neither the data's settings nor the heal's."""
LATE = ("data", "steer")
"""Stages that read the data's settings and not the heal's."""


def sweep_shares(configs: Sequence[RunConfig]) -> list[dict[str, float]]:
    """For each run in turn, stage -> processor seconds (as in `shares_of`) of what no run before it has computed.

    Two runs share a stage where all settings agree that it may read; from its second round on a run shares what it
    shares the heals before.
    """
    seen: set[str] = set()
    found = []
    for config in configs:
        own: dict[str, float] = {}
        for name, seconds in recipe_of(config.model).costs:
            for told in _readings(name, config) if _is_run(name, config) else ():
                if told not in seen:
                    own[name] = own.get(name, 0.0) + seconds
                seen.add(told)
        found.append(own)
    return found


def _readings(name: str, config: RunConfig) -> list[str]:
    """What a stage may read of the configuration, for each time that the run has it: each round, each seed."""
    seeds = config.seeds if stage_of(name).per_seed else config.seeds[:1]
    settings = {key: value for key, value in flat(to_dict(config)).items() if key not in ("rounds", "seeds")}
    read = [_read(name if number == 0 else "", settings) for number in range(config.rounds)]
    lead = config.seeds[0]
    return [repr([name, i, lead, seed, part]) for i, part in enumerate(read) for seed in seeds]


def _read(name: str, settings: dict[str, Any]) -> list[tuple[str, Any]]:
    """The settings that a stage of the first round may read; a name that is none: all."""
    idle: tuple[str, ...] = ()
    if name in EARLY:
        idle = ("heal.", "data.", "max_new_tokens")
    elif name in LATE:
        idle = ("heal.",)
    elif name.startswith("plain.") and name != f"plain.{UNFILTERED}":
        idle = ("heal.beta",)  # trained at beta 0
    return sorted((key, value) for key, value in settings.items() if not key.startswith(idle))


def sweep_estimate(configs: Sequence[RunConfig], workers: int = 1) -> str:
    """A line for the progress of a sweep; "" where the recipe of none of its models was timed."""
    own, apart = ([sum(costs.values()) for costs in each] for each in (sweep_shares(configs), map(shares_of, configs)))
    if not sum(apart):
        return ""
    timed = {recipe_of(config.model).timed_on for config, costs in zip(configs, apart, strict=True) if costs}
    untimed = sum(not costs for costs in apart)
    return (
        f"First estimate: {len(configs)} arms, {minutes(sum(own))} of processor time as measured on"
        f" {' and '.join(sorted(timed))}, of {minutes(sum(apart))} that they take apart"
        f" ({100 * sum(own) / sum(apart):.0f} %): what they share is computed once"
        + (f"; {untimed} arms of models that were never timed are not counted" if untimed else "")
        + "."
    )
