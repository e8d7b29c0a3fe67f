"""IA3: l W, a factor per output, which PEFT lets act on the bias too (Liu et al. 2022, arXiv:2205.05638).

The paper scales keys, values and the inner activations of the MLP. Here every weight that is trained has its outputs
scaled: in a gated MLP the up-projection's factors are the paper's. A stored adapter may scale inputs instead (PEFT's
feedforward_modules): W l, the bias left alone. There is no rank.

At strength c a factor is 1 + c (l - 1).
"""

from __future__ import annotations

from collections.abc import Sequence

from peft import IA3Config, PeftConfig
from torch import Tensor

from ws.models.adapters.family import Family, Parts

__all__ = ["FAMILY"]


def _step(acc: Tensor, weight: Tensor, parts: Parts, config: PeftConfig, name: str) -> Tensor:
    return parts["ia3_l"] * acc  # (out, 1), or (1, in) where inputs are scaled


def _bias(bias: Tensor, parts: Parts) -> Tensor:
    factors = parts["ia3_l"]
    return bias if factors.shape[0] == 1 else factors[:, 0] * bias


def _at(parts: Parts, weight: Tensor, config: PeftConfig, name: str, c: float) -> Parts:
    return {"ia3_l": 1 + c * (parts["ia3_l"] - 1)}


def _configure(rank: int, alpha: float, names: Sequence[str]) -> PeftConfig:
    return IA3Config(task_type="CAUSAL_LM", target_modules=list(names), feedforward_modules=[])


FAMILY = Family(
    _configure,
    lambda config: isinstance(config, IA3Config),
    _step,
    at=_at,
    bias=_bias,
    fields=frozenset({"feedforward_modules", "init_ia3_weights"}),
    lr=10.0,
    resting=frozenset({"ia3_l"}),
)
