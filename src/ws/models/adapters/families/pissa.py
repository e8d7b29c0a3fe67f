"""PiSSA: LoRA that starts from the top of the weight's SVD (Meng et al. 2024, arXiv:2404.02948).

It is stored as the plain LoRA of twice the rank that it is relative to the pristine weight, so no config is `mine`.
"""

from __future__ import annotations

import torch
from torch import Tensor

from ws.models.adapters.families import lora
from ws.models.adapters.family import Family

__all__ = ["FAMILY", "principal_factors"]


def principal_factors(weight: Tensor, rank: int, scale: float) -> tuple[Tensor, Tensor]:
    """The start: A (r, in), B (out, r), scale * B A = the top of W's SVD."""
    if min(weight.shape) <= 1024:
        u, s, vh = torch.linalg.svd(weight, full_matrices=False)
        u, s, v = u[:, :rank], s[:rank], vh[:rank].T
    else:
        u, s, v = torch.svd_lowrank(weight, q=rank, niter=16)
    root = (s / scale).sqrt()
    return root[:, None] * v.T, u * root


FAMILY = Family(lora.configure, lambda config: False, lora.step, at=lora.at, square=lora.square, principal=True,
                fields=lora.FIELDS, lr=1 / 3)  # fmt: skip
