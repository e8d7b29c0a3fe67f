"""How a model is made to write, in two values: how its tokens are drawn, and what is done to it meanwhile.

    hot = Sampling(temperature=1.5, max_new_tokens=40, seed=3)
    push = Intervention(v, 1.0, schedule="window:0:20", adapters=[healed])
    ws.generate(lm, prompts, sampling=hot, intervention=push)
    ws.generate(lm, prompts, v, 1.0, temperature=1.5, max_new_tokens=40, seed=3, ...)    # the same, by keywords

`ws.generate`, `ws.decode` and `ws.evaluate` take either form, not both for one value. Importing this brings no torch.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from numbers import Integral
from typing import TYPE_CHECKING, Any, TypedDict, TypeVar

from ws.errors import UserError

if TYPE_CHECKING:
    from ws.generation.rollout import Backtrack
    from ws.models.adapters.adapter import Adapter
    from ws.models.lm import LM
    from ws.steering.coefficients import Coefficient, Steered
    from ws.steering.schedules import CosineGate, Schedule

__all__ = ["Intervention", "Keywords", "Sampling", "Settings", "check_sampling", "taken"]

T = TypeVar("T", bound="Sampling | Intervention")


@dataclass(frozen=True)
class Sampling:
    """How tokens are drawn. None: as the model does by itself (its recipe, or its generation config)."""

    temperature: float | None = None
    """divides the logits; 0 is greedy"""
    top_p: float | None = None
    """the smallest set of tokens with this probability; 1 cuts nothing off"""
    top_k: int | None = None
    """the k likeliest tokens; 0 cuts nothing off"""
    max_new_tokens: int | None = None
    """tokens of a completion"""
    seed: int = 0
    """of the dice"""

    def __post_init__(self) -> None:
        check_sampling(self.temperature, self.top_k, self.top_p)
        check_seed(self.seed)
        object.__setattr__(self, "seed", int(self.seed))  # numpy's own overflow in the hash of the dice

    def on(self, lm: LM) -> Sampling:
        """With the model's own values where a field is None."""
        return self.over(Sampling(max_new_tokens=lm.recipe.new_tokens, **dataclasses.asdict(lm.sampling)))

    def over(self, own: Sampling) -> Sampling:
        """With the values of `own` where a field is None; the seed stays."""
        unset = {name: value for name, value in dataclasses.asdict(own).items() if getattr(self, name) is None}
        return dataclasses.replace(self, **unset)

    def unlike(self, lm: LM) -> dict[str, float]:
        """The fields but the seed in which it is not the model's own: what a text depends on beside its model."""
        here, own = (dataclasses.asdict(draws.on(lm)) for draws in (self, Sampling()))
        return {name: value for name, value in here.items() if value != own[name] and name != "seed"}

    def said(self, own: Sampling, source: str) -> str:
        """All of it in words over the model's `own`: "T 0.7 (as asked), top_p 0.9, 48 tokens (the model's recipe)"."""
        here = self.over(own)
        asked = {f.name: " (as asked)" if getattr(self, f.name) is not None else "" for f in dataclasses.fields(self)}
        greedy = here.temperature == 0
        parts = [("T 0, greedy" if greedy else f"T {here.temperature:g}") + asked["temperature"]]
        cut = {"top_p": here.top_p != 1, "top_k": here.top_k != 0}
        shown = [] if greedy else [name for name in cut if cut[name] or asked[name]]
        parts += [f"{name} {getattr(here, name):g}{asked[name]}" for name in shown]
        parts += [] if greedy or any(cut.values()) else ["nothing cut off"]
        parts.append(f"{here.max_new_tokens} tokens{asked['max_new_tokens']}")
        whole = all(asked[name] for name in ("temperature", "top_p", "top_k", "max_new_tokens"))
        return ", ".join(parts) + ("" if whole else f" ({source})")

    def said_on(self, lm: LM) -> str:
        """`said` over a loaded model's own."""
        return self.said(Sampling().on(lm), lm.sampling_from)


@dataclass(frozen=True)
class Intervention:
    """What is done to a model while it reads and writes. The default does nothing."""

    direction: Steered | None = None
    """a Direction, or pairs (Direction, c_i), each of which gets c_i * c"""
    c: Coefficient | Sequence[float] | None = None
    """coefficient: one, or one per dose (`decode`: per row); None: 0, and 1 where `direction` is a list of pairs"""
    where: str = "assistant"
    """positions: "assistant" (the tag and after), "generated" (after the tag), "prompt" (before it), "all\""""
    schedule: Schedule | str | None = None
    """a factor by offset from the tag (ws.steering.schedules), or its text"""
    gate: CosineGate | str | None = None
    """a factor by the cosine of the state with the direction, or its text"""
    backtrack: Backtrack | None = None
    """when a row breaks it rolls back and goes on at a lower c"""
    adapters: Sequence[Adapter | tuple[Adapter, float]] = ()
    """adapters underneath, in order, alone or with a strength"""
    allow_stale: bool = False
    """the direction may come from other weights"""


def check_sampling(temperature: float | None, top_k: int | None, top_p: float | None, tokens: int | None = None,
                   where: str = "") -> None:  # fmt: skip
    """UserError unless temperature >= 0, top_k >= 0 (0 = off), 0 < top_p <= 1 (1 = off) and tokens >= 1; None is the
    model's own. where: in front of the names, "sampling."."""
    if temperature is not None and not 0 <= temperature < math.inf:
        raise UserError(f"{where}temperature must be 0 (greedy) or a positive number (got {temperature}).")
    if top_k is not None and not top_k >= 0:
        raise UserError(f"{where}top_k must be 0 (off) or a positive whole number (got {top_k}).")
    if top_p is not None and not 0 < top_p <= 1:
        raise UserError(f"{where}top_p must be in (0, 1] (got {top_p}). 1 switches it off.")
    if tokens is not None and not tokens >= 1:
        raise UserError(f"{where}max_new_tokens must be at least 1 (got {tokens}).")


def check_seed(seed: object) -> None:
    """UserError unless it is a whole number, Python's or numpy's, of 64 bits."""
    if not isinstance(seed, Integral) or not -(2**63) <= int(seed) < 2**63:
        raise UserError(f"seed must be a whole number, -2**63 to 2**63 - 1 (got {seed!r}).")


class Settings(TypedDict, total=False):
    """The fields of both, as keywords of a call that names direction and c itself."""

    temperature: float | None
    top_p: float | None
    top_k: int | None
    max_new_tokens: int | None
    seed: int
    where: str
    schedule: Schedule | str | None
    gate: CosineGate | str | None
    backtrack: Backtrack | None
    adapters: Sequence[Adapter | tuple[Adapter, float]]
    allow_stale: bool


class Keywords(Settings, total=False):
    """The fields of both, as keywords of a call."""

    direction: Any
    c: Any


def taken(given: T | None, kind: type[T], keywords: Mapping[str, Any]) -> T:
    """`given`, or the value that these keywords make; those of other kinds are left alone.

    UserError where a value is given and a keyword that belongs in it as well; TypeError for a keyword of neither kind.
    """
    known = {field.name for part in (Sampling, Intervention) for field in dataclasses.fields(part)}
    if unknown := sorted(set(keywords) - known):
        raise TypeError(f"unexpected keyword argument {unknown[0]!r} (known: {', '.join(sorted(known))})")
    own = {field.name: keywords[field.name] for field in dataclasses.fields(kind) if field.name in keywords}
    if given is None:
        return kind(**own)
    if own:
        name = kind.__name__.lower()
        raise UserError(f"{name}= was given and {', '.join(own)} beside it. Put it into the {name}, or leave that out.")
    return given
