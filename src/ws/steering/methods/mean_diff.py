"""Difference of means, added: x <- x + c * v / L, with v = mean(h_positive - h_negative).

Turner et al. 2023 (activation addition), Rimsky et al. 2024 (contrastive activation addition). Raw scale: c = 1 adds
one difference of the poles in all, shared among the L layers.
Failure mode: a large c leaves the region that the later layers know, and the text becomes token salad; a wide band of
layers compounds. What the personas share beyond the trait (length, mood) is in v as well.
"""

from __future__ import annotations

import torch
from torch import Tensor

unit = "multiples"
bakeable = True


def extract(pos: Tensor, neg: Tensor) -> Tensor:
    """(n, d), (n, d) paired states -> (d,) mean difference."""
    return (pos - neg).mean(0)


def prepare(vector: Tensor, c: Tensor, layers: int) -> Tensor:
    """c * v / L as (B, 1, d)."""
    return c[:, None, None] * (vector / layers)


def apply(x: Tensor, buffer: Tensor, weight: Tensor) -> Tensor:
    return torch.addcmul(x, weight, buffer)
