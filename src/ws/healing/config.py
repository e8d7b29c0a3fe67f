"""HealConfig: the settings of a heal, that is its adapter, its barrier and its optimiser.

    adapter = ws.heal(lm, kept, ws.HealConfig(beta=0.3, tau=1.0))

Fields left at None take the model's recipe (`HealConfig.resolved`). The loss, and the curve that training leaves:
`ws.healing.training`. Needs no torch.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from ws.errors import UserError
from ws.healing.divergences import AGGREGATES, BARRIERS, holds
from ws.healing.objectives import OBJECTIVES
from ws.models.adapters.families import FAMILIES
from ws.models.setting_names import Names, check_names
from ws.models.stored_settings import LATER

if TYPE_CHECKING:
    from ws.models.lm import LM

__all__ = ["HealConfig", "of_family"]


@dataclass(frozen=True)
class HealConfig:
    """The adapter, the barrier and the optimiser of one heal. Unset fields take the model's recipe."""

    adapter: Names[str, FAMILIES] = "lora"
    """family of the adapter"""
    rank: int | None = None
    """rank, of OFT and BOFT the size of a block; recipe 8 (embedded), 32"""
    alpha: float | None = None
    """scale numerator, the update is alpha / rank * B A; recipe 16 (embedded), 64; of DeLoRA its bound, 1/16 of it"""
    targets: Literal["all", "writers", "readers", "attention", "mlp", "shared"] | None = None
    """weights that it trains, found by shape: all, writing to the residual stream, reading from it, attention, mlp,
    shared (all beside experts and routers); recipe attention (embedded), all"""
    depth: tuple[float, float] | None = None
    """blocks that it trains, as shares of the depth; recipe all (embedded), 0.2 to 0.8"""
    barrier: Names[str, BARRIERS] = "kl_rev"
    """KL(student || reference), KL(reference || student), or none: plain fine-tuning, the control"""
    objective: Names[str, OBJECTIVES] = field(default="nll", metadata=LATER)
    """what is fitted: nll, every token alike; dft, each token by the probability it has: with barrier kl_fwd, tau 0 and
    aggregate mean that is anchored SFT"""
    aggregate: Names[str, AGGREGATES] = "rmse"
    """how the KL per position becomes one D per sequence"""
    reference: Literal["prev", "base"] = "prev"
    """what the barrier holds on to: the previous round's student, or the first round's base"""
    beta: float | None = None
    """slope of the barrier; recipe 0.3 (embedded), 0.2"""
    tau: float | None = None
    """nats of D below which the barrier is flat; recipe 0.3 (embedded), 1.0"""
    beta_pow: float = 0.0
    """beta grows over the rounds: beta * (1 + round) ** beta_pow"""
    lr: float | None = None
    """peak learning rate; recipe 5e-3 (embedded), 1e-4, of PiSSA, OFT and BOFT a third, of IA3 ten times it"""
    epochs: int = 6
    """passes over the training rows"""
    batch: int | None = None
    """rows per optimiser step; recipe 12 (embedded), 6"""
    betas: tuple[float, float] = (0.9, 0.95)
    """AdamW's betas"""
    clip: float = 1.0
    """gradient norm is clipped to this"""
    warmup: float = 0.1
    """share of the steps in which the learning rate rises; a cosine to 0 follows"""
    weight_decay: float = 0.0
    """AdamW's decoupled decay on the adapter's factors; those that do nothing at another value than 0 (a magnitude, a
    scale) are pulled there"""
    l2: float = 0.0
    """penalty on the squared Frobenius norm of the update"""
    spectral: float = field(default=0.0, metadata=LATER)
    """penalty on the update's largest singular value, mean over the weights that it trains"""
    validation: float = 0.1
    """share of the prompts held out for the validation loss"""
    patience: int | None = None
    """stop after so many epochs without a better validation loss, return the best epoch's adapter; None never stops"""
    min_rows: int = 30
    """fewer rows than this are refused: starvation"""
    measure_every: int = 6
    """steps between two measurements of the pressure, which cost a second backward pass each"""
    checkpoint: bool | None = None
    """recompute blocks in the backward pass to save memory; None does so above a billion parameters"""
    seed: int = 0
    """seed of the adapter's start, the split and the order"""

    def __post_init__(self) -> None:
        check_names(self, "heal")
        for name in ("rank", "alpha", "batch", "epochs", "clip", "min_rows", "measure_every", "patience"):
            _check(self, name, lambda x: x > 0, "above 0")
        for name in ("beta", "tau", "lr", "weight_decay", "l2", "spectral"):
            _check(self, name, lambda x: x >= 0, "0 or more")
        for name, top in (("warmup", 1.0), ("validation", 0.5)):
            _check(self, name, lambda x, top=top: 0 <= x <= top, f"in [0, {top:g}]")  # type: ignore[misc]
        _check(self, "betas", lambda b: len(b) == 2 and all(0 <= x < 1 for x in b), "two numbers in [0, 1)")
        _check(self, "depth", lambda d: len(d) == 2 and 0 <= d[0] < d[1] <= 1, "lo < hi within 0 and 1")
        if self.patience is not None and self.validation == 0:
            raise UserError(
                "heal.patience needs a validation loss (validation is 0). Hold some prompts out, for example 0.1."
            )

    def resolved(self, lm: LM) -> HealConfig:
        """With the model's recipe in every field that is None, except patience; lr, rank and alpha as the family has
        them."""
        recipe = of_family(self.adapter, dataclasses.asdict(lm.recipe.heal))
        unset = {name: value for name, value in recipe.items() if getattr(self, name) is None}
        if self.checkpoint is None:
            unset["checkpoint"] = sum(p.numel() for p in lm.model.parameters()) > 1_000_000_000
        return dataclasses.replace(self, **unset)

    def slope(self, round: int) -> float:
        """beta of this round (0 is the first heal); 0 where there is no barrier."""
        return (self.beta or 0.0) * (1 + round) ** self.beta_pow if holds(self.barrier) else 0.0


def of_family(adapter: str, recipe: dict[str, Any]) -> dict[str, Any]:
    """Settings of a heal by name, with LoRA's among them (lr, rank, alpha; None stays) as this family needs them."""
    if adapter == "lora":  # what they are; its file need not be read, which brings torch
        return recipe
    family = FAMILIES[adapter]
    own = {name: recipe[name] for name in ("lr", "rank", "alpha") if recipe.get(name) is not None}
    return recipe | {name: type(value)(value * getattr(family, name)) for name, value in own.items()}


def _check(config: HealConfig, name: str, holds: Callable[[Any], bool], rule: str) -> None:
    value = getattr(config, name)
    if value is None:
        return
    numbers = value if isinstance(value, tuple | list) else (value,)
    if not all(math.isfinite(x) for x in numbers) or not holds(value):
        raise UserError(f"heal.{name} must be {rule} (got {value}).")
