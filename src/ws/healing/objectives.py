"""What a heal fits, per token: a table, read by settings, choices and training.

nll: -log p(y_t), every token alike.
dft: -sg(p(y_t)) log p(y_t), where sg stops the gradient: a token weighs what the student already gives it, so that
those it finds all but impossible pull little (dynamic fine-tuning, Wu et al. 2025, arXiv:2508.05629).

Anchored SFT (Zhu et al. 2025, arXiv:2509.23753) is dft held to the base by a KL: without the anchor dft drifts. Here
that is dft beside a barrier, with the KL(base || student) over the whole vocabulary:

    HealConfig(objective="dft", barrier="kl_fwd", reference="base", aggregate="mean", tau=0.0, beta=...)

Any other barrier, aggregate and tau compose with it.

A new objective is a function of the tokens' nll (n,) -> (n,), and its entry in `OBJECTIVES`. Tensors' own methods only:
the configuration reads the table where there is no torch.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from ws.errors import UserError

if TYPE_CHECKING:
    from torch import Tensor

    Objective = Callable[[Tensor], Tensor]

__all__ = ["OBJECTIVES", "objective_of"]


def plain_nll(nll: Tensor) -> Tensor:
    """Every token alike."""
    return nll


def dynamic(nll: Tensor) -> Tensor:
    """Each token by its probability, which carries no gradient."""
    return (-nll.detach()).exp() * nll


OBJECTIVES: dict[str, Objective] = {"nll": plain_nll, "dft": dynamic}


def objective_of(name: str) -> Objective:
    """The objective of this name; UserError lists the names there are."""
    if name not in OBJECTIVES:
        raise UserError(f"unknown objective {name!r}. Use one of: {', '.join(OBJECTIVES)}.")
    return OBJECTIVES[name]
