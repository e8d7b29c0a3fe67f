"""Steering methods: one file each, with the formula, the paper and the failure mode. A method is a module that has

    unit: str                             what c counts: "multiples" of the direction, or "degrees"
    bakeable: bool                        it adds a constant vector, so it can become a bias or a GGUF control vector
    extract(pos, neg) -> (d,)             from paired states (n, d) of the two poles, float32
    prepare(vector, c, layers) -> buffer  when the context opens: vector (d,), c (B,) or (1,), layers: how many
    apply(x, buffer, weight) -> x         per block: x (B, S, d), weight (B, S, 1) in [0, 1]; x itself where
    either is 0

A buffer is one tensor whose first dimension is that of c. A new method is a new file here.
"""

from __future__ import annotations

import importlib
import pkgutil
from typing import TYPE_CHECKING, Protocol, cast

from ws.errors import UserError, near

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["Method", "check_method", "method", "names"]

FIRST = ("mean_diff", "pca", "rotation", "ablation")  # offered in this order, any other behind them


class Method(Protocol):
    """A method: what a module in this folder provides, for the type checker."""

    unit: str
    bakeable: bool

    @staticmethod
    def extract(pos: Tensor, neg: Tensor) -> Tensor: ...

    @staticmethod
    def prepare(vector: Tensor, c: Tensor, layers: int) -> Tensor: ...

    @staticmethod
    def apply(x: Tensor, buffer: Tensor, weight: Tensor) -> Tensor: ...


def names() -> tuple[str, ...]:
    """The methods there are: the files of this folder, none of them imported."""
    found = [module.name for module in pkgutil.iter_modules(__path__)]
    return tuple(sorted(found, key=lambda name: (FIRST.index(name) if name in FIRST else len(FIRST), name)))


def check_method(name: str) -> None:
    """UserError, with the nearest name, for a method that there is not."""
    if name not in (known := names()):
        raise UserError(f"there is no steering method {name!r}.{near(name, known)} Use one of: {', '.join(known)}.")


def method(name: str) -> Method:
    """The method of this name; UserError lists the names there are."""
    check_method(name)
    return cast(Method, importlib.import_module(f"ws.steering.methods.{name}"))
