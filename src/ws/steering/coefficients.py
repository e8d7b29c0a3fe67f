"""Coefficients: a float for all rows or one per row, of one direction or of several at once.

[(v, 1.0), (w, -0.5)]           # w at minus half of v's dose
[(v, 1.0), (w, Fixed(20))]      # w at 20 in its own unit, wherever v's dose is not 0
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

import torch
from torch import Tensor

from ws.errors import UserError
from ws.steering.direction import Direction
from ws.steering.methods import method

__all__ = [
    "Coefficient", "Fixed", "Steered", "as_pairs", "as_row", "at", "combined", "rows_of", "spares_prompt",
    "times",
]  # fmt: skip


class Fixed(float):
    """The coefficient of a direction that keeps its own dose beside one whose dose varies: c_i where c is not 0."""


Coefficient = float | Sequence[float] | Tensor
Steered = Direction | Sequence[tuple[Direction, Coefficient]]


def at(v: Steered, c: float) -> list[tuple[Direction, float]]:
    """Each direction with what it gets at one dose c."""
    pairs = as_pairs(v)
    return [(d, x) for (d, _), x in zip(pairs, rows_of(pairs, c, 1)[0], strict=True)]


def as_pairs(v: Steered | None) -> list[tuple[Direction, Coefficient]]:
    """The pairs (Direction, c_i) that a direction, a list of pairs or None stands for."""
    if v is None or isinstance(v, Direction):
        return [] if v is None else [(v, 1.0)]
    return list(v)


def rows_of(pairs: Sequence[tuple[Direction, Coefficient]], c: Coefficient, rows: int) -> list[list[float]]:
    """c_i * c of every pair for each of `rows` rows; UserError where a [B] does not match."""
    common, *shares = (as_row(x) for x in (c, *(share for _, share in pairs)))
    for given in (common, *shares):
        if given.ndim and len(given) != rows:
            raise UserError(f"{len(given)} coefficients for {rows} rows. Give one per row, or one for all.")
    own = [isinstance(share, Fixed) for _, share in pairs]
    table = [times(common, share, fixed).expand(rows).tolist() for share, fixed in zip(shares, own, strict=True)]
    return [[column[i] for column in table] for i in range(rows)]


def spares_prompt(directions: Iterable[Direction], where: str = "assistant") -> bool:
    """Whether nothing in front of the assistant tag is steered, so that rows may share it. where: the call's."""
    return all((direction.where or where) in ("assistant", "generated") for direction in directions)


def times(c: Tensor, share: Tensor, fixed: bool) -> Tensor:
    """c_i * c, or c_i wherever c is not 0."""
    return share * (c != 0) if fixed else share * c


def as_row(c: Coefficient) -> Tensor:
    """A coefficient as a float32 tensor, () for all rows or (B,); UserError for NaN, infinity, more dimensions."""
    row = torch.as_tensor(c, dtype=torch.float32).detach().cpu()
    if row.ndim > 1:
        raise UserError(f"c must be one number or one per row (got shape {tuple(row.shape)}).")
    if not bool(row.isfinite().all()):
        raise UserError(f"c must be finite (got {next(x for x in row.reshape(-1).tolist() if not math.isfinite(x))}).")
    return row


def combined(v: Steered) -> Direction:
    """One direction that adds at c = 1 what several add together, each with its own number c_i; for `save_gguf`.

    UserError: none at all, a c_i per row, a method that adds no constant, directions of different weights or widths.
    """
    pairs = [(direction, as_row(c)) for direction, c in as_pairs(v)]
    if not pairs:
        raise UserError("there is no direction to combine. Give pairs (direction, c).")
    odd = [d.rule for d, _ in pairs if not method(d.rule).bakeable]
    if odd or any(c.ndim for _, c in pairs):
        why = f"{odd[0]!r} adds none" if odd else "one has a coefficient per row"
        raise UserError(f"only constants add up to one direction, and {why}. Combine mean_diff with one number each.")
    told = {(d.fingerprint, d.width) for d, _ in pairs}
    if len(told) > 1:
        raise UserError(f"directions of different weights do not add (fingerprint, width: {sorted(told)}).")
    blocks = sorted({k for d, _ in pairs for k in d.layers})
    added = {k: sum((c * d.layers[k] / len(d.layers) for d, c in pairs if k in d.layers), torch.tensor(0.0))
             for k in blocks}  # fmt: skip
    names = "+".join(dict.fromkeys(d.method for d, _ in pairs))
    return Direction({k: x * len(blocks) for k, x in added.items()}, names, pairs[0][0].fingerprint,
                     {"rule": pairs[0][0].rule, "sum": True})  # fmt: skip
