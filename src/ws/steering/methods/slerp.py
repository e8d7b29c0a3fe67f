"""Spherical interpolation towards the direction, norm kept.

    x <- |x| (sin((1 - t) w) / sin(w) x/|x| + sin(t w) / sin(w) v/|v|)

w is the angle between x and v (Shoemake 1985), so every position goes the same share of its own way: c = 1 in all, t
= c / L at each of the L layers. c < 0 goes the same share away from v. The length of v does not matter.
Failure mode: positions far from v are turned most, whatever they hold; shares of several layers do not add up
exactly, since what later layers read has moved already.
"""

from __future__ import annotations

import torch
from torch import Tensor

from ws.steering.methods.mean_diff import control, extract, reads
from ws.steering.methods.rotation import turned

__all__ = ["apply", "bakeable", "control", "extract", "grid", "prepare", "reads", "unit"]

unit = "shares"
bakeable = False
grid = (0.1, 0.2, 0.3, 0.5, 0.75)


def prepare(vectors: Tensor, c: Tensor, layers: int) -> Tensor:
    """(B, 1, d + 1): the unit vector, and behind it the share of the way."""
    direction = (vectors / vectors.norm().clamp(min=1e-12)).expand(len(c), -1)
    return torch.cat([direction, (c / layers)[:, None]], -1)[:, None]


def apply(x: Tensor, buffer: Tensor, weight: Tensor) -> Tensor:
    h, direction, share = x.float(), buffer[..., :-1].float(), buffer[..., -1:].float() * weight
    cosine = (h * direction).sum(-1, keepdim=True) / h.norm(dim=-1, keepdim=True).clamp(min=1e-12)
    return turned(h, direction, share * cosine.clamp(-1, 1).arccos()).to(x.dtype)
