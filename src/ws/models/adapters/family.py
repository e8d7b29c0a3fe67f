"""What a family of adapters is: the PEFT config that makes one, and the weight that it makes. The families themselves
are the files of ws.models.adapters.families."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from peft import PeftConfig
from torch import Tensor

__all__ = ["Family", "Parts", "Step"]

Parts = dict[str, Tensor]  # of one module, named as PEFT names them without ".weight": lora_A (r, in), lora_B (out, r)
Step = Callable[[Tensor, Tensor, Parts, PeftConfig, str], Tensor]


@dataclass(frozen=True)
class Family:
    """configure: (rank, alpha, module names) -> PEFT config; mine: this config is of the family; step: (acc, weight,
    parts, config, name) -> the weight (out, in) after this adapter, see ws.models.adapters.families.

    scales: a live layer takes a coefficient c (its output is linear in `scaling`); square: squared Frobenius norm of
    the update without building it, where there is a short cut; principal: starts from the weight's singular vectors;
    fields: of the config that may be set, because `step` reads them or they matter in training only.
    """

    configure: Callable[[int, float, Sequence[str]], PeftConfig]
    mine: Callable[[PeftConfig], bool]
    step: Step
    scales: bool = False
    square: Callable[[Parts, PeftConfig, str], Tensor] | None = None
    principal: bool = False
    fields: frozenset[str] = frozenset()
