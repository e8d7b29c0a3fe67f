"""First principal component of the centred differences, added: x <- x + c * v / L, with v = |mean(D)| u.

D = h_positive - h_negative; u = first right singular vector of D - mean(D), repeng's `pca_diff`. The mean difference
gives u its sign and its length.
Failure mode: centring takes away what all pairs share, and that is the trait where all pairs show it alike: u can
then stand at right angles to the mean difference and hold only how contexts differ. `pca` does not centre.
"""

from __future__ import annotations

from torch import Tensor

from ws.steering.methods import Poles
from ws.steering.methods.mean_diff import apply, bakeable, control, grid, prepare, reads, unit
from ws.steering.methods.pca import component

__all__ = ["apply", "bakeable", "control", "extract", "grid", "prepare", "reads", "unit"]


def extract(poles: Poles) -> Tensor:
    """(d,)"""
    mean = poles.differences.mean(0)
    u = component(poles.differences - mean)
    return mean.norm() * (u if u @ mean >= 0 else -u)
