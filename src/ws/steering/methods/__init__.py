"""Steering methods: one file each, with the formula, the paper and the failure mode. A method is a module that has

    unit: str                             what c counts: "multiples" of the direction, "degrees" or "shares" of the way
    bakeable: bool                        it adds a constant vector, so it can become a bias or a GGUF control vector
    grid: tuple[float, ...] | None        doses that a search begins with; None takes the model's own
    reads: tuple[str, ...]                states or weights that `extract` needs beside the two poles (`Poles`)
    extract(poles) -> (d,) or (m, d)      from states, float32; row 0 is the direction, the others what it needs beside
    control(vectors, dice) -> vectors     the same with random vectors of equal length in place of what pushes
    prepare(vectors, c, layers) -> buffer when the context opens: vectors (d,) or (m, d), c (B,) or (1,), layers: count
    apply(x, buffer, weight) -> x         per block: x (B, S, d), weight (B, S, 1) in [0, 1]; x itself where
    either is 0

A buffer is one tensor whose first dimension is that of c. A new method is a new file here; `unit`, `bakeable`, `grid`,
`reads`, `control` of one like another come by import from there.
"""

from __future__ import annotations

import importlib
import pkgutil
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, cast

from ws.errors import UserError, near

if TYPE_CHECKING:
    from torch import Generator, Tensor

__all__ = ["Method", "Poles", "check_method", "method", "names"]

FIRST = ("mean_diff", "mean_centred", "subtraction", "pca", "pca_centred", "rotation", "givens", "angular", "slerp",
         "ablation", "gated", "clusters", "transport", "s_space", "random")  # fmt: skip
"""Offered in this order, any other behind them."""


@dataclass(frozen=True)
class Poles:
    """What a method may read at one block, float32 on the CPU; what it does not name in `reads` is None.

    Rows of positive, negative and neutral belong together: the same context under another persona.
    """

    positive: Tensor
    """(n, d) states under the positive persona"""
    negative: Tensor
    """(n, d) under the negative one, or under the neutral prompt where the contrast is "base\""""
    neutral: Tensor | None = None
    """(n, d) under the neutral prompt"""
    background: Tensor | None = None
    """(N, d) of the axis's training prompts under the neutral prompt"""
    writers: Tensor | None = None
    """(d, w) the block's own output weights, side by side"""

    @property
    def differences(self) -> Tensor:
        """(n, d) positive minus negative."""
        return self.positive - self.negative


class Method(Protocol):
    """A method: what a module in this folder provides, for the type checker."""

    unit: str
    bakeable: bool
    grid: tuple[float, ...] | None
    reads: tuple[str, ...]

    @staticmethod
    def extract(poles: Poles) -> Tensor: ...

    @staticmethod
    def control(vectors: Tensor, dice: Generator) -> Tensor: ...

    @staticmethod
    def prepare(vectors: Tensor, c: Tensor, layers: int) -> Tensor: ...

    @staticmethod
    def apply(x: Tensor, buffer: Tensor, weight: Tensor) -> Tensor: ...


def names() -> tuple[str, ...]:
    """The methods there are: the files of this folder, none of them imported."""
    found = [module.name for module in pkgutil.iter_modules(__path__) if not module.name.startswith("_")]
    return tuple(sorted(found, key=lambda name: (FIRST.index(name) if name in FIRST else len(FIRST), name)))


def check_method(name: str) -> None:
    """UserError, with the nearest name, for a method that there is not."""
    if name not in (known := names()):
        raise UserError(f"there is no steering method {name!r}.{near(name, known)} Use one of: {', '.join(known)}.")


def method(name: str) -> Method:
    """The method of this name; UserError lists the names there are."""
    check_method(name)
    return cast(Method, importlib.import_module(f"ws.steering.methods.{name}"))
