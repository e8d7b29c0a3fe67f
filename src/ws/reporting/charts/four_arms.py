"""Filter and barrier, each with and without: what stays of the trait against coherence, four points with intervals."""

from __future__ import annotations

from typing import Any

import altair as alt
import polars as pl

from ws.reporting.charts.style import BLUE, COHERENT, GREEN, GREY, ORANGE, PURPLE, embedded, quiet
from ws.runs.four_arms import FOUR

__all__ = ["four_arms_chart"]

COLOURS = [GREEN, BLUE, ORANGE, PURPLE]
SHAPES = ["circle", "triangle-up", "square", "diamond"]


def four_arms_chart(points: pl.DataFrame, width: int = 340) -> alt.LayerChart:
    """Retain (share of the steered shift) against coherence, 95 % intervals; right and up is better.

    points: ws.runs.four_arms.four_arms.
    """
    ends = [f"{name}{end}" for name in ("coherence", "retain") for end in ("", "_low", "_high")]
    rows = points.select("what", *ends).drop_nulls(["coherence", "retain"])
    x = alt.X("retain:Q", title="retain (share of the steered shift)", scale=alt.Scale(padding=22), axis=quiet())
    scale = alt.Scale(zero=False, padding=12)
    y = alt.Y("coherence:Q", title=f"coherence (share, rule at {COHERENT:g})", scale=scale, axis=quiet())
    base = alt.Chart(alt.InlineData(rows.to_dicts())).encode(color=_by_what(alt.Color, COLOURS))
    tips = ["what:N", *(alt.Tooltip(f"{name}:Q", format=".3f") for name in ends)]
    across = base.mark_rule().encode(x="retain_low:Q", x2="retain_high:Q", y=y)
    up = base.mark_rule().encode(y="coherence_low:Q", y2="coherence_high:Q", x=x)
    dots = base.mark_point(filled=True, size=110, opacity=1).encode(
        x=x, y=y, shape=_by_what(alt.Shape, SHAPES), tooltip=tips
    )
    floor = alt.Chart(alt.InlineData([{"y": COHERENT}])).mark_rule(color=GREY, strokeDash=[4, 3]).encode(y="y:Q")
    chart: alt.LayerChart = embedded(alt.layer(floor, across, up, dots).properties(width=width, height=250))
    return chart


def _by_what(channel: Any, values: list[str]) -> Any:
    return channel("what:N", title=None, scale=alt.Scale(domain=list(FOUR.values()), range=values),
                   legend=alt.Legend(orient="bottom", columns=2))  # fmt: skip
