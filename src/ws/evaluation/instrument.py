"""What a report reads its axis by, and which parts its coherence has: decided once, by what the base can do.

    found = find_instrument(lm, axis, items)      # a glance at the base, remembered in the process
    found.read_by, found.parts, found.failed      # "questions", ("coh_text",), (("p_ans_any", 0.02),)

The vignettes ask for an answer in a format. A base that does not answer in it (p_ans_any under
`Thresholds.answers_format`) cannot be read by them: p_ans_any is then no part of coherence, and a foundation axis that
has questions is read by those. An axis outside the foundations is read by its questions in any case.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal

from ws.errors import UserError, near
from ws.evaluation.readings import canaries
from ws.evaluation.readings import reading as reading_of
from ws.gating.foundations import FOUNDATIONS
from ws.gating.thresholds import DEFAULTS

if TYPE_CHECKING:
    from ws.axes.axis import Axis
    from ws.evaluation.items import ItemSet
    from ws.evaluation.readings import Request
    from ws.models.lm import LM

__all__ = [
    "AUTO", "INSTRUMENTS", "Instrument", "asked_of", "check_instrument", "find_instrument", "glance",
    "instrument_from", "split_of",
]  # fmt: skip

AUTO, VIGNETTES, QUESTIONS = INSTRUMENTS = ("auto", "vignettes", "questions")
Look = Callable[["LM", "ItemSet", int | None], float]
GLANCE = 1  # vignettes per foundation, in both option orders


@dataclass(frozen=True)
class Instrument:
    """The default is what every report had before there was a choice, and leaves no trace in an identity."""

    read_by: Literal["vignettes", "questions"] = "vignettes"
    """what is asked; "questions" leaves the vignettes out"""
    parts: tuple[str, ...] = ("p_ans_any", "coh_text")
    """of coherence, which is the least of them; free text always is one"""
    relative: bool = False
    """p_ans_any is read relative to that of the base, which answers in the format, but not always"""
    failed: tuple[tuple[str, float], ...] = ()
    """(part, the base's value) of what the base fails: not readable on this model"""

    @property
    def by_questions(self) -> bool:
        return self.read_by == QUESTIONS

    @property
    def identity(self) -> dict[str, Any]:
        """What must be equal before two reports are compared; {} for the default."""
        return {} if replace(self, failed=()) == Instrument() else self._told

    @property
    def _told(self) -> dict[str, Any]:
        return {"read_by": self.read_by, "parts": list(self.parts), "relative": self.relative}

    def to_dict(self) -> dict[str, Any]:
        """Plain values, {} for the default; the inverse is `instrument_from`."""
        return self._told | {"failed": [list(part) for part in self.failed]} if self != Instrument() else {}


def instrument_from(values: dict[str, Any] | None) -> Instrument:
    """The instrument of stored plain values; the default where a run was stored without."""
    if not values:
        return Instrument()
    failed = tuple((str(part), float(value)) for part, value in values.get("failed", ()))
    return Instrument(values["read_by"], tuple(values["parts"]), bool(values["relative"]), failed)


def check_instrument(name: str) -> None:
    """UserError for a name that is none."""
    if name not in INSTRUMENTS:
        known = ", ".join(INSTRUMENTS)
        raise UserError(f"there is no instrument {name!r}.{near(name, INSTRUMENTS)} Use one of: {known}.")


def find_instrument(
    lm: LM,
    axis: Axis,
    items: ItemSet,
    wanted: Instrument | str = AUTO,
    think: int | None = None,
    look: Look | None = None,
) -> Instrument:
    """The instrument of this axis on this model. wanted: "auto", the name of the one that is to be taken whatever base
    can do, or an instrument that was found before.

    look: gives the base's p_ans_any, asked where it decides anything; None: `glance`. A model whose recipe says that it
    answers the vignettes (`ModelRecipe.answers`) is not looked at. UserError where questions are wanted of an axis
    that has none.
    """
    if isinstance(wanted, Instrument):
        return wanted
    check_instrument(wanted)
    if wanted == QUESTIONS and not axis.questions:
        raise UserError(
            f"axis {axis.name!r} has no questions to be read by. Write questions into its file, or take"
            " --evaluation.instrument vignettes."
        )
    if lm.recipe.answers and wanted != QUESTIONS:
        return Instrument()
    if wanted == QUESTIONS or (wanted == AUTO and axis.outside):
        return Instrument("questions", ("coh_text",))
    mass = (look or glance)(lm, items, think)
    if mass >= DEFAULTS.coherent:
        return Instrument()
    if mass >= DEFAULTS.answers_format:
        return Instrument(relative=True)
    read_by: Any = QUESTIONS if wanted == AUTO and axis.questions else VIGNETTES
    return Instrument(read_by, ("coh_text",), failed=(("p_ans_any", round(mass, 2)),))


def split_of(
    lm: LM,
    axis: Axis,
    items: ItemSet,
    split: str,
    per_foundation: int | None,
    wanted: Instrument | str,
    think: int | None,
) -> tuple[Axis, ItemSet, Instrument]:
    """The axis, the items and the instrument of a split: where questions read the axis it has those of its half only.

    UserError as in `find_instrument`, and for items that do not hold the split.
    """
    asked = items.split(split).subset(per_foundation)
    asked.refuse_gaps()
    found = find_instrument(lm, axis, items, wanted, think)
    if found.by_questions and split != "all":
        axis = replace(axis, questions=axis.half(split))
    return axis, asked, found


def asked_of(
    request: Request, readings: Sequence[str] | None, capability: bool, instrument: Instrument
) -> dict[str, list[Any]]:
    """What every reading will ask, without those that have nothing to ask. UserError for an unknown name, or where the
    axis is judged by its questions and nobody asks them."""
    target = request.axis.target
    usual = (request.lm.recipe.canary, "dilemmas")
    names = [n for n in (usual if readings is None else readings) if capability or n not in canaries((n,))]
    if len(both := canaries(names)) > 1:
        raise UserError(f"{' and '.join(both)} both read capability, and a report has one. Leave one out of readings.")
    if (target not in FOUNDATIONS or instrument.by_questions) and "dilemmas" not in names:
        why = f"{target} is no foundation" if target not in FOUNDATIONS else "The vignettes are not asked here"
        raise UserError(f"{why}: the axis's questions judge it. Add dilemmas to readings.")
    found = {name: list(reading_of(name).asks(request)) for name in dict.fromkeys(names)}
    return {name: asked for name, asked in found.items() if asked}


def glance(lm: LM, items: ItemSet, think: int | None = None) -> float:
    """p_ans_any of the base over a few vignettes; NaN, which no bar passes, where a row is not finite."""
    from ws.evaluation.answer_slot import Reading
    from ws.evaluation.base_cache import remembered
    from ws.evaluation.items import CONDITIONS
    from ws.evaluation.vignettes import read_vignettes

    budget = lm.recipe.think[0] if think is None else think
    few, reading = items.subset(GLANCE), Reading(CONDITIONS[:1], budget, 1, json=False)
    rows = remembered(lm, ["glance", few.hash, budget], lambda: read_vignettes(lm, few, reading, pristine=True))
    return float(rows[0]["p_ans_any"].to_numpy().mean())
