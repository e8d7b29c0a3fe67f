"""Reports of one treatment under several dice as one report: more texts behind the same vignettes."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import polars as pl

from ws.evaluation.report import Report

__all__ = ["pooled"]


def pooled(reports: Sequence[Report]) -> Report:
    """The first report with the texts of all, whose samples are numbered on; identity and vignettes are the first's."""
    texts, start = [], 0
    for report in reports:
        texts.append(report.text.with_columns((pl.col("sample") + start).alias("sample")))
        if report.text.height:
            start += int(report.text["sample"].max()) + 1  # type: ignore[arg-type]
    return dataclasses.replace(reports[0], text=pl.concat([text.cast(reports[0].text.schema) for text in texts]))
