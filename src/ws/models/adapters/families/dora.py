"""DoRA: m (W + sBA) / |W + sBA|, norms per output row (Liu et al. 2024, arXiv:2402.09353)."""

from __future__ import annotations

from peft import LoraConfig, PeftConfig
from torch import Tensor

from ws.models.adapters.families import lora
from ws.models.adapters.family import Family, Parts

__all__ = ["FAMILY"]


def _step(acc: Tensor, weight: Tensor, parts: Parts, config: PeftConfig, name: str) -> Tensor:
    """In a stack the norm stays that of the pristine weight and the factor applies to all that came before, as in
    PEFT."""
    update = lora.scale(config, name) * (parts["lora_B"] @ parts["lora_A"])
    factor = parts["lora_magnitude_vector"] / (weight + update).norm(dim=1)
    return factor[:, None] * (acc + update)


FAMILY = Family(
    lambda rank, alpha, names: lora.configure(rank, alpha, names, dora=True),
    lambda config: isinstance(config, LoraConfig) and config.use_dora,
    _step,
    fields=lora.FIELDS | {"use_dora"},
)
