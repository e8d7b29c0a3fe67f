"""A persona's direction, taken away: x <- x - c * p / L, with p = mean(h_negative - h_neutral).

Chen et al. 2025 (persona vectors, arXiv:2507.21509) subtract the unwanted persona's. The direction that is stored is
-p, so that c > 0 leads away from the negative pole as everywhere else.
Failure mode: away from one pole is not towards the other; where the neutral model shows nothing of the negative
persona there is nothing to take away.
"""

from __future__ import annotations

from torch import Tensor

from ws.steering.methods import Poles
from ws.steering.methods.mean_diff import apply, bakeable, control, grid, prepare, unit

__all__ = ["apply", "bakeable", "control", "extract", "grid", "prepare", "reads", "unit"]

reads = ("neutral",)


def extract(poles: Poles) -> Tensor:
    """(d,) -p"""
    assert poles.neutral is not None
    return (poles.neutral - poles.negative).mean(0)
