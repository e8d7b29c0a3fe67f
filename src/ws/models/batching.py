"""Rows of token ids as batches: sorted by length, padded, the beginnings that rows share computed once.

Rows = head + tail. Heads that are equal (one prompt at many doses and samples) run once, unsteered, and so does what
different heads begin with alike; their cache columns are copied to the rows, and the tails run behind them. Position
ids come from the mask: padding changes nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor
from transformers import DynamicCache

from ws.models.kv_cache import fork, new_cache, skips_gaps
from ws.models.lm import LM, positions

__all__ = ["Prefix", "by_length", "by_tokens", "pad", "share", "starts_of"]

Ids = Sequence[int]


def by_length(lengths: Sequence[int], size: int) -> list[list[int]]:
    """Indices in batches of `size`, longest first and otherwise in order: little padding, and memory peaks at once."""
    order = sorted(range(len(lengths)), key=lambda i: -lengths[i])
    return [order[i : i + size] for i in range(0, len(order), size)]


def by_tokens(lengths: Sequence[int], most: int) -> list[list[int]]:
    """Indices in batches that hold at most `most` tokens with their padding (one row at least), longest first."""
    batches: list[list[int]] = []
    room = 0
    for i in sorted(range(len(lengths)), key=lambda i: -lengths[i]):
        if room == 0:
            batches.append([])
            room = max(1, most // max(1, lengths[i]))
        batches[-1].append(i)
        room -= 1
    return batches


def pad(rows: Sequence[Ids], fill: int, device: torch.device, *, left: bool) -> tuple[Tensor, Tensor]:
    """(ids, mask), int64 (B, S) each; mask is 1 at tokens and 0 at padding."""
    width = max(map(len, rows))
    gaps = [(width - len(row)) for row in rows]
    ids = [[fill] * g + list(r) if left else list(r) + [fill] * g for r, g in zip(rows, gaps, strict=True)]
    kept = [[0] * g + [1] * (width - g) if left else [1] * (width - g) + [0] * g for g in gaps]
    return torch.tensor(ids, device=device), torch.tensor(kept, device=device)


def starts_of(lm: LM, rows: Sequence[Ids]) -> list[int]:
    """Index of the assistant tag in each row; without a chat template the last token."""
    return [lm.assistant_start(row) if lm.has_chat else len(row) - 1 for row in rows]


@dataclass(frozen=True)
class Prefix:
    """What the heads left behind: cache and mask (U, P) of the different heads, index (B,) from rows to heads."""

    cache: DynamicCache
    mask: Tensor
    index: Tensor

    def rows(self, some: Sequence[int] | None = None) -> tuple[DynamicCache, Tensor]:
        """(cache, mask (B, P)) with one entry per row, or for `some` of them; the heads' own cache stays as it is."""
        index = self.index if some is None else self.index[list(some)]
        cache = fork(self.cache)
        if len(index) != len(self.mask) or not torch.equal(index, torch.arange(len(index), device=index.device)):
            cache.batch_select_indices(index)
        return cache, self.mask[index]


def share(lm: LM, heads: Sequence[Ids], forward: Callable[..., object] | None = None) -> Prefix:
    """Run the different heads once, left-padded and unsteered, through `forward` (the body); no head may be empty.

    What heads begin with alike (the system turn of them all, the text of two) runs once, too, where padding between
    tokens is not felt.
    """
    rows = list(dict.fromkeys(map(tuple, heads)))
    cache = new_cache(lm)
    mask, before = torch.zeros(1, 0, dtype=torch.long, device=lm.device), [0] * len(rows)
    known: dict[tuple[int, ...], int] = {(): 0}
    for ends in _ends(rows) if lm.gaps and skips_gaps(cache) else [[len(row) for row in rows]]:
        parts = {row[:end]: (row[:start], row[start:end]) for row, start, end in zip(rows, before, ends, strict=True)}
        parents = torch.tensor([known[parent] for parent, _ in parts.values()], device=lm.device)
        cache.batch_select_indices(parents)
        ids, kept = pad([part for _, part in parts.values()], lm.pad_id, lm.device, left=True)
        mask = torch.cat([mask[parents], kept], 1)
        kw = {"position_ids": positions(mask)[:, -ids.shape[1] :], "past_key_values": cache, "use_cache": True}
        (forward or lm.body)(input_ids=ids, attention_mask=mask, **kw)
        known, before = {head: i for i, head in enumerate(parts)}, ends
    return Prefix(cache, mask, torch.tensor([known[tuple(head)] for head in heads], device=lm.device))


def _ends(rows: Sequence[tuple[int, ...]]) -> list[list[int]]:
    """How far each row is read by each of up to three forwards: what all share, what two share, all of it.

    A step that spares less than an eighth of the tokens is left out.
    """
    whole, order = [len(row) for row in rows], sorted(range(len(rows)), key=lambda i: rows[i])
    near = [0] * len(rows)
    for i, j in pairwise(order):
        near[i], near[j] = max(near[i], alike := _alike(rows[i], rows[j])), alike
    root = [_alike(rows[order[0]], rows[order[-1]])] * len(rows)
    ends, least, before = [], sum(whole) / 8, [0] * len(rows)
    for step in (root, near):
        parts = {row[:end]: end - start for row, start, end in zip(rows, before, step, strict=True)}
        if sum(step) - sum(before) - sum(parts.values()) > least:
            ends.append(step)
            before = step
    return [*ends, whole]


def _alike(a: Ids, b: Ids) -> int:
    """How many tokens two rows begin with alike."""
    return next((n for n, (x, y) in enumerate(zip(a, b, strict=False)) if x != y), min(len(a), len(b)))
