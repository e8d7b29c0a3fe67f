"""Directional ablation: x <- x - c (x . u) u, with u = p / |p| and p = mean(h_negative - h_neutral).

Arditi et al. 2024 (arXiv:2406.11717): what the unwanted pole adds to a neutral state is projected out, so that c > 0
leads to the positive pole. c = 1 removes it at every steered layer (the share is not divided by L: a part of a
removal is no removal), c < 0 amplifies it. The length of p does not matter.
Failure mode: where the neutral model shows nothing of the negative persona there is nothing to remove; u holds what
all prompts share as well, and removing that hurts everything.
"""

from __future__ import annotations

import torch
from torch import Tensor

from ws.steering.methods import Poles
from ws.steering.methods.mean_diff import control

__all__ = ["apply", "bakeable", "control", "extract", "grid", "prepare", "reads", "unit"]

unit = "shares"
bakeable = False
grid = (0.25, 0.5, 0.75, 1.0)
reads = ("neutral",)


def extract(poles: Poles) -> Tensor:
    """(d,) what the negative persona adds to a neutral state."""
    assert poles.neutral is not None
    return (poles.negative - poles.neutral).mean(0)


def prepare(vectors: Tensor, c: Tensor, layers: int) -> Tensor:
    """(B, 1, d + 1): the unit vector, and behind it c."""
    direction = (vectors / vectors.norm().clamp(min=1e-12)).expand(len(c), -1)
    return torch.cat([direction, c[:, None]], -1)[:, None]


def apply(x: Tensor, buffer: Tensor, weight: Tensor) -> Tensor:
    direction = buffer[..., :-1]
    share = (x * direction).sum(-1, keepdim=True) * buffer[..., -1:] * weight
    return x - share * direction
