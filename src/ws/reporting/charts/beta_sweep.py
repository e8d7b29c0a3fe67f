"""What each beta keeps, costs and breaks: retain, coherence lost per nat and capability by beta."""

from __future__ import annotations

from typing import Any

import altair as alt
import polars as pl

from ws.gating.arm_table import BASE, HEALED
from ws.reporting.charts.compiled import AT
from ws.reporting.charts.style import BLUE, GREEN, GREY, ORANGE, embedded

__all__ = ["beta_sweep_chart"]

PANELS = (
    ("retain", "retain (share of the shift)", GREEN),
    ("coh_cost", "cost (coherence per nat)", ORANGE),
    ("capability", "capability (share right)", BLUE),
)


def beta_sweep_chart(points: pl.DataFrame, beta: float | None = None) -> alt.HConcatChart:
    """Three panels over beta with 95 % intervals; base's capability as a dashed rule, `beta` as a filled point."""
    healed = points.filter(pl.col("arm") == HEALED)
    base = points.filter(pl.col("arm") == BASE)
    panels = alt.hconcat(*(_panel(healed, base, *panel) for panel in PANELS))
    chart: alt.HConcatChart = embedded(panels.add_params(alt.param(name=AT, value=-1 if beta is None else beta)))
    return chart


def _panel(healed: pl.DataFrame, base: pl.DataFrame, name: str, title: str, colour: str) -> Any:
    rows = healed.select("beta", name, f"{name}_low", f"{name}_high").filter(pl.col(name).is_not_null())
    order = [f"{value:g}" for value in sorted(set(healed["beta"].to_list()))]
    rows = rows.with_columns(at=pl.col("beta").map_elements(lambda b: f"{b:g}", return_dtype=pl.String))
    x = alt.X("at:N", title="KL beta", sort=order, axis=alt.Axis(labelAngle=0))
    y = alt.Y(f"{name}:Q", title=title, scale=alt.Scale(zero=name != "capability"))
    chart = alt.Chart(rows)
    span = chart.mark_rule(color=colour, strokeWidth=2).encode(x=x, y=f"{name}_low:Q", y2=f"{name}_high:Q")
    tips = [alt.Tooltip(f"{column}:Q", format=".3f") for column in ("beta", name, f"{name}_low", f"{name}_high")]
    fill = alt.condition(f"datum.beta === {AT}", alt.value(colour), alt.value("white"))
    dots = chart.mark_point(size=90, color=colour, opacity=1, strokeWidth=2).encode(x=x, y=y, fill=fill, tooltip=tips)
    layers = [span, dots]
    if name == "capability" and base.height and base[name][0] is not None:
        rule = alt.Chart(base.select(name)).mark_rule(color=GREY, strokeDash=[4, 3])
        layers.insert(0, rule.encode(y=f"{name}:Q"))
    return alt.layer(*layers).properties(width=155, height=160)
