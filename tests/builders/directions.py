"""TODO."""

from __future__ import annotations

from typing import Any

import torch

from ws.models.lm import LM
from ws.steering.direction import Direction


def direction(lm: LM, layers: tuple[int, ...] = (1, 2), seed: int = 0, scale: float = 1.0, **kw: Any) -> Direction:
    dice = torch.Generator().manual_seed(seed)
    vectors = {k: scale * torch.randn(lm.d_model, generator=dice) for k in layers}
    return Direction(vectors, kw.pop("method", "mean_diff"), kw.pop("fingerprint", lm.fingerprint), kw)


def hooks_left(lm: LM) -> int:
    """How many hooks of ours the model has; transformers leaves its own after output_hidden_states."""
    hooks = [h for m in lm.model.modules() for h in (*m._forward_hooks.values(), *m._forward_pre_hooks.values())]
    return sum(h.__module__.startswith("ws.") for h in hooks)
