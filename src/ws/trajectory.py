"""A run's rounds as one frame: what gate 4 reads. From stored files only, no model."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import polars as pl

from ws.directions import Direction
from ws.gating.facts import is_surgical, num, one
from ws.gating.frames import ROUNDS, Trait
from ws.gating.gate import clean

if TYPE_CHECKING:
    from ws.runs import Run

__all__ = ["rounds_frame"]

TAIL = 0.1  # share of a heal's last steps whose mean is its KL


def rounds_frame(run: Run, last: int | None = None) -> pl.DataFrame:
    """One row (columns ROUNDS) for every round up to `last` whose healed model was measured, first to last.

    d_target and coherence are the healed model's against the pristine base; kl_base and kl_prev: D at the end of the
    heal; cos_v0: cosine of the round's concatenated direction with round 0's.
    """
    rows: list[dict[str, Any]] = []
    number = 0
    while run.has("healed.parquet", number) and run.has("arms.parquet", number) and (last is None or number <= last):
        rows.append(_row(run, number))
        number += 1
    return pl.DataFrame(rows, schema=ROUNDS)


def _row(run: Run, number: int) -> dict[str, Any]:
    arms, counts, curve = run.arms(number), run.get("heal.json", number), run.frame("heal", number)
    healed, base = one(arms, "healed"), one(arms, "base")
    steer = one(arms.filter(pl.col("chosen")), "steer")
    trait = Trait(run.axis["target"], dict(run.axis["intended"]))
    same = ("d_target", "d_target_low", "d_target_high", "coherence", "coherence_low", "coherence_high", "nonfinite")
    return {
        "round": number,
        **{name: healed[name] for name in same},
        "coherence_base": base["coherence"],
        "coherence_steered": steer["coherence"],
        "surgical": is_surgical(healed, trait),
        "c": steer["c"],
        "cos_v0": _cosine(run.get("direction.safetensors", 0), run.get("direction.safetensors", number)),
        "kl_base": _end(curve["kl_base"]),
        "kl_prev": _end(curve["kl_prev"]),
        "reference": run.config.heal.reference,
        "kept": counts["kept"],
        "survival": counts["passed"] / counts["generated"],
    }


def _end(values: pl.Series) -> float | None:
    """Mean over the last tenth of the steps."""
    logged = values.drop_nulls()
    return clean(num(logged.tail(max(1, round(TAIL * logged.len()))).mean()))


def _cosine(first: Direction, other: Direction) -> float | None:
    """None where the two rounds steer different blocks."""
    return other.cosine(first) if first.layers.keys() == other.layers.keys() else None
