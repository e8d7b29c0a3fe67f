"""The families of adapters, one entry each: the PEFT config that makes one, and the weight that it makes.

    FAMILIES["lora"].step(acc, weight, parts, config, name) -> the weight (out, in) after this adapter

`step` is what PEFT's layer computes, written on weights: `acc` is the weight with the earlier adapters of a stack on,
`weight` the pristine one. Attaching, merging and measuring all read it, and the tests hold it against PEFT's forward. A
family whose layer is no linear map of its input, or that writes into the base weight, does not belong here.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch
from peft import DeloraConfig, LoraConfig, PeftConfig
from peft.utils.other import get_pattern_key
from torch import Tensor, nn
from transformers.pytorch_utils import Conv1D

from ws.errors import UserError

__all__ = ["FAMILIES", "Family", "Parts", "family_of", "new_config", "principal_factors", "update_square"]

Parts = dict[str, Tensor]  # of one module, named as PEFT names them without ".weight": lora_A (r, in), lora_B (out, r)
Step = Callable[[Tensor, Tensor, Parts, PeftConfig, str], Tensor]


@dataclass(frozen=True)
class Family:
    """configure: (rank, alpha, module names) -> PEFT config; mine: this config is of the family; step: see above.

    scales: a live layer takes a coefficient c (its output is linear in `scaling`); square: squared Frobenius norm of
    the update without building it, where there is a short cut; principal: starts from the weight's singular vectors.
    """

    configure: Callable[[int, float, Sequence[str]], PeftConfig]
    mine: Callable[[PeftConfig], bool]
    step: Step
    scales: bool = False
    square: Callable[[Parts, PeftConfig, str], Tensor] | None = None
    principal: bool = False


def _scale(config: PeftConfig, name: str) -> float:
    assert isinstance(config, LoraConfig)
    ranks, alphas = config.rank_pattern or {}, config.alpha_pattern or {}
    rank = ranks.get(get_pattern_key(list(ranks), name), config.r)
    alpha = alphas.get(get_pattern_key(list(alphas), name), config.lora_alpha)
    return float(alpha / (rank**0.5 if config.use_rslora else rank))


def _lora(acc: Tensor, weight: Tensor, parts: Parts, config: PeftConfig, name: str) -> Tensor:
    """W + (alpha / r) B A (Hu et al. 2021, arXiv:2106.09685)."""
    return acc + _scale(config, name) * (parts["lora_B"] @ parts["lora_A"])


def _lora_square(parts: Parts, config: PeftConfig, name: str) -> Tensor:
    """|s B A|^2 = s^2 tr(B'B A A'), r x r products only."""
    a, b = parts["lora_A"], parts["lora_B"]
    return _scale(config, name) ** 2 * ((b.T @ b) * (a @ a.T)).sum()


def _dora(acc: Tensor, weight: Tensor, parts: Parts, config: PeftConfig, name: str) -> Tensor:
    """m (W + sBA) / |W + sBA|, norms per output row (Liu et al. 2024, arXiv:2402.09353).

    In a stack the norm stays that of the pristine weight and the factor applies to all that came before, as in PEFT.
    """
    update = _scale(config, name) * (parts["lora_B"] @ parts["lora_A"])
    factor = parts["lora_magnitude_vector"] / (weight + update).norm(dim=1)
    return factor[:, None] * (acc + update)


def _delora(acc: Tensor, weight: Tensor, parts: Parts, config: PeftConfig, name: str) -> Tensor:
    """W + B diag(lambda / (r |A_i| |B_i|)) A |W|, a bounded update (Bini et al. 2025, arXiv:2503.18225)."""
    assert isinstance(config, DeloraConfig)
    a, b = parts["delora_A"], parts["delora_B"]
    sizes = a.norm(dim=1).clamp(min=1e-4) * b.norm(dim=0).clamp(min=1e-4)
    return acc + (b * (parts["delora_lambda"] / config.r / sizes)) @ a * parts["delora_w_norm"]


def _lora_config(rank: int, alpha: float, names: Sequence[str], *, dora: bool = False) -> PeftConfig:
    # peft types alpha as an int; the ratio is all that it is used for
    return LoraConfig(
        task_type="CAUSAL_LM",
        r=rank,
        lora_alpha=alpha,  # type: ignore[arg-type]
        target_modules=list(names),
        use_dora=dora,
    )


def _delora_config(rank: int, alpha: float, names: Sequence[str]) -> PeftConfig:
    # lambda bounds the update's norm in units of the weight's; alpha / r is the nearest thing to LoRA's scale
    return DeloraConfig(
        task_type="CAUSAL_LM",
        r=rank,
        delora_lambda=alpha,  # type: ignore[arg-type]
        target_modules=list(names),
    )


def _is_lora(config: PeftConfig) -> bool:
    return isinstance(config, LoraConfig) and not config.use_dora


FAMILIES: dict[str, Family] = {
    "lora": Family(_lora_config, _is_lora, _lora, scales=True, square=_lora_square),
    "dora": Family(
        lambda rank, alpha, names: _lora_config(rank, alpha, names, dora=True),
        lambda config: isinstance(config, LoraConfig) and config.use_dora,
        _dora,
    ),
    # Trains like PiSSA, and is stored as the plain LoRA of twice the rank that it is relative to the pristine weight.
    "pissa": Family(_lora_config, lambda config: False, _lora, scales=True, square=_lora_square, principal=True),
    "delora": Family(_delora_config, lambda config: isinstance(config, DeloraConfig), _delora),
}


def new_config(family: str, rank: int, alpha: float, modules: Mapping[str, nn.Module]) -> PeftConfig:
    """The PEFT config of a new adapter on these modules. UserError where the family cannot train GPT-2's Conv1D."""
    config = FAMILIES[family].configure(rank, alpha, list(modules))
    if any(isinstance(module, Conv1D) for module in modules.values()):
        if not isinstance(config, LoraConfig):
            raise UserError(f"{family} cannot train Conv1D weights (as GPT-2's are). Use lora, dora or pissa.")
        config.fan_in_fan_out = True
    return config


def family_of(config: PeftConfig) -> Family:
    """The family of a stored config. UserError where the table lacks it or it changes more than weight matrices."""
    kind = f"{getattr(config.peft_type, 'value', config.peft_type)}"
    start = getattr(config, "init_lora_weights", True)
    extras = {
        "modules_to_save": getattr(config, "modules_to_save", None),
        "lora_bias": getattr(config, "lora_bias", False),
        "bias": None if getattr(config, "bias", "none") == "none" else config.bias,  # type: ignore[attr-defined]
        "layer_replication": getattr(config, "layer_replication", None),
        "target_parameters": getattr(config, "target_parameters", None),
        # pissa, olora, corda, loftq write into the base weight: with them, adapter off is no longer the base
        "init_lora_weights": start
        if isinstance(start, str) and start not in ("gaussian", "eva", "orthogonal")
        else None,
    }
    used = [f"{key}={value!r}" for key, value in extras.items() if value]
    if used:
        raise UserError(
            f"this {kind} adapter uses {', '.join(used)}, which ws cannot attach. Convert it to plain LoRA."
        )
    for family in FAMILIES.values():
        if family.mine(config):
            return family
    raise UserError(f"adapters of type {kind} are not supported. Supported: {', '.join(FAMILIES)}.")


def update_square(weight: Tensor | None, parts: Parts, config: PeftConfig, name: str) -> Tensor:
    """Squared Frobenius norm of one module's update, with a gradient in `parts`; weight: not needed for a short cut."""
    family = family_of(config)
    if family.square is not None:
        return family.square(parts, config, name)
    assert weight is not None
    return (family.step(weight, weight, parts, config, name) - weight).square().sum()


def principal_factors(weight: Tensor, rank: int, scale: float) -> tuple[Tensor, Tensor]:
    """PiSSA's start (Meng et al. 2024, arXiv:2404.02948): A (r, in), B (out, r), scale * B A = the top of W's SVD."""
    if min(weight.shape) <= 1024:
        u, s, vh = torch.linalg.svd(weight, full_matrices=False)
        u, s, v = u[:, :rank], s[:rank], vh[:rank].T
    else:
        u, s, v = torch.svd_lowrank(weight, q=rank, niter=16)
    root = (s / scale).sqrt()
    return root[:, None] * v.T, u * root
