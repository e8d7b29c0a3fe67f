"""The mean difference in the space that the block itself writes to most, added: x <- x + c * U U' v / L.

U (d, k) = the first left singular vectors of the block's own output weights (attention's and MLP's, side by side), as
many as hold half of their squared singular values. S-space: the weights' own basis.
Failure mode: what the direction owes to earlier blocks, and this one seldom writes, is lost; where the weights'
spectrum is flat, U is half of everything and v is v.
"""

from __future__ import annotations

import torch
from torch import Tensor

from ws.steering.methods import Poles
from ws.steering.methods.mean_diff import apply, bakeable, control, grid, prepare, unit

__all__ = ["HELD", "apply", "bakeable", "control", "extract", "grid", "prepare", "reads", "unit"]

reads = ("writers",)
HELD = 0.5  # of the squared singular values


def extract(poles: Poles) -> Tensor:
    """(d,)"""
    assert poles.writers is not None
    square, u = torch.linalg.eigh(poles.writers @ poles.writers.T)  # rising
    held = square.flip(0).clamp(min=0).cumsum(0) / square.clamp(min=0).sum()
    basis = u.flip(1)[:, : int((held < HELD).sum()) + 1]
    return basis @ (basis.T @ poles.differences.mean(0))
