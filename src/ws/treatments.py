"""The arms of a report: what is done to the model, beside the chosen dose, so that its effect can be believed."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from ws.arm_table import ANTI_PERSONA, BASE, PERSONA, PERSONA_ENGINEERED, RANDOM, STEER, STUDENT
from ws.arms import Arm
from ws.axes import Axis
from ws.controls import random_directions, same_kl

if TYPE_CHECKING:
    from ws.rounds import Round

__all__ = ["ENGINEERED", "engineered_prompt", "random_arms", "steered_arms", "unsteered_arms"]

KL_PROMPTS = 8
ENGINEERED = "{personas} Stay in this role: act on it in everything you say, and never speak of it."
"""The engineered system prompt of an axis that brings none: its first three positive personas, then this."""
Tell = Callable[[float, float], object]


def unsteered_arms(round: Round, tell: Tell) -> list[Arm]:
    """Base; the student of earlier rounds; the persona as system prompt, plain and engineered; vignettes only: its
    opposite."""
    on: dict[str, Any] = {"adapters": round.history}
    asked = {PERSONA: round.axis.positive[0]}
    if round.config.controls.engineered:
        asked[PERSONA_ENGINEERED] = engineered_prompt(round.axis)
    tell(0, len(asked) + 2)
    arms = [Arm(BASE, round.evaluate("report"))]
    if round.history:
        arms.append(Arm(STUDENT, round.evaluate("report", **on)))
    for i, (name, persona) in enumerate(asked.items()):
        tell(i + 1, len(asked) + 2)
        round.job.check()
        arms.append(Arm(name, round.evaluate("report", persona=persona, **on)))
    tell(len(asked) + 1, len(asked) + 2)
    return [*arms, Arm(ANTI_PERSONA, round.evaluate("report", text=False, persona=round.axis.negative[0], **on))]


def steered_arms(round: Round, tell: Tell) -> list[Arm]:
    """+c and -c; vignettes only, the doses of the data (for retain)."""
    c = round.c
    on: dict[str, Any] = {"adapters": round.history, "direction": round.v}
    tell(0, 2)
    full = round.evaluate("report", c=[c, -c], **on)
    arms = [Arm(STEER, r, k, chosen=k == c) for k, r in zip((c, -c), full, strict=True)]
    tell(1, 2)
    short = [k for k in round.doses if k not in (c, -c)]
    if short:
        found = round.evaluate("report", text=False, c=short, **on)
        arms += [Arm(STEER, r, k, chosen=False) for k, r in zip(short, found, strict=True)]
    return arms


def engineered_prompt(axis: Axis) -> str:
    """The axis's own engineered system prompt, or its first three positive personas under `ENGINEERED`."""
    return axis.engineered or ENGINEERED.format(personas=" ".join(axis.positive[:3]))


def random_arms(round: Round, tell: Tell) -> list[Arm]:
    """Random directions at the KL that the knee had in the dose search, vignettes only."""
    config, lead = round.config, round.config.seeds[0]
    draws = random_directions(round.v, config.dose.random_draws, lead)
    prompts: Sequence[str] = round.axis.select[:KL_PROMPTS]
    on: dict[str, Any] = {"adapters": round.history}
    tell(0, len(draws) + 1)
    how: dict[str, Any] = {"seed": lead, "batch_size": config.batch_size}
    _, doses, found = same_kl(round.lm, round.v, round.c, draws, prompts, **on, **how)
    arms = []
    for i, (direction, dose) in enumerate(zip(draws, doses, strict=True)):
        tell(i + 1, len(draws) + 1)
        round.job.check()
        report = round.evaluate("report", text=False, direction=direction, c=dose, **on)
        arms.append(Arm(RANDOM, report, dose, draw=i, kl=found[i]))
    return arms
