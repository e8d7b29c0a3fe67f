"""OFT: W R', blocks of the inputs turned by rotations (Qiu et al. 2023, arXiv:2306.07280; PEFT's: arXiv:2506.19847).

R = (I - A)(I + A)^-1 with A skew-symmetric, the exact Cayley map by a linear solve: orthogonal however far it is
trained. PEFT's default is five terms of a series of the inverse map, which is no rotation once trained, and turns the
other way: a stored adapter of that kind is refused. The rank is the size of a block and divides the inputs.

At strength c every plane turns by c times its angle, so that c = -1 undoes c = 1 and halves add up.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from peft import OFTConfig, PeftConfig
from torch import Tensor

from ws.models.adapters.family import Family, Parts

__all__ = ["FAMILY", "cayley", "turned"]


def cayley(skew: Tensor) -> Tensor:
    """The rotations (..., b, b) of skew-symmetric matrices, (I - A)(I + A)^-1."""
    eye = torch.eye(skew.shape[-1], device=skew.device, dtype=skew.dtype).expand_as(skew)
    return torch.linalg.solve(eye + skew, eye - skew, left=False)


def turned(skew: Tensor, c: float) -> Tensor:
    """The skew-symmetric matrices (..., b, b) whose rotations turn by c times the angle.

    An eigenvalue i tan(t / 2) of A belongs to a plane that turns by t. The one angle without a matrix is half a turn.
    """
    values, vectors = torch.linalg.eigh(1j * skew.cpu().double())
    scaled = (vectors * (c * values.atan()).tan()[..., None, :]) @ vectors.mH
    found: Tensor = (-1j * scaled).real.to(skew)
    return found


def _skew(entries: Tensor, size: int) -> Tensor:
    """(blocks, size (size - 1) / 2) entries above the diagonal, row by row -> (blocks, size, size)."""
    rows, columns = torch.triu_indices(size, size, 1, device=entries.device)
    upper = entries.new_zeros(len(entries), size, size)
    upper[:, rows, columns] = entries
    return upper - upper.mT


def _size(entries: Tensor) -> int:
    """Size of the blocks that have so many entries above the diagonal."""
    return round((1 + (1 + 8 * entries.shape[1]) ** 0.5) / 2)


def _step(acc: Tensor, weight: Tensor, parts: Parts, config: PeftConfig, name: str) -> Tensor:
    entries = parts["oft_R"]
    size = _size(entries)
    blocks = acc.shape[1] // size
    turns = cayley(_skew(entries, size)).expand(blocks, size, size)  # one for all where blocks share it
    return torch.einsum("oki,kji->okj", acc.view(-1, blocks, size), turns).reshape(acc.shape)


def _at(parts: Parts, weight: Tensor, config: PeftConfig, name: str, c: float) -> Parts:
    size = _size(parts["oft_R"])
    rows, columns = torch.triu_indices(size, size, 1, device=parts["oft_R"].device)
    return {"oft_R": turned(_skew(parts["oft_R"], size), c)[:, rows, columns]}


def _configure(rank: int, alpha: float, names: Sequence[str]) -> PeftConfig:
    return OFTConfig(
        task_type="CAUSAL_LM", r=0, oft_block_size=rank, use_cayley_neumann=False, target_modules=list(names)
    )


def _refused(config: PeftConfig) -> list[str]:
    assert isinstance(config, OFTConfig)
    return ["use_cayley_neumann=True"] if config.use_cayley_neumann else []


FIELDS = {"r", "oft_block_size", "use_cayley_neumann", "num_cayley_neumann_terms", "block_share", "module_dropout"}
FAMILY = Family(
    _configure,
    lambda config: isinstance(config, OFTConfig),
    _step,
    at=_at,
    inner=True,
    fields=frozenset(FIELDS | {"init_weights"}),
    refused=_refused,
    conv1d=False,
    fits=lambda rank, inputs: rank > 1 and inputs % rank == 0,
    lr=1 / 3,
)
