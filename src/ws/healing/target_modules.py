"""Finds the weights that an adapter trains, by shape and data flow, never by name.

    names = targeted(lm, "writers", depth=(0.2, 0.8))      # ["model.layers.1.self_attn.o_proj", ...]

A *writer* adds to the residual stream (its output is as wide as the stream), a *reader* takes from it. Where a weight
is square both would fit: what it is fed decides, a reader gets the output of a norm (or the stream itself). Inside a
block the token mixer runs first: the weights up to the first writer are *attention*, those after it *mlp*. Where there
are experts, *routers* are told by their width, as many as there are experts, and no adapter trains one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

from ws.errors import UserError
from ws.models.architecture import fused_experts, is_linear, shape_of
from ws.models.lm import LM

__all__ = ["TARGETS", "Site", "sites", "targeted"]


@dataclass(frozen=True)
class Site:
    """One weight matrix of a decoder block. role: "reads", "writes" or "inner"; part: "attention", "mlp", "router"."""

    name: str
    block: int
    role: str
    part: str


TARGETS: dict[str, Callable[[Site], bool]] = {
    "all": lambda site: True,
    "writers": lambda site: site.role == "writes",
    "readers": lambda site: site.role == "reads",
    "attention": lambda site: site.part == "attention",
    "mlp": lambda site: site.part == "mlp",
    "shared": lambda site: True,
}
BESIDE_EXPERTS = ("attention", "shared")
"""What can be trained where experts are fused into weights that an adapter cannot take."""


def targeted(lm: LM, targets: str = "all", depth: tuple[float, float] = (0.0, 1.0)) -> list[str]:
    """Module names of the chosen weights in the blocks from depth lo to hi (shares of the depth, hi excluded).

    Routers are never among them. UserError: unknown targets, a depth range without a block, fused experts where the
    targets would hold them ("attention" and "shared", all but experts and routers, leave them out).
    """
    if targets not in TARGETS:
        raise UserError(f"unknown targets {targets!r}. Use one of: {', '.join(TARGETS)}.")
    fused = fused_experts(lm.blocks, lm.d_model)
    if fused and targets not in BESIDE_EXPERTS:
        raise UserError(
            f"{lm.name} holds its experts in fused weights ({fused[0]}, {len(fused)} in all), which an adapter would"
            f" skip: targets={targets!r} would train only the rest. If that is meant, say targets='attention', or"
            " targets='shared' for all weights beside experts and routers."
        )
    low, high = (round(share * lm.n_layers) for share in depth)
    found = sites(lm)
    inside = [site for site in found if low <= site.block < high and site.part != "router"]
    names = [site.name for site in inside if TARGETS[targets](site)]
    if not names:
        raise UserError(
            f"targets={targets!r} in depth {depth[0]:g}-{depth[1]:g} (blocks {low} to {high - 1} of {lm.n_layers})"
            f" holds none of the {len(found)} weights found. Widen the depth or choose other targets."
        )
    return names


def sites(lm: LM) -> list[Site]:
    """Every weight matrix of the decoder blocks, in the order in which they run. One forward over two tokens."""
    with lm.lock, torch.inference_mode():
        names = {m: name for name, m in lm.model.named_modules()}
        calls = [_Calls(block, lm.d_model) for block in lm.blocks]
        with _recording(calls):
            lm.body(input_ids=torch.tensor([[0, 1]], device=lm.device), use_cache=False)
    found = [site for i, c in enumerate(calls) for site in c.sites(i, names)]
    stacks = fused_experts(lm.blocks, lm.d_model)
    routers = {site.name for site in found if _routes(lm, site, stacks)} if stacks else set()
    return [replace(site, part="router") if site.name in routers else site for site in found]


def _routes(lm: LM, site: Site, stacks: Sequence[str]) -> bool:
    """Whether it takes the stream to one number an expert, or to the gate of a shared one, beside these stacks."""
    wide, narrow = shape_of(lm.model.get_submodule(site.name))
    if wide != lm.d_model or narrow not in {1, *_expert_numbers(lm.model.config.get_text_config().to_dict())}:
        return False
    path = next(name for name, m in lm.model.named_modules() if m is lm.blocks)
    parts = site.name.removeprefix(f"{path}.").split(".")
    around = [".".join(parts[:k]) + "." for k in range(2, len(parts))]  # what it lies in, below the block
    return site.part == "mlp" or any(stack.startswith(outer) for stack in stacks for outer in around)


def _expert_numbers(config: dict[str, Any]) -> Iterator[int]:
    """Every number that a configuration says of experts."""
    for key, value in config.items():
        if isinstance(value, dict):
            yield from _expert_numbers(value)
        elif "experts" in str(key) and isinstance(value, int):
            yield value


class _Calls:
    """What ran in one block: linear modules in order with their inputs, and the stream's own tensors."""

    def __init__(self, block: nn.Module, width: int) -> None:
        self.block, self.width = block, width
        self.linears: list[tuple[nn.Module, Tensor]] = []
        # the tensors are held until all is read: a freed one's address would be given to another
        self.stream: list[Tensor] = []

    def hooks(self) -> Iterator[torch.utils.hooks.RemovableHandle]:
        yield self.block.register_forward_pre_hook(self._enter, with_kwargs=True)
        for module in self.block.modules():
            if is_linear(module):
                yield module.register_forward_pre_hook(self._linear)
            elif _is_norm(module, self.width):
                yield module.register_forward_hook(self._norm)

    def _enter(self, module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        self.stream.append(args[0] if args else kwargs["hidden_states"])

    def _linear(self, module: nn.Module, args: tuple[Any, ...]) -> None:
        self.linears.append((module, args[0]))

    def _norm(self, module: nn.Module, args: tuple[Any, ...], output: Tensor) -> None:
        self.stream.append(output)

    def sites(self, index: int, names: dict[nn.Module, str]) -> Iterator[Site]:
        fed = {t.data_ptr() for t in self.stream}
        part = "attention"
        for module, given in self.linears:
            role = self._role(module, given.data_ptr() in fed)
            yield Site(names[module], index, role, part)
            part = "mlp" if role == "writes" else part

    def _role(self, module: nn.Module, fed_by_stream: bool) -> str:
        wide, narrow = (width == self.width for width in shape_of(module))
        if narrow and not (wide and fed_by_stream):
            return "writes"
        return "reads" if wide else "inner"


@contextmanager
def _recording(calls: list[_Calls]) -> Iterator[None]:
    handles: list[torch.utils.hooks.RemovableHandle] = []
    try:
        for call in calls:
            handles.extend(call.hooks())
        yield
    finally:
        for handle in handles:
            handle.remove()


def _is_norm(module: nn.Module, width: int) -> bool:
    own = list(module.parameters(recurse=False))
    return bool(own) and all(p.shape == (width,) for p in own)
