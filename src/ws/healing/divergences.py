"""The barriers, and how their KL becomes one number per sequence: a table each, read by settings, choices, training.

A new barrier is a function of log-probabilities (..., V) of the student and its reference -> (...) nats, differentiable
in the student, and its entry in `BARRIERS`. A new aggregate is a function of values per position (rows, longest) and
the mask of a row's own positions -> (rows,), and its entry in `AGGREGATES`.

Tensors' own methods only: the configuration reads the tables where there is no torch.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING

from ws.errors import UserError

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["AGGREGATES", "BARRIERS", "Aggregate", "Divergence", "aggregate_of", "divergence_of", "holds", "mean_over"]

# Added inside the root: at an adapter's first step the KL is exactly 0, where the root's own gradient is infinite.
EPS = 1e-12

if TYPE_CHECKING:
    Divergence = Callable[[Tensor, Tensor], Tensor]
    Aggregate = Callable[[Tensor, Tensor], Tensor]


def kl_rev(student: Tensor, reference: Tensor) -> Tensor:
    """KL(student || reference), nats."""
    return (student.exp() * (student - reference)).sum(-1)


def kl_fwd(student: Tensor, reference: Tensor) -> Tensor:
    """KL(reference || student), nats."""
    return kl_rev(reference, student)


BARRIERS: dict[str, Divergence | None] = {"kl_rev": kl_rev, "kl_fwd": kl_fwd, "nll": None}
"""Name -> divergence; None holds nothing back, its curve shows kl_rev."""


def divergence_of(barrier: str) -> Divergence:
    """What a barrier measures; UserError lists the names there are."""
    if barrier not in BARRIERS:
        raise UserError(f"unknown barrier {barrier!r}. Use one of: {', '.join(BARRIERS)}.")
    return BARRIERS[barrier] or kl_rev


def holds(barrier: str) -> bool:
    """Whether this barrier pushes at all. UserError for an unknown one."""
    divergence_of(barrier)
    return BARRIERS[barrier] is not None


def mean_over(values: Tensor, mask: Tensor) -> Tensor:
    """Mean of each row (rows, longest) over its own positions -> (rows,)."""
    return (values * mask).sum(-1) / mask.sum(-1)


def rmse(values: Tensor, mask: Tensor) -> Tensor:
    """sqrt(mean square + eps)."""
    return (mean_over(values * values, mask) + EPS).sqrt()


def p95(values: Tensor, mask: Tensor) -> Tensor:
    """95th percentile: linear interpolation between order statistics, as torch.quantile does, over rows of different
    length."""
    ranked = values.masked_fill(~mask, math.inf).sort(-1).values
    place = 0.95 * (mask.sum(-1) - 1)
    low, high = place.floor().long(), place.ceil().long()
    below, above = (ranked.gather(-1, i[:, None]).squeeze(-1) for i in (low, high))
    return below + (place - low) * (above - below)


def largest(values: Tensor, mask: Tensor) -> Tensor:
    """The largest value of each row."""
    return values.masked_fill(~mask, -math.inf).amax(-1)


AGGREGATES: dict[str, Aggregate] = {"rmse": rmse, "mean": mean_over, "p95": p95, "max": largest}


def aggregate_of(name: str) -> Aggregate:
    """The aggregate of this name; UserError lists the names there are."""
    if name not in AGGREGATES:
        raise UserError(f"unknown aggregate {name!r}. Use one of: {', '.join(AGGREGATES)}.")
    return AGGREGATES[name]
