"""How adapters get into a model and out again: PEFT's layers, a tree that is put back, a copy that shares its weights.

Nothing here writes into a base weight, and `restored` proves it: it compares which modules and parameters are there,
where they lie in memory and how often each was written.
"""

from __future__ import annotations

import copy
import dataclasses
import threading
import weakref
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from peft import PeftConfig, PeftType
from peft.mapping import PEFT_TYPE_TO_TUNER_MAPPING
from peft.tuners.tuners_utils import BaseTuner, BaseTunerLayer, cast_adapter_dtype
from peft.utils.save_and_load import get_peft_model_state_dict, set_peft_model_state_dict
from torch import Tensor, nn
from transformers import PreTrainedModel

from ws.errors import UserError
from ws.families import Parts, family_of
from ws.models import LM
from ws.steering import is_steered

__all__ = ["ADAPTED", "PREFIX", "Live", "private_copy", "restored"]

# What PEFT puts before a module's name in its files.
PREFIX = "base_model.model."
# Models that carry adapters at this moment.
ADAPTED: weakref.WeakSet[PreTrainedModel] = weakref.WeakSet()


class Live:
    """PEFT's own layers, put into a model adapter by adapter; every adapter's tensors are float32."""

    def __init__(self, model: PreTrainedModel) -> None:
        self.model = model
        self.tuner: BaseTuner | None = None
        self.names: list[str] = []

    def add(self, name: str, config: PeftConfig, state: Mapping[str, Tensor] | None = None, c: float = 1.0) -> None:
        """One more adapter: fresh where no state is given. UserError for a second PEFT type in one stack."""
        config = copy.deepcopy(config)
        config.inference_mode = False
        family = family_of(config)
        if self.tuner is None:
            self.tuner = PEFT_TYPE_TO_TUNER_MAPPING[PeftType(config.peft_type)](self.model, config, adapter_name=name)
        else:
            first = self.tuner.peft_config[self.names[0]].peft_type
            if first != config.peft_type:
                raise UserError(f"one stack mixes {first} and {config.peft_type}. ws.bake the earlier adapters first.")
            self.tuner.peft_config[name] = config
            self.tuner.inject_adapter(self.model, name)
        cast_adapter_dtype(self.model, name)
        self.names.append(name)
        if state is not None:
            result: Any = set_peft_model_state_dict(self.model, dict(state), adapter_name=name)
            assert not result.unexpected_keys, f"PEFT did not take {result.unexpected_keys[:3]}"
        if c != 1 and not family.scales:
            raise UserError(f"c = {c:g} needs a linear adapter wherever PEFT's layers run. Use LoRA, or c = 1.")
        for layer in self.layers().values() if c != 1 else ():
            if name in layer.scaling:
                layer.scaling[name] *= c

    def activate(self, trained: str | None) -> None:
        """Switch on all adapters in order; only the named one is trained (PEFT would set every listed one to train)."""
        assert self.tuner is not None
        self.tuner.set_adapter(self.names)
        self.model.requires_grad_(False)
        if trained is not None:
            self.tuner.set_requires_grad(trained, True)

    def layers(self) -> dict[str, Any]:
        """PEFT's layers by module name."""
        return {name: m for name, m in self.model.named_modules() if isinstance(m, BaseTunerLayer)}

    def parts(self, name: str) -> dict[str, Parts]:
        """One adapter's own tensors, live, by module and part."""
        found: dict[str, Parts] = {}
        for module, layer in self.layers().items():
            own = [*layer.named_parameters(), *layer.named_buffers()]
            inside = {k.removesuffix(".weight"): v for k, v in own if not k.startswith("base_layer.")}
            mine = {k.removesuffix(f".{name}"): v for k, v in inside.items() if k.endswith(f".{name}")}
            if mine:
                found[module] = mine
        return found

    def state(self, name: str) -> dict[str, Tensor]:
        """One adapter's tensors as a PEFT file holds them, on the CPU, float32."""
        raw = get_peft_model_state_dict(self.model, adapter_name=name, save_embedding_layers=False)
        return {PREFIX + key: value.detach().float().cpu().clone() for key, value in raw.items()}


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
