"""A batch of prompts in the key/value cache, read further block by block: every evaluator's forward.

A prompt up to its assistant tag runs once, unsteered; the tag and what follows come as blocks of equal length, on
copies of the same cache for as many doses, thinks and answers as are asked for. Position ids count attended tokens,
so that a row's numbers do not depend on its batch.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from transformers import DynamicCache

from ws.batching import pad
from ws.models import LM, check_length

__all__ = ["Cached", "log_softmax", "repeat_rows", "steered_rows", "token_logps"]

CHUNK = 1 << 25  # float32 logits held at once: 128 MB


class Cached:
    """Rows whose tokens so far are in the cache. Holds no hooks of its own."""

    def __init__(self, lm: LM, rows: Sequence[Sequence[int]], room: int = 0) -> None:
        """Run `rows` (token ids, at least one each), left padded. room: tokens to come, checked against the
        context."""
        check_length(lm, max(rows, key=len), room)
        self.lm = lm
        self.cache = DynamicCache(config=lm.model.config.get_text_config())
        self.mask = torch.zeros(len(rows), 0, dtype=torch.long, device=lm.device)
        self._run(*pad(rows, lm.pad_id, lm.device, left=True))

    @property
    def columns(self) -> int:
        """Width of the cache, padding included."""
        return int(self.mask.shape[1])

    def __len__(self) -> int:
        return int(self.mask.shape[0])

    def block(self, ids: Tensor) -> Tensor:
        """Run ids (B, T) behind what is there -> final hidden states (B, T, d)."""
        return self._run(ids, torch.ones_like(ids))

    def _run(self, ids: Tensor, attended: Tensor) -> Tensor:
        before = self.mask.sum(1, keepdim=True)
        self.mask = torch.cat([self.mask, attended], 1)
        output = self.lm.body(
            input_ids=ids, attention_mask=self.mask, position_ids=(before + attended.cumsum(1) - 1).clamp(min=0),
            past_key_values=self.cache, use_cache=True,
        )
        assert output.last_hidden_state is not None
        return output.last_hidden_state

    def repeat(self, n: int) -> None:
        """Every row n times in a row: row i becomes rows i*n to i*n + n-1."""
        if n > 1:
            self.cache.batch_repeat_interleave(n)
            self.mask = self.mask.repeat_interleave(n, 0)

    def fork(self) -> Cached:
        """An independent copy: what runs on one does not show in the other."""
        other = copy.copy(self)
        other.cache = copy.copy(self.cache)  # layers are never written in place: what grows is a new tensor
        other.cache.layers = [copy.copy(layer) for layer in self.cache.layers]
        return other


@contextmanager
def steered_rows(lm: LM, direction: Any, c: Tensor, start: int, stale: bool) -> Iterator[Any]:
    """steered() over a Cached batch: c (B,), the assistant tag in column `start` of every row; yields None where
    unsteered."""
    from ws.steering import steered

    if direction is None:
        yield None
        return
    with steered(lm, direction, c, starts=torch.full((len(c),), start), allow_stale=stale) as steering:
        yield steering


def repeat_rows(rows: Cached, steering: Any, n: int) -> None:
    """Every row n times, in the cache and in the coefficients."""
    if steering is not None and n > 1:
        steering.set_rows(torch.arange(len(rows)).repeat_interleave(n))
    rows.repeat(n)


def log_softmax(lm: LM, hidden: Tensor) -> Tensor:
    """Full-vocabulary log-probabilities (N, V), float32, of final hidden states (N, d)."""
    return lm.head(hidden).float().log_softmax(-1)


def token_logps(lm: LM, hidden: Tensor, targets: Tensor) -> Tensor:
    """Log-probability (B, T), float32, of targets (B, T) under the final hidden states (B, T, d) in front of them."""
    flat, wanted = hidden.reshape(-1, hidden.shape[-1]), targets.reshape(-1, 1)
    size = max(1, CHUNK // lm.vocab_size)
    parts = [log_softmax(lm, flat[i : i + size]).gather(1, wanted[i : i + size]) for i in range(0, len(flat), size)]
    return torch.cat(parts).reshape(targets.shape)
