"""Controls: what else is done to the model and measured, so that an effect can be told from noise and plain training.

Beside the chosen dose stand the base, personas as system prompts, minus the dose, and random directions at doses where
they disturb the model as much as the real one. Beside a heal stand other trainings on as many rows: the heal's own
rows without a barrier (sft), rows that no filter saw, with the barrier and without it (unfiltered, sft_unfiltered), and
rows that the unsteered model wrote (sft_base); in later rounds the adapters of the rounds before are on, so that
nothing is new but the training.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import polars as pl

from ws.axes.axis import Axis
from ws.experiment.pipeline import HealPipeline, spread_rows
from ws.gating.arm_table import (
    ANTI_PERSONA,
    BASE,
    PERSONA,
    PERSONA_ENGINEERED,
    RANDOM,
    SFT,
    SFT_BASE,
    SFT_UNFILTERED,
    STEER,
    STUDENT,
    UNFILTERED,
)
from ws.generation.completions import Prompt, generate
from ws.generation.settings import Sampling
from ws.models.lm import LM
from ws.runs.arms import Arm, kl_p95
from ws.steering.coefficients import Steered, at
from ws.steering.direction import Direction

__all__ = [
    "BASELINES",
    "ENGINEERED",
    "baselines_of",
    "engineered_prompt",
    "plain_rows",
    "random_arms",
    "random_directions",
    "same_kl",
    "steered_arms",
    "unsteered_arms",
]

WIDEST = 8.0  # times the real direction's dose: the edge of the bracket
STEP = 2.5  # most by which one iteration changes a dose
TOKENS = 48  # of each rollout
ROLLOUTS = Sampling(max_new_tokens=TOKENS)


def random_directions(v: Direction, draws: int, seed: int) -> list[Direction]:
    """`draws` directions of the same norm at every layer."""
    return [v.random_like(10_000 * (seed + 1) + i) for i in range(draws)]


def same_kl(
    lm: LM,
    v: Steered,
    c: float,
    draws: Sequence[Direction],
    prompts: Sequence[str],
    *,
    adapters: Sequence[Any] = (),
    sampling: Sampling = ROLLOUTS,
    iterations: int = 3,
    batch_size: int = 128,
) -> tuple[float, list[float], list[float]]:
    """KL of v at c; per draw, the dose that has the same KL; and the KL that was measured there.

    KL: 95th percentile over positions of KL(steered || base) on free rollouts of `prompts`. v and all draws write to
    the same prompts in one decode (sample i is steered by direction i), 48 tokens each by default. A draw starts at c
    and is multiplied by sqrt(wanted / measured), KL being about quadratic in c; it stays within c / 8 .. 8 c. The
    nearest try is returned.
    """
    doses, wanted = [c] * len(draws), 0.0
    best: list[tuple[float, float, float]] = [(float("inf"), c, 0.0)] * len(draws)
    for _ in range(iterations):
        wanted, *measured = _measure(lm, [v, *draws], prompts, [c, *doses], adapters, sampling, batch_size)
        best = [min(old, (abs(kl - wanted), c_i, kl)) for old, c_i, kl in zip(best, doses, measured, strict=True)]
        factors = [min(STEP, max(1 / STEP, (wanted / max(kl, 1e-9)) ** 0.5)) for kl in measured]
        doses = [min(WIDEST * c, max(c / WIDEST, c_i * f)) for c_i, f in zip(doses, factors, strict=True)]
    return wanted, [dose for _, dose, _ in best], [kl for _, _, kl in best]


def _measure(
    lm: LM,
    directions: Sequence[Steered],
    prompts: Sequence[str],
    doses: Sequence[float],
    adapters: Sequence[Any],
    sampling: Sampling,
    batch_size: int,
) -> list[float]:
    """KL of each direction at its dose: one sample per direction, in whose rows every other direction has 0."""
    n = len(directions)
    own = [(i, d, x) for i, (v, c) in enumerate(zip(directions, doses, strict=True)) for d, x in at(v, c)]
    pairs = [(d, [x if k % n == i else 0.0 for k in range(n * len(prompts))]) for i, d, x in own]
    how: dict[str, Any] = {"n": n, "sampling": sampling, "batch_size": batch_size}
    texts = generate(lm, list(prompts), pairs, 1.0, adapters=adapters, allow_stale=bool(adapters), **how)
    return [kl_p95(texts.filter(pl.col("sample") == i)) for i in range(n)]


KL_PROMPTS = 8


ENGINEERED = "{personas} Stay in this role: act on it in everything you say, and never speak of it."
"""The engineered system prompt of an axis that brings none: its first three positive personas, then this."""


Tell = Callable[[float, float], object]


def _prompted(persona: str, pipeline: HealPipeline, **more: Any) -> dict[str, Any]:
    """A persona as the system prompt, on the student of earlier rounds."""
    return {"persona": persona, "adapters": pipeline.history, **more}


UNSTEERED: dict[str, Callable[[HealPipeline], dict[str, Any] | None]] = {
    BASE: lambda pipeline: {},
    STUDENT: lambda pipeline: {"adapters": pipeline.history} if pipeline.history else None,
    PERSONA: lambda pipeline: _prompted(pipeline.axis.positive[0], pipeline),
    PERSONA_ENGINEERED: lambda pipeline: (
        _prompted(engineered_prompt(pipeline.axis), pipeline) if pipeline.config.controls.engineered else None
    ),
    ANTI_PERSONA: lambda pipeline: _prompted(pipeline.axis.negative[0], pipeline, text=False),
}
"""Arm -> how it is measured, as `HealPipeline.evaluate` takes it; None: not in this round. text=False: vignettes only.
A new control without steering is a line here and one in ws.gating.arm_table."""
STANDING = tuple(UNSTEERED)  # controls added to the table go into the key of the stage that measures them


def unsteered_arms(pipeline: HealPipeline, tell: Tell) -> list[Arm]:
    """The arms of `UNSTEERED`."""
    asked = {name: how for name, treatment in UNSTEERED.items() if (how := treatment(pipeline)) is not None}
    arms = []
    for i, (name, how) in enumerate(asked.items()):
        tell(i, len(asked))
        pipeline.check()
        arms.append(Arm(name, pipeline.evaluate("report", **how)))
    return arms


def steered_arms(pipeline: HealPipeline, v: Steered, c: float, doses: Sequence[float], tell: Tell) -> list[Arm]:
    """+c and -c, and the doses of the data, against which a heal is judged."""
    asked = list(dict.fromkeys([c, -c, *doses]))
    tell(0, 1)
    how: dict[str, Any] = {"adapters": pipeline.history, "backtrack": pipeline.backtrack}
    found = pipeline.evaluate("report", c=asked, direction=v, **how)
    return [Arm(STEER, r, k, chosen=k == c) for k, r in zip(asked, found, strict=True)]


def engineered_prompt(axis: Axis) -> str:
    """The axis's own engineered system prompt, or its first three positive personas under `ENGINEERED`."""
    return axis.engineered or ENGINEERED.format(personas=" ".join(axis.positive[:3]))


def random_arms(pipeline: HealPipeline, v: Direction, pushed: Steered, c: float, tell: Tell) -> list[Arm]:
    """Random directions like v at the KL that the knee had in the dose search, with all that is pushed there;
    vignettes only."""
    config, lead = pipeline.config, pipeline.config.seeds[0]
    draws = random_directions(v, config.dose.random_draws, lead)
    prompts: Sequence[str] = pipeline.axis.select[:KL_PROMPTS]
    on: dict[str, Any] = {"adapters": pipeline.history}
    tell(0, len(draws) + 1)
    drawn = config.sampling.draws(lead, min(TOKENS, config.sampling.max_new_tokens or TOKENS))
    how: dict[str, Any] = {"sampling": drawn, "batch_size": config.batch_size}
    _, doses, found = same_kl(pipeline.lm, pushed, c, draws, prompts, **on, **how)
    arms = []
    for i, (direction, dose) in enumerate(zip(draws, doses, strict=True)):
        tell(i + 1, len(draws) + 1)
        pipeline.check()
        report = pipeline.evaluate("report", text=False, direction=direction, c=dose, **on)
        arms.append(Arm(RANDOM, report, dose, draw=i, kl=found[i]))
    return arms


BASELINES = (SFT, SFT_BASE, UNFILTERED, SFT_UNFILTERED)


def baselines_of(pipeline: HealPipeline) -> list[str]:
    """The healed controls that the configuration asks for; a heal without a barrier is its own sft."""
    controls = pipeline.config.controls
    barrier = pipeline.config.heal.resolved(pipeline.lm).slope(pipeline.number) > 0
    asked = {
        SFT: controls.sft and barrier,
        SFT_BASE: controls.sft_base,
        UNFILTERED: controls.unfiltered and barrier,
        SFT_UNFILTERED: controls.unfiltered,
    }
    return [name for name in BASELINES if asked[name]]


def plain_rows(pipeline: HealPipeline, name: str, chosen: pl.DataFrame, scored: pl.DataFrame) -> pl.DataFrame:
    """The training rows of a control: those of the heal; as many of all that was scored, whatever the filter says of
    them; or as many at c = 0, spread over the same prompts."""
    if name == SFT:
        return chosen
    if name in (UNFILTERED, SFT_UNFILTERED):
        return spread_rows(scored, chosen.height)
    config = pipeline.config
    users = chosen["prompt"].unique(maintain_order=True).to_list()
    texts = generate(
        pipeline.lm,
        [Prompt(text, split="train") for text in users],
        n=math.ceil(chosen.height / len(users)),
        sampling=config.draws(config.seeds[0]),
        adapters=pipeline.history,
        batch_size=config.batch_size,
        trace=False,
    )
    return texts.sort("sample", maintain_order=True).head(chosen.height)
