"""Rotation towards the direction, norm kept: x <- |x| (cos(t) x/|x| + sin(t) w), w = the unit part of v
orthogonal to x.

After Vu and Nguyen 2025 (angular steering), but in the plane of x and v at every position. c is in degrees in
all: each of the L layers turns by t = c / L. The length of v does not matter.
Failure mode: beyond the angle between x and v the rotation overshoots, and 180 degrees lead to -x; a position
that already points along v has no plane and stays.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from ws.steering.methods.mean_diff import control, extract, reads

__all__ = ["apply", "bakeable", "control", "extract", "grid", "prepare", "reads", "turned", "unit"]

unit = "degrees"
bakeable = False
grid = (10.0, 20.0, 30.0, 45.0, 60.0)


def prepare(vectors: Tensor, c: Tensor, layers: int) -> Tensor:
    """(B, 1, d + 1): the unit vector, and behind it the angle in radians."""
    direction = (vectors / vectors.norm().clamp(min=1e-12)).expand(len(c), -1)
    return torch.cat([direction, (c * math.pi / 180 / layers)[:, None]], -1)[:, None]


def apply(x: Tensor, buffer: Tensor, weight: Tensor) -> Tensor:
    h, direction, angle = x.float(), buffer[..., :-1].float(), buffer[..., -1:].float() * weight
    return turned(h, direction, angle).to(x.dtype)


def turned(h: Tensor, direction: Tensor, angle: Tensor) -> Tensor:
    """h turned by `angle` (radians) in the plane of h and `direction`, towards it."""
    norm = h.norm(dim=-1, keepdim=True)
    along = (h * direction).sum(-1, keepdim=True) / norm.clamp(min=1e-12).square()
    aside = direction - along * h
    aside = aside / aside.norm(dim=-1, keepdim=True).clamp(min=1e-6)
    return h + (angle.cos() - 1) * h + angle.sin() * norm * aside
