"""DeLoRA: W + B diag(lambda / (r |A_i| |B_i|)) A |W|, a bounded update (Bini et al. 2025, arXiv:2503.18225)."""

from __future__ import annotations

from collections.abc import Sequence

from peft import DeloraConfig, PeftConfig
from torch import Tensor

from ws.models.adapters.family import Family, Parts

__all__ = ["FAMILY"]


def _step(acc: Tensor, weight: Tensor, parts: Parts, config: PeftConfig, name: str) -> Tensor:
    assert isinstance(config, DeloraConfig)
    a, b = parts["delora_A"], parts["delora_B"]
    sizes = a.norm(dim=1).clamp(min=1e-4) * b.norm(dim=0).clamp(min=1e-4)
    return acc + (b * (parts["delora_lambda"] / config.r / sizes)) @ a * parts["delora_w_norm"]


def _at(parts: Parts, weight: Tensor, config: PeftConfig, name: str, c: float) -> Parts:
    return parts | {"delora_lambda": c * parts["delora_lambda"]}


def _configure(rank: int, alpha: float, names: Sequence[str]) -> PeftConfig:
    # lambda bounds the update's norm in units of the weight's, and a first step goes all the way: B starts at 0 and is
    # divided by its own norm
    return DeloraConfig(
        task_type="CAUSAL_LM",
        r=rank,
        delora_lambda=alpha,  # type: ignore[arg-type]
        target_modules=list(names),
    )


# lambda_pattern says where the stored lambdas began; ranks of modules apart would need theirs in _step
FIELDS = frozenset({"r", "delora_lambda", "lambda_pattern", "module_dropout", "init_weights"})
FAMILY = Family(
    _configure,
    lambda config: isinstance(config, DeloraConfig),
    _step,
    at=_at,
    fields=FIELDS,
    conv1d=False,
    alpha=1 / 16,
)
