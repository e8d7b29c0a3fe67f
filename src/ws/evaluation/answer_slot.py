"""Reading the answer slot of a batch of vignette prompts, at several doses and after several thinks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from ws.errors import UserError
from ws.evaluation.items import CONDITIONS, Item, ItemSet
from ws.evaluation.prompt_cache import Cached, log_softmax, prefix, steered_rows, token_logps
from ws.evaluation.tinymfv_june import june_close, june_prompt
from ws.evaluation.wording import Wording
from ws.files import digest
from ws.gating.foundations import FOUNDATIONS
from ws.generation.sampling import choose, row_keys
from ws.models.lm import LM

__all__ = ["ORDERS", "READOUTS", "Reading", "Slot", "SlotPrompt", "SlotReader"]

READOUTS = ("whole", "first")
ORDERS = (FOUNDATIONS, FOUNDATIONS[::-1])
OPEN, CLOSE = "<think>\n", "\n</think>\n\n"


@dataclass(frozen=True)
class Reading:
    """How vignettes are read."""

    conditions: tuple[str, ...] = ("other_violate",)
    think: int = 0
    """tokens of thinking, exactly"""
    samples: int = 4
    """sampled thinks per row and order; 0 = one greedy think. Without thinking there is nothing to sample"""
    readout: str = "whole"
    """"whole": the sum over an answer's tokens; "first": its first token only, which must tell the answers apart"""
    seed: int = 0
    batch_size: int = 64
    strict_june: bool = False
    """as tinymfv b726db9 at batch_size=1: its turns (see `june`), the last think token is not in the cache; it reads
    with readout "first" and samples 0"""
    json: bool = True
    """whether the prefill is continued, for json_valid"""
    settings: dict[str, Any] = field(default_factory=dict)
    """temperature, top_k, top_p of sampled thinks"""

    def __post_init__(self) -> None:
        unknown = [c for c in self.conditions if c not in CONDITIONS]
        if unknown or not self.conditions:
            raise UserError(f"unknown conditions {unknown or self.conditions}. Use some of: {', '.join(CONDITIONS)}.")
        if self.readout not in READOUTS:
            raise UserError(f"unknown readout {self.readout!r}. Use one of: {', '.join(READOUTS)}.")
        if self.think < 0 or self.samples < 0 or self.batch_size < 1:
            raise UserError(
                f"think ({self.think}) and think_samples ({self.samples}) cannot be negative,"
                f" batch_size ({self.batch_size}) must be at least 1."
            )

    @property
    def draws(self) -> int:
        """Thinks per row and order."""
        return max(1, self.samples) if self.think else 1


@dataclass(frozen=True)
class SlotPrompt:
    """One prompt: an item's text in one condition (a row) and one order of the options; key: its dice."""

    row: int
    order: int
    ids: list[int]
    key: int


@dataclass(frozen=True)
class Slot:
    """What was read of prompts (J) at doses x draws (A): answers (J, A, 7) and prefill (J, A) log-probabilities, valid
    0/1."""

    answers: Tensor
    prefill: Tensor
    valid: Tensor


class SlotReader:
    """Token ids of one evaluation (`prompts`), and the reading of a batch of them."""

    def __init__(self, lm: LM, items: ItemSet, reading: Reading, wording: Wording, persona: str | None) -> None:
        self.lm, self.reading, self.wording = lm, reading, wording
        self.prefill = lm.encode(wording.prefill)
        self.answers = [lm.encode(wording.labels[f]) for f in FOUNDATIONS]
        if reading.readout == "first":
            _refuse_collisions(lm, self.answers)
        # a model without think markers reads them as plain text
        self.open = lm.encode(OPEN) if reading.think and not lm.thinks else []
        self.close = lm.encode(CLOSE) if reading.think else []
        if reading.strict_june:
            self.close = june_close(lm, wording.nudge)
        self.form = ("open" if reading.think else "closed") if lm.thinks else None
        self.rows = [(item, condition) for item in items.items for condition in reading.conditions]
        places = [(row, order) for row in range(len(self.rows)) for order in range(len(ORDERS))]
        self.prompts = [self._prompt(row, order, persona) for row, order in places]

    def _prompt(self, row: int, order: int, persona: str | None) -> SlotPrompt:
        item, condition = self.rows[row]
        user = self.wording.user(_text(item, condition), ORDERS[order])
        if self.reading.strict_june:
            ids = june_prompt(self.lm, user, persona)
        else:
            ids = self.lm.prompt_ids(user, system=persona, form=self.form) + self.open
        return SlotPrompt(row, order, ids, int(digest([item.id, condition, order], 15), 16))

    @property
    def barred(self) -> list[int]:
        """Ids that a think may not hold: the ends of a turn, and the (first) token of </think>."""
        return sorted({*self.lm.eos_ids, self.lm.encode("</think>")[0]})

    def read(
        self,
        prompts: Sequence[SlotPrompt],
        direction: Any,
        cs: Sequence[float],
        *,
        stale: bool = False,
        pristine: bool = False,
    ) -> Slot:
        """Each prompt once, unsteered; doses and draws on copies. direction None = not steered; stale: of other
        weights.

        pristine: no adapter is on, see `cached.prefix`.
        """
        forced = self.close + self.prefill
        room = 1 + self.reading.think + len(forced) + max(map(len, self.answers)) + self._json_room
        cached = prefix(self.lm, [prompt.ids[:-1] for prompt in prompts], room, pristine=pristine)
        arms = [(c, draw) for c in cs for draw in range(self.reading.draws)]
        size = max(1, self.reading.batch_size // len(prompts))
        parts = [self._arms(cached, prompts, arms[i : i + size], direction, stale) for i in range(0, len(arms), size)]
        columns = ([part.answers, part.prefill, part.valid] for part in parts)
        return Slot(*(torch.cat(column, 1) for column in zip(*columns, strict=True)))

    def _arms(
        self,
        cached: Cached,
        prompts: Sequence[SlotPrompt],
        arms: Sequence[tuple[float, int]],
        direction: Any,
        stale: bool,
    ) -> Slot:
        """The slots of a batch of prompts at some (dose, draw) pairs."""
        rows, device = cached.fork(), self.lm.device
        rows.repeat(len(arms))
        doses = torch.tensor([c for c, _ in arms] * len(prompts), dtype=torch.float32)
        last = torch.tensor([[prompt.ids[-1]] for prompt in prompts], device=device).repeat_interleave(len(arms), 0)
        with steered_rows(self.lm, direction, doses, rows.columns, stale):
            if self.reading.think:
                keys = [prompt.key for prompt in prompts for _ in arms]
                last = self._think(rows, last, keys, [draw for _, draw in arms] * len(prompts))
            block = torch.tensor([self.close + self.prefill], dtype=torch.long, device=device).expand(len(rows), -1)
            lost = self.reading.think and self.reading.strict_june
            hidden = rows.block(block if lost else torch.cat([last, block], 1))
            n = len(self.prefill)
            logps = log_softmax(self.lm, hidden[:, -1])
            forced = torch.zeros_like(logps[:, 0])
            if n:  # the embedded model's answer is not forced
                forced = token_logps(self.lm, hidden[:, -n - 1 : -1], block[:, -n:]).sum(1)
            valid = torch.full_like(forced, torch.nan)
            if self.reading.json:
                valid = self._continue(rows.fork(), logps.argmax(-1, keepdim=True))
        answers = self._whole(rows, logps, direction, doses, cached.columns, stale)
        shape = (len(prompts), len(arms))
        return Slot(answers.reshape(*shape, -1), forced.reshape(shape), valid.reshape(shape))

    def _think(self, rows: Cached, last: Tensor, keys: Sequence[int], samples: Sequence[int]) -> Tensor:
        """Exactly `think` tokens behind the tag; the last one is returned (B, 1) and not yet in the cache."""
        prompts, draws = (torch.tensor(part, device=self.lm.device) for part in (keys, samples))
        settings = self.reading.settings if self.reading.samples else {"temperature": 0.0}
        for step in range(self.reading.think):
            logits = self.lm.head(rows.block(last)[:, -1]).float()
            logits[:, self.barred] = -torch.inf
            dice = row_keys(self.reading.seed, prompts, draws, torch.full_like(prompts, step))
            last = choose(logits, dice, **settings)[:, None]
        return last

    def _whole(self, rows: Cached, logps: Tensor, direction: Any, doses: Tensor, start: int, stale: bool) -> Tensor:
        """(B, 7) log-probability of each answer: its first token's, with readout "whole" the sum over all of them."""
        first = logps[:, [ids[0] for ids in self.answers]]
        long = [k for k, ids in enumerate(self.answers) if len(ids) > 1]
        if self.reading.readout == "first" or not long:
            return first
        rows.repeat(len(long))
        width = max(map(len, self.answers))
        padded = [self.answers[k] + [-1] * (width - len(self.answers[k])) for k in long]
        block = torch.tensor(padded, device=first.device).repeat(len(first), 1)  # (B * answers, width)
        with steered_rows(self.lm, direction, doses.repeat_interleave(len(long)), start, stale):
            hidden = rows.block(block[:, :-1].clamp(min=0))
        rest = token_logps(self.lm, hidden, block[:, 1:]).sum(1)
        whole = first.clone()
        whole[:, long] += rest.reshape(len(first), len(long))
        return whole

    @property
    def _json_room(self) -> int:
        """Tokens that a free continuation may take to close the JSON."""
        return max(map(len, self.answers)) + 6

    def _continue(self, rows: Cached, tokens: Tensor) -> Tensor:
        """(B,) 1.0 where the greedy continuation of the prefill closes to JSON that holds an allowed value."""
        texts = self._decode(tokens)
        for _ in range(self._json_room):
            if all(map(self.wording.is_closed, texts)):
                break
            following = self.lm.head(rows.block(tokens[:, -1:])[:, -1]).argmax(-1, keepdim=True)
            tokens = torch.cat([tokens, following], 1)
            texts = self._decode(tokens)
        return torch.tensor([float(self.wording.is_valid(text)) for text in texts])

    def _decode(self, tokens: Tensor) -> list[str]:
        return [str(self.lm.tok.decode(ids)) for ids in tokens.tolist()]


def _text(item: Item, condition: str) -> str:
    if condition not in item.texts:
        raise UserError(f"item {item.id!r} has no text for {condition!r}. Add it, or leave that condition out.")
    return item.texts[condition]


def _refuse_collisions(lm: LM, answers: Sequence[Sequence[int]]) -> None:
    """UserError where two answers begin with the same token: their first tokens do not tell them apart."""
    seen: dict[int, str] = {}
    for foundation, ids in zip(FOUNDATIONS, answers, strict=True):
        if ids[0] in seen:
            raise UserError(
                f"{seen[ids[0]]} and {foundation} begin with the same token ({lm.tok.decode([ids[0]])!r})"
                f' for {lm.name}. Use readout="whole".'
            )
        seen[ids[0]] = foundation
