"""First principal component of the differences, added: x <- x + c * v / L, with v = (mean(D) . u) u.

D = h_positive - h_negative, not centred; u = its first right singular vector. Zou et al. 2023 (representation
engineering), repeng. The mean difference gives u its sign and v its length, so that c means what it means for
mean_diff.
Failure mode: where contexts differ more than the poles do, u follows the contexts; v is then short and steers
nothing.
"""

from __future__ import annotations

import torch
from torch import Tensor

from ws.steering.methods.mean_diff import apply, bakeable, prepare, unit

__all__ = ["apply", "bakeable", "extract", "prepare", "unit"]


def extract(pos: Tensor, neg: Tensor) -> Tensor:
    """(n, d), (n, d) paired states -> (d,)."""
    differences = pos - neg
    u = torch.linalg.svd(differences, full_matrices=False).Vh[0]
    return (differences.mean(0) @ u) * u
