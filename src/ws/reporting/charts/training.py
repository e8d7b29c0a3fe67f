"""A heal while it runs, or afterwards: losses, the KL that the barrier holds on to, its pressure, where it acts."""

from __future__ import annotations

from typing import Any

import altair as alt
import polars as pl

from ws.reporting.charts.style import BLUE, GREEN, GREY, ORANGE, embedded

__all__ = ["training_chart", "training_data"]

PANEL = {"width": 270, "height": 120}


def training_chart(curve: pl.DataFrame, tau: float | None = None, steps: int | None = None) -> alt.ConcatChart:
    """Four panels over the optimiser steps: nll, D with tau, pressure with 1, share of active steps.

    curve: columns of ws.healing.training.CURVE. steps: how many there will be, so that a live curve grows into its
    frame.
    """
    last = max(1, (steps or curve.height) - 1)
    panels = alt.concat(
        _losses(last),
        _line("D", "D: KL to the reference (nats)", GREEN, last, tau),
        _line("pressure", "pressure (ratio of gradients)", ORANGE, last, 1),
        _line("active", "active steps so far (share)", BLUE, last, None, (0, 1)),
        columns=2,
    )
    chart: alt.ConcatChart = embedded(panels)
    chart.datasets = training_data(curve)
    return chart


def training_data(curve: pl.DataFrame) -> dict[str, Any]:
    """What `training_chart` draws of a curve: its data sets by name, of which a picture takes others as it grows."""
    losses = curve.select("step", training="nll", validation="val_nll")
    losses = losses.unpivot(index="step", variable_name="rows", value_name="nll")
    active = curve.select("step", active=pl.col("active").cum_sum() / (pl.int_range(pl.len()) + 1))
    lines = {name: curve.select("step", name).drop_nulls() for name in ("D", "pressure")}
    tables = {"losses": losses.drop_nulls(), **lines, "active": active}
    return {name: table.to_dicts() for name, table in tables.items()}


def _x(last: int) -> alt.X:
    return alt.X("step:Q", title="optimiser step", scale=alt.Scale(domain=[0, last]), axis=alt.Axis(tickMinStep=1))


def _losses(last: int) -> Any:
    """Training and validation loss."""
    colours = alt.Scale(domain=["training", "validation"], range=[BLUE, ORANGE])
    y = alt.Y("nll:Q", title="nll (nats per token)", scale=alt.Scale(zero=False))
    colour = alt.Color("rows:N", title=None, scale=colours, legend=alt.Legend(orient="top"))
    dash = alt.StrokeDash("rows:N", title=None, legend=None)
    lines = alt.Chart(alt.NamedData("losses")).mark_line(point=True)
    return lines.encode(x=_x(last), y=y, color=colour, strokeDash=dash).properties(**PANEL)


def _line(name: str, title: str, colour: str, last: int, rule: float | None, domain: Any = alt.Undefined) -> Any:
    """One series, from the data set of its name; a dashed rule where a threshold belongs to it."""
    y = alt.Y(f"{name}:Q", title=title, scale=alt.Scale(zero=True, domain=domain))
    line = alt.Chart(alt.NamedData(name)).mark_line(point={"color": colour}, color=colour).encode(x=_x(last), y=y)
    if rule is None:
        return line.properties(**PANEL)
    at = alt.Chart(pl.DataFrame({"y": [float(rule)]})).mark_rule(color=GREY, strokeDash=[4, 3]).encode(y="y:Q")
    return alt.layer(at, line).properties(**PANEL)
