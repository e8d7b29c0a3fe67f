"""Gate (one verdict) and Row (a line of a gate's precedence table), and the rules that every gate shares."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

import polars as pl

from ws.gating.evidence import EvidenceQuery
from ws.gating.thresholds import Thresholds
from ws.intervals import with_interval

Check = tuple[str, bool, bool, str]  # outcome, measured, seen, evidence
Finding = tuple[bool | None, str]  # seen (None: not measured), evidence
F = TypeVar("F")
SHARES = {"filter": "kept", "heal": "retains"}
"""Gates whose figure is a share, and how it is said."""


@dataclass(frozen=True)
class Gate:
    """One verdict: a primary outcome by precedence, what else holds, all outcomes with evidence, what to do next."""

    gate: int
    name: str
    outcome: str
    also: list[str]
    checks: list[Check]
    colour: str
    value: float | None
    low: float | None
    high: float | None
    should: str
    next: str
    note: str = ""
    """the researcher's own judgement in words"""
    caveats: list[str] = dataclasses.field(default_factory=list)
    """what the reader must know to weigh it: a single seed, few completions, definitions that disagree"""
    unit: str = "nat"
    """of `value` where it is a shift of the target (`Trait.unit`)"""

    @property
    def evidence(self) -> str:
        """Evidence of the primary outcome."""
        return next((check[3] for check in self.checks if check[0] == self.outcome), "")

    @property
    def figure(self) -> str:
        """The number behind the verdict, said with its interval and unit: "target 1.30 [1.05, 1.53] nat"."""
        if self.value is None or math.isnan(self.value):
            return "no figure"
        if self.name not in SHARES:
            named, unit = ("base profile", "") if self.name == "instrument" else ("target", f" {self.unit}")
            return f"{named} {with_interval(self.value, self.low, self.high)}{unit}"
        between = ""
        if self.low is not None and self.high is not None:
            between = f" [{100 * self.low:.0f}, {100 * self.high:.0f}]"
        return f"{SHARES[self.name]} {100 * self.value:.0f} %{between}"

    def with_note(self, note: str) -> Gate:
        return dataclasses.replace(self, note=note)

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return dataclasses.asdict(self)

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Gate:
        return cls(**{**values, "checks": [tuple(c) for c in values["checks"]]})


@dataclass(frozen=True)
class Row(Generic[F]):
    """One line of a gate's precedence table."""

    outcome: str
    look: Callable[[F], Finding]
    decides: bool = True
    """False: never the primary outcome, only beside it"""
    red: bool = False
    """the gate is red when this is seen, whatever the figures say"""
    yellow: bool = False
    """the gate is at best yellow when this is seen"""
    shows: tuple[EvidenceQuery, ...] = ()
    """rows and samples to name when this is seen"""

    def read(self, facts: F, evidence: pl.DataFrame | None) -> Finding:
        """Whether it is seen, and the evidence: figures, then the ids that they rest on."""
        seen, text = self.look(facts)
        if not seen or evidence is None:
            return seen, text
        return seen, text + "".join(query.said(evidence) for query in self.shows)


def decide(
    table: Sequence[Row[F]], facts: F, otherwise: Row[F], evidence: pl.DataFrame | None = None
) -> tuple[Row[F], list[Check], list[Row[F]]]:
    """The first deciding row that is seen (or `otherwise`), all checks with it in front, and every row seen.

    evidence: the rows and samples to name behind the figures (columns EVIDENCE).
    """
    found = [(row, *row.read(facts, evidence)) for row in table]
    seen = [row for row, is_seen, _ in found if is_seen]
    primary = next((row for row in seen if row.decides), otherwise)
    checks: list[Check] = [(row.outcome, s is not None, bool(s), text) for row, s, text in found]
    if primary is otherwise:
        checks.insert(0, (otherwise.outcome, True, True, otherwise.read(facts, evidence)[1]))
    checks.sort(key=lambda check: check[0] != primary.outcome)
    return primary, checks, seen


def near_end(low: float, high: float) -> float:
    """The end of an interval that is nearest to 0; 0 when it spans 0; NaN stays NaN."""
    if math.isnan(low) or math.isnan(high):
        return math.nan
    if low <= 0 <= high:
        return 0.0
    return low if low > 0 else high


def verdict(shift: float, coherence: float, coherence_low: float, d_coh: float, d_target: float, *,
            surgical: bool | None, finite: bool, limits: Thresholds) -> str:  # fmt: skip
    """The colour, floors first: not finite, broken, no shift, not surgical: red; cheap, coherent: green; else yellow.

    shift: the near end of the target's interval, positive as intended; coherence_low: its interval's low end. surgical:
    None where that cannot be said, which is not held against it.
    """
    if not finite or math.isnan(coherence) or coherence < limits.broken:
        return "red"
    if math.isnan(shift) or shift < limits.shift:
        return "red"
    if surgical is False:
        return "red"
    cost = max(0.0, -d_coh) / abs(d_target)
    return "green" if cost <= limits.cost and coherence_low >= limits.coherent else "yellow"


def worst(colour: str, rows: Sequence[Row[F]]) -> str:
    """`colour`, or what the seen rows force it to."""
    if any(row.red for row in rows):
        return "red"
    return "yellow" if colour == "green" and any(row.yellow for row in rows) else colour


def seed_caveat(seeds: int, limits: Thresholds) -> list[str]:
    """One seed shows no spread, a few are too few to rank arms."""
    few = [f"{seeds} seeds: arms are not ranked before {limits.ranked}"] if seeds < limits.ranked else []
    return ["single seed"] if seeds < 2 else few
