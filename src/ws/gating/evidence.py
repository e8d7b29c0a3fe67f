"""Evidence: which rows and samples an outcome rests on, as ids to look up, said behind its figures.

    EvidenceQuery("row", "steer", "most", "rows that moved most")
    -> "; rows that moved most: conflict-012 +2.31, conflict-040 +2.02, conflict-007 +1.88"

The ids are those of the stored frames: a vignette's id, a sample's prompt id and number, an exam's or a dilemma's
question. The frame is made by `ws.runs.evidence_rows` from a round's reports.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import polars as pl

NAMED = 3  # ids per query: enough to look, few enough to read

# kind: row (value: nats of the target as intended, against base), sample (value: perplexity), exam (no value; rows that
# base answered), order (value: gap between the option orders), list (value: p_ans_any). bad: not finite, not readable,
# wrong, over or under nothing.
EVIDENCE: dict[str, pl.DataType | type[pl.DataType]] = {
    "arm": pl.String, "kind": pl.String, "id": pl.String, "value": pl.Float64, "bad": pl.Boolean,
}  # fmt: skip


@dataclass(frozen=True)
class EvidenceQuery:
    """What to show of the evidence frame: of one kind and arm, the greatest or least values, the bad or the good."""

    kind: str
    arm: str
    which: Literal["most", "least", "bad", "good"]
    title: str

    def said(self, evidence: pl.DataFrame) -> str:
        """ "; title: id value, id value"; "" where there are none. A sample's value is named: it is no shift."""
        rows = evidence.filter(pl.col("kind") == self.kind, pl.col("arm") == self.arm)
        if self.which in ("bad", "good"):
            rows = rows.filter(pl.col("bad") == (self.which == "bad"))
        else:
            rows = rows.filter(pl.col("value").is_finite())
        rows = rows.sort("value", "id", descending=[self.which in ("most", "bad"), False], nulls_last=True).head(NAMED)
        form = {"row": " {:+.2f}", "sample": " (perplexity {:.1f})"}.get(self.kind, " {:.2f}")
        named = [i + ("" if value is None else form.format(value)) for i, value in rows.select("id", "value").rows()]
        return f"; {self.title}: {', '.join(named)}" if named else ""


def moved(arm: str) -> tuple[EvidenceQuery, ...]:
    """The rows in which the target moved most and least, as intended."""
    return EvidenceQuery("row", arm, "most", "rows that moved most"), EvidenceQuery("row", arm, "least", "least")


def readable(arm: str) -> tuple[EvidenceQuery, ...]:
    """Samples of the arm that read well, smoothest first."""
    return (EvidenceQuery("sample", arm, "good", "samples"),)


def babble(arm: str) -> tuple[EvidenceQuery, ...]:
    """Samples of the arm that do not read well, worst first."""
    return (EvidenceQuery("sample", arm, "bad", "broken samples"),)


def lost(arm: str) -> tuple[EvidenceQuery, ...]:
    """Exam questions that base answered and the arm did not."""
    return (EvidenceQuery("exam", arm, "bad", "lost answers"),)


def unfinite(*arms: str) -> tuple[EvidenceQuery, ...]:
    """Rows without a finite reading."""
    return tuple(EvidenceQuery("row", arm, "bad", f"rows of {arm}") for arm in arms)
