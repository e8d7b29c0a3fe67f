"""First principal component of the differences, added: x <- x + c * v / L, with v = (mean(D) . u) u.

D = h_positive - h_negative, not centred; u = its first right singular vector. Zou et al. 2023 (representation
engineering), repeng's `pca_center`. The mean difference gives u its sign and v its length, so that c means what it
means for mean_diff.
Failure mode: where contexts differ more than the poles do, u follows the contexts; v is then short and steers
nothing.
"""

from __future__ import annotations

import torch
from torch import Tensor

from ws.steering.methods import Poles
from ws.steering.methods.mean_diff import apply, bakeable, control, grid, prepare, reads, unit

__all__ = ["apply", "bakeable", "component", "control", "extract", "grid", "prepare", "reads", "unit"]


def component(rows: Tensor) -> Tensor:
    """(n, d) -> (d,) the first right singular vector, of length 1."""
    return torch.linalg.svd(rows, full_matrices=False).Vh[0]


def extract(poles: Poles) -> Tensor:
    """(d,)"""
    u = component(poles.differences)
    return (poles.differences.mean(0) @ u) * u
