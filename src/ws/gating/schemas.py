"""Columns of the frames that gates read. They hold numbers only, so that a planted outcome is a planted frame."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import polars as pl

from ws.gating.foundations import FOUNDATIONS, off_target

# One row per arm, a name of ws.gating.arm_table. split: select (doses are chosen there) or report; `chosen` marks
# the dose # that is being judged. d_target is signed so that positive is as intended, d_self is it under self_violate,
# d_answer per answer instead of per token where questions read it; d_<foundation> is not signed. Shifts are nats
# against the base row of the split.
TOPIC = ("on_prompt", "on_prompt_low", "on_prompt_high")
"""How far an arm's text keeps to its prompt, nats per token, in the arms where it was read (ws.evaluation.topic)."""
ARMS: dict[str, pl.DataType | type[pl.DataType]] = {
    "arm": pl.String, "split": pl.String, "c": pl.Float64, "chosen": pl.Boolean, "draw": pl.Int32,
    "identity": pl.String, "stale": pl.Boolean,
    "d_target": pl.Float64, "d_target_low": pl.Float64, "d_target_high": pl.Float64, "d_diag": pl.Float64,
    "d_answer": pl.Float64, "d_answer_low": pl.Float64, "d_answer_high": pl.Float64,
    "d_self": pl.Float64, "d_self_low": pl.Float64, "d_self_high": pl.Float64,
    **{f"d_{f}{end}": pl.Float64 for f in FOUNDATIONS for end in ("", "_low", "_high")},
    "profile_target": pl.Float64, "order_gap": pl.Float64, "nonfinite": pl.Int32, "n_items": pl.Int32,
    "think": pl.String,
    "p_ans_any": pl.Float64, "p_ans_free": pl.Float64, "coh_text": pl.Float64,
    "coherence": pl.Float64, "coherence_low": pl.Float64, "coherence_high": pl.Float64, "n_text": pl.Int32,
    "tail_ppl": pl.Float64, "rep": pl.Float64, "kl": pl.Float64, "n_tokens": pl.Float64,
    "capability": pl.Float64, "capability_low": pl.Float64, "capability_high": pl.Float64,
    "protect": pl.Float64, "protect_low": pl.Float64, "protect_high": pl.Float64,
    "retain": pl.Float64, "retain_low": pl.Float64, "retain_high": pl.Float64,
    **dict.fromkeys(TOPIC, pl.Float64),
}  # fmt: skip

# What the drift of a heal reads (ws.evaluation.drift): reading, group of completions, stage (before, after,
# after/before).
DRIFT: dict[str, pl.DataType | type[pl.DataType]] = {
    "reading": pl.String, "group": pl.String, "stage": pl.String,
    "value": pl.Float64, "low": pl.Float64, "high": pl.Float64, "n": pl.Int32,
}  # fmt: skip

# One row per round of a loop (ws.runs.round_tables). Shifts and coherence are the healed model's against the
# pristine base; # kl_base, kl_prev: D to the base and to the round before at the end of the heal; reference: "base"
# or "prev".
ROUNDS: dict[str, pl.DataType | type[pl.DataType]] = {
    "round": pl.Int32,
    "d_target": pl.Float64, "d_target_low": pl.Float64, "d_target_high": pl.Float64,
    "coherence": pl.Float64, "coherence_low": pl.Float64, "coherence_high": pl.Float64, "nonfinite": pl.Int32,
    "coherence_base": pl.Float64, "coherence_steered": pl.Float64, "surgical": pl.Boolean, "c": pl.Float64,
    "cos_v0": pl.Float64, "kl_base": pl.Float64, "kl_prev": pl.Float64, "reference": pl.String,
    "kept": pl.Int32, "survival": pl.Float64,
}  # fmt: skip

# Columns of the completions that gate 2 reads; `dropped` is null or the first reason. Optional: worst_ppl, loop,
# `grammatical` (0-1), `fluent` (readable by worst_ppl and loop), `label` (the researcher's: "coherent" or "broken").
TEXTS = (
    "split",
    "c",
    "text",
    "n_tokens",
    "tail_ppl",
    "rep",
    "distinct3",
    "bite",
    "narrates",
    "refuses",
    "finished",
    "dropped",
)


@dataclass(frozen=True)
class Trait:
    """What the axis means to move: the headline target, and the sign of every intended foundation."""

    target: str
    intended: dict[str, int]
    by_questions: bool = False
    """the axis's questions read it, in nats per token, and the vignettes were left out"""
    failed: tuple[tuple[str, float], ...] = ()
    """(part of coherence, the base's value) of what the base fails: no gate reads it"""
    relative: bool = False
    """the base answers the vignettes' format, but not always: coherence counts answers relative to base's"""

    @property
    def unit(self) -> str:
        """Of d_target: answers to questions are read per token, outside the foundations always."""
        return "nat per token" if self.by_questions or self.target not in FOUNDATIONS else "nat"

    @property
    def unread(self) -> str:
        """What is not readable on this model, in words; "" where all is."""
        return "; ".join(f"not readable on this model: {part} {value:.2f}" for part, value in self.failed)

    def fails(self, part: str) -> bool:
        """Whether the base fails this part of coherence."""
        return any(part == name for name, _ in self.failed)

    @property
    def off(self) -> tuple[str, ...]:
        """The foundations that should stay."""
        return off_target(self.target, self.intended)


def arms_frame(rows: list[dict[str, object]], further: Sequence[str] = ()) -> pl.DataFrame:
    """Rows as an arms frame, columns ARMS and behind them the figures `further`; what a row lacks is null.

    ValueError for another column, and for a further figure that has the name of one in ARMS.
    """
    unknown, taken = {key for row in rows for key in row} - {*ARMS, *further}, set(ARMS) & set(further)
    if unknown or taken:
        raise ValueError(f"arms have no column {sorted(unknown)}" if unknown else f"arms have {sorted(taken)} already")
    schema = ARMS | dict.fromkeys(further, pl.Float64)
    return pl.DataFrame([{key: row.get(key) for key in schema} for row in rows], schema=schema)


def further_figures(columns: Sequence[str]) -> list[str]:
    """The figures behind ARMS in a table of arms, without the ends of their intervals."""
    found = [name for name in columns if name not in ARMS]
    ends = {f"{name}{end}" for name in found for end in ("_low", "_high")}
    return [name for name in found if name not in ends]
