"""When and where a dose applies: schedules over position, a cosine gate, the where-clause.

A schedule is any function of the offset k (0 at the assistant tag, 1 at the first generated token) to a factor; the
classes here are the usual ones. Positions in front of the tag count as k = 0. Tensors' own methods only: the
configuration reads the texts where there is no torch.
    ws.generate(lm, prompts, v, c=1.0, schedule=Window(0, 20))            # or schedule="window:0:20"
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, get_args

from ws.errors import UserError

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["Constant", "CosineGate", "Exponential", "Linear", "Schedule", "Where", "Window"]
__all__ += ["check_where", "parse_gate", "parse_schedule"]

Schedule = Callable[["Tensor"], "Tensor"]
Where = Literal["assistant", "generated", "prompt", "all"]


@dataclass(frozen=True)
class Constant:
    """The full dose at every position."""

    def __call__(self, k: Tensor) -> Tensor:
        return k * 0 + 1


@dataclass(frozen=True)
class Linear:
    """From the full dose to none over `steps` positions: max(0, 1 - k / steps)."""

    steps: float

    def __post_init__(self) -> None:
        _positive("steps", self.steps)

    def __call__(self, k: Tensor) -> Tensor:
        return (1 - k / self.steps).clamp(min=0)


@dataclass(frozen=True)
class Exponential:
    """Half the dose every `half_life` positions: 2 ** (-k / half_life)."""

    half_life: float

    def __post_init__(self) -> None:
        _positive("half_life", self.half_life)

    def __call__(self, k: Tensor) -> Tensor:
        return (-k / self.half_life).exp2()


@dataclass(frozen=True)
class Window:
    """The full dose where first <= k < end, none elsewhere."""

    first: int
    end: int

    def __post_init__(self) -> None:
        if not 0 <= self.first < self.end:
            raise UserError(f"a window needs 0 <= first < end (got {self.first}, {self.end}).")

    def __call__(self, k: Tensor) -> Tensor:
        return ((k >= self.first) & (k < self.end)).to(k.dtype)


@dataclass(frozen=True)
class CosineGate:
    """Steer only where cos(h, v) is below (or above) the threshold, h the block's output before steering.

    "below" spares positions that already carry the trait; "above" strengthens only those that do.
    """

    threshold: float
    side: Literal["below", "above"] = "below"

    def __post_init__(self) -> None:
        if not -1 <= self.threshold <= 1 or self.side not in ("below", "above"):
            raise UserError(
                "a cosine gate needs a threshold in [-1, 1] and side 'below' or 'above' "
                f"(got {self.threshold} and {self.side!r})."
            )

    def __call__(self, x: Tensor, unit: Tensor) -> Tensor:
        """x (B, S, d), unit (d,) of length 1 -> (B, S, 1), True where the gate is open."""
        h = x.float()
        cosine = (h @ unit) / h.norm(dim=-1).clamp(min=1e-12)
        return (cosine < self.threshold if self.side == "below" else cosine > self.threshold)[..., None]


def parse_schedule(text: str) -> Schedule:
    """ "constant", "linear:40", "exponential:20" or "window:0:20" -> the schedule."""
    kinds: dict[str, Callable[..., Schedule]] = {
        "constant": Constant,
        "linear": lambda steps: Linear(float(steps)),
        "exponential": lambda half_life: Exponential(float(half_life)),
        "window": lambda first, end: Window(int(first), int(end)),
    }
    name, *values = text.split(":")
    try:
        return kinds[name](*values)
    except (KeyError, TypeError, ValueError) as error:
        raise UserError(
            f"cannot read the schedule {text!r}. "
            "Write constant, linear:STEPS, exponential:HALF_LIFE or window:FIRST:END."
        ) from error


def parse_gate(text: str) -> CosineGate:
    """ "below:0.1" or "above:0.1" -> the gate."""
    side, _, threshold = text.partition(":")
    try:
        return CosineGate(float(threshold), side)  # type: ignore[arg-type]
    except (ValueError, UserError) as error:
        raise UserError(f"cannot read the gate {text!r}. Write below:COSINE or above:COSINE, in [-1, 1].") from error


def check_where(where: str) -> None:
    """UserError unless `where` is one of the four clauses."""
    if where not in get_args(Where):
        raise UserError(f"where must be one of {', '.join(get_args(Where))} (got {where!r}).")


def _positive(name: str, value: float) -> None:
    if not 0 < value < math.inf:
        raise UserError(f"{name} of a schedule must be a positive number (got {value}).")
