"""What each band of blocks moves at equal KL, as a map: bands along, KL up, the shift of the trait as colour."""

from __future__ import annotations

import altair as alt
import polars as pl

from ws.reporting.charts.style import embedded

__all__ = ["layer_map_chart"]


def layer_map_chart(found: pl.DataFrame) -> alt.LayerChart:
    """One cell per band and KL of `ws.experiment.layer_search`; a cell whose KL was out of reach is faint, the model's
    own band has a frame."""
    order = found.unique("name").sort("first")["name"].to_list()
    rows = found.with_columns(reached=pl.col("edge") == "", told=pl.col("d_target").round(2))
    x = alt.X("name:N", title="blocks steered", sort=order, axis=alt.Axis(labelAngle=-45))
    y = alt.Y("target:O", title="KL (nats)", sort="descending")
    tips = [alt.Tooltip("name:N", title="blocks"), *(alt.Tooltip(f"{name}:Q", format=".3g") for name in (
        "c", "kl", "d_target", "d_target_low", "d_target_high"))]  # fmt: skip
    most = max(abs(x) for x in found["d_target"])  # no shift is white, whatever the smallest one is
    scale = alt.Scale(scheme="blueorange", domain=[-most, most])
    colour = alt.Color("d_target:Q", title="shift (nat per token)", scale=scale)
    base = alt.Chart(rows).encode(x=x, y=y)
    cells = base.mark_rect().encode(
        color=colour,
        opacity=alt.condition("datum.reached", alt.value(1), alt.value(0.25)),
        stroke=alt.condition("datum.usual", alt.value("black"), alt.value("white")),
        tooltip=tips,
    )
    figures = base.mark_text(fontSize=9).encode(text=alt.Text("told:Q", format=".2f"))
    chart: alt.LayerChart = embedded(alt.layer(cells, figures).properties(width=max(160, 34 * len(order)), height=110))
    return chart
