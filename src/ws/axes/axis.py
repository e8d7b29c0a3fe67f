"""An axis: the trait to steer by, as two poles of personas, contexts to read from, prompts to use the trait on.

    axis = load_axis("care_over_authority")     # shipped; or a path to your own .toml / .json
    axis.on(lm).positive[0]                     # the words written for this model

File keys: name, title, models, target, intended, positive, negative, contexts, narration, train, select, probes,
questions, neutral, engineered, refusal. A prompt list is a list of texts, `"pool:NAME"` (a list in data/pools), or a
list that mixes both. An axis outside the seven foundations (honesty, warmth) says so with `intended = {}`: its target
is then a free name, its sign is +1 (towards the positive pole), and it is judged by its questions, which it must have.
A question is { text, positive, negative }, two answer sentences; on foundation axes also `plain`, which takes no side.
"""

from __future__ import annotations

import dataclasses
import json
import os
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ws.axes.axis_file import (
    DATA,
    Context,
    Question,
    as_context,
    as_entries,
    as_list,
    as_question,
    as_text,
    as_texts,
    check_keys,
    halves_of,
    item_keys,
    read,
    shipped_pools,
)
from ws.axes.words import text_key
from ws.errors import UserError, near
from ws.gating.foundations import FOUNDATIONS

if TYPE_CHECKING:
    from ws.models.lm import LM
    from ws.models.recipe import ModelRecipe

__all__ = [
    "FOUNDATIONS", "Axis", "Context", "Question", "check_axis", "halves_of", "is_axis_path", "load_axis",
    "shipped_axes", "shipped_pools", "text_key",
]  # fmt: skip

REQUIRED = ("name", "target", "intended", "positive", "negative", "contexts", "train", "select", "probes")
OPTIONAL = ("title", "models", "narration", "questions", "neutral", "engineered", "refusal")
MODEL_KINDS = ("any", "mini")  # written for every model, or in the embedded model's words


@dataclass(frozen=True)
class Axis:
    """A trait between two poles. The poles are checked here, the prompt lists when an axis file is loaded."""

    name: str
    title: str
    models: tuple[str, ...]
    target: str
    intended: dict[str, int]
    positive: tuple[str, ...]
    negative: tuple[str, ...]
    contexts: tuple[Context, ...]
    narration: tuple[str, ...]
    """Case-insensitive regular expressions of a text that talks about the trait; the general ones are always on."""
    train: tuple[str, ...]
    select: tuple[str, ...]
    probes: tuple[str, ...]
    questions: tuple[Question, ...] = ()
    neutral: tuple[str, ...] = ()
    """Trait-free system prompts of the personas' length, for contrast="base"; empty = the model's neutral prompt."""
    engineered: str = ""
    """The best system prompt you can write for the positive pole, a control; empty =
    ws.experiment.controls.ENGINEERED."""
    refusal: tuple[str, ...] = ()
    """As `narration`, of a text that refuses; the general ones are always on, and English."""

    def __post_init__(self) -> None:
        if not self.models or any(kind not in MODEL_KINDS for kind in self.models):
            raise UserError(
                f"models may hold {' and '.join(map(repr, MODEL_KINDS))} (got {list(self.models)}). "
                'Write models = ["any"] unless the words suit the embedded model.'
            )
        _check_intended(self)
        _check_target(self)
        _check_poles(self)
        _check_patterns(self)
        _check_plain(self)

    @property
    def sign(self) -> int:
        """Intended sign of the target: +1 it should rise, -1 it should fall; +1 for an axis outside the foundations."""
        return self.intended.get(self.target, 1)

    @property
    def outside(self) -> bool:
        """True where no foundation is intended: vignettes show side effects only, the questions judge."""
        return not self.intended

    def on(self, lm: LM) -> Axis:
        """A shipped axis in the words written for this model, UserError where none are; your own axis as it is."""
        return self.written_for(lm.recipe, lm.name)

    def written_for(self, recipe: ModelRecipe, model: str) -> Axis:
        """As `on`, before the model of that name is loaded."""
        wanted = recipe.words
        if wanted in self.models:
            return self
        variants = _variants(self.name)
        fitting = [axis for axis in variants if wanted in axis.models]
        if fitting or self not in variants:
            return fitting[0] if self in variants else self
        have = sorted({kind for axis in variants for kind in axis.models})
        raise UserError(
            f"axis {self.name!r} is written for {', '.join(have)}; model {model!r} needs {wanted!r}. "
            f"Axes for this model: {', '.join(shipped_axes(wanted)) or 'none'}; or give the path of your own axis file."
        )

    def prompts(self) -> dict[str, tuple[str, ...]]:
        """The user texts of the four prompt lists, by list name."""
        users = tuple(context.user for context in self.contexts)
        return {"contexts": users, "train": self.train, "select": self.select, "probes": self.probes}

    def half(self, name: str) -> tuple[Question, ...]:
        """The questions of a half: "select" chooses doses, "report" judges (`halves_of`)."""
        return tuple(self.questions[i] for i in halves_of(self.questions)[name])

    def overlap(self, texts: Iterable[str]) -> list[tuple[str, str]]:
        """(list name, text) of every prompt of this axis that is also in `texts`, compared by `text_key`."""
        known = {text_key(text) for text in texts}
        return [(name, text) for name, listed in self.prompts().items() for text in listed if text_key(text) in known]

    def to_dict(self) -> dict[str, Any]:
        """Plain data; written as JSON, `load_axis` reads it back into an equal axis."""
        table = dataclasses.asdict(self) | {"questions": [question.to_dict() for question in self.questions]}
        if not self.refusal:  # so that runs stored before it was known keep their keys
            table.pop("refusal")
        return dict(json.loads(json.dumps(table)))


def load_axis(name_or_path: str | Path) -> Axis:
    """The axis of a shipped name, or of a TOML/JSON file; UserError says what is wrong and what to write instead."""
    if is_axis_path(name_or_path):
        return _load_file(Path(name_or_path).expanduser())
    check_axis(name_or_path)
    return next(axis for kind in MODEL_KINDS if (axis := _shipped(str(name_or_path), kind)))


def is_axis_path(source: str | Path) -> bool:
    """Whether an axis is named by a path; else it is a name of the package."""
    return isinstance(source, Path) or source.endswith((".toml", ".json")) or os.sep in source


def check_axis(source: str | Path) -> None:
    """UserError for a name that no shipped axis has. A path is not looked at: its file may have moved."""
    if not is_axis_path(source) and source not in (known := shipped_axes()):
        raise UserError(
            f"no shipped axis is called {source!r}.{near(str(source), known)} Shipped: {', '.join(known)}; "
            "or give the path of a .toml or .json file."
        )


def shipped_axes(kind: str | None = None) -> list[str]:
    """Names of the axes in the package, sorted; kind ("any", "mini"): only those written for such models."""
    names = {path.name.removesuffix(".toml").removesuffix(".mini") for path in (DATA / "axes").glob("*.toml")}
    return sorted(name for name in names if kind is None or any(kind in axis.models for axis in _variants(name)))


@lru_cache(maxsize=64)
def _shipped(name: str, kind: str) -> Axis | None:
    path = DATA / "axes" / (f"{name}.toml" if kind == "any" else f"{name}.{kind}.toml")
    return _load_file(path) if path.is_file() else None


def _variants(name: str) -> list[Axis]:
    """Every shipped file of this name, the one for any model first."""
    return [axis for kind in MODEL_KINDS if (axis := _shipped(name, kind))]


def _load_file(path: Path) -> Axis:
    try:
        axis = _build(read(path))
        _check_disjoint(axis)
    except UserError as error:
        raise UserError(f"{path.name}: {error}") from None
    return axis


def _build(raw: Mapping[str, Any]) -> Axis:
    check_keys(raw, REQUIRED, OPTIONAL, "axis")
    name, intended = as_text(raw["name"], "name"), raw["intended"]
    if not isinstance(intended, dict):
        raise UserError(
            f"intended must be a table (got {intended!r}). Write intended = {{ Care = 1 }}, or {{}} for none."
        )
    prompts = {key: as_texts(as_entries(raw[key], key), key) for key in ("train", "select", "probes")}
    return Axis(
        name=name,
        title=as_text(raw.get("title", name.replace("_", " ")), "title"),
        models=as_texts(raw.get("models", ["any"]), "models"),
        target=as_text(raw["target"], "target"),
        intended=dict(intended),
        positive=as_texts(raw["positive"], "positive"),
        negative=as_texts(raw["negative"], "negative"),
        contexts=tuple(as_context(entry) for entry in as_entries(raw["contexts"], "contexts")),
        narration=as_texts(raw.get("narration", []), "narration", may_be_empty=True),
        questions=tuple(as_question(entry) for entry in as_list(raw.get("questions", []), "questions")),
        neutral=as_texts(raw.get("neutral", []), "neutral", may_be_empty=True),
        refusal=as_texts(raw.get("refusal", []), "refusal", may_be_empty=True),
        engineered=as_text(raw["engineered"], "engineered") if raw.get("engineered") else "",
        **prompts,
    )


def _check_intended(axis: Axis) -> None:
    for name, sign in axis.intended.items():
        if name not in FOUNDATIONS:
            raise UserError(f"unknown foundation {name!r} in intended. Foundations: {', '.join(FOUNDATIONS)}.")
        if type(sign) is not int or sign not in (1, -1):
            raise UserError(
                f"the intended sign of {name} must be 1 or -1 (got {sign!r}). Leave out what should stay put."
            )


def _check_target(axis: Axis) -> None:
    if axis.outside and axis.target in FOUNDATIONS:
        raise UserError(
            f"intended is empty, but target {axis.target!r} is a foundation. "
            f"Write intended = {{ {axis.target} = 1 }}, or -1."
        )
    if axis.outside and not axis.questions:
        raise UserError(
            f"target {axis.target!r} is outside the foundations (intended is empty) and no questions judge it. "
            f"Add questions, or choose a target among {', '.join(FOUNDATIONS)}."
        )
    if not axis.outside and axis.target not in FOUNDATIONS:
        raise UserError(
            f"unknown foundation {axis.target!r} as target. Foundations: {', '.join(FOUNDATIONS)}; "
            "for a trait outside them write intended = {} and questions."
        )
    if not axis.outside and axis.target not in axis.intended:
        raise UserError(
            f"target {axis.target!r} has no intended sign (intended: {', '.join(axis.intended)}). "
            f"Add {axis.target} = 1, or -1, to intended."
        )


def _check_poles(axis: Axis) -> None:
    for pole in ("positive", "negative"):
        if not getattr(axis, pole):
            raise UserError(
                f"the {pole} pole has no persona ([]). Write at least one, and its opposite in the other pole."
            )
    if len(axis.positive) != len(axis.negative):
        raise UserError(
            f"{len(axis.positive)} positive and {len(axis.negative)} negative personas. "
            "Write them in pairs: entry i of one list is the opposite of entry i of the other."
        )
    negative = {text_key(persona) for persona in axis.negative}
    if same := [persona for persona in axis.positive if text_key(persona) in negative]:
        raise UserError(
            f"the poles are identical in {same[0]!r}: no direction lies between them. Write two opposite personas."
        )


def _check_plain(axis: Axis) -> None:
    """An answer that takes neither side is a second coordinate: of foundation axes, and of all their questions."""
    without = [question.text for question in axis.questions if question.plain is None]
    if len(without) == len(axis.questions):
        return
    if axis.outside:
        raise UserError(
            f"target {axis.target!r} is outside the foundations, but {len(axis.questions) - len(without)} questions "
            "have a plain answer, which is read on foundation axes only. Leave plain out."
        )
    if without:
        raise UserError(
            f"{len(without)} of {len(axis.questions)} questions have no plain answer (the first: {without[0][:60]!r}). "
            "Write one for every question, or for none."
        )


def _check_patterns(axis: Axis) -> None:
    for kind, pattern in [*(("narration", p) for p in axis.narration), *(("refusal", p) for p in axis.refusal)]:
        try:
            re.compile(pattern)
        except (re.error, OverflowError, RecursionError) as error:
            raise UserError(
                f"{kind} pattern {pattern!r} is no regular expression ({error}). Escape its special characters."
            ) from None


def _check_disjoint(axis: Axis) -> None:
    """What extracts, trains, chooses and reports shares no text; contexts may repeat one under another prefix."""
    if len(set(axis.contexts)) < len(axis.contexts):
        twice = next(c for i, c in enumerate(axis.contexts) if c in axis.contexts[:i])
        raise UserError(f"contexts holds {twice.user[:80]!r} twice. Remove one.")
    seen = {key: f"evaluation item {where}" for key, where in item_keys().items()}
    lists = {**axis.prompts(), "questions": tuple(question.text for question in axis.questions)}
    for name, texts in lists.items():
        for text in texts:
            other = seen.get(text_key(text))
            if other == name and name != "contexts":
                raise UserError(f"{name} holds {text[:80]!r} twice. Remove one.")
            if other not in (None, name):
                raise UserError(
                    f"{name} and {other} share {text[:80]!r}. Keep it in one of them: they must be disjoint."
                )
            seen[text_key(text)] = name
