"""A run of several rounds, step by step: each round steers (blue) and heals (green), from base on."""

from __future__ import annotations

from typing import Any

import altair as alt
import polars as pl

from ws.gating.arm_table import STEPS
from ws.reporting.charts.style import BLUE, COHERENT, GREEN, GREY, quiet

__all__ = ["FLOOR", "kind_colour", "kind_shape", "rounds_chart"]

FLOOR = 0.002  # incoherence below this has no place on a log axis and is drawn here
STEP = "datum.value == 0 ? 'base' : (datum.value % 1 == 0 ? 'healed ' : 'steered ') + (ceil(datum.value) - 1)"


def kind_colour() -> alt.Color:
    """Base grey, steered blue, healed green, in every picture of a loop."""
    scale = alt.Scale(domain=list(STEPS), range=[GREY, BLUE, GREEN])
    return alt.Color("kind:N", title=None, scale=scale, legend=alt.Legend(orient="top"))


def kind_shape() -> alt.Shape:
    """The same three by shape, for eyes that do not tell the colours apart."""
    scale = alt.Scale(domain=list(STEPS), range=["circle", "triangle-up", "square"])
    return alt.Shape("kind:N", title=None, scale=scale, legend=alt.Legend(orient="top"))


def rounds_chart(steps: pl.DataFrame, width: int = 520) -> alt.TopLevelMixin:
    """Shift of the target over the steps of a run (ws.runs.round_tables.steps_frame), 95 %; log incoherence below
    it."""
    rows = steps.select("at", "round", "kind", "c", "d_target", "d_target_low", "d_target_high", *_incoherence())
    shift = _panel(rows, "d_target", "shift of the target (nats, + as intended)", alt.Scale())
    log = alt.Scale(type="log", domain=[FLOOR, 1.0], clamp=True, nice=False)
    title = "incoherence = 1 - coherence"
    floor = alt.Chart(pl.DataFrame({"y": [1 - COHERENT]})).mark_rule(color=GREY, strokeDash=[4, 3]).encode(y="y:Q")
    broken = _panel(rows, "incoherence", title, log)
    return alt.vconcat(
        shift.properties(width=width, height=210), alt.layer(floor, broken).properties(width=width, height=130)
    )


def _incoherence() -> list[pl.Expr]:
    """1 - coherence with its interval, lifted to the floor of the log axis."""
    ends = {"incoherence": "coherence", "incoherence_low": "coherence_high", "incoherence_high": "coherence_low"}
    return [(1 - pl.col(source)).clip(FLOOR, 1.0).alias(name) for name, source in ends.items()]


def _panel(rows: pl.DataFrame, name: str, title: str, scale: alt.Scale) -> Any:
    found = rows.filter(pl.col(name).is_not_null() & pl.col(name).is_not_nan())
    ticks = sorted(found["at"].to_list())
    axis = quiet(values=ticks, labelExpr=STEP, grid=False, labelAngle=0)
    x = alt.X("at:Q", title=None, axis=axis, scale=alt.Scale(nice=False, padding=26))
    base = alt.Chart(found).encode(x=x)
    ticks_y = [0.002, 0.01, 0.05, 0.2, 1] if scale.to_dict().get("type") == "log" else alt.Undefined
    y = alt.Y(f"{name}:Q", title=title, scale=scale, axis=quiet(values=ticks_y))
    tips = [
        "kind:N",
        "round:Q",
        *(alt.Tooltip(f"{n}:Q", format=".3f") for n in ("c", name, f"{name}_low", f"{name}_high")),
    ]
    line = base.mark_line(color=GREY, strokeWidth=1.5).encode(y=y)
    rule = base.mark_rule(strokeWidth=2).encode(y=f"{name}_low:Q", y2=f"{name}_high:Q", color=kind_colour())
    dots = base.mark_point(filled=True, size=80, opacity=1).encode(
        y=y, color=kind_colour(), shape=kind_shape(), tooltip=tips
    )
    return alt.layer(line, rule, dots)
