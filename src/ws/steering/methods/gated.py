"""Cosine-gated addition: x <- x + c * v / L where cos(x, v) lies under the middle of the poles, and x itself elsewhere.

v = the mean difference; the middle = the mean of both poles' mean cosines with v. After Lee et al. 2024 (conditional
activation steering, arXiv:2409.05907), with the condition read on the direction itself. Positions that already carry
the trait are spared, so that a large c compounds less. For c < 0 the gate is the same.
Failure mode: positions of another kind than the assistant tag have other cosines, and the gate is open or shut for
all of them; then it is mean_diff, or nothing.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import cosine_similarity

from ws.steering.methods import Poles
from ws.steering.methods.mean_diff import control, grid, reads, unit

__all__ = ["apply", "bakeable", "control", "extract", "grid", "prepare", "reads", "unit"]

bakeable = False


def extract(poles: Poles) -> Tensor:
    """(2, d): v, and the threshold times the unit vector of v."""
    v = poles.differences.mean(0)
    both = torch.cat([poles.positive, poles.negative])
    middle = cosine_similarity(both, v[None], dim=-1).mean()
    return torch.stack([v, middle * v / v.norm().clamp(min=1e-12)])


def prepare(vectors: Tensor, c: Tensor, layers: int) -> Tensor:
    """(B, 1, 2 d + 1): c * v / L, the unit vector, the threshold."""
    v, middle = vectors
    unit = v / v.norm().clamp(min=1e-12)
    still = torch.cat([unit, (middle @ unit)[None]]).expand(len(c), -1)
    return torch.cat([c[:, None] * v / layers, still], -1)[:, None]


def apply(x: Tensor, buffer: Tensor, weight: Tensor) -> Tensor:
    d = x.shape[-1]
    added, direction, middle = buffer[..., :d], buffer[..., d : 2 * d], buffer[..., -1:]
    h = x.float()
    cosine = (h * direction).sum(-1, keepdim=True) / h.norm(dim=-1, keepdim=True).clamp(min=1e-12)
    return torch.addcmul(x, weight * (cosine < middle), added)
