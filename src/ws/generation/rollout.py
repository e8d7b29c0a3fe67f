"""Rollout: a row and its history in the decode loop, the rule for rolling back, the plan of one call."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import torch
from torch import Tensor

from ws.errors import UserError
from ws.models.lm import LM
from ws.steering.direction import Direction
from ws.steering.schedules import CosineGate, Schedule

__all__ = ["Backtrack", "DecodePlan", "Rollout"]


@dataclass(frozen=True)
class Backtrack:
    """When a row breaks: its last `tokens` go, its c is multiplied by `factor`, and it goes on.

    It breaks when its last `window` tokens have a mean log-probability below `floor` under the same model unsteered.
    It is prefilled again at its new c and its dice are those of its step: the kept tokens, continued at that c alone.
    """

    window: int = 8
    floor: float = -math.log(50.0)
    """Nats per token; the default is a perplexity of 50."""
    tokens: int = 8
    factor: float = 0.5
    limit: int = 3
    """How often one row may roll back; after that it goes on as it is."""

    def __post_init__(self) -> None:
        if self.window < 1 or self.tokens < 1 or self.limit < 0 or not 0 <= self.factor < 1 or math.isnan(self.floor):
            raise UserError(f"backtracking needs window, tokens >= 1, limit >= 0 and 0 <= factor < 1 (got {self}).")


@dataclass(eq=False)
class Rollout:
    """A row and what became of it.

    ids, start: its prompt and the index of the assistant tag; prompt, sample: what its dice depend on; limit: most
    new tokens; shares: c of each direction. token_ids: with the EOS or stop text that ended it. logp: of each token,
    untempered, full vocabulary, under the model that chose it. states: the final hidden states (d,) that chose them.
    watched: log-probabilities under the model unsteered, since the latest rollback. scale: what backtracking left of
    c; rollbacks: how often. suffix_states: (S + 1, d), the state in front of each suffix token and behind the last.
    """

    ids: list[int]
    start: int
    prompt: int
    sample: int
    limit: int
    shares: list[float]
    forced: list[int]
    suffix: list[int]
    token_ids: list[int] = field(default_factory=list)
    logp: list[float] = field(default_factory=list)
    states: list[Tensor] = field(default_factory=list)
    watched: list[float] = field(default_factory=list)
    finished: bool = False
    scale: float = 1.0
    rollbacks: int = 0
    suffix_states: Tensor | None = None

    @property
    def length(self) -> int:
        return len(self.ids) + len(self.token_ids)

    @property
    def done(self) -> bool:
        return self.finished or len(self.token_ids) >= self.limit

    def stacked(self, lm: LM) -> Tensor:
        """states as (T, d)."""
        return torch.stack(self.states) if self.states else torch.zeros(0, lm.d_model, device=lm.device)

    def collapsed(self, rule: Backtrack) -> bool:
        """The last tokens since the latest rollback are below the floor, and there is a dose to lower."""
        recent = self.watched[-rule.window :]
        may = len(recent) == rule.window and self.rollbacks < rule.limit and any(self.shares) and not self.finished
        return may and sum(recent) / rule.window < rule.floor

    def roll_back(self, rule: Backtrack) -> None:
        kept = max(0, len(self.token_ids) - rule.tokens)
        for trail in (self.token_ids, self.logp, self.states):
            del trail[kept:]
        self.watched.clear()
        self.scale *= rule.factor
        self.rollbacks += 1


@dataclass(frozen=True)
class DecodePlan:
    """What all rows of one call have in common; exact: the number of tokens in front of a suffix, None without one."""

    directions: tuple[Direction, ...]
    where: str
    schedule: Schedule | None
    gate: CosineGate | None
    allow_stale: bool
    seed: int
    min_new: int
    sampler: tuple[float, int, float]
    suppress: tuple[int, ...]
    exact: int | None
    backtrack: Backtrack | None
    keep_states: bool
