"""Directional ablation: x <- x - c (x . u) u, with u = v / |v|.

Arditi et al. 2024. c = 1 removes the direction at every steered layer (the share is not divided by L: a part
of a removal is no removal), c < 0 amplifies what is there. The length of v does not matter.
Failure mode: removes the trait in both senses, so it cannot push a neutral model to a pole; u holds what all
prompts share as well, and removing that hurts everything.
"""

from __future__ import annotations

import torch
from torch import Tensor

from ws.steering.methods.mean_diff import extract

__all__ = ["apply", "bakeable", "extract", "prepare", "unit"]

unit = "multiples"
bakeable = False


def prepare(vector: Tensor, c: Tensor, layers: int) -> Tensor:
    """(B, 1, d + 1): the unit vector, and behind it c."""
    direction = (vector / vector.norm().clamp(min=1e-12)).expand(len(c), -1)
    return torch.cat([direction, c[:, None]], -1)[:, None]


def apply(x: Tensor, buffer: Tensor, weight: Tensor) -> Tensor:
    direction = buffer[..., :-1]
    share = (x * direction).sum(-1, keepdim=True) * buffer[..., -1:] * weight
    return x - share * direction
