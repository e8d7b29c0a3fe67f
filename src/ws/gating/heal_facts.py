"""What gate 3 reads more than once: the arms of a heal, where its data was written, what the training logged."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import polars as pl

from ws.gating.arm_table import BASE, HEALED, STEER
from ws.gating.facts import row_of, start_of
from ws.gating.gate import near_end
from ws.gating.schemas import Trait
from ws.gating.thresholds import Thresholds
from ws.intervals import as_float, interval_of

__all__ = ["HealFacts"]


@dataclass(frozen=True)
class HealFacts:
    """Arms base, steered and healed on the report set, and the training curve."""

    arms: pl.DataFrame
    curve: pl.DataFrame
    trait: Trait
    limits: Thresholds
    beta: float
    drift: pl.DataFrame | None = None
    """the readings of ws.evaluation.drift"""
    floors: tuple[str, ...] = ()
    """figures of further readings that must not fall"""
    doses: tuple[float, ...] = ()
    """c of every training row; none: the chosen dose wrote them all"""

    @cached_property
    def base(self) -> dict[str, Any]:
        return row_of(self.arms, BASE)

    @cached_property
    def healed(self) -> dict[str, Any]:
        return row_of(self.arms, HEALED)

    @cached_property
    def knee(self) -> list[tuple[float, dict[str, Any]]]:
        """The chosen dose as the only one."""
        return [(1.0, row_of(self.arms.filter(pl.col("chosen") | (pl.col("arm") != STEER)), STEER))]

    @cached_property
    def written(self) -> list[tuple[float, dict[str, Any]]]:
        """(share of the training rows, steered arm) of every dose that wrote them.

        The knee alone where no doses are told, or where one of them was read without free text (runs of before).
        """
        steered = self.arms.filter(pl.col("arm") == STEER).rows(named=True)
        found = []
        for c, n in sorted(Counter(self.doses).items()):
            row = next((row for row in steered if math.isclose(row["c"], c) and row["coherence"] is not None), None)
            if row is None:
                return self.knee
            found.append((n / len(self.doses), row))
        return found or self.knee

    @cached_property
    def steered(self) -> dict[str, float]:
        """d_target and coherence of the steered model at the doses of the data, with _low and _high.

        Means over the training rows, as `retain` takes them; the doses share their dice and items, so the ends are
        means of the ends.
        """
        names = [f"{name}{end}" for name in ("d_target", "coherence") for end in ("", "_low", "_high")]
        return {name: sum(share * as_float(row[name]) for share, row in self.written) for name in names}

    @cached_property
    def lost(self) -> float:
        """Coherence that steering costs at the doses of the data."""
        return as_float(self.base["coherence"]) - self.steered["coherence"]

    @cached_property
    def shift(self) -> float:
        return near_end(as_float(self.healed["d_target_low"]), as_float(self.healed["d_target_high"]))

    @cached_property
    def gained(self) -> float:
        """How far the target moved from the student that was trained, nats; before the first heal that is the base."""
        return as_float(self.healed["d_target"]) - start_of(self.arms)

    @cached_property
    def coherence(self) -> float:
        return as_float(self.healed["coherence"])

    @property
    def where(self) -> str:
        """Which doses the steered figures are of."""
        told = ", ".join(f"{as_float(row['c']):.3g}" for _, row in self.written)
        if self.written is self.knee and self.doses:
            return f"at the knee c {told}: the data's doses were read without text"
        return f"at c {told}"

    @property
    def coherence_text(self) -> str:
        return (
            f"coherence {as_float(self.base['coherence']):.2f} base, {interval_of(self.steered, 'coherence')} steered "
            f"({self.where}), "
            f"{interval_of(self.healed, 'coherence')} healed"
        )

    @property
    def retain_text(self) -> str:
        h = self.healed
        target = interval_of(h, "d_target")
        return f"retain {interval_of(h, 'retain')}, d_target {target} {self.trait.unit}"

    def logged(self, column: str) -> pl.Series:
        """The logged values of a column, without the steps that have none; empty where it was not logged."""
        if column not in self.curve.columns:
            return pl.Series([], dtype=pl.Float64)
        return self.curve[column].drop_nulls().drop_nans()

    def last(self, column: str) -> float:
        """Mean of a logged value over the last quarter of the steps; NaN where it was not logged."""
        values = self.logged(column)
        return as_float(values.tail(max(1, values.len() // 4)).mean())

    def fall(self, column: str) -> float | None:
        """Relative fall of a logged loss from its first to its last tenth; None where it was not logged."""
        values = self.logged(column)
        if values.len() < 2:
            return None
        k = max(1, values.len() // 10)
        first, last = as_float(values.head(k).mean()), as_float(values.tail(k).mean())
        return (first - last) / max(abs(first), 1e-9)
