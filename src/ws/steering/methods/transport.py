"""Linear transport of the neutral states' distribution to the positive ones': x <- x + (c / L) (s (x - m) + v).

Rodriguez et al. 2024 (Linear-AcT, arXiv:2410.23054): per coordinate the affine map between two sorted samples, which
is optimal transport in one dimension: m = mean(h_neutral), v = mean(h_positive) - m, 1 + s = cov(sorted neutral,
sorted positive) / var(neutral). c = 1 is the whole way in all, a share 1/L of it at each of the L layers.
Failure mode: coordinates are carried one by one, so that what holds them together is lost at a large c; a spread read
from few pairs is noisy, and with that the scale 1 + s.
"""

from __future__ import annotations

import torch
from torch import Tensor

from ws.steering.methods import Poles
from ws.steering.methods.mean_diff import control

__all__ = ["apply", "bakeable", "control", "extract", "grid", "prepare", "reads", "unit"]

unit = "shares"
bakeable = False
grid = (0.5, 1.0, 1.5, 2.0, 3.0)
reads = ("neutral",)


def extract(poles: Poles) -> Tensor:
    """(3, d): the shift v, the scale less one s, the neutral mean m."""
    assert poles.neutral is not None
    start, end = poles.neutral.sort(0).values, poles.positive.sort(0).values
    m, shift = start.mean(0), end.mean(0) - start.mean(0)
    spread = (start - m).square().mean(0)
    joint = ((start - m) * (end - end.mean(0))).mean(0)
    scale = torch.where(spread > 1e-8, joint / spread.clamp(min=1e-8), torch.ones_like(m))
    return torch.stack([shift, scale - 1, m])


def prepare(vectors: Tensor, c: Tensor, layers: int) -> Tensor:
    """(B, 1, 2 d): what is added, and what x is multiplied by beside."""
    shift, scale, m = vectors
    return ((c / layers)[:, None] * torch.cat([shift - scale * m, scale]))[:, None]


def apply(x: Tensor, buffer: Tensor, weight: Tensor) -> Tensor:
    added, scale = buffer.chunk(2, -1)
    return x + weight * (added + scale * x)
