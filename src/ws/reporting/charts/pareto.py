"""What an arm buys and what it pays: shift of the target against coherence, one point per seed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import altair as alt
import polars as pl

from ws.reporting.charts.style import BLUE, COHERENT, GREEN, GREY, ORANGE, embedded, quiet

__all__ = ["clicked_arm", "pareto_chart"]

# Okabe and Ito's, for the arms beyond the first four; one fewer than the shapes, so that 56 arms differ
COLOURS = [BLUE, ORANGE, GREEN, "#a4508b", "#56b4e9", "#9c6f2c", "#5b6bb5"]
SHAPES = ["circle", "square", "triangle-up", "diamond", "cross", "triangle-down", "triangle-left", "triangle-right"]
CLICKED = "clicked"  # the selection: a click on any mark of an arm
ENDS = [f"{name}{end}" for name in ("d_target", "coherence") for end in ("", "_low", "_high")]


def pareto_chart(points: pl.DataFrame, chosen: str | None = None, width: int = 560) -> alt.LayerChart:
    """Coherence over the target's shift (nats), a point per seed with 95 % intervals; right and up is better.

    points: ws.reporting.leaderboard.points_frame, with `label` naming the arm; chosen: the arm (its id) that stands
    out. A click on a point selects its arm, see clicked_arm; only `chosen` stands out, so a click beside the points
    changes nothing.
    """
    rows = points.select("arm", "label", "seed", "run", *ENDS).with_columns(pl.col(ENDS).fill_nan(None))
    rows = rows.drop_nulls(["d_target", "coherence"])
    # later marks cover earlier ones: the table's first arms must stay under the pointer, and the chosen one before all
    drawn = rows.reverse().sort(pl.col("arm") == pl.lit(chosen or ""), maintain_order=True)
    # the data stand in the spec: marimo's own way keeps them in files that end when the chart is drawn anew
    base = alt.Chart(alt.InlineData(drawn.to_dicts())).encode(color=_by_arm(alt.Color, rows, COLOURS))
    there = chosen in rows["arm"].to_list()
    base = base.encode(opacity=_if_chosen(chosen, 1.0, 0.4) if there else alt.value(0.9))
    x = alt.X(
        "d_target:Q", title="shift of the target (nats, + as intended)", scale=alt.Scale(zero=False), axis=quiet()
    )
    y = alt.Y("coherence:Q", title="coherence (share, 1 = as base)", scale=alt.Scale(zero=False), axis=quiet())
    tips = [alt.Tooltip("label:N", title="arm"), "seed:N", *(alt.Tooltip(f"{n}:Q", format=".3f") for n in ENDS)]
    across = base.mark_rule(cursor="pointer").encode(x="d_target_low:Q", x2="d_target_high:Q", y=y)
    up = base.mark_rule(cursor="pointer").encode(y="coherence_low:Q", y2="coherence_high:Q", x=x)
    dots = base.mark_point(filled=True, cursor="pointer").encode(
        x=x, y=y, shape=_by_arm(alt.Shape, rows, SHAPES), size=_if_chosen(chosen, 200, 90), tooltip=tips
    )
    dots = dots.add_params(alt.selection_point(name=CLICKED, fields=["arm"], toggle=False))
    floor = alt.Chart(alt.InlineData([{"y": COHERENT}])).mark_rule(color=GREY, strokeDash=[4, 3]).encode(y="y:Q")
    chart: alt.LayerChart = embedded(alt.layer(floor, across, up, dots).properties(width=width, height=300))
    return chart


def _by_arm(channel: Any, rows: pl.DataFrame, values: list[str]) -> Any:
    """A colour or a shape for every arm, in one legend below."""
    labels = rows["label"].unique(maintain_order=True).to_list()
    scale = alt.Scale(domain=labels, range=[values[i % len(values)] for i in range(len(labels))])
    legend = alt.Legend(orient="bottom", columns=1, labelLimit=620)
    return channel("label:N", title=None, legend=legend, scale=scale)


def _if_chosen(chosen: str | None, then: float, otherwise: float) -> Any:
    return alt.when(alt.datum.arm == chosen).then(alt.value(then)).otherwise(alt.value(otherwise))


def clicked_arm(selections: Mapping[str, Any]) -> str | None:
    """The arm that was clicked, from the selections that the browser sent: data; None for anything but a text."""
    found = selections.get(CLICKED) if isinstance(selections, Mapping) else None
    arms = found.get("arm") if isinstance(found, Mapping) else None
    return arms[-1] if isinstance(arms, list) and arms and isinstance(arms[-1], str) else None
