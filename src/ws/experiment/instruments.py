"""The instrument of a run, decided before anything is steered; what the base can answer is kept under `out`."""

from __future__ import annotations

from pathlib import Path

from ws.axes.axis import Axis
from ws.errors import UserError
from ws.evaluation.instrument import Instrument, find_instrument, glance
from ws.evaluation.items import ItemSet, load_items
from ws.files import digest, read_sealed, sealed, write_json
from ws.gating.schemas import Trait
from ws.models.lm import LM
from ws.runs.config import RunConfig

__all__ = ["instrument_of", "instrument_text"]


def instrument_of(lm: LM, axis: Axis, config: RunConfig, out: Path) -> Instrument:
    """`find_instrument` for a run's configuration. UserError where it asks for questions and the axis has none."""

    def look(lm: LM, items: ItemSet, think: int | None) -> float:
        """The base's p_ans_any, measured once for these weights, items, think budget and number type."""
        budget = lm.recipe.think[0] if think is None else think
        settings = [lm.fingerprint, str(lm.dtype), lm.neutral, str(lm.tok.chat_template), items.hash, budget]
        place = out / "instruments" / f"{digest(settings)}.json"
        try:
            return float(read_sealed(place, "")["p_ans_any"])
        except (UserError, KeyError, TypeError, ValueError):  # not there, or damaged: measured again
            mass = glance(lm, items, think)
        write_json(place, sealed({"model": lm.name, "items": items.name, "think": budget, "p_ans_any": mass}))
        return mass

    e = config.evaluation
    return find_instrument(lm, axis, load_items(e.items, lm.recipe), e.instrument, e.think, look)


def instrument_text(axis: str, trait: Trait) -> str:
    """What is not the usual about a run's instrument, in a sentence or two; "" where nothing is."""
    told = f"{axis} is read by its questions, in nats per token; the vignettes are left out." * trait.by_questions
    return " ".join(part for part in (told, trait.unread and f"{trait.unread}.") if part)
