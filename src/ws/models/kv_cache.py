"""A key/value cache with spare columns: a step writes its own token, where transformers' copies the whole past.

    cache = new_cache(lm)                    # a transformers DynamicCache; pass it as past_key_values
    other = fork(cache)                      # what runs on one does not show in the other

The numbers are those of transformers' own cache, bit for bit. Layers with a sliding window stay transformers' own.
"""

from __future__ import annotations

import copy
from typing import Any

from torch import Tensor
from transformers import DynamicCache
from transformers.cache_utils import DynamicLayer

from ws.models.lm import LM

__all__ = ["fork", "new_cache"]

ROOM = 64  # columns to come: that many tokens are written before the past is copied again


class RoomyLayer(DynamicLayer):
    """`keys` and `values` are views (B, heads, S, head_dim) of buffers that are longer than they are."""

    def __init__(self) -> None:
        super().__init__()
        self.buffers: tuple[Tensor, Tensor] | None = None

    def __copy__(self) -> RoomyLayer:
        """A layer on the same past that writes into buffers of its own."""
        other = RoomyLayer()
        other.__dict__.update(self.__dict__, buffers=None)
        return other

    def update(self, key_states: Tensor, value_states: Tensor, *args: Any, **kwargs: Any) -> tuple[Tensor, Tensor]:
        """Write new columns (B, heads, T, head_dim) behind the past; the past with them."""
        keys, values = self.keys, self.values
        if keys is None or values is None or not self.get_seq_length():
            return super().update(key_states, value_states)
        before, after = keys.shape[-2], keys.shape[-2] + key_states.shape[-2]
        if self.buffers is None or self.buffers[0].shape[-2] < after:
            self.buffers = _roomy(keys, after), _roomy(values, after)
        for buffer, new in zip(self.buffers, (key_states, value_states), strict=True):
            buffer[:, :, before:after] = new
        return self._show(self.buffers, after)

    def batch_select_indices(self, indices: Tensor) -> None:
        """Keep these rows only, the room behind them too."""
        if self.keys is None or self.values is None or not self.get_seq_length():
            return
        if self.buffers is None:
            self.keys, self.values = self.keys.index_select(0, indices), self.values.index_select(0, indices)
        else:
            self.buffers = self.buffers[0].index_select(0, indices), self.buffers[1].index_select(0, indices)
            self._show(self.buffers, self.keys.shape[-2])

    def batch_repeat_interleave(self, repeats: int) -> None:
        super().batch_repeat_interleave(repeats)
        self.buffers = None

    def crop(self, tokens_to_remove: int) -> None:
        super().crop(tokens_to_remove)
        self.buffers = None  # a fork may still read the columns that would be written over

    def _show(self, buffers: tuple[Tensor, Tensor], columns: int) -> tuple[Tensor, Tensor]:
        """The first columns of the buffers as what the layer holds."""
        self.keys, self.values = keys, values = buffers[0][:, :, :columns], buffers[1][:, :, :columns]
        return keys, values


def _roomy(past: Tensor, columns: int) -> Tensor:
    """A buffer with the past in front, for `columns` columns and ROOM more."""
    shape = (*past.shape[:-2], columns + ROOM, past.shape[-1])
    buffer = past.new_empty(shape)
    buffer[:, :, : past.shape[-2]] = past
    return buffer


def new_cache(lm: LM) -> DynamicCache:
    """An empty cache of the model's own kinds of layer, the plain ones with room."""
    cache = DynamicCache(config=lm.model.config.get_text_config())
    cache.layers = [RoomyLayer() if type(layer) is DynamicLayer else layer for layer in cache.layers]
    return cache


def fork(cache: DynamicCache) -> DynamicCache:
    """An independent copy: what runs on one does not show in the other. Nothing is copied before it is written."""
    other = copy.copy(cache)
    other.layers = [copy.copy(layer) for layer in cache.layers]
    return other
