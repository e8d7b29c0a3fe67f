"""Where a loop goes on the plane of two foundations: authority against care, one node per step."""

from __future__ import annotations

from typing import Any

import altair as alt
import polars as pl

from ws.charts.style import GREY, quiet
from ws.charts.zigzag import kind_colour, kind_shape

__all__ = ["plane_chart"]

PADDED = alt.Scale(padding=22)


def plane_chart(steps: pl.DataFrame, x: str = "Authority", y: str = "Care", size: int = 300) -> alt.TopLevelMixin:
    """Shifts of two foundations (nats against base, 95 %), a node for base and for every round's steered and healed.

    steps: ws.trajectory.steps_frame. The line joins base and the healed students; steered models hang off it, dashed.
    """
    columns = [f"d_{f}{end}" for f in (x, y) for end in ("", "_low", "_high")]
    rows = steps.select("at", "round", "kind", "c", *columns).drop_nulls([f"d_{x}", f"d_{y}"]).sort("at")
    titled = {f: f"shift of {f} (nats against base)" for f in (x, y)}
    where = {
        "x": alt.X(f"d_{x}:Q", title=titled[x], scale=PADDED, axis=quiet()),
        "y": alt.Y(f"d_{y}:Q", title=titled[y], scale=PADDED, axis=quiet()),
    }
    tips = ["kind:N", "round:Q", *(alt.Tooltip(f"{n}:Q", format=".3f") for n in ("c", *columns))]
    base = alt.Chart(rows)
    colour = kind_colour()
    across = base.mark_rule().encode(x=f"d_{x}_low:Q", x2=f"d_{x}_high:Q", y=where["y"], color=colour)
    up = base.mark_rule().encode(y=f"d_{y}_low:Q", y2=f"d_{y}_high:Q", x=where["x"], color=colour)
    dots = base.mark_point(filled=True, size=90, opacity=1).encode(
        **where, color=colour, shape=kind_shape(), tooltip=tips
    )
    layers = [_trail(rows, where), _excursions(rows, x, y), across, up, dots, *_numbers(rows, where)]
    return alt.layer(*layers).properties(width=size, height=size)


def _numbers(rows: pl.DataFrame, where: dict[str, Any]) -> list[Any]:
    """The round beside each node: right of the steered, left of the healed, so that neighbours stay readable."""
    sides = {"steered": (13, -9), "healed": (-13, 11)}
    parts = [(rows.filter(pl.col("kind") == kind), dx, dy) for kind, (dx, dy) in sides.items()]
    return [
        alt.Chart(part).mark_text(dx=dx, dy=dy, color=GREY, fontSize=12).encode(**where, text="round:N")
        for part, dx, dy in parts
    ]


def _trail(rows: pl.DataFrame, where: dict[str, Any]) -> Any:
    """Base and the healed students, joined in order."""
    kept = rows.filter(pl.col("kind") != "steered")
    return alt.Chart(kept).mark_line(color=GREY, strokeWidth=1.5).encode(**where, order="at:Q")


def _excursions(rows: pl.DataFrame, x: str, y: str) -> Any:
    """From the student that each round began with to its steered model."""
    start = rows.filter(pl.col("kind") != "steered").select(
        pl.col(f"d_{x}").alias("x0"), pl.col(f"d_{y}").alias("y0"), at=pl.col("at") + 0.5
    )
    pairs = rows.filter(pl.col("kind") == "steered").join(start, on="at").select("x0", "y0", f"d_{x}", f"d_{y}")
    return alt.Chart(pairs).mark_rule(color=GREY, strokeDash=[3, 3]).encode(
        x="x0:Q", y="y0:Q", x2=f"d_{x}:Q", y2=f"d_{y}:Q"
    )  # fmt: skip
