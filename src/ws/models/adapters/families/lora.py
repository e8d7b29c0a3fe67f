"""LoRA: W + (alpha / r) B A (Hu et al. 2021, arXiv:2106.09685)."""

from __future__ import annotations

from collections.abc import Sequence

from peft import LoraConfig, PeftConfig
from peft.utils.other import get_pattern_key
from torch import Tensor

from ws.models.adapters.family import Family, Parts

__all__ = ["FAMILY", "FIELDS", "at", "configure", "rank_of", "refused", "scale", "square", "step"]

FIELDS = frozenset({
    "r", "lora_alpha", "use_rslora", "rank_pattern", "alpha_pattern", "lora_dropout", "init_lora_weights", "eva_config",
    "megatron_core",
})  # fmt: skip


def rank_of(config: PeftConfig, name: str) -> int:
    """The rank of this module's adapter."""
    assert isinstance(config, LoraConfig)
    ranks = config.rank_pattern or {}
    return int(ranks.get(get_pattern_key(list(ranks), name), config.r))


def scale(config: PeftConfig, name: str) -> float:
    """What B A is multiplied by in this module: alpha / r, or alpha / sqrt(r) for rsLoRA."""
    assert isinstance(config, LoraConfig)
    rank, alphas = rank_of(config, name), config.alpha_pattern or {}
    alpha = alphas.get(get_pattern_key(list(alphas), name), config.lora_alpha)
    return float(alpha / (rank**0.5 if config.use_rslora else rank))


def step(acc: Tensor, weight: Tensor, parts: Parts, config: PeftConfig, name: str) -> Tensor:
    """W + (alpha / r) B A."""
    return acc + scale(config, name) * (parts["lora_B"] @ parts["lora_A"])


def at(parts: Parts, weight: Tensor, config: PeftConfig, name: str, c: float) -> Parts:
    """c times the update."""
    return parts | {"lora_B": c * parts["lora_B"]}


def square(parts: Parts, config: PeftConfig, name: str) -> Tensor:
    """|s B A|^2 = s^2 tr(B'B A A'), r x r products only."""
    a, b = parts["lora_A"], parts["lora_B"]
    return scale(config, name) ** 2 * ((b.T @ b) * (a @ a.T)).sum()


def configure(rank: int, alpha: float, names: Sequence[str], *, dora: bool = False) -> PeftConfig:
    """The config of a new adapter on the modules `names`."""
    # peft types alpha as an int; the ratio is all that it is used for
    return LoraConfig(
        task_type="CAUSAL_LM",
        r=rank,
        lora_alpha=alpha,  # type: ignore[arg-type]
        target_modules=list(names),
        use_dora=dora,
    )


def refused(config: PeftConfig) -> list[str]:
    """Starts that write into the base weight (pissa, olora, corda, loftq): with them, adapter off is not the base."""
    assert isinstance(config, LoraConfig)
    start = config.init_lora_weights
    return [f"init_lora_weights={start!r}"] if start not in (True, False, "gaussian", "eva", "orthogonal") else []


def _is_lora(config: PeftConfig) -> bool:
    return isinstance(config, LoraConfig) and not config.use_dora


FAMILY = Family(configure, _is_lora, step, at=at, square=square, fields=FIELDS, refused=refused)
