"""Angular steering: in one fixed plane, the part of x that lies in it is turned towards v by t, and no further than v.

Vu and Nguyen 2025 (angular steering, arXiv:2510.26243). The plane is spanned by v (the mean difference) and the first
principal component of the differences beside v. |x| and what lies outside of the plane are kept. c is in degrees in
all: each of the L layers turns by t = c / L, or by what is left to v; c < 0 turns towards -v, and no further.
Failure mode: where the plane holds little of x nothing happens; once everything points along v a larger angle does
nothing more.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from ws.steering.methods import Poles
from ws.steering.methods.mean_diff import control, reads
from ws.steering.methods.pca import component

__all__ = ["apply", "bakeable", "control", "extract", "grid", "orthonormal", "prepare", "reads", "unit"]

unit = "degrees"
bakeable = False
grid = (15.0, 30.0, 60.0, 90.0, 150.0)


def extract(poles: Poles) -> Tensor:
    """(2, d): v, and the second vector of the plane, of length 1 and orthogonal to it."""
    mean = poles.differences.mean(0)
    u = mean / mean.norm().clamp(min=1e-12)
    beside = poles.differences - (poles.differences @ u)[:, None] * u
    return torch.stack([mean, component(beside)])


def orthonormal(plane: Tensor) -> Tensor:
    """(2, d): the first as it lies, of length 1, and of the second what stands at right angles to it."""
    u = plane[0] / plane[0].norm().clamp(min=1e-12)
    w = plane[1] - (plane[1] @ u) * u
    return torch.stack([u, w / w.norm().clamp(min=1e-12)])


def prepare(vectors: Tensor, c: Tensor, layers: int) -> Tensor:
    """(B, 1, 2 d + 1): both unit vectors, and behind them the angle in radians."""
    plane = orthonormal(vectors).flatten().expand(len(c), -1)
    return torch.cat([plane, (c * math.pi / 180 / layers)[:, None]], -1)[:, None]


def apply(x: Tensor, buffer: Tensor, weight: Tensor) -> Tensor:
    h, d, turn = x.float(), x.shape[-1], buffer[..., -1:].float() * weight
    u, w = buffer[..., :d].float(), buffer[..., d : 2 * d].float()
    on_u, on_w = (h * u).sum(-1, keepdim=True), (h * w).sum(-1, keepdim=True)
    now = torch.atan2(on_w, on_u)  # from v, -pi to pi
    there = now.sign() * torch.where(turn >= 0, (now.abs() - turn).clamp(min=0), (now.abs() - turn).clamp(max=math.pi))
    length = torch.hypot(on_u, on_w)
    moved = (there.cos() * length - on_u) * u + (there.sin() * length - on_w) * w
    return torch.where(turn == 0, h, h + moved).to(x.dtype)
