"""The adapter in training: how it starts, how large its update is, and what is kept of it."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
from peft import LoraConfig, PeftConfig
from peft.tuners.tuners_utils import _check_lora_target_modules_mamba
from torch import Tensor, nn

from ws.errors import UserError
from ws.healing.config import HealConfig
from ws.models.adapters.families import FAMILIES, new_config, update_square
from ws.models.adapters.families.pissa import principal_factors
from ws.models.adapters.family import Parts
from ws.models.adapters.peft_layers import PeftLayers
from ws.models.lm import LM

__all__ = ["TrainableAdapter"]

NEW, ANCHOR = "ws_new", "ws_anchor"
# The generator that PEFT draws an adapter's start from is the process's own.
DICE = threading.Lock()


class TrainableAdapter:
    """A fresh adapter on top of the live history, the only one in training; lm is a private copy, names its modules."""

    def __init__(self, lm: LM, live: PeftLayers, config: HealConfig, names: Sequence[str]) -> None:
        self.lm, self.live = lm, live
        self.family = FAMILIES[config.adapter]
        names, self.left_out = _taken_by_peft(lm, config.adapter, names)
        modules = {name: lm.model.get_submodule(name) for name in names}
        modules = {name: getattr(m, "base_layer", m) for name, m in modules.items()}
        self.peft = new_config(config.adapter, config.rank or 1, config.alpha or 1.0, modules)
        self.peft.base_model_name_or_path = lm.name if lm.recipe.hub else None
        with _seeded(config.seed, lm.device):
            if self.family.principal:
                live.add(ANCHOR, self.peft)
            _add(live, self.peft, names, lm)
            live.activate(trained=NEW)
            if self.family.principal:
                self._anchor()
        self.trained: list[nn.Parameter] = [p for p in lm.model.parameters() if p.requires_grad]
        self._new = live.parts(NEW)
        self.resting = [own[part] for own in self._new.values() for part in sorted(self.family.resting & own.keys())]
        self._taken_off = live.parts(ANCHOR) if self.family.principal else {}

    def _anchor(self) -> None:
        """PiSSA without writing to a weight: start from its top singular vectors, with the same taken off for good."""
        for name, layer in self.live.layers().items():
            if NEW in layer.lora_A:
                with torch.no_grad():
                    a, b = principal_factors(self.live.weight(name), layer.r[NEW], layer.scaling[NEW])
                    for adapter, sign in ((NEW, 1), (ANCHOR, -1)):
                        layer.lora_A[adapter].weight.copy_(a)
                        layer.lora_B[adapter].weight.copy_(sign * b)

    def check_reached(self) -> None:
        """UserError behind a backward pass that left a weight of the adapter without a gradient: its module is not
        called, but read by a kernel."""
        parts = [(name, tensor) for name, own in self._new.items() for tensor in own.values()]
        dead = list(dict.fromkeys(name for name, tensor in parts if tensor.requires_grad and tensor.grad is None))
        if dead:
            raise UserError(
                f"{len(dead)} of the {len(self._new)} adapted weights get no gradient ({dead[0]}): {self.lm.name} reads"
                " them past the adapter, or only to choose what is read. Choose targets that leave them out."
            )

    @property
    def is_cheap(self) -> bool:
        """The update's norm needs no matrix of the weight's size."""
        return self.family.square is not None

    def square(self) -> Tensor:
        """Squared Frobenius norm of the whole update, over all modules; carries a gradient."""
        named = self._parts().items()
        squares = [update_square(None if self.is_cheap else self.live.weight(n), p, self.peft, n) for n, p in named]
        return torch.stack([s.to(squares[0].device) for s in squares]).sum()

    def norm(self) -> float:
        """Frobenius norm of the whole update."""
        with torch.no_grad():
            # the trace of two products can come out a rounding error below 0
            return self.square().clamp(min=0).sqrt().item()

    def spectral(self) -> Tensor:
        """Mean over modules of the update's largest singular value; carries a gradient."""
        tops = []
        for name, parts in self._parts().items():
            weight = self.live.weight(name)
            tops.append(_top(self.family.step(weight, weight, parts, self.peft, name) - weight))
        return torch.stack([top.to(tops[0].device) for top in tops]).mean()

    def result(self) -> tuple[PeftConfig, dict[str, Tensor]]:
        """Config and tensors to keep; PiSSA becomes the plain LoRA of twice the rank that it is."""
        state = self.live.state(NEW)
        if not self.family.principal:
            return self.peft, state
        assert isinstance(self.peft, LoraConfig)
        anchor = self.live.state(ANCHOR)
        state = {k: torch.cat([v, anchor[k]], dim=int("lora_B" in k)).contiguous() for k, v in state.items()}
        self.peft.r, self.peft.lora_alpha = 2 * self.peft.r, 2 * self.peft.lora_alpha
        return self.peft, state

    def _parts(self) -> dict[str, Parts]:
        """The new adapter's tensors by module, live; with an anchor, its factors beside the trained ones."""
        if not self._taken_off:
            return self._new
        both = {name: (parts, self._taken_off[name]) for name, parts in self._new.items()}
        return {
            n: {k: torch.cat([new[k], off[k]], dim=int(k == "lora_B")) for k in new} for n, (new, off) in both.items()
        }


def _taken_by_peft(lm: LM, family: str, names: Sequence[str]) -> tuple[list[str], list[str]]:
    """(names that PEFT adapts in this family, names that it refuses: where Mamba's kernels read the weight itself)."""
    kind = FAMILIES[family].configure(1, 1.0, names)
    taken, refused = list[str](), list[str]()
    for name in names:
        try:
            _check_lora_target_modules_mamba(kind, lm.model, name.rpartition(".")[2])
            taken.append(name)
        except ValueError:
            refused.append(name)
    if not taken:
        raise UserError(f"PEFT adapts none of the {len(names)} weights asked for ({names[0]}). Choose other targets.")
    return taken, refused


def _add(live: PeftLayers, config: PeftConfig, asked: Sequence[str], lm: LM) -> None:
    """Put the new adapter in. UserError where PEFT takes other weights than it was asked for: for some model types it
    rewrites their names to those of fused experts."""
    try:
        live.add(NEW, config)
    except ValueError as error:
        said = (str(error).strip().splitlines() or [""])[0]
        raise UserError(
            f"PEFT cannot adapt the {len(asked)} weights of {lm.name} that were asked for ({said}). Use"
            " targets='attention'."
        ) from error
    parts = live.parts(NEW)
    missing, more = sorted({*asked} - {*parts}), sorted({*parts} - {*asked})
    if missing or more:
        what = [*(f"left out {name}" for name in missing[:1]), *(f"took {name} in their place" for name in more[:1])]
        raise UserError(
            f"{len(asked)} weights of {lm.name} were asked for, and PEFT adapted {len({*asked} & {*parts})} of them: it"
            f" {' and '.join(what)}, since it rewrites names of {lm.model.config.model_type}. Use targets='attention'."
        )


def _top(matrix: Tensor, rounds: int = 30) -> Tensor:
    """Largest singular value by power iteration, from a fixed start.

    |M v| at the right singular vector v, which is held: its gradient u v' is the singular value's own.
    """
    start = torch.randn(matrix.shape[1], generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        vector = start.to(matrix.device, matrix.dtype)
        for _ in range(rounds):
            vector = nn.functional.normalize(matrix.T @ (matrix @ vector), dim=0)
    return (matrix @ vector).norm()


@contextmanager
def _seeded(seed: int, device: torch.device) -> Iterator[None]:
    """PEFT starts an adapter from the process's own generator: seed it, and put it back."""
    with DICE, torch.random.fork_rng([device] if device.type == "cuda" else []):
        torch.manual_seed(seed)
        yield
