"""Givens rotation in the plane of the assistant and the persona.

    x <- x + (cos t - 1) ((x.a) a + (x.r) r) + sin t ((x.a) r - (x.r) a)

a = the unit mean of the neutral states; r = the unit part of mean(h_positive) orthogonal to a, the persona's
residual. One fixed plane for every position; what lies outside of it stays, and |x| is kept. c is in degrees in all:
each of the L layers turns by t = c / L. (Experiments that turn by theta at each of three layers turn by three times
ours at the same number.)
Failure mode: the plane holds the assistant itself, and a large angle turns it out of the state: the text stops being
a reply. Where x has little in the plane nothing happens.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from ws.steering.methods import Poles
from ws.steering.methods.angular import orthonormal
from ws.steering.methods.mean_diff import control

__all__ = ["apply", "bakeable", "control", "extract", "grid", "prepare", "reads", "unit"]

unit = "degrees"
bakeable = False
grid = (30.0, 60.0, 90.0, 135.0, 180.0)
reads = ("neutral",)


def extract(poles: Poles) -> Tensor:
    """(2, d): the persona's residual, and the assistant's direction."""
    assert poles.neutral is not None
    assistant, persona = poles.neutral.mean(0), poles.positive.mean(0)
    a = assistant / assistant.norm().clamp(min=1e-12)
    return torch.stack([persona - (persona @ a) * a, assistant])


def prepare(vectors: Tensor, c: Tensor, layers: int) -> Tensor:
    """(B, 1, 2 d + 1): both unit vectors, and behind them the angle in radians."""
    plane = orthonormal(vectors.flip(0)).flip(0).flatten().expand(len(c), -1)
    return torch.cat([plane, (c * math.pi / 180 / layers)[:, None]], -1)[:, None]


def apply(x: Tensor, buffer: Tensor, weight: Tensor) -> Tensor:
    h, d, angle = x.float(), x.shape[-1], buffer[..., -1:].float() * weight
    r, a = buffer[..., :d].float(), buffer[..., d : 2 * d].float()
    on_r, on_a = (h * r).sum(-1, keepdim=True), (h * a).sum(-1, keepdim=True)
    kept = (angle.cos() - 1) * (on_a * a + on_r * r)
    return (h + kept + angle.sin() * (on_a * r - on_r * a)).to(x.dtype)
