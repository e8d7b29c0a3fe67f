"""The bet: incoherent drift is large and erratic, trait drift small and systematic, so a barrier tells them apart.

Three parts decide it: the barrier's penalty falls mostly on incoherent text; drift orthogonal to the direction shrinks
more than drift along it; a larger share of the lost coherence comes back than of the trait goes. Beside them stand
where in a text the drift lies, and how much of it kept, dropped and on-trait texts hold.
"""

from __future__ import annotations

import math

import polars as pl

from ws.gating.gate import Finding
from ws.gating.heal_facts import HealFacts
from ws.intervals import as_float, with_interval

__all__ = ["bet_of", "reading_of"]

POSITIONS = ("first quarter", "last quarter")
"""Groups of the reading kl_at: where in a completion the drift is read."""


def reading_of(f: HealFacts, name: str, group: str, stage: str) -> dict[str, float]:
    """value, low, high of one reading of the drift; NaN where it was not taken."""
    at = (pl.col("reading") == name) & (pl.col("group") == group) & (pl.col("stage") == stage)
    rows = f.drift.filter(at) if f.drift is not None else pl.DataFrame()
    return rows.row(0, named=True) if rows.height else dict.fromkeys(("value", "low", "high"), math.nan)


def _mass(f: HealFacts) -> tuple[bool | None, str]:
    """Whether the barrier's penalty falls mostly on incoherent text, more than its share of the tokens."""
    mass = reading_of(f, "barrier_mass", "dropped", "before")
    tokens = reading_of(f, "tokens", "dropped", "before")["value"]
    if math.isnan(mass["value"]):
        return None, "the barrier would push nowhere"
    text = f"{with_interval(mass['value'], mass['low'], mass['high'])} of the barrier's penalty on incoherent text"
    return mass["low"] > max(f.limits.bet, tokens), f"{text}, which holds {as_float(tokens):.2f} of the tokens"


def _shrinks(f: HealFacts) -> tuple[bool | None, str]:
    """Whether drift orthogonal to the direction shrinks more than drift along it."""
    along, rest, gap = (reading_of(f, "left", group, "after/before") for group in ("along", "orthogonal", "gap"))
    if math.isnan(gap["value"]):
        return None, "drift along the direction was not measured"
    text = f"left after the heal: {along['value']:.2f} of the drift along the direction, {rest['value']:.2f} orthogonal"
    return gap["low"] > 0, f"{text}, gap {with_interval(gap['value'], gap['low'], gap['high'])}"


def _returns(f: HealFacts) -> tuple[bool | None, str]:
    """Whether a larger share of the lost coherence comes back than of the trait is lost."""
    kept = as_float(f.healed["retain"])
    if math.isnan(f.lost) or math.isnan(kept):
        return None, "coherence or retain is missing"
    if f.lost < f.limits.damage:
        return None, f"steering cost {f.lost:+.3f} of coherence {f.where}: nothing to return"
    back = (f.coherence - f.steered["coherence"]) / f.lost
    text = f"{back:.2f} of the {f.lost:.2f} of coherence that steering cost came back, {1 - kept:.2f} of the trait went"
    return back > 1 - kept, text


def _drift(f: HealFacts) -> str:
    """Where the drift of the steered texts lies: by kind of text, and by position in it."""
    kinds = [(name, reading_of(f, "kl", name, "before")["value"]) for name in ("kept", "dropped", "on_trait")]
    said = [f"{name.replace('_', '-')} {value:.2f}" for name, value in kinds if not math.isnan(value)]
    worst = reading_of(f, "worst_share", "all", "before")["value"]
    places = [(name, reading_of(f, "kl_at", name, "before")["value"]) for name in POSITIONS]
    parts = [f"KL to base in nats a token: {', '.join(said)}"] if said else []
    parts += [f"{worst:.2f} of it on the worst 5 % of positions"] if not math.isnan(worst) else []
    parts += [f"{value:.2f} in the {name}" for name, value in places if not math.isnan(value)]
    return "; ".join(parts)


def bet_of(f: HealFacts) -> Finding:
    """Yes, no or not to be said, in one sentence with its figures."""
    if f.drift is None or not f.drift.height:
        return None, "the drift from base was not read"
    parts = [_mass(f), _shrinks(f), _returns(f)]
    answers = [held for held, _ in parts]
    seen = False if False in answers else None if None in answers else True
    word = {True: "yes", False: "no", None: "cannot be said"}
    named = [f"{text} ({word[held] if held is not None else 'not measured'})" for held, text in parts]
    return seen, "; ".join([f"{word[seen]}: {named[0]}", *named[1:], *([_drift(f)] if _drift(f) else [])])
