"""BOFT: s W R', a rotation of the inputs as a butterfly of sparse ones, and a scale per output (Liu et al. 2023,
arXiv:2311.06243).

R' = B_1' ... B_m', each B_i block-diagonal rotations (ws.models.adapters.families.oft) in another order of the inputs,
so that blocks of `rank` inputs mix rank * 2^(m - 1) of them. m is 2 here: with 1 it is OFT. The bias is left alone.

PEFT runs more than one factor on a CUDA extension that it compiles when the first layer is made, and falls back to one
factor where it cannot. It is given the same operation in torch, so that layers compute what the config says on every
machine. A program without ws has PEFT's own: there such a folder needs a CUDA compiler, a merged export does not.

At strength c every plane of every factor turns by c times its angle, and s becomes 1 + c (s - 1).
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from peft import BOFTConfig, PeftConfig
from peft.tuners.boft import layer as peft_boft
from torch import Tensor

from ws.models.adapters.families.oft import cayley, turned
from ws.models.adapters.family import Family, Parts

__all__ = ["FACTORS", "FAMILY"]

FACTORS = 2


class _TorchBlocks:
    """What PEFT's extension computes: (n, d, h, h) blocks -> (n, d h, d h) block-diagonal matrices, and back."""

    def forward(self, blocks: Tensor) -> list[Tensor]:
        return [torch.stack([torch.block_diag(*each) for each in blocks])]

    def backward(self, gradient: Tensor, blocks: Tensor) -> list[Tensor]:
        n, d, h, _ = blocks.shape
        return [gradient.view(n, d, h, d, h).diagonal(dim1=1, dim2=3).permute(0, 3, 1, 2).contiguous()]


peft_boft._FBD_CUDA = peft_boft._FBD_CUDA or _TorchBlocks()  # type: ignore[assignment]


def _order(inputs: int, size: int, factor: int) -> Tensor:
    """Where each input stands for this factor's blocks: in runs of 2^factor blocks, even halves of blocks come first.

    The first factor takes inputs as they are.
    """
    if factor == 0:
        return torch.arange(inputs)
    return torch.arange(inputs).view(-1, 2**factor, 2, size // 2).transpose(1, 2).reshape(-1)


def _skew(entries: Tensor) -> Tensor:
    return (entries - entries.mT) / 2


def _step(acc: Tensor, weight: Tensor, parts: Parts, config: PeftConfig, name: str) -> Tensor:
    factors = cayley(_skew(parts["boft_R"]))  # (m, blocks, size, size)
    _, blocks, size, _ = factors.shape
    for i, turns in enumerate(factors):
        order = _order(acc.shape[1], size, i).to(acc.device)
        given = acc[:, order.argsort()].view(-1, blocks, size)
        acc = torch.einsum("oki,kji->okj", given, turns).reshape(acc.shape)[:, order]
    return parts["boft_s"] * acc


def _at(parts: Parts, weight: Tensor, config: PeftConfig, name: str, c: float) -> Parts:
    return {"boft_R": turned(_skew(parts["boft_R"]), c), "boft_s": 1 + c * (parts["boft_s"] - 1)}


def _configure(rank: int, alpha: float, names: Sequence[str]) -> PeftConfig:
    return BOFTConfig(
        task_type="CAUSAL_LM",
        boft_block_size=rank,
        boft_n_butterfly_factor=FACTORS,
        target_modules=list(names),
    )


FIELDS = {"boft_block_size", "boft_block_num", "boft_n_butterfly_factor", "boft_dropout", "init_weights"}
FAMILY = Family(
    _configure,
    lambda config: isinstance(config, BOFTConfig),
    _step,
    at=_at,
    fields=frozenset(FIELDS),
    conv1d=False,
    fits=lambda rank, inputs: rank % 2 == 0 and inputs % (rank * 2 ** (FACTORS - 1)) == 0,
    lr=1 / 3,
    resting=frozenset({"boft_s"}),
)
