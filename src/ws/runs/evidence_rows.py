"""Rows and samples of a round's reports, as the frame from which gates name their evidence (ws.gating.evidence)."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

import numpy as np
import polars as pl

from ws.evaluation.report import Report
from ws.files import read_frame
from ws.gating.arm_table import BASE, HEALED, STEER
from ws.gating.evidence import EVIDENCE
from ws.runs.arms import reports_of, stacked

__all__ = ["evidence_frame", "evidence_of"]

JUDGED = (BASE, STEER, HEALED)


def evidence_of(reports: Path, healed: Path | None = None) -> pl.DataFrame:
    """`evidence_frame` of a stored file of reports, remembered; healed: a file whose healed model takes the place of
    theirs."""
    return _read_evidence(reports, healed, *(file.stat().st_mtime_ns if file else 0 for file in (reports, healed)))


@lru_cache(maxsize=64)
def _read_evidence(reports: Path, healed: Path | None, *stamps: int) -> pl.DataFrame:
    """stamps: files are read again when they were written again."""
    frame = read_frame(reports)
    if healed is not None:
        frame = stacked([frame.filter(pl.col("arm") != HEALED), read_frame(healed)])
    return evidence_frame(frame)


def evidence_frame(reports: pl.DataFrame) -> pl.DataFrame:
    """Columns EVIDENCE, for the base, the chosen dose and the healed model among the reports (eval.parquet's rows).

    No rows without a base: shifts are read against it.
    """
    judged = reports.filter(pl.col("arm").is_in(JUDGED), (pl.col("arm") != STEER) | pl.col("chosen"))
    arms = reports_of(judged)
    base = next((arm.report for arm in arms if arm.arm == BASE), None)
    parts = [_of(arm.arm, part) for arm in arms if base is not None for part in _parts(base, arm.report)]
    return pl.concat([pl.DataFrame(schema=EVIDENCE), *parts])


def _of(arm: str, part: tuple[str, pl.DataFrame]) -> pl.DataFrame:
    kind, frame = part
    named = frame.with_columns(arm=pl.lit(arm), kind=pl.lit(kind))
    return named.select(pl.col(name).cast(dtype) for name, dtype in EVIDENCE.items())


def _parts(base: Report, report: Report) -> list[tuple[str, pl.DataFrame]]:
    """(kind, frame with id, value, bad) of everything that a report shows."""
    return [
        ("row", _rows(base, report)),
        ("sample", _samples(report.text)),
        ("exam", _exam(base.exam, report.exam)),
        ("order", _orders(report.rows)),
        ("list", report.rows.group_by("id").agg(value=pl.col("p_ans_any").mean(), bad=pl.lit(False))),
    ]


def _rows(base: Report, report: Report) -> pl.DataFrame:
    """Nats of the target as intended, row by row against base; the logratio of each question where questions
    read it."""
    if not report.by_questions:
        sign = report.intended[report.target]
        was, now = (_items(r.rows, pl.col(f"p_{r.target}").mean().log()) for r in (base, report))
    else:
        sign = 1
        was, now = (_items(r.dilemmas.rename({"question": "id"}), pl.col("logratio").mean()) for r in (base, report))
    both = now.join(was, on="id", how="inner", suffix="_base")
    shift = sign * (pl.col("value") - pl.col("value_base"))
    return both.select("id", value=shift, bad=~shift.is_finite())


def _items(rows: pl.DataFrame, value: pl.Expr) -> pl.DataFrame:
    return rows.group_by("id").agg(value=value)


def _samples(texts: pl.DataFrame) -> pl.DataFrame:
    """Free text by prompt id and number; null readability is left out."""
    named = pl.format("{}#{}", "prompt_id", "sample")
    told = pl.coalesce("worst_ppl", "tail_ppl")  # the score that the texts of this report are told by
    return texts.filter(pl.col("readable").is_not_null()).select(id=named, value=told, bad=~pl.col("readable"))


def _exam(base: pl.DataFrame, exam: pl.DataFrame) -> pl.DataFrame:
    """The questions that base answered, of those that count; bad: this arm did not."""
    counted = base.filter("correct").filter(pl.col("readable") if "readable" in base.columns else pl.lit(True))
    both = exam.join(counted.select("kind", "user"), on=["kind", "user"], how="semi")
    return both.select(id="user", value=pl.lit(None, pl.Float64), bad=~pl.col("correct"))


def _orders(rows: pl.DataFrame) -> pl.DataFrame:
    """Total variation between the two option orders of each row; nothing where one order was read."""
    both = rows.filter(pl.col("forward").is_not_null(), pl.col("reverse").is_not_null())
    if not both.height:
        return pl.DataFrame(schema={"id": pl.String, "value": pl.Float64, "bad": pl.Boolean})
    read = [np.array(both[name].to_list()) for name in ("forward", "reverse")]
    first, second = (np.exp(x - np.logaddexp.reduce(x, axis=1)[:, None]) for x in read)
    gaps = both.select("id", value=pl.Series(np.abs(first - second).sum(1) / 2))
    return gaps.group_by("id").agg(value=pl.col("value").mean(), bad=pl.lit(False))
