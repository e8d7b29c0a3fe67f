"""Readings: what a report holds beside vignettes and free text, one file each, found by the file's name. A reading is a
module that has

    COLUMNS: dict                          polars columns of its frame
    asks(request) -> list                  what will be asked, as plain values: two models are compared only where it is
                                           the same; empty: nothing to ask here, not measured
    read(request, asked) -> [frame]        one frame (COLUMNS) per dose in request.cs, all doses in the same batches;
                                           the request's adapters are this function's to attach
    figures(frame) -> dict                 name -> number, NaN of an empty frame; they stand in the report's summary, in
                                           the table of arms and in the gates' evidence
    FLOORS: tuple of names, optional       figures that must not fall beyond their intervals (<name>_low, <name>_high)
    said(frame) -> str, optional           the base's frame in a line: what it can do, and what cannot be read on it

A reading whose floors name `capability` is a canary: the one of them that a report has gives the report's capability,
and its frame has the columns kind, user, answer, text, correct. A model's recipe says which it takes.

A new reading is a new file here, and its name in EvalConfig.readings of the runs that want it. Importing this package
brings no torch.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol, cast

from ws.errors import UserError

if TYPE_CHECKING:
    import polars as pl

    from ws.axes.axis import Axis
    from ws.models.lm import LM

__all__ = [
    "CAPABILITY", "READINGS", "STANDING", "ReadingModule", "Request", "canaries", "canary_of", "figures_of",
    "floors_of", "reading",
]  # fmt: skip

STANDING = ("exam", "dilemmas")
"""Every stored report has their frames, in this order."""
CAPABILITY = ("capability", "capability_low", "capability_high")
"""What a canary gives: the share of right answers and its interval."""


@dataclass(frozen=True)
class Request:
    """What is done to the model, and how it is asked. exam: items of the capability canary."""

    lm: LM
    axis: Axis
    direction: Any = None
    cs: tuple[float, ...] = (0.0,)
    adapters: tuple[Any, ...] = ()
    persona: str | None = None
    seed: int = 0
    batch_size: int = 64
    exam: int = 0

    @property
    def treatment(self) -> dict[str, Any]:
        """direction, cs and persona, as what reads a model takes them."""
        return {"direction": self.direction, "cs": self.cs, "persona": self.persona}


class ReadingModule(Protocol):
    """A reading: what a module in this folder provides, for the type checker."""

    COLUMNS: dict[str, Any]

    @staticmethod
    def asks(request: Request) -> Sequence[Any]: ...

    @staticmethod
    def read(request: Request, asked: Sequence[Any]) -> list[pl.DataFrame]: ...

    @staticmethod
    def figures(frame: pl.DataFrame) -> dict[str, float]: ...


class _Found:
    """The names of the files in this folder, the standing ones first; looked up by each who asks."""

    def __iter__(self) -> Iterator[str]:
        found = sorted(module.name for module in pkgutil.iter_modules(__path__) if not module.name.startswith("_"))
        return iter([*STANDING, *(name for name in found if name not in STANDING)])


READINGS = _Found()


def reading(name: str) -> ReadingModule:
    """The reading of this name. UserError lists the names there are, or what the file lacks."""
    if name not in READINGS:
        raise UserError(f"there is no reading {name!r}. Use one of: {', '.join(READINGS)}.")
    module = importlib.import_module(f"{__name__}.{name}")
    lacks = [part for part in ("COLUMNS", "asks", "read", "figures") if not hasattr(module, part)]
    if lacks:
        raise UserError(f"the reading {name!r} has no {', '.join(lacks)}. `ws.evaluation.readings` says what it needs.")
    return cast(ReadingModule, module)


def figures_of(name: str, frame: pl.DataFrame) -> dict[str, float]:
    """The figures of a reading's frame. UserError where a floor has no interval."""
    found = reading(name).figures(frame)
    bare = [f"{floor}{end}" for floor in floors_of(name) for end in ("_low", "_high") if f"{floor}{end}" not in found]
    if bare:
        raise UserError(f"the reading {name!r} has a floor and gives no {', '.join(bare)}. Give its interval.")
    return found


def floors_of(name: str) -> tuple[str, ...]:
    """The figures of a reading that must not fall."""
    return tuple(getattr(reading(name), "FLOORS", ()))


def canaries(names: Iterable[str]) -> list[str]:
    """Those of these readings that read capability."""
    return [name for name in names if CAPABILITY[0] in floors_of(name)]


def canary_of(names: Iterable[str]) -> str:
    """The one of these readings that reads capability; the exam, which then has no rows, where none does."""
    return next(iter(canaries(names)), STANDING[0])
