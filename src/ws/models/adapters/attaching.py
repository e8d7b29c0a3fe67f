"""Adapters on a model for the length of a block: folded into the weights, or in rows of their own."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from ws.errors import UserError
from ws.models.adapters.adapter import Adapter, Stack, checked
from ws.models.adapters.families import family_of
from ws.models.adapters.peft_layers import PeftLayers
from ws.models.attachments import ADAPTED, restored
from ws.models.lm import LM

__all__ = ["attached", "stacked_weights"]


# Up to here adapted weights are built as a second copy (float32 only); above, PEFT's layers save the memory.
FOLD_BYTES = 1 << 30


@contextmanager
def attached(lm: LM, adapters: Stack) -> Iterator[LM]:
    """base + adapters in order, (Adapter, c) scaled by c; holds lm.lock, leaves the model pristine whatever happens.

    UserError: another base model, adapters already attached, different PEFT types or a scaled DoRA in half precision.
    """
    stack = checked(lm, adapters)
    with lm.lock:
        if not stack:
            yield lm
            return
        if lm.model in ADAPTED:
            raise UserError(f"{lm.name} already has adapters attached. Pass them all in one list.")
        with restored(lm.model):
            ADAPTED.add(lm.model)
            try:
                if _folds(lm, stack):
                    for module, weight in stacked_weights(lm, stack):
                        module.weight = nn.Parameter(weight, requires_grad=False)
                else:
                    _put_in(lm, stack)
                yield lm
            finally:
                ADAPTED.discard(lm.model)


def _folds(lm: LM, stack: list[tuple[Adapter, float]]) -> bool:
    weights = [_weight(lm.model.get_submodule(name)) for name in {n for a, _ in stack for n in a.modules}]
    return all(w.dtype == torch.float32 for w in weights) and sum(w.numel() * 4 for w in weights) <= FOLD_BYTES


def stacked_weights(lm: LM, stack: list[tuple[Adapter, float]]) -> Iterator[tuple[nn.Module, Tensor]]:
    """(module, its weight with the stack on) for every adapted module; computed in float32, given in the own dtype."""
    for name in dict.fromkeys(n for adapter, _ in stack for n in adapter.modules):
        module = lm.model.get_submodule(name)
        own = _weight(module)
        across = not isinstance(module, nn.Linear)  # Conv1D keeps (in, out)
        with torch.no_grad():
            weight = _stacked(name, (own.T if across else own).float(), stack)
            yield module, (weight.T if across else weight).to(own.dtype).contiguous()


def _stacked(name: str, pristine: Tensor, stack: list[tuple[Adapter, float]]) -> Tensor:
    weight = pristine
    for adapter, c in stack:
        if name in adapter.modules:
            parts = {part: value.to(pristine.device) for part, value in adapter.modules[name].items()}
            after = family_of(adapter.config).step(weight, pristine, parts, adapter.config, name)
            weight = after if c == 1 else weight + c * (after - weight)
    return weight


def _weight(module: nn.Module) -> Tensor:
    assert isinstance(module.weight, Tensor)
    return module.weight


def _put_in(lm: LM, stack: list[tuple[Adapter, float]]) -> None:
    live = PeftLayers(lm.model)
    for i, (adapter, c) in enumerate(stack):
        live.add(f"a{i}", adapter.config, adapter.state, c)
    live.activate(trained=None)
