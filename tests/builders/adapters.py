"""TODO."""

from __future__ import annotations

import hashlib

import polars as pl
import torch
from torch import Tensor

from ws.healing.target_modules import targeted
from ws.models.adapters.adapter import Adapter
from ws.models.adapters.families import new_config
from ws.models.adapters.peft_layers import PeftLayers
from ws.models.attachments import private_copy
from ws.models.lm import LM

IDS = torch.tensor([[5, 60, 61, 62, 63, 64, 65, 66, 67, 68, 69, 70]])


def logits(lm: LM) -> Tensor:
    with torch.no_grad():
        return lm.model(input_ids=IDS, use_cache=False).logits.float()


def weights_hash(lm: LM) -> str:
    h = hashlib.sha256()
    for name, p in lm.model.named_parameters():
        h.update(name.encode() + p.detach().view(torch.uint8).numpy().tobytes())
    return h.hexdigest()


def made(lm: LM, family: str = "lora", seed: int = 0, targets: str = "all", size: float = 0.3) -> Adapter:
    """An adapter as PEFT makes it, with random weights in place of the zeros that it starts from."""
    own = private_copy(lm)
    live = PeftLayers(own.model)
    config = new_config(family, 4, 8, {name: lm.model.get_submodule(name) for name in targeted(lm, targets)})
    live.add("new", config)
    dice = torch.Generator().manual_seed(seed)
    state = live.state("new")
    for key, value in sorted(state.items()):
        if not key.endswith("w_norm"):
            state[key] = value + size * torch.randn(value.shape, generator=dice) / value.shape[-1] ** 0.5
    curve = pl.DataFrame({"step": [0], "nll": [1.0]})
    return Adapter(config, state, lm.fingerprint, curve, {"note": "made"}, lm.origin)
