"""The decode loop's engine: a batch of rows that share a cache, token by token; rows that are done or broken leave it.

A row that rolls back is prefilled anew in a later batch: rows that roll back by different amounts never share a cache
column, and sliding windows are never cropped.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from typing import cast

import torch
from torch import Tensor

from ws.generation.rollout import DecodePlan, Rollout
from ws.generation.sampling import choose, row_keys
from ws.models.batching import by_length, pad, share
from ws.models.kv_cache import new_cache
from ws.models.lm import LM, positions
from ws.steering.coefficients import spares_prompt
from ws.steering.hooks import Steering, steered

__all__ = ["run"]

ASLEEP = 1 / 8  # share of a batch that may sleep before it is made smaller: each time copies the cache of all others


def run(lm: LM, plan: DecodePlan, rows: list[Rollout], size: int, notify: Callable[[int], None]) -> None:
    """Bring every row to its end in batches of `size`; notify hears how many have just ended. Needs the lock."""
    while rows:
        again: list[Rollout] = []
        for group in by_length([row.length for row in rows], size):
            with ExitStack() as stack:
                batch = Batch(lm, plan, [rows[i] for i in group], stack)
                again += batch.play(notify) if plan.exact is None else batch.read(notify)
        rows = again


class Batch:
    """Rows that share a cache. slots: who sits in which row of it; None sleeps: it ended and still takes its place.

    With backtracking each row has a shadow at c = 0 behind the rows, fed the same tokens.
    """

    def __init__(self, lm: LM, plan: DecodePlan, rows: list[Rollout], stack: ExitStack) -> None:
        self.lm, self.plan, self.rows = lm, plan, rows
        self.slots: list[Rollout | None] = list(rows)
        self.copies = 2 if plan.backtrack else 1
        self.steps = torch.tensor([len(row.token_ids) for row in rows], device=lm.device)
        self.dice = torch.tensor([[_int64(row.prompt), row.sample] for row in rows], device=lm.device)
        self.forced = _forced(rows, lm.device)
        self.banned = torch.zeros(2, lm.vocab_size, dtype=torch.bool, device=lm.device)
        self.banned[:, list(plan.suppress)] = True
        self.banned[1, list(lm.eos_ids)] = True
        self.steering: Steering | None = None
        self._prefill(stack)

    def play(self, notify: Callable[[int], None]) -> list[Rollout]:
        """Until no row is left; returns those that rolled back."""
        rolled: list[Rollout] = []
        while True:
            tokens = self._step()
            rolled += self._retire(notify)
            awake = [i for i, row in enumerate(self.slots) if row is not None]
            if not awake:
                return rolled
            if len(self.slots) - len(awake) >= ASLEEP * len(self.slots):
                tokens = tokens[self._keep(awake)]
            fed = tokens.repeat(self.copies)[:, None]
            self.hidden = self._forward(fed, self._attended())[:, -1]

    def _retire(self, notify: Callable[[int], None]) -> list[Rollout]:
        """Let rows that ended or broke sleep; returns those that broke, rolled back."""
        rule, broken, ended = self.plan.backtrack, [], 0
        for i, row in enumerate(self.slots):
            if row is not None and rule and row.collapsed(rule):
                row.roll_back(rule)
                broken.append(row)
                self.slots[i] = None
            elif row is not None and row.done:
                ended += 1
                self.slots[i] = None
        notify(ended)
        return broken

    def _attended(self) -> Tensor | None:
        """(B, 1) mask of the next column: 0 in rows that sleep, whose positions stay; None where all are awake."""
        if None not in self.slots:
            return None
        awake = torch.tensor([row is not None for row in self.slots], dtype=torch.long, device=self.lm.device)
        return awake.repeat(self.copies)[:, None]

    def read(self, notify: Callable[[int], None]) -> list[Rollout]:
        """Exactly plan.exact tokens in every row, then each row's suffix, whose states are kept."""
        new: list[list[int]] = [[] for _ in self.rows]
        for left in range(self.plan.exact or 0, 0, -1):
            tokens = self._step()
            if left > 1:
                self.hidden = self._forward(tokens[:, None])[:, -1]
            else:
                new = tokens[:, None].tolist()
        fed = [last + row.suffix for last, row in zip(new, self.rows, strict=True)]
        states = self.hidden[:, None, :0]
        if any(fed):
            ids, mask = pad(fed, self.lm.pad_id, self.lm.device, left=False)
            states = self._forward(ids, mask)
        for i, row in enumerate(self.rows):
            first = self.hidden[i : i + 1] if not new[i] else self.hidden[:0]
            row.suffix_states = torch.cat([first, states[i, : len(fed[i])]])
        notify(len(self.rows))
        return []

    def _prefill(self, stack: ExitStack) -> None:
        """Fill the cache; rows of one prompt share everything in front of the tag where that is not steered."""
        rows = self.rows * self.copies
        ids, starts = [row.ids + row.token_ids for row in rows], [row.start for row in rows]
        tails = {len(i) - s for i, s in zip(ids, starts, strict=True)}
        spared = spares_prompt(self.plan.directions, self.plan.where)
        if spared and len(tails) == 1 and min(starts) > 0:
            heads = share(self.lm, [i[:s] for i, s in zip(ids, starts, strict=True)])
            self.cache, self.mask = heads.rows()
            ids, columns = [i[s:] for i, s in zip(ids, starts, strict=True)], [self.mask.shape[1]] * len(rows)
        else:
            self.cache = new_cache(self.lm)
            self.mask = torch.zeros(len(rows), 0, dtype=torch.long, device=self.lm.device)
            columns = [max(map(len, ids)) - len(i) + s for i, s in zip(ids, starts, strict=True)]
        self._steer(stack, columns)
        self.hidden = self._forward(*pad(ids, self.lm.pad_id, self.lm.device, left=True))[:, -1].clone()

    def _steer(self, stack: ExitStack, columns: list[int]) -> None:
        """Open the steering of this batch; a batch whose c are all 0 needs no hook."""
        shadow = [0.0] * len(self.rows) * (self.copies - 1)
        pairs = [
            (direction, [row.shares[k] * row.scale for row in self.rows] + shadow)
            for k, direction in enumerate(self.plan.directions)
        ]
        pairs = [(direction, c) for direction, c in pairs if any(c)]
        if pairs:
            plan = self.plan
            context = steered(
                self.lm,
                pairs,
                where=plan.where,
                starts=columns,
                schedule=plan.schedule,
                gate=plan.gate,
                allow_stale=plan.allow_stale,
            )
            self.steering = stack.enter_context(context)

    def _forward(self, ids: Tensor, mask: Tensor | None = None) -> Tensor:
        """Final hidden states (B, S, d) of new tokens (B, S) behind the cache."""
        self.mask = torch.cat([self.mask, torch.ones_like(ids) if mask is None else mask], 1)
        output = self.lm.body(
            input_ids=ids,
            attention_mask=self.mask,
            position_ids=positions(self.mask)[:, -ids.shape[1] :],
            past_key_values=self.cache,
            use_cache=True,
        )
        return cast(Tensor, output.last_hidden_state)

    def _step(self) -> Tensor:
        """Draw one token per row (B,) and write it down."""
        logits = self.lm.head(self.hidden).float()
        tokens = self._draw(logits[: len(self.slots)])
        picked = logits.gather(1, tokens.repeat(self.copies)[:, None])[:, 0] - logits.logsumexp(-1)
        logps = picked.tolist()
        for i, (row, token) in enumerate(zip(self.slots, tokens.tolist(), strict=True)):
            if row is None:
                continue
            row.token_ids.append(token)
            row.logp.append(logps[i])
            row.watched += logps[len(self.slots) + i :][:1]
            if self.plan.keep_states:
                row.states.append(self.hidden[i])
            ended = token in self.lm.eos_ids or self.lm.is_stopped(row.token_ids)
            row.finished = ended and len(row.token_ids) >= max(self.plan.min_new, len(row.forced))
        self.steps += 1
        return tokens

    def _draw(self, logits: Tensor) -> Tensor:
        """The row's own noise decides; banned ids are never drawn, forced ones replace the draw."""
        early = (self.steps < self.plan.min_new).long()
        if self.plan.suppress or self.plan.min_new:
            logits = logits.masked_fill(self.banned[early], float("-inf"))
        keys = row_keys(self.plan.seed, self.dice[:, 0], self.dice[:, 1], self.steps)
        tokens = choose(logits, keys, *self.plan.sampler)
        if self.forced is not None:
            said = self.forced.gather(1, self.steps[:, None].clamp(max=self.forced.shape[1] - 1))[:, 0]
            tokens = torch.where(said >= 0, said, tokens)
        return tokens

    def _keep(self, keep: list[int]) -> Tensor:
        """Let go of all other rows: in the cache, the mask, the dice and the steering."""
        index = torch.tensor(keep, dtype=torch.long, device=self.lm.device)
        whole = torch.cat([index + len(self.slots) * copy for copy in range(self.copies)])
        self.slots = [self.slots[i] for i in keep]
        self.steps, self.dice, self.mask = self.steps[index], self.dice[index], self.mask[whole]
        self.forced = None if self.forced is None else self.forced[index]
        self.cache.batch_select_indices(whole)
        if self.steering is not None:
            self.steering.set_rows(whole)
        return index


def _int64(word: int) -> int:
    """A 64-bit identity as the int64 with the same bits."""
    return word - (1 << 64) if word >> 63 else word


def _forced(rows: Sequence[Rollout], device: torch.device) -> Tensor | None:
    """(B, F + 1) of forced ids, -1 where the row draws for itself; None where no row is forced."""
    width = max(len(row.forced) for row in rows)
    padded = [row.forced + [-1] * (width + 1 - len(row.forced)) for row in rows]
    return torch.tensor(padded, device=device) if width else None
