"""Where base, steered and healed stand: coherence against the target, the axis's two foundations on one plane.

Both take `ws.learning.points`: one row for base, one for the chosen dose, one for each beta.
"""

from __future__ import annotations

from typing import Any

import altair as alt
import polars as pl

from ws.charts.picture import AT
from ws.charts.style import BLUE, COHERENT, GREEN, GREY, ORANGE, embedded

__all__ = ["coherence_plane", "foundations_plane", "planes_chart"]

NAMES, COLOURS = ["base", "steered", "healed"], [GREY, ORANGE, GREEN]
SHAPES = ["square", "triangle-up", "circle"]
HERE = f"datum.beta === {AT}"
SIZE = {"width": 270, "height": 250}


def planes_chart(points: pl.DataFrame, axes: tuple[str, str], beta: float | None = None) -> alt.HConcatChart:
    """Both planes side by side under one legend."""
    both = alt.hconcat(coherence_plane(points), foundations_plane(points, axes))
    both = both.configure_legend(orient="top").add_params(alt.param(name=AT, value=-1 if beta is None else beta))
    chart: alt.HConcatChart = embedded(both)
    return chart


def coherence_plane(points: pl.DataFrame) -> Any:
    """Coherence (share) over the shift of the target (nats, + as intended); 95 % intervals."""
    floor = pl.DataFrame({"y": [COHERENT]})
    line = alt.Chart(floor).mark_rule(color=GREY, strokeDash=[4, 3]).encode(y="y:Q")
    x, y = "shift of the target (nats, + as intended)", "coherence (share, rule at 0.95)"
    return alt.layer(line, *_marks(points, "d_target", "coherence", x, y)).properties(**SIZE)


def foundations_plane(points: pl.DataFrame, axes: tuple[str, str]) -> Any:
    """Shift of the foundation that should rise over that of the one that should fall (nats), base at 0, 0."""
    zero = pl.DataFrame({"at": [0.0]})
    rules = [alt.Chart(zero).mark_rule(color=GREY, opacity=0.5).encode(**{k: "at:Q"}) for k in ("x", "y")]
    x, y = (f"shift of {name} (nats against base)" for name in axes)
    return alt.layer(*rules, *_marks(points, "x", "y", x, y)).properties(**SIZE)


def _marks(points: pl.DataFrame, x: str, y: str, x_title: str, y_title: str) -> list[Any]:
    """Points with intervals both ways, the healed ones joined in the order of beta and labelled with it."""
    columns = [f"{name}{end}" for name in (x, y) for end in ("", "_low", "_high")]
    rows = points.select("arm", "beta", "label", *columns).filter(pl.col(x).is_not_null(), pl.col(y).is_not_null())
    base = alt.Chart(rows)
    scale = alt.Scale(zero=False, padding=18, nice=True)
    at = {"x": alt.X(f"{x}:Q", title=x_title, scale=scale), "y": alt.Y(f"{y}:Q", title=y_title, scale=scale)}
    colour = alt.Color("arm:N", title=None, scale=alt.Scale(domain=NAMES, range=COLOURS))
    shape = alt.Shape("arm:N", title=None, scale=alt.Scale(domain=NAMES, range=SHAPES))
    tips = [alt.Tooltip("label:N", title="arm"), *(alt.Tooltip(f"{c}:Q", format=".3f") for c in columns)]
    across = base.mark_rule(opacity=0.6).encode(y=at["y"], x=f"{x}_low:Q", x2=f"{x}_high:Q", color=colour)
    up = base.mark_rule(opacity=0.6).encode(x=at["x"], y=f"{y}_low:Q", y2=f"{y}_high:Q", color=colour)
    path = base.transform_filter("datum.arm == 'healed'").mark_line(color=GREEN, opacity=0.4, strokeDash=[3, 3])
    dots = base.mark_point(filled=True, opacity=1).encode(
        **at, color=colour, shape=shape, tooltip=tips, size=alt.condition(HERE, alt.value(190), alt.value(70))
    )
    names = base.mark_text(align="left", dx=9, dy=-8, fontSize=11, color=BLUE).encode(**at, text="label:N")
    shown = names.transform_filter(f"{HERE} || datum.arm != 'healed'")
    return [across, up, path.encode(**at, order="beta:Q"), dots, shown]
