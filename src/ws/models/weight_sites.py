"""Finds a model's weight matrices by shape and data flow, never by name, and says what each does.

    sites(lm)      # [Site("model.layers.0.self_attn.q_proj", 0, "reads", "attention"), ...]

A *writer* adds to the residual stream (its output is as wide as the stream), a *reader* takes from it. Where a weight
is square both would fit: what it is fed decides, a reader gets the output of a norm (or the stream itself). Inside a
block the token mixer runs first: the weights up to the first writer are *attention*, those after it *mlp*. Where there
are experts, *routers* are told by their width, as many as there are experts.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

from ws.models.architecture import fused_experts, is_linear, shape_of
from ws.models.lm import LM

__all__ = ["Site", "sites"]


@dataclass(frozen=True)
class Site:
    """One weight matrix of a decoder block. role: "reads", "writes" or "inner"; part: "attention", "mlp", "router"."""

    name: str
    block: int
    role: str
    part: str


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
