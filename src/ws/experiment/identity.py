"""Loads a configuration's model, and names what a run's numbers depend on beside the settings.

These are the weights, the axis, the items, the machine's arithmetic.
"""

from __future__ import annotations

from typing import Any

import torch

from ws.axes.axis import Axis
from ws.evaluation.instrument import Instrument
from ws.experiment.inputs import items_of
from ws.files import digest
from ws.models.lm import LM, load_model
from ws.runs.config import RunConfig

__all__ = ["identity_of", "load_configured"]


def load_configured(config: RunConfig) -> LM:
    """The model of a run's configuration, where and as it says; errors as in `load_model`."""
    return load_model(config.model, device=config.device, dtype=config.dtype, quantize=config.quantize)


def identity_of(lm: LM, axis: Axis, config: RunConfig, instrument: Instrument | None = None) -> dict[str, Any]:
    """What a number depends on beside the configuration: weights, axis, items, device, dtype, threads, and the
    instrument where it is not the vignettes with all that coherence can have."""
    told = {} if instrument is None else instrument.to_dict()
    return {
        "fingerprint": lm.fingerprint,
        "axis": digest(axis.to_dict()),
        "items": items_of(config, lm.recipe).hash,
        "device": lm.device.type,
        "dtype": str(lm.dtype).removeprefix("torch."),
        "threads": torch.get_num_threads(),
        "chat": lm.has_chat,
        **({"instrument": told} if told else {}),
    }
