"""PEFT's own layers in a model: adapters put in one by one, switched on, their tensors read out.

Nothing here writes into a base weight; `ws.models.attachments.restored` takes the layers out again and proves it.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

import torch
from peft import PeftConfig, PeftType
from peft.mapping import PEFT_TYPE_TO_TUNER_MAPPING
from peft.tuners.tuners_utils import BaseTuner, BaseTunerLayer, cast_adapter_dtype
from peft.utils.integrations import dequantize_module_weight
from peft.utils.save_and_load import get_peft_model_state_dict, set_peft_model_state_dict
from torch import Tensor
from transformers import PreTrainedModel
from transformers.pytorch_utils import Conv1D

from ws.errors import UserError
from ws.models.adapters.families import family_of
from ws.models.adapters.family import Parts

__all__ = [
    "PREFIX",
    "PeftLayers",
]

# What PEFT puts before a module's name in its files.
PREFIX = "base_model.model."


class PeftLayers:
    """PEFT's own layers, put into a model adapter by adapter; every adapter's tensors are float32."""

    def __init__(self, model: PreTrainedModel) -> None:
        self.model = model
        self.tuner: BaseTuner | None = None
        self.names: list[str] = []

    def add(self, name: str, config: PeftConfig, state: Mapping[str, Tensor] | None = None, c: float = 1.0) -> None:
        """One more adapter: fresh where no state is given. UserError for a second PEFT type in one stack."""
        config = copy.deepcopy(config)
        config.inference_mode = False
        family_of(config)
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
        if c != 1:
            self._scale(name, config, c)

    def _scale(self, name: str, config: PeftConfig, c: float) -> None:
        """Bring one adapter's tensors to strength c. UserError for a family that merged weights alone can scale."""
        at = family_of(config).at
        if at is None:
            raise UserError(f"c = {c:g} of this family needs merged weights (float32). Use LoRA, or c = 1.")
        with torch.no_grad():
            for module, parts in self.parts(name).items():
                for part, value in at(parts, self.weight(module), config, module, c).items():
                    parts[part].copy_(value)

    def activate(self, trained: str | None) -> None:
        """Switch on all adapters in order; only the named one is trained (PEFT would set every listed one to train)."""
        assert self.tuner is not None
        inner = family_of(self.tuner.peft_config[self.names[0]]).inner
        self.tuner.set_adapter(self.names[::-1] if inner else self.names)
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

    def weight(self, module: str) -> Tensor:
        """The pristine weight (out, in) of an adapted module, float32."""
        base = self.layers()[module].get_base_layer()
        weight: Tensor = dequantize_module_weight(base).float()
        return weight.T if isinstance(base, Conv1D) else weight

    def state(self, name: str) -> dict[str, Tensor]:
        """One adapter's tensors as a PEFT file holds them, on the CPU, float32."""
        raw = get_peft_model_state_dict(self.model, adapter_name=name, save_embedding_layers=False)
        return {PREFIX + key: value.detach().float().cpu().clone() for key, value in raw.items()}
