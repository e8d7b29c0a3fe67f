"""The random control: directions of random orientation, at doses where they disturb the model as much as the real one
does."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import polars as pl

from ws.arms import kl_p95
from ws.directions import Direction
from ws.generation import generate
from ws.models import LM

__all__ = ["random_directions", "same_kl"]

WIDEST = 8.0  # times the real direction's dose: the edge of the bracket
STEP = 2.5  # most by which one iteration changes a dose


def random_directions(v: Direction, draws: int, seed: int) -> list[Direction]:
    """`draws` directions of the same norm at every layer."""
    return [v.random_like(10_000 * (seed + 1) + i) for i in range(draws)]


def same_kl(
    lm: LM,
    directions: Sequence[Direction],
    prompts: Sequence[str],
    c: float,
    kl: float,
    *,
    adapters: Sequence[Any] = (),
    seed: int = 0,
    iterations: int = 2,
    batch_size: int = 128,
    on_progress: Callable[[int, int], None] | None = None,
) -> tuple[list[float], list[float]]:
    """Per direction, the dose at which the 95th percentile over positions of KL(steered || base) is `kl`, and that KL.

    Free rollouts of `prompts`, one per direction; all directions share one decode (sample i is steered by direction i).
    Starts at c and multiplies by sqrt(kl / measured), KL being about quadratic in c; stays within c / 8 .. 8 c.
    """
    doses, measured = [c] * len(directions), [0.0] * len(directions)
    best: list[tuple[float, float, float]] = [(float("inf"), c, 0.0)] * len(directions)
    for step in range(iterations):
        measured = _measure(lm, directions, prompts, doses, adapters, seed, batch_size)
        for i, (dose, found) in enumerate(zip(doses, measured, strict=True)):
            best[i] = min(best[i], (abs(found - kl), dose, found))
        factors = [min(STEP, max(1 / STEP, (kl / max(found, 1e-9)) ** 0.5)) for found in measured]
        doses = [min(WIDEST * c, max(c / WIDEST, dose * f)) for dose, f in zip(doses, factors, strict=True)]
        if on_progress is not None:
            on_progress(step + 1, iterations)
    return [dose for _, dose, _ in best], [found for _, _, found in best]


def _measure(
    lm: LM,
    directions: Sequence[Direction],
    prompts: Sequence[str],
    doses: Sequence[float],
    adapters: Sequence[Any],
    seed: int,
    batch_size: int,
) -> list[float]:
    """KL of each direction at its dose: one sample per direction, in whose rows every other direction has 0."""
    n = len(directions)
    pairs = [(d, [doses[i] if k % n == i else 0.0 for k in range(n * len(prompts))]) for i, d in enumerate(directions)]
    texts = generate(lm, list(prompts), pairs, 1.0, n=n, seed=seed, adapters=adapters, batch_size=batch_size,
                     allow_stale=bool(adapters))  # fmt: skip
    return [kl_p95(texts.filter(pl.col("sample") == i)) for i in range(n)]
