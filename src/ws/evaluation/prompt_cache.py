"""A batch of prompts in the key/value cache, read further block by block: every evaluator's forward.

A prompt up to its assistant tag runs once, unsteered; the tag and what follows come as blocks of equal length, on
copies of the same cache for as many doses, thinks and answers as are asked for. Position ids count attended tokens,
so that a row's numbers do not depend on its batch.
"""

from __future__ import annotations

import copy
import threading
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor

from ws.errors import UserError
from ws.files import digest
from ws.models.batching import share
from ws.models.kv_cache import bytes_of, fork
from ws.models.lm import LM, check_length
from ws.steering.coefficients import as_pairs, spares_prompt
from ws.steering.hooks import steered

__all__ = ["Cached", "forget_prefixes", "log_softmax", "prefix", "steered_rows", "token_logps"]

CHUNK = 1 << 25  # float32 logits held at once: 128 MB
REMEMBERED = 192 << 20  # bytes of prompts' caches kept: the embedded model's item sets, nothing of a large model's


class Cached:
    """Rows whose tokens so far are in the cache. Holds no hooks of its own."""

    def __init__(self, lm: LM, rows: Sequence[Sequence[int]], room: int = 0) -> None:
        """Run `rows` (token ids, at least one each), left padded. room: tokens to come, checked against the
        context."""
        check_length(lm, max(rows, key=len), room)
        self.lm = lm
        self.cache, self.mask = share(lm, rows).rows()

    @property
    def columns(self) -> int:
        """Width of the cache, padding included."""
        return int(self.mask.shape[1])

    def __len__(self) -> int:
        return int(self.mask.shape[0])

    def block(self, ids: Tensor, attended: Tensor | None = None) -> Tensor:
        """Run ids (B, T) behind what is there -> final hidden states (B, T, d). attended (B, T): 0 at padding, which
        what comes later does not see; None: there is none."""
        return self._run(ids, torch.ones_like(ids) if attended is None else attended)

    def _run(self, ids: Tensor, attended: Tensor) -> Tensor:
        before = self.mask.sum(1, keepdim=True)
        self.mask = torch.cat([self.mask, attended], 1)
        output = self.lm.body(
            input_ids=ids,
            attention_mask=self.mask,
            position_ids=(before + attended.cumsum(1) - 1).clamp(min=0),
            past_key_values=self.cache,
            use_cache=True,
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
        other.cache = fork(self.cache)
        return other

    @property
    def bytes(self) -> int:
        """What the cache takes in memory."""
        return bytes_of(self.cache)


_PREFIXES: OrderedDict[str, Cached] = OrderedDict()
_LOCK = threading.Lock()


def prefix(lm: LM, rows: Sequence[Sequence[int]], room: int = 0, *, pristine: bool = False) -> Cached:
    """Cached(lm, rows, room), to be forked and not written to. pristine: no adapter is on, so it may be kept for
    later.

    Every steered arm reads the same unsteered prompts: with a small model they are most of the work.
    """
    if not pristine:
        return Cached(lm, rows, room)
    key = digest([lm.fingerprint, str(lm.dtype), str(lm.device), torch.get_num_threads(), rows])
    with _LOCK:
        known = _PREFIXES.pop(key, None)
    check_length(lm, max(rows, key=len), room)
    found = copy.copy(known) if known else Cached(lm, rows, room)
    found.lm = lm  # private copies share weights and so a key; what runs behind the prompt must meet this one's hooks
    with _LOCK:
        _PREFIXES[key] = found
        while sum(kept.bytes for kept in _PREFIXES.values()) > REMEMBERED:
            _PREFIXES.popitem(last=False)
    return found


def forget_prefixes() -> None:
    """Forget the prompts' caches."""
    with _LOCK:
        _PREFIXES.clear()


@contextmanager
def steered_rows(lm: LM, direction: Any, c: Tensor, start: int, stale: bool) -> Iterator[None]:
    """steered() over a Cached batch, c (B,), the tag in column `start` of every row; nothing without a direction."""
    if direction is None:
        yield
        return
    if not spares_prompt(d for d, _ in as_pairs(direction)):
        raise UserError(
            "readings share what stands in front of the assistant tag, and this direction steers it too (where 'prompt'"
            " or 'all'). Evaluate it with where 'assistant' or 'generated'; generate writes with any."
        )
    with steered(lm, direction, c, starts=torch.full((len(c),), start), allow_stale=stale):
        yield


def log_softmax(lm: LM, hidden: Tensor) -> Tensor:
    """Full-vocabulary log-probabilities (N, V), float32, of final hidden states (N, d)."""
    return lm.head(hidden).float().log_softmax(-1)


def token_logps(lm: LM, hidden: Tensor, targets: Tensor) -> Tensor:
    """Log-probability (B, T), float32, of targets (B, T) under the final hidden states (B, T, d) in front of them.

    0 where a target is negative: padding, which never meets the LM head.
    """
    there = targets >= 0
    flat, wanted = hidden[there], targets[there][:, None]
    size = max(1, CHUNK // lm.vocab_size)
    found = torch.zeros(targets.shape, device=hidden.device)
    parts = [log_softmax(lm, flat[i : i + size]).gather(1, wanted[i : i + size]) for i in range(0, len(flat), size)]
    found[there] = torch.cat([torch.zeros(0, 1, device=hidden.device), *parts])[:, 0]
    return found
