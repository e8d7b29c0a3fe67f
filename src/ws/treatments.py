"""The arms of a report: what is done to the model, beside the chosen dose, so that its effect can be believed."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from ws.arms import Arm
from ws.axes import Axis
from ws.controls import random_directions, same_kl
from ws.directions import Direction

if TYPE_CHECKING:
    from ws.rounds import Round

__all__ = ["ENGINEERED", "engineered_prompt", "report_arms"]

KL_PROMPTS = 8
PARTS = 5
ENGINEERED = "{personas} Stay in this role: act on it in everything you say, and never speak of it."
"""The engineered system prompt of an axis that brings none: its first three positive personas, then this."""
Tell = Callable[[float, float], object]


def report_arms(round: Round, v: Direction, c: float, doses: Sequence[float], tell: Tell) -> list[Arm]:
    """Every arm of the report set but the healed ones.

    Base; the student of earlier rounds; +c and -c; the persona as a system prompt, plain and engineered. Vignettes
    only: its opposite, the doses of the data (for retain), random directions at the KL of c.
    """
    on: dict[str, Any] = {"adapters": round.history}
    tell(0, PARTS)
    arms = [Arm("base", round.evaluate("report"))]
    if round.history:
        arms.append(Arm("student", round.evaluate("report", **on)))
    tell(1, PARTS)
    full = round.evaluate("report", direction=v, c=[c, -c], **on)
    arms += [Arm("steer", r, k, chosen=k == c) for k, r in zip((c, -c), full, strict=True)]
    tell(2, PARTS)
    short = [k for k in doses if k not in (c, -c)]
    if short:
        found = round.evaluate("report", text=False, direction=v, c=short, **on)
        arms += [Arm("steer", r, k, chosen=False) for k, r in zip(short, found, strict=True)]
    tell(3, PARTS)
    round.job.check()
    arms.append(Arm("persona", round.evaluate("report", persona=round.axis.positive[0], **on)))
    if round.config.controls.engineered:
        arms.append(Arm("persona_engineered", round.evaluate("report", persona=engineered_prompt(round.axis), **on)))
    arms.append(Arm("anti_persona", round.evaluate("report", text=False, persona=round.axis.negative[0], **on)))
    tell(4, PARTS)
    return arms + _random_arms(round, v, c, tell)


def engineered_prompt(axis: Axis) -> str:
    """The axis's own engineered system prompt, or its first three positive personas under `ENGINEERED`."""
    return axis.engineered or ENGINEERED.format(personas=" ".join(axis.positive[:3]))


def _random_arms(round: Round, v: Direction, c: float, tell: Tell) -> list[Arm]:
    """Random directions at the KL that the knee had in the dose search, vignettes only."""
    config, lead = round.config, round.config.seeds[0]
    draws = random_directions(v, config.dose.random_draws, lead)
    if not draws:
        return []
    prompts: Sequence[str] = round.axis.select[:KL_PROMPTS]
    on: dict[str, Any] = {"adapters": round.history}
    _, doses, found = same_kl(round.lm, v, c, draws, prompts, **on, seed=lead, batch_size=config.batch_size)
    arms = []
    for i, (direction, dose) in enumerate(zip(draws, doses, strict=True)):
        round.job.check()
        report = round.evaluate("report", text=False, direction=direction, c=dose, **on)
        arms.append(Arm("random", report, dose, draw=i, kl=found[i]))
        tell(PARTS - 1 + (i + 1) / (len(draws) + 1), PARTS)
    return arms
