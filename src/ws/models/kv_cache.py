"""A key/value cache with spare columns: a step writes its own token, where transformers' copies the whole past.

    cache = new_cache(lm)                    # a transformers DynamicCache; pass it as past_key_values
    other = fork(cache)                      # what runs on one does not show in the other

The numbers are those of transformers' own cache, bit for bit. Layers with a sliding window stay transformers' own;
those that hold a state in place of columns (linear attention, state spaces, convolutions) learn here to choose rows and
to be forked.
"""

from __future__ import annotations

import copy
from typing import Any, Protocol

import torch
from torch import Tensor
from transformers import DynamicCache, PreTrainedModel
from transformers.cache_utils import (
    CacheLayerMixin,
    DummyLayer,
    DynamicLayer,
    LinearAttentionAndFullAttentionLayer,
    LinearAttentionAndSlidingWindowAttentionLayer,
    LinearAttentionLayer,
)

__all__ = ["bytes_of", "columns_of", "fork", "new_cache", "skips_gaps"]

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


class _States:
    """What transformers' layers with a state lack: rows chosen and repeated, and a copy that is written to alone."""

    conv_states: dict[int, Tensor | None]
    recurrent_states: dict[int, Tensor | None]

    def __copy__(self) -> Any:
        """The dictionaries would be shared, and a step writes into their tensors in place: states are copied, as small
        as they are; keys and values beside them are not, since a step replaces those."""
        other = object.__new__(type(self))
        held = {name: dict(value) if isinstance(value, dict) else value for name, value in self.__dict__.items()}
        other.__dict__.update(held)
        other._change(torch.clone)
        return other

    def batch_select_indices(self, indices: Tensor) -> None:
        """Keep these rows only."""
        self._change(lambda state: state.index_select(0, indices.to(state.device)))
        if isinstance(self, DynamicLayer):
            DynamicLayer.batch_select_indices(self, indices)

    def batch_repeat_interleave(self, repeats: int) -> None:
        """Every row so many times in a row."""
        self._change(lambda state: state.repeat_interleave(repeats, 0))
        if isinstance(self, DynamicLayer):
            DynamicLayer.batch_repeat_interleave(self, repeats)

    def _change(self, how: Any) -> None:
        for states in (self.conv_states, self.recurrent_states):
            states.update({i: how(state) for i, state in states.items() if state is not None})


class StateLayer(_States, LinearAttentionLayer):
    """A state alone."""


class StateAndColumnsLayer(_States, LinearAttentionAndFullAttentionLayer):  # type: ignore[misc, override]
    """A state, and keys and values beside it."""


class StateAndWindowLayer(_States, LinearAttentionAndSlidingWindowAttentionLayer):  # type: ignore[misc, override]
    """A state, and a window of keys and values beside it."""


OURS: dict[type, type] = {
    LinearAttentionLayer: StateLayer,
    LinearAttentionAndFullAttentionLayer: StateAndColumnsLayer,
    LinearAttentionAndSlidingWindowAttentionLayer: StateAndWindowLayer,
}
"""transformers' kind of layer -> what stands in its place here; any other kind stays."""


class _HasModel(Protocol):
    model: PreTrainedModel


def new_cache(lm: _HasModel) -> DynamicCache:
    """An empty cache of the model's own kinds of layer, the plain ones with room."""
    cache = DynamicCache(config=lm.model.config.get_text_config())
    cache.layers = [_ours(layer) for layer in cache.layers]
    return cache


def _ours(layer: Any) -> Any:
    if type(layer) is DynamicLayer:
        return RoomyLayer()
    kind = OURS.get(type(layer))
    if kind is None:
        return layer
    other: Any = object.__new__(kind)
    other.__dict__.update(layer.__dict__)
    return other


def fork(cache: DynamicCache) -> DynamicCache:
    """An independent copy: what runs on one does not show in the other. Columns are not copied before they are
    written."""
    other = copy.copy(cache)
    other.layers = [copy.copy(layer) for layer in cache.layers]
    return other


def skips_gaps(cache: DynamicCache) -> bool:
    """Whether padding may stand between tokens and change nothing: not where a window counts columns, nor where a
    state fades over them."""
    return all(isinstance(layer, RoomyLayer | DummyLayer) for layer in cache.layers)


def columns_of(cache: Any) -> int | None:
    """How many columns a cache holds; None where its layers hold states alone, which do not tell."""
    layers = getattr(cache, "layers", None)
    if layers and not any(isinstance(layer, CacheLayerMixin) for layer in layers):
        return None
    return int(cache.get_seq_length())


def bytes_of(cache: DynamicCache) -> int:
    """What a cache takes in memory, its spare columns left out."""
    held: list[Any] = []
    for layer in cache.layers:
        held += [getattr(layer, name, None) for name in ("keys", "values", "indexer_keys")]
        held += [state for name in ("conv_states", "recurrent_states") for state in getattr(layer, name, {}).values()]
    return sum(t.numel() * t.element_size() for t in held if isinstance(t, Tensor))
