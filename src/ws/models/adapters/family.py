"""What a family of adapters is: the PEFT config that makes one, and the weight that it makes. The families themselves
are the files of ws.models.adapters.families."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from peft import PeftConfig
from torch import Tensor

__all__ = ["Coefficient", "Family", "Parts", "Step"]

Parts = dict[str, Tensor]  # of one module, named as PEFT names them without ".weight": lora_A (r, in), lora_B (out, r)
Step = Callable[[Tensor, Tensor, Parts, PeftConfig, str], Tensor]
Coefficient = Callable[[Parts, Tensor, PeftConfig, str, float], Parts]


@dataclass(frozen=True)
class Family:
    """configure: (rank, alpha, module names) -> PEFT config; mine: this config is of the family; step: (acc, weight,
    parts, config, name) -> the weight (out, in) after this adapter, see ws.models.adapters.families.

    at: (parts, pristine weight, config, name, c) -> the parts of the same adapter at strength c, what `step` and PEFT's
    layer make of them included; None: the weight's change is multiplied, which only merged weights can do.
    bias: (bias, parts) -> the bias (out,) after this adapter, where the family changes it.
    square: squared Frobenius norm of the update without building it, where there is a short cut.
    principal: starts from the weight's singular vectors. inner: in PEFT's layers the last adapter of a stack lies next
    to the weight, so that they are switched on from the last to the first.
    fields: of the config that may be set, because `step` reads them or they matter in training only; refused: (config)
    -> "name=value" of what a stored config says and `step` does not compute.
    conv1d: PEFT trains GPT-2's weights. fits: (rank, inputs of a weight) -> whether it can be trained at this rank.
    lr, alpha, rank: its own recipe, as multiples of LoRA's on the same model. resting: parts that do nothing where they
    start and not at 0, which weight decay pulls back to their start.
    """

    configure: Callable[[int, float, Sequence[str]], PeftConfig]
    mine: Callable[[PeftConfig], bool]
    step: Step
    at: Coefficient | None = None
    bias: Callable[[Tensor, Parts], Tensor] | None = None
    square: Callable[[Parts, PeftConfig, str], Tensor] | None = None
    principal: bool = False
    inner: bool = False
    fields: frozenset[str] = frozenset()
    refused: Callable[[PeftConfig], list[str]] = lambda config: []
    conv1d: bool = True
    fits: Callable[[int, int], bool] = lambda rank, inputs: True
    lr: float = 1.0
    alpha: float = 1.0
    rank: float = 1.0
    resting: frozenset[str] = frozenset()
