"""What is attached to a model at this moment, and ways to leave no trace of it.

Here are the record of open steering hooks (`is_steered`) and of models that carry adapters (`ADAPTED`), the block after
which every module is back in its place (`restored`), and private copies over the same weights (`private_copy`).

`restored` proves that no base weight was written to: it compares which modules and parameters are there, where they lie
in memory and how often each was written.
"""

from __future__ import annotations

import copy
import dataclasses
import threading
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from threading import get_ident
from typing import Any
from weakref import WeakKeyDictionary

from torch import nn
from transformers import PreTrainedModel

from ws.errors import UserError
from ws.models.lm import LM

__all__ = ["ADAPTED", "private_copy", "refuse_steered", "restored"]


# threads that have a steering open, by model: its lock lets in one thread, which may nest
_OPEN: WeakKeyDictionary[LM, list[int]] = WeakKeyDictionary()


def is_steered(lm: LM) -> bool:
    """Whether this thread has a steering of this model open."""
    return get_ident() in _OPEN.get(lm, ())


def refuse_steered(lm: LM, what: str) -> None:
    """UserError inside `with steered(lm, ...)`: the call attaches its own hooks and both would add up."""
    if is_steered(lm):
        raise UserError(f"{what} was called inside `with ws.steered(...)`. Call it outside and pass direction= and c=.")


# Models that carry adapters at this moment.
ADAPTED: weakref.WeakSet[PreTrainedModel] = weakref.WeakSet()


@contextmanager
def restored(model: PreTrainedModel) -> Iterator[None]:
    """Put every module and every parameter back where it was; RuntimeError if a base weight itself was written to."""
    before = _looks(model)
    tree = [(m, dict(m._modules), dict(m._parameters)) for m in model.modules()]
    grads = [(p, p.requires_grad) for p in model.parameters()]
    try:
        yield
    finally:
        for module, children, parameters in tree:
            module._modules.clear()
            module._modules.update(children)
            module._parameters.clear()
            module._parameters.update(parameters)
        for parameter, grad in grads:
            parameter.requires_grad_(grad)
        model.__dict__.pop("peft_config", None)
        if _looks(model) != before:
            raise RuntimeError("a base weight was changed while adapters were attached")


def _looks(model: PreTrainedModel) -> list[tuple[object, ...]]:
    """What shows whether a model is as it was: modules, parameters, where these lie and how often they were written."""
    weights = ((n, id(p), p.data_ptr(), 0 if p.is_inference() else p._version) for n, p in model.named_parameters())
    return [*((n, id(m)) for n, m in model.named_modules()), *weights]


def private_copy(lm: LM, own_weights: bool = False) -> LM:
    """An LM with modules of its own over the very same weights: layers can be put in without anyone seeing it.

    The weights' memory is shared, so it is cheap at any size, but whoever holds it must not write into a weight;
    own_weights: copied too. UserError where the model is steered or adapted at this moment.
    """
    with lm.lock:
        # not by hooks: transformers leaves its own on the blocks once hidden states have been asked for
        if lm.model in ADAPTED or is_steered(lm):
            raise UserError(
                f"{lm.name} is steered or adapted here. Leave that `with` block, pass adapters as history=."
            )
        memo: dict[int, Any] = {id(t): _twin(t, own_weights) for t in lm.model.parameters()}
        memo |= {id(t): t.clone() if own_weights else t for t in lm.model.buffers()}
        model = copy.deepcopy(lm.model, memo)
        path = next(name for name, m in lm.model.named_modules() if m is lm.blocks)
    blocks = model.get_submodule(path)
    assert isinstance(blocks, nn.ModuleList)
    return dataclasses.replace(lm, model=model, blocks=blocks, lock=threading.RLock())


def _twin(parameter: nn.Parameter, own: bool) -> nn.Parameter:
    """A parameter over the same memory (`.to()` and requires_grad of one are not the other's), or a copy."""
    if type(parameter) is not nn.Parameter:  # quantized: knows more than its data
        return copy.deepcopy(parameter) if own else parameter
    data = parameter.detach()
    return nn.Parameter(data.clone() if own else data, requires_grad=False)
