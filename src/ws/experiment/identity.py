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
from ws.models.lm import LM, check_length, load_model
from ws.runs.config import RunConfig, data_tokens

__all__ = ["check_room", "identity_of", "load_configured", "sampling_said"]


def load_configured(config: RunConfig) -> LM:
    """The model of a run's configuration, where and as it says; errors as in `load_model`."""
    where = {"device": config.device, "dtype": config.dtype, "quantize": config.quantize}
    return load_model(config.model, template=config.template, **where)


def check_room(lm: LM, axis: Axis, *asked: int | None) -> None:
    """UserError where one of these numbers of tokens and the axis's longest prompt are more than the model's context.
    """
    tokens = [number for number in asked if number is not None]
    if lm.max_context is None or not tokens:
        return
    # a token is a byte at least: what is shorter in bytes than the room that is left need not be counted
    room = lm.max_context - max(tokens) - len(lm.prompt_ids("?"))
    for text in (*axis.train, *axis.select, *axis.probes):
        if len(text.encode()) > room:
            check_length(lm, lm.prompt_ids(text), max(tokens))


def identity_of(lm: LM, axis: Axis, config: RunConfig, instrument: Instrument | None = None) -> dict[str, Any]:
    """What a number depends on beside the configuration: weights, axis, items, device, dtype, threads, and the
    instrument where it is not the vignettes with all that coherence can have.

    How texts are drawn and capability is read is told where it is not what it was before there was a choice, so that
    runs of then keep their keys.
    """
    drawn, canary = config.sampling.draws().unlike(lm), lm.recipe.canary
    told = {} if instrument is None else instrument.to_dict()
    return {
        "fingerprint": lm.fingerprint,
        "axis": digest(axis.to_dict()),
        "items": items_of(config, lm.recipe).hash,
        "device": lm.device.type,
        "dtype": str(lm.dtype).removeprefix("torch."),
        "threads": torch.get_num_threads(),
        "chat": lm.has_chat,
        **({"sampling": drawn} if drawn else {}),
        **({"capability": canary} if canary != "exam" else {}),
        **({"instrument": told} if told else {}),
    }


def sampling_said(lm: LM, config: RunConfig) -> str:
    """How the run's texts are drawn, in words; where the data's have another length, that too."""
    said = config.sampling.draws().said_on(lm)
    return said + data_tokens(config)
