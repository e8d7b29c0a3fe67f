"""What only the loaded model knows of a run that is to begin: `ws.experiment.preflight` asks it, for every caller."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import psutil
import torch

from ws.axes.axis import Axis
from ws.errors import UserError
from ws.evaluation.instrument import Instrument, asked_of, find_instrument
from ws.evaluation.readings import Request
from ws.evaluation.wording import wording_of
from ws.experiment.controls import engineered_prompt
from ws.experiment.findings import ADAPTERS, TABLES, Doubt, Finding, check_disk, looked
from ws.experiment.identity import check_room
from ws.experiment.inputs import items_of
from ws.gating.foundations import FOUNDATIONS
from ws.healing.target_modules import targeted
from ws.models.adapters.families import new_config
from ws.models.architecture import shape_of
from ws.models.lm import LM, check_length
from ws.runs.config import RunConfig
from ws.steering.extraction import check_blocks, default_layers
from ws.steering.methods import method

__all__ = ["check_readings", "with_model"]

SMALL_ANGLE = 5.0
"""Degrees: a strongest dose under this is a multiple that was meant for another method."""
LARGE_MULTIPLE = 60.0
"""A strongest dose from here on looks like degrees; knees lie under 20 on the models of the table of recipes."""


def with_model(lm: LM, axis: Axis, config: RunConfig, out: Path, workers: int = 1) -> list[Finding]:
    """One finding a check; under two seconds on what is loaded, and nothing is written."""
    names: list[str] = []  # the weights that the adapter trains, found once
    return [
        looked("blocks", lambda: _blocks(lm, config)),
        looked("personas", lambda: _personas(lm, axis, config)),
        looked("dose unit", lambda: _unit(config)),
        looked("context", lambda: _context(lm, axis, config)),
        looked("adapter", lambda: _adapter(lm, config, names)),
        looked("readings", lambda: check_readings(lm, axis, config, _expected(lm, axis, config))),
        looked(ADAPTERS, lambda: check_disk(out, config.rounds * _stored(lm, config, names))),
        looked("memory", lambda: _memory(lm, axis, config, names, workers)),
    ]


def _blocks(lm: LM, config: RunConfig) -> str:
    layers = config.layers or default_layers(lm)
    check_blocks(lm, layers)
    return f"steers {', '.join(map(str, layers))} of {lm.n_layers}"


def _personas(lm: LM, axis: Axis, config: RunConfig) -> str:
    """UserError where a pair is the same text to the model: its template drops it, or its tokenizer the difference."""
    user = axis.contexts[0].user
    others = axis.negative if config.contrast == "pair" else axis.neutral or (lm.neutral,)
    for i, first in enumerate(axis.positive):
        other = others[i % len(others)]
        if lm.prompt_ids(user, system=first) == lm.prompt_ids(user, system=other):
            raise UserError(
                f"{lm.name} reads both personas of pair {i} as the same tokens ({first[:60]!r} and {other[:60]!r}): no"
                " direction lies between them. Write them apart, or use a model whose template takes a system turn."
            )
    return f"{len(axis.positive)} pairs, different to the model" + (
        "" if lm.has_chat else ", written as plain text before the prompt (it has no chat template)"
    )


def _unit(config: RunConfig) -> str:
    """A Doubt where the grid is in another unit than the method's."""
    unit, strongest = method(config.method).unit, config.dose.grid[-1]
    if unit == "degrees" and strongest < SMALL_ANGLE:
        return Doubt(
            f"{config.method} counts c in degrees, and dose.grid ends at {strongest:g}: next to nothing. Name degrees,"
            " for example --dose.grid 5 10 20 40."
        )
    if unit == "multiples" and strongest >= LARGE_MULTIPLE:
        return Doubt(
            f"{config.method} counts c in multiples of the direction, and dose.grid ends at {strongest:g}. If degrees"
            " were meant, take --method rotation."
        )
    return f"c in {unit}, up to {strongest:g}"


def _context(lm: LM, axis: Axis, config: RunConfig) -> str:
    """UserError where a prompt of the axis or the items does not fit, with the tokens that follow it."""
    check_room(lm, axis, config.sampling.max_new_tokens, config.max_new_tokens)
    for system, user, prefix, new in _asked(lm, axis, config):
        if _may_be_long(lm, (system or lm.neutral) + user + prefix, new):
            try:
                check_length(lm, lm.prompt_ids(user, system=system, prefix=prefix), new)
            except UserError as error:
                raise UserError(f"{user[:60]!r}: {error}") from None
    return f"everything fits {lm.max_context} tokens" if lm.max_context else "the model sets no limit"


def _asked(lm: LM, axis: Axis, config: RunConfig) -> Iterator[tuple[str | None, str, str, int]]:
    """(system prompt, user text, the reply's first words, tokens that follow) of what a run asks.

    A completion whose length is the model's own ends where the context does: it needs one token.
    """
    for pole in (axis.positive, axis.negative):
        longest = max(pole, key=len)
        yield from ((longest, context.user, context.assistant_prefix, 0) for context in axis.contexts)
        yield from ((longest, probe, "", 1) for probe in axis.probes)
    if config.controls.engineered:
        yield from ((engineered_prompt(axis), probe, "", 1) for probe in axis.probes)
    for text in (*axis.train, *axis.select):
        yield None, text, "", 1
    for question in axis.questions:
        yield from ((None, question.text, answer, 0) for answer in (question.yes, question.no))
    wording, think = wording_of(lm), config.evaluation.think
    most = max(lm.recipe.think) if think is None else think
    room = most + len(lm.encode(wording.prefill)) + max(len(lm.encode(word)) for word in wording.labels.values())
    for item in items_of(config, lm.recipe).items:
        yield from ((None, wording.user(text, FOUNDATIONS), "", room) for text in item.texts.values())


def _may_be_long(lm: LM, text: str, new: int) -> bool:
    """Whether it can be too long at all: a token is at least one byte, and the template adds some."""
    return lm.max_context is not None and len(text.encode()) + 64 + new > lm.max_context


def _adapter(lm: LM, config: RunConfig, names: list[str]) -> str:
    """UserError where the adapter finds no weight to train, or cannot train those that it finds; fills in `names`."""
    heal = config.heal.resolved(lm)
    names += targeted(lm, str(heal.targets), heal.depth or (0.0, 1.0))
    modules = {name: lm.model.get_submodule(name) for name in names}
    new_config(heal.adapter, heal.rank or 1, heal.alpha or 1.0, modules)
    return f"{heal.adapter} of rank {heal.rank} on {len(names)} weights ({heal.targets})"


def _expected(lm: LM, axis: Axis, config: RunConfig) -> Instrument:
    """The instrument as far as it can be known without a glance at the base."""
    e = config.evaluation
    return find_instrument(lm, axis, items_of(config, lm.recipe), e.instrument, e.think, lambda *_: 1.0)


def check_readings(lm: LM, axis: Axis, config: RunConfig, instrument: Instrument) -> str:
    """What will be read. UserError where the readings do not fit the axis; a Doubt where one has nothing to ask."""
    e = config.evaluation
    told = asked_of(Request(lm, axis, exam=e.exam), e.readings, e.capability, instrument)
    silent = [name for name in e.readings or () if name not in told]
    said = f"the axis is read by its {instrument.read_by}; beside it {', '.join(told) or 'nothing'}"
    if silent:
        return Doubt(f"{said}. Nothing to ask here has {', '.join(silent)}: not measured. Leave it out of readings.")
    return said


def _stored(lm: LM, config: RunConfig, names: Sequence[str]) -> int:
    """Bytes that a round leaves: its tables, and an adapter of each training."""
    controls = config.controls
    trainings = len(config.seeds) + controls.sft + controls.sft_base + 2 * controls.unfiltered
    return TABLES + trainings * _adapter_size(lm, config, names)


def _adapter_size(lm: LM, config: RunConfig, names: Sequence[str]) -> int:
    """Bytes of one adapter: two float32 factors a weight, of twice the rank where its start is taken off (PiSSA)."""
    heal = config.heal.resolved(lm)
    widths = sum(sum(shape_of(lm.model.get_submodule(name))) for name in names)
    return 4 * widths * (heal.rank or 1) * (2 if heal.adapter == "pissa" else 1)


def _memory(lm: LM, axis: Axis, config: RunConfig, names: Sequence[str], workers: int) -> str:
    """A Doubt where an estimate of what comes beside the loaded weights is more than what is free."""
    text, item = lm.model.config.get_text_config(), torch.finfo(lm.dtype).bits // 8
    tokens = len(lm.prompt_ids(max(axis.train, key=len))) + (config.draws(0).on(lm).max_new_tokens or 0)
    heads = getattr(text, "num_key_value_heads", None) or text.num_attention_heads
    width = getattr(text, "head_dim", None) or lm.d_model // text.num_attention_heads
    decode = config.batch_size * tokens * lm.n_layers * 2 * heads * width * item
    heal = config.heal.resolved(lm)
    kept = 2 if heal.checkpoint else 16  # tensors of the stream's width that a block leaves for the backward pass
    train = (heal.batch or 1) * tokens * lm.d_model * lm.n_layers * kept * 4 + 4 * _adapter_size(lm, config, names)
    weights = sum(p.numel() * p.element_size() for p in lm.model.parameters())
    needed = workers * max(decode, train) + (workers - 1) * weights
    free = _free(lm.device)
    said = f"about {needed / 2**30:.1f} GiB beside the weights, {free / 2**30:.1f} GiB free (an estimate)"
    if needed > free:
        return Doubt(f"{said}. Lower batch_size or heal.batch, or take fewer --workers.")
    return said


def _free(device: torch.device) -> int:
    if device.type == "cuda":
        return int(torch.cuda.mem_get_info(device)[0])
    return int(psutil.virtual_memory().available)
