"""Coefficients: a float for all rows or one per row, of one direction or of several at once."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from ws.errors import UserError
from ws.steering.direction import Direction

__all__ = ["Coefficient", "Steered", "as_pairs", "as_row", "rows_of"]

Coefficient = float | Sequence[float] | Tensor
Steered = Direction | Sequence[tuple[Direction, Coefficient]]


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
    table = [(common * share).expand(rows).tolist() for share in shares]
    return [[column[i] for column in table] for i in range(rows)]


def as_row(c: Coefficient) -> Tensor:
    """A coefficient as a float32 tensor, () for all rows or (B,); UserError for NaN, infinity, more dimensions."""
    row = torch.as_tensor(c, dtype=torch.float32).detach().cpu()
    if row.ndim > 1:
        raise UserError(f"c must be one number or one per row (got shape {tuple(row.shape)}).")
    if not bool(row.isfinite().all()):
        raise UserError(f"c must be finite (got {next(x for x in row.reshape(-1).tolist() if not math.isfinite(x))}).")
    return row
