"""A random direction of the mean difference's length, added: x <- x + c * v / L. A control, and nothing else.

The dice are the states themselves: the same poles give the same vector. What it moves, any direction of that length
moves.
Failure mode: it is meant to fail; where it does not, the reading is of disruption and not of the trait.
"""

from __future__ import annotations

import hashlib

import torch
from torch import Tensor

from ws.steering.methods import Poles
from ws.steering.methods.mean_diff import apply, bakeable, control, grid, prepare, reads, unit

__all__ = ["apply", "bakeable", "control", "extract", "grid", "prepare", "reads", "unit"]


def extract(poles: Poles) -> Tensor:
    """(d,)"""
    v = poles.differences.mean(0)
    seed = int.from_bytes(hashlib.sha256(v.numpy().tobytes()).digest()[:8], "big", signed=True)
    drawn = torch.randn(v.shape, generator=torch.Generator().manual_seed(seed))
    return drawn * (v.norm() / drawn.norm())
