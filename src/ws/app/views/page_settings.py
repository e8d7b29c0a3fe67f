"""What a page is about: its settings, read from a link and written into one. Whatever a link holds is data."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

from ws.app import page_link
from ws.app.access import AppSettings
from ws.app.page_link import nearest
from ws.axes.axis import MODEL_KINDS, Axis, load_axis, shipped_axes
from ws.errors import UserError
from ws.experiment.doctor import verdicts_of
from ws.files import digest
from ws.gating.foundations import FOUNDATIONS
from ws.models.lm import LM, load_model
from ws.models.recipe import ModelRecipe, missing_weights, recipe_of
from ws.runs.config import SamplingConfig
from ws.steering.methods import method
from ws.steering.methods import names as method_names

__all__ = [
    "CUSTOM",
    "DRAWN",
    "FOUNDATIONS",
    "LINK",
    "PageSettings",
    "TypedPair",
    "axis_labels",
    "axis_names",
    "bands",
    "drawn_said",
    "layers_of",
    "method_names",
    "nearest",
    "pair_of",
    "read_link",
    "sampling_of",
    "shown_number",
    "tokens_of",
    "unavailable",
    "unit_of",
    "whole_in",
]  # fmt: skip

CUSTOM = "custom pair"
DRAWN = {"temperature": (float, 0.0, 10.0), "top_p": (float, 0.0, 1.0), "top_k": (int, 0, 1_000_000),
         "max_new_tokens": (int, 1, 1_000_000)}  # fmt: skip
"""Settings of the sampling: type and the widest range of a page; a field that is empty is the model's own."""
LINK = ("run", "model", "axis", "method", "layers", "seed", *DRAWN, "c", "beta", "tail", "prompt", "own",
        "positive", "negative", "target", "sign", "surprise")  # fmt: skip
REPLIES = 3  # of a live sample: at 0, +c and -c


@dataclass(frozen=True)
class TypedPair:
    """A persona pair typed by a viewer, the foundation it aims at and the sign of the shift that it intends."""

    positive: str
    negative: str
    target: str = "Authority"
    sign: int = -1


@dataclass(frozen=True)
class PageSettings:
    """What a direction depends on, and how texts are drawn."""

    model: str = "mini"
    axis: str = "care_over_authority"
    method: str = "mean_diff"
    layers: tuple[int, ...] | None = None
    persona: TypedPair | None = None
    sampling: SamplingConfig = field(default_factory=SamplingConfig)

    @property
    def recipe(self) -> ModelRecipe:
        """In what this model differs from others."""
        return recipe_of(self.model)

    def resolved(self, lm: LM) -> Axis:
        """The axis in the model's words; a typed pair borrows contexts and prompts of the first shipped axis.

        UserError where the pair is empty or has no two poles.
        """
        if self.persona is None:
            return load_axis(self.axis).on(lm)
        pair, lender = self.persona, self.lender(lm)
        for name, text in (("positive", pair.positive), ("negative", pair.negative)):
            if not text:
                raise UserError(f"The {name} persona is empty. Write who the model should be, in one sentence.")
        return dataclasses.replace(
            lender, name="custom", title="a persona pair of one's own", models=MODEL_KINDS, target=pair.target,
            intended={pair.target: pair.sign}, positive=(pair.positive,), negative=(pair.negative,), narration=(),
            engineered="", questions=(),
        )  # fmt: skip

    def source(self, out: Path) -> str:
        """What a run calls this axis: its shipped name, or the file under `out` that a typed pair is written to."""
        if self.persona is None:
            return self.axis
        return str(out / "axes" / f"typed-{digest(dataclasses.asdict(self.persona), 10)}.json")

    def lender(self, lm: LM) -> Axis:
        """The shipped axis whose contexts and prompts are used."""
        return load_axis(axis_names(self.model)[0] if self.persona is not None else self.axis).on(lm)


@lru_cache(maxsize=64)
def unavailable(model: str) -> str | None:
    """Why a model can write nothing here: its weights are not installed, or it was asked for and does not load. Tried
    once in a process; None where it is there."""
    missing = missing_weights(model)
    if missing is not None:
        return missing
    try:
        load_model(model)
    except UserError as error:
        return f"{error} Mend that and start the app again."
    return None


def axis_names(model: str) -> list[str]:
    """Shipped axes that are written for this model, its own first; of a model that answers vignettes those that move a
    foundation."""
    own = recipe_of(model)
    names = [name for name in shipped_axes(own.words) if not (own.answers and load_axis(name).outside)]
    return sorted(names, key=lambda name: name != own.axis)


def axis_labels(model: str, out: Path) -> dict[str, str]:
    """What the menu calls each axis -> its name; beside it whether `ws doctor` found it alive on this model.

    A model that answers vignettes needs no such check: its axes stand alone unless one was made.
    """
    found, plain = verdicts_of(model, out), recipe_of(model).answers
    said = {name: found.get(name, "" if plain else "not measured") for name in axis_names(model)}
    return {f"{name} ({word})" if word else name: name for name, word in said.items()} | {CUSTOM: CUSTOM}


def bands(model: str) -> dict[str, tuple[int, ...] | None]:
    """Layer bands to choose from, by label; None is the model's default band."""
    from ws.steering.extraction import default_layers

    if unavailable(model):
        return {"as stored": None}
    lm = load_model(model)
    third = max(1, lm.n_layers // 3)
    usual = default_layers(lm)
    offered = {
        "early": tuple(range(third)),
        "middle": tuple(range(third, lm.n_layers - third)),
        "late": tuple(range(lm.n_layers - third, lm.n_layers)),
        "one, middle": (lm.n_layers // 2,),
    }
    named = {f"{name}: {_span(layers)}": layers for name, layers in offered.items() if layers and layers != usual}
    return {f"default: {_span(usual)}": None, **named}


def _span(layers: Sequence[int]) -> str:
    """Block numbers as 0-3, or listed where they are no range."""
    if list(layers) == list(range(layers[0], layers[-1] + 1)) and len(layers) > 1:
        return f"{layers[0]}-{layers[-1]}"
    return ", ".join(map(str, layers))


def layers_of(layers: tuple[int, ...] | None, offered: Mapping[str, tuple[int, ...] | None]) -> str:
    """The label of a band; the default's where it is not offered."""
    return next((label for label, band in offered.items() if band == layers), next(iter(offered)))


def sampling_of(typed: Mapping[str, Any], access: AppSettings) -> SamplingConfig:
    """The sampling of these fields, numbers or their texts; None and "" are the model's own.

    UserError: no number, out of range, or more tokens than the app gives.
    """
    found = {name: _number(name, typed.get(name)) for name in DRAWN}
    tokens = found["max_new_tokens"]
    if tokens is not None and tokens > access.max_tokens:
        raise UserError(f"max_new_tokens is {tokens}; this app gives at most {access.max_tokens} per completion.")
    return SamplingConfig(**found)


def _number(name: str, value: Any) -> Any:
    """A field's value within its widest range. UserError for another."""
    if value is None or value == "":
        return None
    kind, low, high = DRAWN[name]
    number = _float(value)
    if not low <= number <= high or (kind is int and number != int(number)):
        whole = "a whole number" if kind is int else "a number"
        raise UserError(f"{name} must be {whole} in [{low:g}, {high:g}] (got {str(value)[:40]!r}).")
    return kind(number)


def _float(value: Any) -> float:
    """A number, or its text, as a float; NaN where it is none."""
    try:
        return math.nan if isinstance(value, bool) else float(value)
    except (TypeError, ValueError, OverflowError):
        return math.nan


def whole_in(text: str | None, low: int, high: int) -> int | None:
    """The whole number of a link's text, None where it is none in [low, high]."""
    found = text is not None and len(text) < 20 and text.removeprefix("-").isdecimal() and text.isascii()
    number = int(text) if text and found else None
    return number if number is not None and low <= number <= high else None


def shown_number(name: str, given: str | None, usual: float | None) -> float | None:
    """What a field shows: a link's number where it may stand there, else the usual one."""
    try:
        return usual if given is None else _number(name, given)
    except UserError:
        return usual


def drawn_said(subject: PageSettings) -> str:
    """How this page's live texts are drawn, in words."""
    return subject.sampling.draws().said_on(load_model(subject.model))


def read_link(params: Mapping[str, Any]) -> dict[str, str]:
    """The app's own settings in a link as texts of bounded length; anything else in it is left out."""
    return page_link.read_link(params, LINK)


def pair_of(typed: Mapping[str, str], access: AppSettings) -> TypedPair | None:
    """The persona pair of the fields positive, negative, target and sign ("rises", "falls"); None without fields.
    UserError for a pole that is longer than the app takes."""
    if not typed:
        return None
    for pole in ("positive", "negative"):
        access.check_length(typed[pole], f"{pole} persona")
    sign = 1 if typed["sign"] == "rises" else -1
    return TypedPair(typed["positive"].strip(), typed["negative"].strip(), typed["target"], sign)


def unit_of(name: str) -> str:
    """What c counts under a method: "multiples" or "degrees"."""
    return method(name).unit


def tokens_of(access: AppSettings, subject: PageSettings) -> int | None:
    """New tokens of a live sample: None, those of the settings, unless the app's bound is lower.

    UserError where the app's bound on completions is under the three doses that a page shows.
    """
    access.check_size(samples=REPLIES)
    usual = subject.sampling.max_new_tokens or subject.recipe.new_tokens
    return access.max_tokens if access.max_tokens < usual else None
