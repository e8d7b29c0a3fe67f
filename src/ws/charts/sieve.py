"""The filter as pictures: every completion as a point, what each dose keeps, and the labels' verdict on the score."""

from __future__ import annotations

from typing import Any

import altair as alt
import polars as pl

from ws.charts.style import BLUE, GREY, RULE, STATES, embedded

__all__ = ["roc_chart", "sieve_chart"]


def _state(states: pl.Series) -> alt.Color:
    """Colours of the states that occur, kept first."""
    here = [name for name in STATES if name in set(states)]
    scale = alt.Scale(domain=here, range=[STATES[name] for name in here])
    return alt.Color("state:N", title="kept, or why dropped", scale=scale)


def sieve_chart(
    marked: pl.DataFrame, tail_ppl: float, rep: float | None, shares: pl.DataFrame, width: int = 600
) -> alt.VConcatChart:
    """Every completion as a point, and below per dose what was kept: one chart, which is drawn faster than two."""
    above, below = _points(marked, tail_ppl, rep, width), _bars(shares, width)
    chart: alt.VConcatChart = embedded(alt.vconcat(above, below).resolve_scale(color="independent"))
    return chart


def _points(marked: pl.DataFrame, tail_ppl: float, rep: float | None, width: int) -> Any:
    """Tail perplexity (log) by repetition; colour: kept or the reason, size: bite (nats per token); limits as lines."""
    rows = marked.filter(pl.col("tail_ppl").is_finite() & (pl.col("tail_ppl") > 0)).select(
        "id", "tail_ppl", "rep", "state", "c", "split", bite=pl.col("bite").clip(lower_bound=0)
    )
    x = alt.X("tail_ppl:Q", title="tail perplexity under base (log)", scale=alt.Scale(type="log"))
    points = alt.Chart(rows).mark_circle(opacity=0.65, stroke=GREY, strokeWidth=0.3).encode(
        x=x, y=alt.Y("rep:Q", title="repetition (share of top n-gram)", scale=alt.Scale(type="sqrt")),
        color=_state(rows["state"]),
        size=alt.Size("bite:Q", title="bite (nats/token)", scale=alt.Scale(range=[15, 260])),
        tooltip=["id:Q", "state:N", *(alt.Tooltip(f"{n}:Q", format=".3g") for n in ("c", "tail_ppl", "rep", "bite"))],
    )  # fmt: skip
    limit = alt.Chart(pl.DataFrame({"tail_ppl": [tail_ppl]})).mark_rule(color=RULE, size=2).encode(x="tail_ppl:Q")
    layers = [points, limit]
    if rep is not None:
        edge = alt.Chart(pl.DataFrame({"rep": [rep]})).mark_rule(color=RULE, strokeDash=[6, 3]).encode(y="rep:Q")
        layers.append(edge)
    return alt.layer(*layers).properties(width=width, height=260)


def _bars(shares: pl.DataFrame, width: int) -> Any:
    """Per dose the share kept (with its 95 % interval) and the share that each criterion dropped."""
    order = {state: i for i, state in enumerate(STATES)}
    rows = shares.with_columns(
        dose=pl.col("c").map_elements(lambda c: f"{c:.4g}", pl.String),
        rank=pl.col("state").replace_strict(order, default=len(order)),
    )
    doses = rows.sort("c")["dose"].unique(maintain_order=True).to_list()
    x = alt.X("dose:O", title="coefficient c", sort=doses, axis=alt.Axis(labelAngle=0))
    bars = alt.Chart(rows).mark_bar().encode(
        x=x, y=alt.Y("share:Q", title="share of completions", stack="zero", scale=alt.Scale(domain=[0, 1])),
        color=_state(rows["state"]), order="rank:Q",
        tooltip=["dose:O", "state:N", "n:Q", "of:Q", alt.Tooltip("share:Q", format=".2f")],
    )  # fmt: skip
    kept = rows.filter(pl.col("state") == "kept")
    error = alt.Chart(kept).mark_rule(color="#ffffff", size=2).encode(x=x, y="low:Q", y2="high:Q")
    return alt.layer(bars, error).properties(width=width, height=180)


def roc_chart(roc: pl.DataFrame, tail_ppl: float, width: int = 220) -> alt.LayerChart:
    """Coherent rows kept over incoherent rows kept, for every tail perplexity; a mark at the threshold in force."""
    diagonal = alt.Chart(pl.DataFrame({"x": [0, 1], "y": [0, 1]})).mark_line(color=GREY, strokeDash=[4, 4])
    base = alt.Chart(roc.with_columns(pl.col("threshold").clip(upper_bound=1e6)))
    x = alt.X("fpr:Q", title="incoherent kept (share)", scale=alt.Scale(domain=[0, 1]))
    y = alt.Y("tpr:Q", title="coherent kept (share)", scale=alt.Scale(domain=[0, 1]))
    line = base.mark_line(color=BLUE, interpolate="step-after").encode(x=x, y=y, order="threshold:Q")
    here = roc.filter(pl.col("threshold") <= tail_ppl).tail(1)
    mark = alt.Chart(here).mark_point(color=RULE, filled=True, size=90).encode(x="fpr:Q", y="tpr:Q")
    both = alt.layer(diagonal.encode(x="x:Q", y="y:Q"), line, mark).properties(width=width, height=width)
    chart: alt.LayerChart = embedded(both)
    return chart
