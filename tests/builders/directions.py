"""Directions of any method with random vectors, and states that a method reads."""

from __future__ import annotations

from typing import Any

import torch

from ws.models.lm import LM
from ws.steering.direction import Direction
from ws.steering.methods import Poles, method


def poles(n: int = 24, d: int = 16, seed: int = 0) -> Poles:
    """Random states of pairs that belong together, and all else that a method may read."""
    dice = torch.Generator().manual_seed(seed)
    neutral, trait = torch.randn(n, d, generator=dice), torch.randn(d, generator=dice)
    near = [neutral + 0.3 * torch.randn(n, d, generator=dice) + sign * trait for sign in (1, -1)]
    more = (torch.randn(n, d, generator=dice), torch.randn(d, 2 * d, generator=dice))
    return Poles(near[0], near[1], neutral, *more)


def direction(lm: LM, layers: tuple[int, ...] = (1, 2), seed: int = 0, scale: float = 1.0, **kw: Any) -> Direction:
    """Random vectors; beside them what the method itself reads from random states, or a gate that is open."""
    dice = torch.Generator().manual_seed(seed)
    vectors = {k: scale * torch.randn(lm.d_model, generator=dice) for k in layers}
    found = method(kw.get("method", "mean_diff")).extract(poles(d=lm.d_model, seed=seed))
    beside = {} if found.ndim == 1 else dict.fromkeys(layers, found[1:])
    if kw.get("method") == "gated":  # open at any state
        beside = {k: 2 * v[None] / v.norm() for k, v in vectors.items()}
    name, fingerprint = kw.pop("method", "mean_diff"), kw.pop("fingerprint", lm.fingerprint)
    return Direction(vectors, name, fingerprint, kw, beside=beside)


def hooks_left(lm: LM) -> int:
    """How many hooks of ours the model has; transformers leaves its own after output_hidden_states."""
    hooks = [h for m in lm.model.modules() for h in (*m._forward_hooks.values(), *m._forward_pre_hooks.values())]
    return sum(h.__module__.startswith("ws.") for h in hooks)
