"""The bet as a picture: drift from base before and after a heal."""

from __future__ import annotations

import altair as alt
import polars as pl

from ws.charts.style import GREEN, ORANGE

__all__ = ["drift_chart"]

UNITS = {"kl": "KL to base (nats per token)"}


def drift_chart(drift: pl.DataFrame, reading: str = "kl") -> alt.TopLevelMixin:
    """One reading of the drift (ws.drift) before and after a heal, by group of completions, with 95 % intervals."""
    rows = drift.filter(pl.col("reading") == reading, pl.col("stage").is_in(["before", "after"]))
    base = alt.Chart(rows).encode(x=alt.X("group:N", title=None), xOffset=alt.XOffset("stage:N", sort=["before"]))
    colour = alt.Color("stage:N", title=None, scale=alt.Scale(domain=["before", "after"], range=[ORANGE, GREEN]))
    bars = base.mark_bar(opacity=0.6).encode(y=alt.Y("value:Q", title=UNITS.get(reading, reading)), color=colour)
    return alt.layer(bars, base.mark_rule().encode(y="low:Q", y2="high:Q")).properties(width=300, height=180)
