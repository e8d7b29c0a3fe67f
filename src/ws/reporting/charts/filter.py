"""The filter as pictures: every completion as a point, what each dose keeps, and the labels' verdict on the score."""

from __future__ import annotations

from typing import Any

import altair as alt
import polars as pl

from ws.reporting.charts.style import BLUE, GREY, RULE, STATES, embedded

__all__ = ["filter_chart", "filter_data", "filter_states", "roc_chart"]


def filter_data(
    marked: pl.DataFrame, limit: float, rep: float | None, shares: pl.DataFrame, score: str = "tail_ppl"
) -> dict[str, Any]:
    """What `filter_chart` draws at a threshold on a score: its data sets by name, of which a picture takes others."""
    texts = marked.filter(pl.col(score).is_finite() & (pl.col(score) > 0)).select(
        "id", "rep", "state", "c", bite=pl.col("bite").clip(lower_bound=0), ppl=score
    )
    rank = pl.col("state").replace_strict({state: i for i, state in enumerate(STATES)}, default=len(STATES))
    return {
        "texts": texts.to_dicts(),
        "doses": shares.with_columns(rank=rank).to_dicts(),
        "threshold": [{"ppl": limit}],
        "most": [] if rep is None else [{"rep": rep}],
    }


def filter_states(data: dict[str, Any]) -> tuple[str, ...]:
    """The states that occur, kept first: what the chart's legends depend on."""
    here = {row["state"] for name in ("texts", "doses") for row in data[name]}
    return tuple(name for name in STATES if name in here)


def filter_chart(data: dict[str, Any], width: int = 600) -> alt.VConcatChart:
    """Every completion as a point, and below per dose what was kept: one chart, which is drawn faster than two."""
    scale = alt.Scale(domain=(here := filter_states(data)), range=[STATES[name] for name in here])
    color = alt.Color("state:N", title="kept, or why dropped", scale=scale)
    both = alt.vconcat(_points(color, width), _bars(color, width)).resolve_scale(color="independent")
    chart: alt.VConcatChart = embedded(both)
    chart.datasets = data
    chart.usermeta = {"embedOptions": {"renderer": "canvas"}}  # SVG takes a browser twice as long
    return chart


def _points(color: alt.Color, width: int) -> Any:
    """Perplexity (log) by repetition; colour: kept or the reason, size: bite (nats per token); limits as lines."""
    inside = alt.Legend(orient="top-right", direction="horizontal", tickCount=3)
    x = alt.X("ppl:Q", title="perplexity under base (log)", scale=alt.Scale(type="log"))
    points = alt.Chart(alt.NamedData("texts")).mark_circle(opacity=0.65, stroke=GREY, strokeWidth=0.3).encode(
        x=x, y=alt.Y("rep:Q", title="repetition (share of top n-gram)", scale=alt.Scale(type="sqrt")), color=color,
        size=alt.Size("bite:Q", title="bite (nats/token)", scale=alt.Scale(range=[15, 260]), legend=inside),
        tooltip=["id:Q", "state:N", *(alt.Tooltip(f"{n}:Q", format=".3g") for n in ("c", "ppl", "rep", "bite"))],
    )  # fmt: skip
    limit = alt.Chart(alt.NamedData("threshold")).mark_rule(color=RULE, size=2).encode(x="ppl:Q")
    edge = alt.Chart(alt.NamedData("most")).mark_rule(color=RULE, strokeDash=[6, 3]).encode(y="rep:Q")
    return alt.layer(points, limit, edge).properties(width=width, height=260)


def _bars(color: alt.Color, width: int) -> Any:
    """Per dose the share kept (with its 95 % interval) and the share that each criterion dropped."""
    doses = alt.Chart(alt.NamedData("doses")).encode(
        x=alt.X("c:O", title="coefficient c", axis=alt.Axis(labelAngle=0, format=".4~g"))
    )
    bars = doses.mark_bar().encode(
        y=alt.Y("share:Q", title="share of completions", stack="zero", scale=alt.Scale(domain=[0, 1])),
        color=color, order="rank:Q",
        tooltip=["c:O", "state:N", "n:Q", "of:Q", alt.Tooltip("share:Q", format=".2f")],
    )  # fmt: skip
    kept = doses.transform_filter(alt.datum.state == "kept")
    error = kept.mark_rule(color="#ffffff", size=2).encode(y="low:Q", y2="high:Q")
    return alt.layer(bars, error).properties(width=width, height=180)


def roc_chart(roc: pl.DataFrame, limit: float, width: int = 220) -> alt.LayerChart:
    """Coherent rows kept over incoherent rows kept, for every threshold; a mark at the threshold in force."""
    diagonal = alt.Chart(pl.DataFrame({"x": [0, 1], "y": [0, 1]})).mark_line(color=GREY, strokeDash=[4, 4])
    base = alt.Chart(roc.with_columns(pl.col("threshold").clip(upper_bound=1e6)))
    x = alt.X("fpr:Q", title="incoherent kept (share)", scale=alt.Scale(domain=[0, 1]))
    y = alt.Y("tpr:Q", title="coherent kept (share)", scale=alt.Scale(domain=[0, 1]))
    line = base.mark_line(color=BLUE, interpolate="step-after").encode(x=x, y=y, order="threshold:Q")
    here = roc.filter(pl.col("threshold") <= limit).tail(1)
    mark = alt.Chart(here).mark_point(color=RULE, filled=True, size=90).encode(x="fpr:Q", y="tpr:Q")
    both = alt.layer(diagonal.encode(x="x:Q", y="y:Q"), line, mark).properties(width=width, height=width)
    chart: alt.LayerChart = embedded(both)
    return chart
