"""The arms of a run, one table: what a row of a report is called, in files and in words. Imports nothing of ws.

An arm is one treatment of the model that is measured: the base, a dose, a prompt, a healed student. A new arm is a line
of `TABLE`, and whoever measures it.
"""

from __future__ import annotations

from dataclasses import dataclass

__all__ = [
    "ANTI_PERSONA", "BASE", "DOSED", "HEALED", "HEALED_PERSONA", "HEALED_SEED", "PERSONA", "PERSONA_ENGINEERED",
    "PLACES", "RANDOM", "RETAINING", "SEARCHED", "SEEDS", "SFT", "SFT_BASE", "SHORT", "STEER", "STEERED", "STEPS",
    "STUDENT", "TABLE", "TRAINED", "UNSTEERED_TEXT", "WORDS", "ArmKind",
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


TABLE = (
    ArmKind(BASE, "base", select=True),
    ArmKind(STUDENT, "student, unsteered", select=True),
    ArmKind(PERSONA, "persona as system prompt", prompted=True),
    ArmKind(PERSONA_ENGINEERED, "engineered system prompt", prompted=True),
    ArmKind(ANTI_PERSONA, "opposite persona", prompted=True),
    ArmKind(RANDOM, "random directions, same KL", dosed=True),
    ArmKind(STEER, STEERED, STEERED, dosed=True, select=True),
    ArmKind(HEALED, "healed, unsteered", HEALED, trained=True),
    ArmKind(HEALED_SEED, "healed, another seed", HEALED, trained=True),
    ArmKind(HEALED_PERSONA, "healed, with the persona", trained=True, prompted=True),
    ArmKind(SFT, "trained without barrier", "trained without barrier", trained=True),
    ArmKind(SFT_BASE, "trained on unsteered text", "trained on unsteered text", trained=True),
)
"""Every arm, in the order in which tables show them."""
WORDS = {kind.name: kind.words for kind in TABLE}
SHORT = {kind.name: kind.short for kind in TABLE if kind.short}
PLACES = {kind.name: place for place, kind in enumerate(TABLE)}
TRAINED = tuple(kind.name for kind in TABLE if kind.trained)
RETAINING = tuple(kind.name for kind in TABLE if kind.trained and not kind.prompted)
"""Arms of which `retain` is formed: under a persona the prompt moves the target as well."""
DOSED = tuple(kind.name for kind in TABLE if kind.dosed)
SEARCHED = tuple(kind.name for kind in TABLE if kind.select)
SEEDS = tuple(kind.name for kind in TABLE if kind.short == HEALED)
"""The healed model of every seed, the leading one first."""
STEPS = (BASE, STEERED, HEALED)
"""What a run goes through, step by step."""
