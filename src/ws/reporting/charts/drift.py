"""Drift from base before and after a heal, of kept and of dropped texts."""

from __future__ import annotations

import altair as alt
import polars as pl

from ws.reporting.charts.style import GREEN, GREY, ORANGE, embedded

__all__ = ["drift_chart"]

UNITS = {"kl": "KL to base (nats per token)", "worst_share": "share of the KL on the worst 5 % of tokens"}


def drift_chart(drift: pl.DataFrame, reading: str = "kl") -> alt.TopLevelMixin:
    """One reading of the drift (ws.evaluation.drift) before and after a heal, by group of completions, with 95 %
    intervals."""
    rows = drift.filter(pl.col("reading") == reading, pl.col("stage").is_in(["before", "after"]))
    rows = rows.with_columns(pl.col("group").str.replace("_", " "))
    base = alt.Chart(rows).encode(
        x=alt.X("group:N", title="completions", axis=alt.Axis(labelAngle=0)),
        xOffset=alt.XOffset("stage:N", sort=["before"]),
    )
    colour = alt.Color("stage:N", title=None, scale=alt.Scale(domain=["before", "after"], range=[ORANGE, GREEN]))
    bars = base.mark_bar(opacity=0.6).encode(y=alt.Y("value:Q", title=UNITS.get(reading, reading)), color=colour)
    spans = base.mark_rule(color=GREY, strokeWidth=2).encode(y="low:Q", y2="high:Q")
    chart: alt.TopLevelMixin = embedded(alt.layer(bars, spans).properties(width=300, height=180))
    return chart
