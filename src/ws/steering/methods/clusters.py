"""One difference per kind of context, added: x <- x + c * v_j / L, with j the cluster whose centre is nearest to x.

The pairs fall into K = 4 clusters by where their two states lie (k-means on the mean of both, started from the pairs
that lie farthest apart); v_j is the mean difference of a cluster. A cluster of
fewer than two pairs takes the mean difference of all.
Failure mode: positions later in a text are no assistant tags and may all fall to one centre; with few pairs a
cluster's difference is noise.
"""

from __future__ import annotations

import torch
from torch import Tensor

from ws.steering.methods import Poles
from ws.steering.methods.mean_diff import grid, reads, unit

__all__ = ["K", "apply", "bakeable", "control", "extract", "grid", "grouped", "prepare", "reads", "unit"]

bakeable = False
K = 4
TURNS = 20  # of k-means, at most


def grouped(points: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """k-means: centres (k, d), and the cluster of each point (n,). No dice: it starts from the farthest points."""
    first = points.mean(0, keepdim=True)
    chosen = [int(torch.cdist(points, first).argmax())]
    while len(chosen) < k:
        chosen.append(int(torch.cdist(points, points[chosen]).amin(-1).argmax()))
    centres = points[chosen]
    for _ in range(TURNS):
        own = torch.cdist(points, centres).argmin(-1)
        moved = torch.stack([points[own == j].mean(0) if (own == j).any() else centres[j] for j in range(k)])
        if torch.equal(moved, centres):
            break
        centres = moved
    return centres, own


def extract(poles: Poles) -> Tensor:
    """(1 + 2 K, d): the mean difference of all, the centres, each cluster's difference."""
    differences = poles.differences
    k = min(K, len(differences))
    centres, own = grouped((poles.positive + poles.negative) / 2, k)
    whole = differences.mean(0)
    parts = [differences[own == j].mean(0) if int((own == j).sum()) > 1 else whole for j in range(k)]
    return torch.cat([whole[None], centres, torch.stack(parts)])


def control(vectors: Tensor, dice: torch.Generator) -> Tensor:
    """Every cluster's difference drawn anew; the centres stay."""
    centres, parts = vectors[1:].chunk(2)
    drawn = torch.randn(1 + len(parts), vectors.shape[-1], generator=dice)
    drawn = drawn * (torch.cat([vectors[:1], parts]).norm(dim=-1) / drawn.norm(dim=-1))[:, None]
    return torch.cat([drawn[:1], centres, drawn[1:]])


def prepare(vectors: Tensor, c: Tensor, layers: int) -> Tensor:
    """(B, K, 2 d + 1): per cluster c * v_j / L, the centre, and half of its square."""
    centres, parts = vectors[1:].chunk(2)
    still = torch.cat([centres, centres.square().sum(-1, keepdim=True) / 2], -1).expand(len(c), -1, -1)
    return torch.cat([c[:, None, None] * parts / layers, still], -1)


def apply(x: Tensor, buffer: Tensor, weight: Tensor) -> Tensor:
    d = x.shape[-1]
    added, centres, half = buffer[..., :d], buffer[..., d : 2 * d].float(), buffer[..., -1].float()
    near = (x.float() @ centres.transpose(-1, -2) - half[:, None]).argmax(
        -1
    )  # |x - m|^2 is least where this is largest
    picked = added.expand(len(x), -1, -1).gather(1, near[..., None].expand(-1, -1, d))
    return torch.addcmul(x, weight, picked)
