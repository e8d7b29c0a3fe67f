"""The random control: directions of random orientation, at doses where they disturb the model as much as the real one
does."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import polars as pl

from ws.arms import kl_p95
from ws.directions import Direction
from ws.generation import generate
from ws.models import LM

__all__ = ["random_directions", "same_kl"]

WIDEST = 8.0  # times the real direction's dose: the edge of the bracket
STEP = 2.5  # most by which one iteration changes a dose
TOKENS = 48  # of each rollout


def random_directions(v: Direction, draws: int, seed: int) -> list[Direction]:
    """`draws` directions of the same norm at every layer."""
    return [v.random_like(10_000 * (seed + 1) + i) for i in range(draws)]


def same_kl(
    lm: LM,
    v: Direction,
    c: float,
    draws: Sequence[Direction],
    prompts: Sequence[str],
    *,
    adapters: Sequence[Any] = (),
    seed: int = 0,
    iterations: int = 3,
    batch_size: int = 128,
) -> tuple[float, list[float], list[float]]:
    """KL of v at c; per draw, the dose that has the same KL; and the KL that was measured there.

    KL: 95th percentile over positions of KL(steered || base) on free rollouts of `prompts`. v and all draws write to
    the same prompts in one decode (sample i is steered by direction i). A draw starts at c and is multiplied by
    sqrt(wanted / measured), KL being about quadratic in c; it stays within c / 8 .. 8 c. The nearest try is returned.
    """
    doses, wanted = [c] * len(draws), 0.0
    best: list[tuple[float, float, float]] = [(float("inf"), c, 0.0)] * len(draws)
    for _ in range(iterations):
        wanted, *measured = _measure(lm, [v, *draws], prompts, [c, *doses], adapters, seed, batch_size)
        best = [min(old, (abs(kl - wanted), c_i, kl)) for old, c_i, kl in zip(best, doses, measured, strict=True)]
        factors = [min(STEP, max(1 / STEP, (wanted / max(kl, 1e-9)) ** 0.5)) for kl in measured]
        doses = [min(WIDEST * c, max(c / WIDEST, c_i * f)) for c_i, f in zip(doses, factors, strict=True)]
    return wanted, [dose for _, dose, _ in best], [kl for _, _, kl in best]


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
    how: dict[str, Any] = {"n": n, "seed": seed, "max_new_tokens": TOKENS, "batch_size": batch_size}
    texts = generate(lm, list(prompts), pairs, 1.0, adapters=adapters, allow_stale=bool(adapters), **how)
    return [kl_p95(texts.filter(pl.col("sample") == i)) for i in range(n)]
