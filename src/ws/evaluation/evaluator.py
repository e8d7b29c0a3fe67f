"""`evaluate`: everything that is measured of a model under one treatment, several doses at once.

base = ws.evaluate(lm, axis)                                  # cached in the process by (weights, items, settings)
reports = ws.evaluate(lm, axis, direction=v, c=[0, 0.5, 1])   # one report per dose, computed in the same batches
healed = ws.evaluate(lm, axis, adapters=[adapter])
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, Unpack, overload

import numpy as np
import polars as pl
import torch

from ws.axes.axis import Axis
from ws.errors import UserError
from ws.evaluation.answer_slot import Reading
from ws.evaluation.backends import Backend, backend_of
from ws.evaluation.base_cache import remembered
from ws.evaluation.behaviour import read_behaviour
from ws.evaluation.freetext import (
    COOLEST,
    LIMIT_SEED,
    READING,
    TEXTS,
    TextLimits,
    beside_base,
    free_text,
    limits_of,
    mark_readable,
    spread,
)
from ws.evaluation.instrument import AUTO, Instrument, asked_of, split_of
from ws.evaluation.items import CONDITIONS, ItemSet, load_items
from ws.evaluation.readings import Request, canary_of
from ws.evaluation.readings import reading as reading_of
from ws.evaluation.report import Report
from ws.evaluation.vignettes import ROWS
from ws.files import digest
from ws.generation.rollout import Backtrack
from ws.generation.settings import Intervention, Keywords, Sampling, Settings, taken
from ws.models.adapters.attaching import attached
from ws.models.attachments import refuse_steered
from ws.models.lm import LM
from ws.steering.coefficients import Fixed, as_pairs, spares_prompt
from ws.steering.direction import Direction

__all__ = ["evaluate"]

EXAM = 300  # capability items: their 95 % interval is about +-0.05


@dataclass(frozen=True)
class _Arm:
    """What is done to the model; all its doses are measured together."""

    direction: Any = None
    cs: tuple[float, ...] = (0.0,)
    adapters: tuple[Any, ...] = ()
    persona: str | None = None
    backtrack: Backtrack | None = None

    @property
    def treatment(self) -> dict[str, Any]:
        return {"direction": self.direction, "cs": self.cs, "persona": self.persona}


_BASE = _Arm()


@dataclass(frozen=True)
class _Plan:
    """What is measured, the same for base and for every arm."""

    axis: Axis
    items: ItemSet
    instrument: Instrument
    readings: tuple[Reading, ...]
    """of the vignettes; none where the axis is read by its questions"""
    backend: Backend
    prompts: tuple[str, ...]
    n: int
    sampling: Sampling
    unlike: dict[str, float]
    asked: dict[str, list[Any]]
    exam: int
    batch_size: int

    @property
    def identity(self) -> dict[str, Any]:
        """The instrument: what must be equal before two reports are compared. None = not measured."""
        hashes = {name: digest(asked) for name, asked in self.asked.items()}
        further = {name: found for name, found in hashes.items() if name not in ("dilemmas", canary_of(hashes))}
        told = self.instrument.identity
        return {
            **self._vignettes,
            "text": self.text_settings if self.prompts else None,
            "capability": hashes.get(canary_of(hashes)),
            "dilemmas": hashes.get("dilemmas"),
            **({"readings": further} if further else {}),
            **({"instrument": told} if told else {}),
        }

    @property
    def _vignettes(self) -> dict[str, Any]:
        """How the vignettes are asked."""
        if not self.readings:
            return {"backend": None, "conditions": [], "think": None, "think_samples": None}
        first = self.readings[0]
        return {
            "backend": self.backend.name,
            **self.backend.identity(self.items, first),
            "conditions": list(first.conditions),
            "think": first.think,
            "think_samples": first.samples if first.think else None,
            **({"think_sampling": drawn} if first.think and first.samples and (drawn := self._drawn) else {}),
        }

    @property
    def _drawn(self) -> dict[str, float]:
        """temperature, top_p, top_k where they are not the model's own."""
        return {name: value for name, value in self.unlike.items() if name != "max_new_tokens"}

    @property
    def text_settings(self) -> dict[str, Any]:
        """How free text is written and read; how it is sampled only where that is not the model's own."""
        new = self.unlike.get("max_new_tokens")
        read = READING | {"personas": digest([pole[0] for pole in (self.axis.positive, self.axis.negative)])}
        return {"prompts": digest(self.prompts), "n": self.n, "new": new, **self._drawn, "reading": read}


class Asked(Settings, total=False):
    """Keywords of `evaluate` beside c and intervention, which decide what it returns."""

    direction: Any
    sampling: Sampling | None
    persona: str | None
    items: str | Path | ItemSet | Iterable[dict[str, Any]]
    per_foundation: int | None
    think: int | None
    think_samples: int
    free_text: bool
    capability: bool
    exam: int
    batch_size: int
    split: str
    texts: int
    conditions: Sequence[str] | None
    readout: str
    backend: str | None
    strict_june: bool
    readings: Sequence[str] | None
    instrument: Instrument | str


@overload
def evaluate(lm: LM, axis: Axis, *, intervention: Intervention, **asked: Unpack[Asked]) -> Report | list[Report]: ...
@overload
def evaluate(lm: LM, axis: Axis, *, c: Sequence[float], **asked: Unpack[Asked]) -> list[Report]: ...
@overload
def evaluate(lm: LM, axis: Axis, *, c: float = ..., **asked: Unpack[Asked]) -> Report: ...
def evaluate(
    lm: LM,
    axis: Axis,
    *,
    intervention: Intervention | None = None,
    sampling: Sampling | None = None,
    persona: str | None = None,
    items: str | Path | ItemSet | Iterable[dict[str, Any]] = "default",
    per_foundation: int | None = None,
    think: int | None = None,
    think_samples: int = 4,
    free_text: bool = True,
    capability: bool = True,
    exam: int = EXAM,
    batch_size: int = 64,
    split: str = "all",
    texts: int = 200,
    conditions: Sequence[str] | None = None,
    readout: str = "whole",
    backend: str | None = None,
    strict_june: bool = False,
    readings: Sequence[str] | None = None,
    instrument: Instrument | str = AUTO,
    **keywords: Unpack[Keywords],
) -> Report | list[Report]:
    """Vignettes, free text, capability and dilemmas under a treatment -> Report; several c -> a list of them.

    intervention, sampling, or their fields as keywords: direction= (a Direction or pairs, at every assistant position),
    c= (0), adapters=; seed=, of free text and sampled thinks temperature= (None: the model's own; 0: greedy, one each),
    top_p=, top_k=, of free text max_new_tokens=. persona: system prompt in place of the neutral one. items: "default",
    "standard", "conflict", a JSONL path, rows; per_foundation: that many of each. think: tokens of thinking; None: the
    model's recipe. think_samples: 0 = one greedy think. split: "select" (half of the items and the axis's select
    prompts, for choosing doses), "report" (the other half, the probes), "all" (all items, the probes). texts:
    completions behind coherence. exam: capability items, at most; capability=False leaves them out. readings: names of
    ws.evaluation.readings; None: the recipe's reading of capability, and dilemmas. conditions: averaged into the
    headline; None: other_violate, and self_violate beside it in a full report. readout, strict_june: see `Reading`.
    backend: "builtin", "tinymfv", "moralmaps"; None: an installed one that can serve, else ours. instrument:
    "vignettes", "questions" (the vignettes are left out, and of 16 or more questions each split takes its half),
    "auto", what the base can do; or one that was found (`ws.evaluation.instrument`). where=, schedule=, gate= (texts)
    hold for every reading, backtrack= for free text. UserError: what does not fit.
    """
    refuse_steered(lm, "evaluate")
    axis = axis.on(lm)
    draws, push = taken(sampling, Sampling, keywords), taken(intervention, Intervention, keywords)
    arm, one = _arm(push, persona), np.ndim(0.0 if push.c is None else push.c) == 0
    drawn, asking = draws.on(lm), CONDITIONS[:1] if conditions is None else tuple(conditions)
    thinks = think_samples if drawn.temperature else 0  # greedy ones are all the same
    reading = Reading(asking, 0, thinks, readout, draws.seed, batch_size, strict_june, settings=_sampler(drawn))
    full = free_text and split != "select"
    prompts, n = spread(axis.select if split == "select" else axis.probes, texts) if free_text else ([], 0)
    axis, asked, found = split_of(lm, axis, load_items(items, lm.recipe), split, per_foundation, instrument, think)
    whole = items in ("default", "standard") and split == "all" and per_foundation is None and not strict_june
    reader = backend_of(lm, backend, whole=whole)
    beside = conditions is None and full and reader.name == "builtin" and asked.has(CONDITIONS[1])
    shown = () if found.by_questions else _readings(lm, reading, think, full, beside)
    n = n if drawn.temperature else min(n, 1)
    told = asked_of(Request(lm, axis, seed=draws.seed, exam=exam), readings, capability, found)
    plan = _Plan(axis, asked, found, shown, reader, tuple(prompts), n, draws, draws.unlike(lm), told, exam, batch_size)
    reports = _reports(lm, plan, arm)
    return reports[0] if one else reports


def _arm(push: Intervention, persona: str | None) -> _Arm:
    """What is measured. UserError for doses that do not fit, and for what the readings cannot take."""
    direction, doses = _applied(push), _doses(push.direction, push.c)
    if not spares_prompt(d for d, _ in as_pairs(direction)):
        raise UserError(
            "evaluate steers from the assistant tag on: what stands in front of it is shared among doses. Use where"
            " 'assistant' or 'generated', or generate with any and score the texts."
        )
    if push.allow_stale:
        raise UserError("evaluate takes a direction of other weights with adapters= alone. Leave allow_stale out.")
    return _Arm(direction, doses, tuple(push.adapters), persona, push.backtrack)


def _applied(push: Intervention) -> Any:
    """Its directions, each with the intervention's where, schedule and gate in their own, as readings take them."""
    told = [name for name in ("schedule", "gate") if not isinstance(getattr(push, name), str | None)]
    if told:
        raise UserError(
            f"evaluate writes {' and '.join(told)} into the direction's record: give the text of it, as in"
            " schedule='window:0:20', gate='below:0.1'."
        )
    how = {
        "where": None if push.where == Intervention.where else push.where,
        "schedule": push.schedule,
        "gate": push.gate,
    }
    if not any(how.values()) or push.direction is None:
        return push.direction
    if isinstance(push.direction, Direction):
        return push.direction.applied(**how)  # type: ignore[arg-type]
    return [(d.applied(**how), share) for d, share in as_pairs(push.direction)]  # type: ignore[arg-type]


def _readings(lm: LM, reading: Reading, think: int | None, full: bool, beside: bool) -> tuple[Reading, ...]:
    """The headline's first; then, in a full report, the model's other think budget; beside: the other condition."""
    # a second budget costs ten times as much as the first
    budgets = lm.recipe.think[: 2 if full else 1] if think is None else (think,)
    found = [replace(reading, think=t, json=t == budgets[0]) for t in budgets]
    if beside:
        found.append(replace(reading, conditions=CONDITIONS[1:], think=budgets[0], json=False))
    return tuple(found)


def _sampler(drawn: Sampling) -> dict[str, Any]:
    """How thinks are sampled."""
    return {name: getattr(drawn, name) for name in ("temperature", "top_k", "top_p")}


def _doses(direction: Any, c: Any) -> tuple[float, ...]:
    doses = tuple(float(x) for x in np.atleast_1d(np.asarray(0.0 if c is None else c, dtype=np.float64)))
    if not doses or not np.isfinite(doses).all():
        raise UserError(f"c must be one finite number or several (got {c!r}).")
    if direction is None and any(doses):
        raise UserError(f"c is {c!r} and there is no direction to apply it to. Pass direction=, or leave c out.")
    pairs = [] if isinstance(direction, Direction) else as_pairs(direction)
    if pairs and not any(doses) and not any(isinstance(share, Fixed) for _, share in pairs):
        raise UserError("direction is a list of pairs and c, which multiplies their coefficients, is 0. Pass c=1.0.")
    return doses


def _reports(lm: LM, plan: _Plan, arm: _Arm) -> list[Report]:
    """One report per dose of the arm; a dose of 0 without adapters and persona is the base."""
    untreated = not arm.adapters and arm.persona is None
    active = tuple(dict.fromkeys(c for c in arm.cs if c or not untreated))
    measured: dict[float, dict[str, pl.DataFrame]] = {}
    if active:
        parts = _measure(lm, plan, replace(arm, cs=active))
        measured = {c: {name: frames[i] for name, frames in parts.items()} for i, c in enumerate(active)}
    if len(active) < len(set(arm.cs)):
        measured[0.0] = {name: frames[0] for name, frames in _measure(lm, plan, _BASE).items()}
    base = _of_base(lm, plan)
    return [_report(measured[c], plan.identity, _subject(lm, plan, arm, c) | base) for c in arm.cs]


def _of_base(lm: LM, plan: _Plan) -> dict[str, Any]:
    """What a report must know of the base: the limits of readable text, what it fails, and its p_ans_any where that is
    what ours is held against."""
    found: dict[str, Any] = {"text_limits": asdict(_base_text(lm, plan)[0]) if plan.prompts else None}
    if plan.instrument.failed:
        found["failed"] = [list(part) for part in plan.instrument.failed]
    if plan.instrument.relative:
        rows = _rows(lm, plan, _BASE, plan.readings[0])[0].sort("id", "condition")  # as a report takes their mean
        found["p_ans_any_base"] = float(rows["p_ans_any"].to_numpy().mean())
    return found


def _report(frames: dict[str, pl.DataFrame], identity: dict[str, Any], subject: dict[str, Any]) -> Report:
    parts = {name: frame for name, frame in frames.items() if name not in ("per_row", "text")}
    return Report(frames["per_row"], frames["text"], identity, subject, parts)


def _measure(lm: LM, plan: _Plan, arm: _Arm) -> dict[str, list[pl.DataFrame]]:
    """The frames of a report, a list over the arm's doses each; an empty text where none is asked for."""
    size = plan.batch_size
    request = Request(lm, plan.axis, adapters=arm.adapters, seed=plan.sampling.seed, batch_size=size, exam=plan.exam,
                      **arm.treatment)  # fmt: skip

    def part(name: str, asked: Any, compute: Callable[[], list[pl.DataFrame]]) -> list[pl.DataFrame]:
        return remembered(lm, [name, asked], compute) if arm == _BASE else compute()

    empty = {"text": TEXTS, "per_row": ROWS}
    found = {name: [pl.DataFrame(schema=schema)] * len(arm.cs) for name, schema in empty.items()}
    if plan.readings:
        with lm.lock, attached(lm, arm.adapters):
            rows = [_rows(lm, plan, arm, reading) for reading in plan.readings]
            found["per_row"] = [pl.concat(frames) for frames in zip(*rows, strict=True)]
    for name, asked in plan.asked.items():
        read = partial(reading_of(name).read, request, asked)
        found[name] = part(name, [digest(asked), size], read)
    if plan.prompts:
        found["text"] = _texts(lm, plan, arm)
    return found


def _rows(lm: LM, plan: _Plan, arm: _Arm, reading: Reading) -> list[pl.DataFrame]:
    """The vignettes under one reading, a frame per dose; the arm's adapters are on."""

    def compute() -> list[pl.DataFrame]:
        return plan.backend.read(lm, plan.items, reading, **arm.treatment, stale=bool(arm.adapters))

    asked = [plan.backend.name, plan.backend.identity(plan.items, reading), asdict(reading)]
    return remembered(lm, ["rows", asked], compute) if arm == _BASE else compute()


def _texts(lm: LM, plan: _Plan, arm: _Arm) -> list[pl.DataFrame]:
    """Free text with `readable`, beside the base's of the same dice."""
    limits, base = _base_text(lm, plan)
    frames = [base]
    if arm != _BASE:
        frames = [mark_readable(frame, limits) for frame in _write(lm, plan, arm, plan.sampling, limits.worst_ppl)]
    return [beside_base(read_behaviour(lm, frame, plan.axis), base) for frame in frames]


def _base_text(lm: LM, plan: _Plan) -> tuple[TextLimits, pl.DataFrame]:
    """The limits of readable text, and the base's own text under them.

    The limits are of another sample of the base. Greedy text has no other sample: its limits come from sampled text.
    """
    drawn = plan.sampling

    def of_base() -> tuple[TextLimits, pl.DataFrame]:
        other = replace(drawn, seed=drawn.seed + LIMIT_SEED, temperature=_heat(lm, drawn))
        limits = limits_of(_write(lm, plan, _BASE, other)[0], _heat(lm, drawn))
        return limits, mark_readable(_write(lm, plan, _BASE, drawn, limits.worst_ppl)[0], limits)

    # in full: two models of the same weights may differ in what is their own
    settings = ["text", plan.text_settings, asdict(drawn.on(lm)), plan.batch_size, plan.axis.narration]
    settings += [plan.axis.refusal] if plan.axis.refusal else []
    return remembered(lm, settings, of_base)


def _heat(lm: LM, drawn: Sampling) -> float:
    """The temperature that the sample behind the limits is drawn at: the completions', COOLEST at least, or for greedy
    ones the model's own."""
    return max(drawn.temperature or lm.sampling.temperature or 1.0, COOLEST)


def _write(lm: LM, plan: _Plan, arm: _Arm, sampling: Sampling, limit: float | None = None) -> list[pl.DataFrame]:
    """The arm's scored completions of the plan's prompts, a frame per dose; limit: see `free_text`."""
    how: dict[str, Any] = {"adapters": arm.adapters, "sampling": sampling, "batch_size": 2 * plan.batch_size,
                           "backtrack": arm.backtrack}  # fmt: skip
    return free_text(lm, plan.axis, plan.prompts, plan.n, limit=limit, **arm.treatment, **how)


def _subject(lm: LM, plan: _Plan, arm: _Arm, c: float) -> dict[str, Any]:
    """What was measured, as plain values."""
    return {
        "base": not arm.adapters and arm.persona is None and not c,
        "model": lm.name,
        "fingerprint": lm.fingerprint,
        "device": str(lm.device),
        "dtype": str(lm.dtype),
        "threads": torch.get_num_threads(),
        "axis": plan.axis.name,
        "target": plan.axis.target,
        "intended": plan.axis.intended,
        "c": c,
        "direction": _named(arm.direction),
        "persona": arm.persona,
        "adapters": [_named(adapter) for adapter in arm.adapters],
        "seed": plan.sampling.seed,
        "think_samples": plan.readings[0].samples if plan.readings else None,
        "thinks": list(dict.fromkeys(reading.think for reading in plan.readings)),
    }


def _named(thing: Any) -> Any:
    """A direction or an adapter, alone or with its coefficient, as plain values."""
    if isinstance(thing, list | tuple):
        return [_named(part) for part in thing]
    if thing is None or isinstance(thing, int | float):
        return thing
    return getattr(thing, "title", None) or getattr(thing, "digest", None) or type(thing).__name__
