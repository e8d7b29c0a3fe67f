"""DoRA: m (W + sBA) / |W + sBA|, norms per output row (Liu et al. 2024, arXiv:2402.09353).

At strength c the change of the weight is multiplied by c; that is a DoRA again, of other factors and magnitudes.
"""

from __future__ import annotations

from peft import LoraConfig, PeftConfig
from torch import Tensor

from ws.models.adapters.families import lora
from ws.models.adapters.family import Family, Parts

__all__ = ["FAMILY"]


def _step(acc: Tensor, weight: Tensor, parts: Parts, config: PeftConfig, name: str) -> Tensor:
    """In a stack the norm stays that of the pristine weight and the factor applies to all that came before, as in
    PEFT."""
    return _factor(parts, weight, config, name)[:, None] * (acc + _update(parts, config, name))


def _update(parts: Parts, config: PeftConfig, name: str) -> Tensor:
    return lora.scale(config, name) * (parts["lora_B"] @ parts["lora_A"])


def _factor(parts: Parts, weight: Tensor, config: PeftConfig, name: str) -> Tensor:
    """m / |W + sBA| per output row."""
    return parts["lora_magnitude_vector"] / (weight + _update(parts, config, name)).norm(dim=1)


def _at(parts: Parts, weight: Tensor, config: PeftConfig, name: str, c: float) -> Parts:
    """(1 - c) W + c f (W + sBA) = g (W + (c f / g) sBA), where g = 1 - c + c f."""
    factor = _factor(parts, weight, config, name)
    own = 1 - c + c * factor
    parts = parts | {"lora_B": (c * factor / own)[:, None] * parts["lora_B"]}
    return parts | {"lora_magnitude_vector": own * (weight + _update(parts, config, name)).norm(dim=1)}


FAMILY = Family(
    lambda rank, alpha, names: lora.configure(rank, alpha, names, dora=True),
    lambda config: isinstance(config, LoraConfig) and config.use_dora,
    _step,
    at=_at,
    fields=lora.FIELDS | {"use_dora"},
    refused=lora.refused,
    resting=frozenset({"lora_magnitude_vector"}),
)
