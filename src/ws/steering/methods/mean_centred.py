"""Mean-centred, added: x <- x + c * v / L, with v = mean(h_positive) - mean(h_background).

Jorgensen et al. 2023 (mean-centring, arXiv:2312.03813). The background is what the model holds when it answers
anything: the axis's training prompts under the neutral prompt. One pole is enough, and no opposite has to be
invented.
Failure mode: what the contexts share and the background does not (their topic, their length) is in v as well.
"""

from __future__ import annotations

from torch import Tensor

from ws.steering.methods import Poles
from ws.steering.methods.mean_diff import apply, bakeable, control, grid, prepare, unit

__all__ = ["apply", "bakeable", "control", "extract", "grid", "prepare", "reads", "unit"]

reads = ("background",)


def extract(poles: Poles) -> Tensor:
    """(d,)"""
    assert poles.background is not None
    return poles.positive.mean(0) - poles.background.mean(0)
