"""The arms of a run, one table: what a row of a report is called, in files and in words. Imports nothing of ws.

An arm is one treatment of the model that is measured: the base, a dose, a prompt, a healed student. A new arm is a line
of `TABLE`, and whoever measures it.
"""

from __future__ import annotations

from dataclasses import dataclass

__all__ = [
    "ANTI_PERSONA", "BASE", "HEALED", "HEALED_PERSONA", "HEALED_SEED", "PERSONA", "PERSONA_ENGINEERED", "RANDOM",
    "SFT", "SFT_BASE", "SFT_UNFILTERED", "STEER", "STEERED", "STEPS", "STUDENT", "TABLE", "UNFILTERED",
    "UNSTEERED_TEXT", "ArmKind", "dosed_arms", "place_of", "retaining_arms", "searched_arms", "seed_arms",
    "short_words", "trained_arms", "words_of",
]  # fmt: skip

# As they are called in the column `arm` of stored files
BASE = "base"
STUDENT = "student"
PERSONA = "persona"
PERSONA_ENGINEERED = "persona_engineered"
ANTI_PERSONA = "anti_persona"
RANDOM = "random"
STEER = "steer"
HEALED = "healed"
HEALED_SEED = "healed_seed"
HEALED_PERSONA = "healed_persona"
SFT = "sft"
SFT_BASE = "sft_base"
UNFILTERED = "unfiltered"
SFT_UNFILTERED = "sft_unfiltered"

STEERED = "steered"
"""The arm STEER in one word, where arms stand side by side."""
UNSTEERED_TEXT = "unsteered text"
"""The arm SFT_BASE beside a point of a picture."""


@dataclass(frozen=True)
class ArmKind:
    """One line of the table."""

    name: str
    """in the column `arm`"""
    words: str
    """in tables for a reader"""
    short: str = ""
    """in comparisons over runs, where seeds of one thing share a word; "" where it is not compared"""
    trained: bool = False
    """the round's training is in its weights"""
    prompted: bool = False
    """a persona is its system prompt"""
    dosed: bool = False
    """a direction is added, at a dose"""
    select: bool = False
    """measured on the select set, too, in the dose search; every arm is on the report set"""


TABLE: tuple[ArmKind, ...] = (
    ArmKind(BASE, "base", select=True),
    ArmKind(STUDENT, "student, unsteered", select=True),
    ArmKind(PERSONA, "persona as system prompt", prompted=True, select=True),
    ArmKind(PERSONA_ENGINEERED, "engineered system prompt", prompted=True),
    ArmKind(ANTI_PERSONA, "opposite persona", prompted=True),
    ArmKind(RANDOM, "random directions, same KL", dosed=True),
    ArmKind(STEER, STEERED, STEERED, dosed=True, select=True),
    ArmKind(HEALED, "healed, unsteered", HEALED, trained=True),
    ArmKind(HEALED_SEED, "healed, another seed", HEALED, trained=True),
    ArmKind(HEALED_PERSONA, "healed, with the persona", trained=True, prompted=True),
    ArmKind(SFT, "trained without barrier", "trained without barrier", trained=True),
    ArmKind(UNFILTERED, "trained without filter", "trained without filter", trained=True),
    ArmKind(SFT_UNFILTERED, "trained with neither", "trained with neither", trained=True),
    ArmKind(SFT_BASE, "trained on unsteered text", "trained on unsteered text", trained=True),
)
"""Every arm, in the order in which tables show them."""
STEPS = (BASE, STEERED, HEALED)
"""What a run goes through, step by step."""


def words_of(arm: str) -> str:
    """An arm in tables for a reader; its own name where the table lacks it."""
    return next((kind.words for kind in TABLE if kind.name == arm), arm)


def place_of(arm: str) -> int:
    """Where tables show an arm; behind all others where the table lacks it."""
    return next((place for place, kind in enumerate(TABLE) if kind.name == arm), len(TABLE))


def short_words() -> dict[str, str]:
    """Arm -> its word in comparisons over runs; an arm that is not compared is left out."""
    return {kind.name: kind.short for kind in TABLE if kind.short}


def trained_arms() -> tuple[str, ...]:
    """Arms with the round's training in their weights."""
    return tuple(kind.name for kind in TABLE if kind.trained)


def retaining_arms() -> tuple[str, ...]:
    """Arms of which `retain` is formed: under a persona the prompt moves the target as well."""
    return tuple(kind.name for kind in TABLE if kind.trained and not kind.prompted)


def dosed_arms() -> tuple[str, ...]:
    """Arms with a direction added, at a dose."""
    return tuple(kind.name for kind in TABLE if kind.dosed)


def searched_arms() -> tuple[str, ...]:
    """Arms that the dose search measures."""
    return tuple(kind.name for kind in TABLE if kind.select)


def seed_arms() -> tuple[str, ...]:
    """The healed model of every seed, the leading one first."""
    return tuple(kind.name for kind in TABLE if kind.short == HEALED)
