"""The table of arms from reports, as it is printed, drawn and judged: one row per arm, shifts against the base row."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl

from ws.evaluation.comparison import PARTS, compare, retain, summary
from ws.evaluation.report import Report
from ws.files import digest
from ws.gating.arm_table import BASE, STEER, retaining_arms
from ws.gating.foundations import FOUNDATIONS
from ws.gating.schemas import TOPIC, arms_frame
from ws.intervals import Interval, finite_or_none

__all__ = [
    "Arm", "arms_of", "kl_p95", "reports_frame", "reports_of", "stacked", "topic_frame", "with_retain",
    "with_topic",
]  # fmt: skip

LABELS = {"arm": pl.String, "split": pl.String, "c": pl.Float64, "chosen": pl.Boolean, "draw": pl.Int32}
COPIED = (
    "p_ans_any",
    "p_ans_free",
    "coh_text",
    "order_gap",
    "capability",
    "capability_low",
    "capability_high",
    "protect",
    "protect_low",
    "protect_high",
)


@dataclass(frozen=True)
class Arm:
    """A report with its place in the table."""

    arm: str
    report: Report
    c: float = 0.0
    split: str = "report"
    chosen: bool | None = None
    draw: int | None = None
    kl: float | None = None
    """measured elsewhere, where the report holds no free text"""


def arms_of(base: Report, arms: Sequence[Arm], direction_fingerprint: str) -> pl.DataFrame:
    """The arms as a frame, every shift against `base`: columns ARMS, behind them the figures of further readings.

    UserError for a report of another instrument.
    """
    further = list(dict.fromkeys(name for arm in arms for name in arm.report.further))
    return arms_frame([_row(base, arm, direction_fingerprint) for arm in arms], further)


def _row(base: Report, arm: Arm, fingerprint: str) -> dict[str, Any]:
    report = arm.report
    found, shifts = report.summary(), summary(compare(base, report))
    row: dict[str, Any] = {name: getattr(arm, name) for name in LABELS}
    moved = ("target", "answer", "self", *FOUNDATIONS)
    row |= {f"d_{name}{end}": shifts[f"d_{name}{end}"] for name in moved for end in ("", "_low", "_high")}
    row |= {name: shifts[name] for name in ("coherence", "coherence_low", "coherence_high")}
    row |= {name: found[name] for name in COPIED}
    row |= {
        "d_diag": shifts["d_target_diag"],
        "profile_target": found.get(f"profile_{report.target}", math.nan),
        "identity": digest(comparable(report)),
        "stale": arm.arm == STEER and report.subject["fingerprint"] != fingerprint,
        "nonfinite": report.n_bad,
        "n_items": report.n_items,
        "n_text": report.text.height,
        "think": None if report.identity["think"] is None else f"T = {report.identity['think']}",
        "kl": kl_p95(report.text) if arm.kl is None else arm.kl,
        "tail_ppl": _median(report.text, "tail_ppl"),
        "rep": _mean(report.text, "rep"),
        "n_tokens": _mean(report.text, "n_tokens"),
    } | report.further
    return {name: _null(value) for name, value in row.items()}


def with_retain(table: pl.DataFrame, arms: Sequence[Arm], doses: Sequence[float]) -> pl.DataFrame:
    """The table of these arms, its trained rows saying how much of the steered shift they retain, with its interval.

    arms: base and the steered doses among them. doses: c of every training row.
    """
    base = next(arm.report for arm in arms if arm.arm == BASE)
    steered = [arm.report for arm in arms if arm.arm == STEER]
    kept = [retain(base, arm.report, steered, doses) if arm.arm in retaining_arms() else None for arm in arms]
    columns = {
        name: pl.Series([None if k is None else finite_or_none(getattr(k, part)) for k in kept], dtype=pl.Float64)
        for name, part in (("retain", "value"), ("retain_low", "low"), ("retain_high", "high"))
    }
    return table.with_columns(**columns)


def topic_frame(found: Sequence[tuple[Arm, Interval]]) -> pl.DataFrame:
    """How far the text of arms keeps to its prompt (`ws.evaluation.topic`): columns arm, c, on_prompt with its
    interval, nats per token; null where that could not be read."""
    rows = [(arm.arm, arm.c, *(finite_or_none(x) for x in (at.value, at.low, at.high))) for arm, at in found]
    return pl.DataFrame(rows, schema={"arm": pl.String} | dict.fromkeys(("c", *TOPIC), pl.Float64), orient="row")


def with_topic(table: pl.DataFrame, topic: pl.DataFrame) -> pl.DataFrame:
    """The table of arms, and how far the arms' text keeps to its prompt (`topic_frame`)."""
    bare, on = table.drop(TOPIC, strict=False), ["arm", "c"]
    read = bare.join(topic, on=on, how="left", maintain_order="left", nulls_equal=True)
    return read.select(*dict.fromkeys([*table.columns, *TOPIC]))


def comparable(report: Report) -> dict[str, Any]:
    """The part of the identity that every arm shares: what one arm leaves out (text, capability) is no difference."""
    return {k: v for k, v in report.identity.items() if k not in PARTS}


def kl_p95(texts: pl.DataFrame) -> float:
    """95th percentile over all positions of the completions of KL(this arm || base), nats; NaN without texts."""
    if not texts.height:
        return math.nan
    values = texts["kl_drift"].explode().drop_nulls().to_numpy()
    return float(np.quantile(values, 0.95)) if len(values) else math.nan


def _null(value: Any) -> Any:
    return None if isinstance(value, float) and math.isnan(value) else value


def _median(frame: pl.DataFrame, column: str) -> float:
    values = frame[column].drop_nulls().to_numpy()
    return float(np.median(values)) if len(values) else math.nan


def _mean(frame: pl.DataFrame, column: str) -> float:
    values = frame[column].drop_nulls().to_numpy()
    return float(values.mean()) if len(values) else math.nan


def reports_frame(arms: Sequence[Arm]) -> pl.DataFrame:
    """The reports themselves, one row each with arm, split, c, chosen, draw in front: what eval.parquet holds."""
    rows = []
    for arm in arms:
        place = pl.DataFrame({name: [getattr(arm, name)] for name in LABELS}, schema=LABELS)
        rows.append(place.hstack(arm.report.to_frame().drop("c")))
    return stacked(rows)


def stacked(reports: Sequence[pl.DataFrame]) -> pl.DataFrame:
    """Frames of reports in one; a reading that some of them do not hold is null there."""
    return pl.concat(reports, how="diagonal")


def reports_of(frame: pl.DataFrame) -> list[Arm]:
    """The inverse of `reports_frame`."""
    return [
        Arm(report=Report.from_frame(frame.slice(i, 1)), **dict(zip(LABELS, place, strict=True)))
        for i, place in enumerate(frame.select(*LABELS).rows())
    ]
