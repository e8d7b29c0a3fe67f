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

__all__ = ["attached", "put_on", "stacked_weights"]


# Up to here adapted weights are built as a second copy (float32 only); above, PEFT's layers save the memory.
FOLD_BYTES = 1 << 30


@contextmanager
def attached(lm: LM, adapters: Stack) -> Iterator[LM]:
    """base + adapters in order, (Adapter, c) scaled by c; holds lm.lock, leaves the model pristine whatever happens.

    UserError: another base model, adapters already attached; in half precision, different PEFT types.
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
                    put_on(lm, stack)
                else:
                    _put_in(lm, stack)
                yield lm
            finally:
                ADAPTED.discard(lm.model)


def _folds(lm: LM, stack: list[tuple[Adapter, float]]) -> bool:
    weights = [_weight(lm.model.get_submodule(name)) for name in {n for a, _ in stack for n in a.modules}]
    return all(w.dtype == torch.float32 for w in weights) and sum(w.numel() * 4 for w in weights) <= FOLD_BYTES


def put_on(lm: LM, stack: list[tuple[Adapter, float]]) -> None:
    """Weights (and biases) with the stack on in the place of the model's own, which are left as they are."""
    for module, values in stacked_weights(lm, stack):
        for part, value in values.items():
            setattr(module, part, nn.Parameter(value, requires_grad=False))


def stacked_weights(lm: LM, stack: list[tuple[Adapter, float]]) -> Iterator[tuple[nn.Module, dict[str, Tensor]]]:
    """(module, its weight with the stack on, and its bias where the stack changes that) for every adapted module;
    computed in float32, given in the own dtype."""
    for name in dict.fromkeys(n for adapter, _ in stack for n in adapter.modules):
        module = lm.model.get_submodule(name)
        own = {part: value for part in ("weight", "bias") if isinstance(value := getattr(module, part, None), Tensor)}
        across = not isinstance(module, nn.Linear)  # Conv1D keeps (in, out)
        with torch.no_grad():
            after = {part: value.float() for part, value in own.items()}
            after["weight"] = after["weight"].T if across else after["weight"]
            after = _stacked(name, after, stack)
            after["weight"] = after["weight"].T if across else after["weight"]
            yield module, {part: value.to(own[part].dtype).contiguous() for part, value in after.items()}


def _stacked(name: str, pristine: dict[str, Tensor], stack: list[tuple[Adapter, float]]) -> dict[str, Tensor]:
    """The weight (out, in) with the stack on, and the bias where a family of the stack changes it."""
    weight, bias, changed = pristine["weight"], pristine.get("bias"), False
    for adapter, c in stack:
        if name not in adapter.modules or c == 0:
            continue
        config, family = adapter.config, family_of(adapter.config)
        parts = {part: value.to(weight.device) for part, value in adapter.modules[name].items()}
        if c != 1 and family.at is not None:
            parts = family.at(parts, pristine["weight"], config, name, c)
        after = family.step(weight, pristine["weight"], parts, config, name)
        weight = weight + c * (after - weight) if c != 1 and family.at is None else after
        if bias is not None and family.bias is not None:
            bias, changed = family.bias(bias, parts), True
    return {"weight": weight} | ({"bias": bias} if changed and bias is not None else {})


def _weight(module: nn.Module) -> Tensor:
    assert isinstance(module.weight, Tensor)
    return module.weight


def _put_in(lm: LM, stack: list[tuple[Adapter, float]]) -> None:
    live = PeftLayers(lm.model)
    for i, (adapter, c) in enumerate(stack):
        live.add(f"a{i}", adapter.config, adapter.state, c)
    live.activate(trained=None)
