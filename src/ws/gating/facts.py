"""Readings of the table of arms that more than one gate needs."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import polars as pl

from ws.gating.arm_table import BASE, PERSONA, PERSONA_ENGINEERED, STEER, STUDENT
from ws.gating.foundations import is_surgical, most_moved
from ws.gating.gate import Finding, Row, near_end
from ws.gating.knee import Knee, is_vague, knee_of, probes_of
from ws.gating.knee_topic import unsteered_tie
from ws.gating.schemas import TOPIC, Trait, further_figures
from ws.gating.thresholds import Thresholds
from ws.intervals import as_float, interval_of, with_interval


@dataclass(frozen=True)
class SteerFacts:
    """The two frames of arms and what is read off them more than once."""

    grid: pl.DataFrame  # the dose grid on the select set, c = 0 included
    arms: pl.DataFrame  # controls and the chosen dose on the report set
    trait: Trait
    limits: Thresholds
    floors: tuple[str, ...] = ()  # figures of further readings that must not fall

    @cached_property
    def base(self) -> dict[str, Any]:
        return row_of(self.arms, BASE)

    @cached_property
    def steer(self) -> dict[str, Any]:
        """The chosen dose; a row of nulls when no dose passed."""
        rows = self.arms.filter(pl.col("arm") == STEER, pl.col("chosen"))
        return rows.row(0, named=True) if rows.height else dict.fromkeys(self.arms.columns)

    @cached_property
    def doses(self) -> pl.DataFrame:
        """The grid's steered rows on the intended side, weakest first."""
        return self.grid.filter(pl.col("arm") == STEER, pl.col("c") > 0).sort("c")

    @cached_property
    def start(self) -> float:
        return start_of(self.arms)

    def ends(self, row: dict[str, Any]) -> tuple[float, float]:
        """The interval of what an arm adds to the start, nats; the start's own interval is left out."""
        return as_float(row["d_target_low"]) - self.start, as_float(row["d_target_high"]) - self.start

    @cached_property
    def shift(self) -> float:
        """The end nearest to 0 of what steering adds."""
        return near_end(*self.ends(self.steer))

    @cached_property
    def coherence(self) -> float:
        return as_float(self.steer["coherence"])

    @cached_property
    def d_coh(self) -> float:
        return self.coherence - as_float(self.base["coherence"])

    @cached_property
    def knee_text(self) -> str:
        """Where the dose search says that a dose is too strong, with its interval."""
        return "no dose search" if self.knee is None else self.knee.text

    @cached_property
    def knee(self) -> Knee | None:
        """Read off the dose search; None where no dose was searched."""
        probes = probes_of(self.grid)
        return knee_of(probes, self.limits.coherent, self.limits.topic) if probes.height > 1 else None

    @property
    def vague(self) -> list[str]:
        """That the knee rests on noise, where the search left its interval wide; else nothing."""
        at = None if self.knee is None else self.knee.at
        if self.knee is None or at is None or at.value == 0 or math.isinf(at.value) or not is_vague(at):
            return []
        return [f"rests on noise: {self.knee.text}, from {at.n} texts; more with --dose.texts or --dose.bisect"]

    @property
    def target_text(self) -> str:
        s = self.steer
        from_student = f", from {self.start:.2f} of the rounds before" if self.start else ""
        answer = f" ({as_float(s['d_answer']):.2f} nat per answer)" if s.get("d_answer") is not None else ""
        moved = f"d_target {interval_of(s, 'd_target')} {self.trait.unit}{answer}"
        return f"{moved} at c = {as_float(s['c']):.3g}{from_student}"

    @property
    def coherence_text(self) -> str:
        s = self.steer
        parts = [name for name in ("p_ans_any", "coh_text") if s[name] is not None or not self.trait.by_questions]
        told = [f"{name} {as_float(s[name]):.2f}" for name in parts if not self.trait.fails(name)]
        told += [self.trait.unread] if self.trait.unread else []
        return f"coherence {interval_of(s, 'coherence')} ({', '.join(told)})"


def fell_beyond(now: dict[str, Any], was: dict[str, Any], name: str) -> bool:
    """Whether a share fell by more than chance: each value lies outside the other's interval."""
    low = was.get(f"{name}_low")
    under = low is None or as_float(now[name]) < as_float(low)
    return as_float(now[f"{name}_high"]) < as_float(was[name]) and under


def left_topic(now: dict[str, Any], arms: pl.DataFrame, limits: Thresholds) -> Finding:
    """Whether an arm's text keeps so much less to its prompt than base's, and than the persona's, that it no longer
    answers what was asked: a style of its own ties text less to any prompt, as the prompted persona shows."""
    name = TOPIC[0]
    found = unsteered_tie(arms)
    if now.get(name) is None or found is None:
        return None, "not read in both arms"
    rows = {words: row_of(arms, arm) for words, arm in (("base's", BASE), ("the persona's", PERSONA))}
    told = [f"{words} by {further_text(row, name)}" for words, row in rows.items() if row.get(name) is not None]
    text = f"its prompt makes a text likelier than another by {further_text(now, name)} nat per token"
    return as_float(now[f"{name}_high"]) < limits.topic * found[0], ", ".join([text, *told])


def further_rows(
    columns: Sequence[str], now: dict[str, Any], was: dict[str, Any], floors: Sequence[str]
) -> tuple[Row[Any], ...]:
    """The line of a gate's table that reads the figures of further readings; none where the arms have none."""
    names = further_figures(columns)
    look = lambda _: fell_further(names, now, was, floors)  # noqa: E731
    return (Row("further reading fell", look, decides=False, yellow=True),) if names else ()


def fell_further(names: Sequence[str], now: dict[str, Any], was: dict[str, Any], floors: Sequence[str]) -> Finding:
    """Whether a floor among these figures fell beyond its interval, and every figure that both arms have."""
    both = [name for name in names if now[name] is not None and was[name] is not None]
    if not both:
        return None, f"{', '.join(names)}: not measured in both arms"
    text = "; ".join(f"{name} {further_text(was, name)} base, {further_text(now, name)} now" for name in both)
    return any(fell_beyond(now, was, name) for name in both if name in floors), text


def further_text(row: dict[str, Any], name: str) -> str:
    """A figure with its interval, where it has one."""
    return with_interval(row[name], row.get(f"{name}_low"), row.get(f"{name}_high"))


def start_of(arms: pl.DataFrame) -> float:
    """Nats of the target that the rounds before put into the weights, where this round starts; 0 in the first."""
    student = row_of(arms, STUDENT)["d_target"]
    return 0.0 if student is None else as_float(student)


def row_of(arms: pl.DataFrame, arm: str) -> dict[str, Any]:
    """The arm's single row, or its columns as None when it was not run."""
    rows = arms.filter(pl.col("arm") == arm)
    return rows.row(0, named=True) if rows.height else dict.fromkeys(arms.columns)


def best_prompt(arms: pl.DataFrame) -> tuple[dict[str, Any], str]:
    """The persona as a system prompt, plain or engineered, that moves the target more, and its name in words."""
    rows = [row_of(arms, name) for name in (PERSONA, PERSONA_ENGINEERED)]
    row = max(rows, key=lambda r: -math.inf if r["d_target_low"] is None else r["d_target_low"])
    return row, "engineered persona" if row["arm"] == PERSONA_ENGINEERED else "persona"


def off_target(row: dict[str, Any], trait: Trait) -> tuple[str, float]:
    """The unintended foundation that moved most, and by how many nats (absolute)."""
    return most_moved({f: row[f"d_{f}"] for f in trait.off})


def self_caveat(row: dict[str, Any]) -> list[str]:
    """A line where the target moves the other way once the asker is the one who does it, beyond its interval."""
    own = near_end(as_float(row.get("d_self_low")), as_float(row.get("d_self_high")))
    if math.isnan(own) or own * as_float(row["d_target"]) >= 0:
        return []
    return [f"self_violate disagrees in sign: d_self {interval_of(row, 'd_self')} nat"]


def surgical_of(row: dict[str, Any], trait: Trait) -> bool | None:
    """`ws.gating.foundations.is_surgical` of an arm's row."""
    shifts = {f: row[f"d_{f}"] for f in trait.off}
    return is_surgical(row["d_target"], shifts, trait.target, trait.intended)
