"""What an arm buys and what it pays: shift of the target against coherence, one point per seed."""

from __future__ import annotations

import altair as alt
import polars as pl

from ws.charts.style import BLUE, COHERENT, GREEN, GREY, ORANGE, quiet

__all__ = ["pareto_chart"]

# Okabe and Ito's, for the arms beyond the first four
COLOURS = [BLUE, ORANGE, GREEN, "#a4508b", "#56b4e9", "#9c6f2c", "#c0548a", "#5b6bb5"]
SHAPES = ["circle", "square", "triangle-up", "diamond", "cross", "triangle-down", "triangle-left", "triangle-right"]


def pareto_chart(points: pl.DataFrame, chosen: str | None = None, width: int = 560) -> alt.TopLevelMixin:
    """Coherence over the target's shift (nats), a point per seed with 95 % intervals; right and up is better.

    points: ws.comparing.points_frame, with `label` naming the arm; chosen: the arm (its id) that stands out.
    """
    columns = [
        "arm",
        "label",
        "seed",
        "run",
        *(f"{n}{e}" for n in ("d_target", "coherence") for e in ("", "_low", "_high")),
    ]
    rows = points.select(columns).drop_nulls(["d_target", "coherence"])
    labels = rows["label"].unique(maintain_order=True).to_list()
    many = [COLOURS[i % len(COLOURS)] for i in range(len(labels))]
    legend = alt.Legend(orient="bottom", columns=1, labelLimit=620)
    colour = alt.Color("label:N", title=None, legend=legend, scale=alt.Scale(domain=labels, range=many))
    shapes = [SHAPES[i % len(SHAPES)] for i in range(len(labels))]
    shape = alt.Shape("label:N", title=None, legend=legend, scale=alt.Scale(domain=labels, range=shapes))
    faint = alt.when(alt.datum.arm == chosen).then(alt.value(1.0)).otherwise(alt.value(0.45))
    opacity = faint if chosen in rows["arm"].to_list() else alt.value(0.9)
    x = alt.X(
        "d_target:Q", title="shift of the target (nats, + as intended)", scale=alt.Scale(zero=False), axis=quiet()
    )
    y = alt.Y("coherence:Q", title="coherence (share, 1 = as base)", scale=alt.Scale(zero=False), axis=quiet())
    base = alt.Chart(rows).encode(color=colour, opacity=opacity)
    tips = ["label:N", "seed:N", *(alt.Tooltip(f"{n}:Q", format=".3f") for n in columns[4:])]
    across = base.mark_rule().encode(x="d_target_low:Q", x2="d_target_high:Q", y=y)
    up = base.mark_rule().encode(y="coherence_low:Q", y2="coherence_high:Q", x=x)
    dots = base.mark_point(filled=True, size=90).encode(x=x, y=y, shape=shape, tooltip=tips)
    floor = alt.Chart(pl.DataFrame({"y": [COHERENT]})).mark_rule(color=GREY, strokeDash=[4, 3]).encode(y="y:Q")
    return alt.layer(floor, across, up, dots).properties(width=width, height=300)
