"""Difference of means, added: x <- x + c * v / L, with v = mean(h_positive - h_negative).

Turner et al. 2023 (activation addition), Rimsky et al. 2024 (contrastive activation addition). Raw scale: c = 1 adds
one difference of the poles in all, shared among the L layers.
Failure mode: a large c leaves the region that the later layers know, and the text becomes token salad; a wide band of
layers compounds. What the personas share beyond the trait (length, mood) is in v as well.
"""

from __future__ import annotations

import torch
from torch import Tensor

from ws.steering.methods import Poles

unit = "multiples"
bakeable = True
grid: tuple[float, ...] | None = None
reads: tuple[str, ...] = ()


def extract(poles: Poles) -> Tensor:
    """(d,) the mean difference of paired states."""
    return poles.differences.mean(0)


def control(vectors: Tensor, dice: torch.Generator) -> Tensor:
    """(d,) or (m, d) with a random vector as long as the direction in its place."""
    v = vectors if vectors.ndim == 1 else vectors[0]
    drawn = torch.randn(v.shape, generator=dice)
    drawn = drawn * (v.norm() / drawn.norm())
    return drawn if vectors.ndim == 1 else torch.cat([drawn[None], vectors[1:]])


def prepare(vectors: Tensor, c: Tensor, layers: int) -> Tensor:
    """c * v / L as (B, 1, d)."""
    return c[:, None, None] * (vectors / layers)


def apply(x: Tensor, buffer: Tensor, weight: Tensor) -> Tensor:
    return torch.addcmul(x, weight, buffer)
