"""The target's dose response: how far each dose moves it, beside its controls, and what that costs in coherence."""

from __future__ import annotations

from typing import Any

import altair as alt
import polars as pl

from ws.gating.arm_table import HEALED, PERSONA, RANDOM, STEER
from ws.reporting.charts.style import BLUE, COHERENT, GREEN, GREY, ORANGE

__all__ = ["dose_chart"]


def dose_chart(grid: pl.DataFrame, arms: pl.DataFrame, title: str = "") -> alt.VConcatChart:
    """Dose response over c: shift of the target (nats, 95 %) and its controls above, coherence and the 0.95 line below.

    grid: the dose grid (select set); arms: the report set's arms, for the chosen dose, persona, random and healed.
    """
    top = alt.layer(_random_band(arms), _rules(arms), _line(grid, "d_target", BLUE), _chosen(arms)).properties(
        width=460, height=200, title=title or "How far each dose moves the target, and what it costs"
    )
    floor = pl.DataFrame({"y": [COHERENT]})
    line = alt.Chart(floor).mark_rule(color=GREY, strokeDash=[4, 3]).encode(y="y:Q")
    bottom = alt.layer(line, _line(grid, "coherence", ORANGE)).properties(width=460, height=130)
    return alt.vconcat(top, bottom).resolve_scale(x="shared")


TITLES = {"d_target": "shift of the target (nats, + as intended)", "coherence": "coherence"}


def _line(grid: pl.DataFrame, name: str, colour: str) -> Any:
    """The measured doses with their intervals, joined."""
    rows = grid.filter(pl.col("arm") != PERSONA, pl.col(name).is_not_null() & pl.col(name).is_finite()).sort("c")
    rows = rows.select("c", name, f"{name}_low", f"{name}_high")
    base = alt.Chart(rows).encode(x=alt.X("c:Q", title="coefficient c"))
    y = alt.Y(f"{name}:Q", title=TITLES[name], scale=alt.Scale(zero=name == "d_target"))
    tips = [alt.Tooltip(f"{column}:Q", format=".3f") for column in rows.columns]
    band = base.mark_area(color=colour, opacity=0.18).encode(y=f"{name}_low:Q", y2=f"{name}_high:Q")
    return alt.layer(band, base.mark_line(color=colour, point=True).encode(y=y, tooltip=tips))


def _chosen(arms: pl.DataFrame) -> alt.Chart:
    """The judged dose on the report set."""
    rows = arms.filter(pl.col("chosen") & (pl.col("arm") == STEER)).select("c", "d_target")
    mark = alt.Chart(rows).mark_point(color=BLUE, size=140, shape="diamond", filled=True)
    return mark.encode(x="c:Q", y="d_target:Q", tooltip=["c:Q", "d_target:Q"])


def _rules(arms: pl.DataFrame) -> Any:
    """Where the persona as a system prompt and the healed model stand, which have no dose."""
    rows = arms.filter(pl.col("arm").is_in([PERSONA, HEALED]) & pl.col("d_target").is_not_null())
    rows = rows.select("arm", "d_target")
    colour = alt.Color("arm:N", title=None, scale=alt.Scale(domain=[PERSONA, HEALED], range=[GREY, GREEN]))
    rule = alt.Chart(rows).mark_rule(strokeDash=[6, 3]).encode(y="d_target:Q", color=colour)
    return alt.layer(rule)


def _random_band(arms: pl.DataFrame) -> alt.Chart:
    """Where 95 % of the random directions at the same KL lie."""
    draws = arms.filter(pl.col("arm") == RANDOM)["d_target"].drop_nulls().abs()
    edge = draws.quantile(0.95, "linear") if draws.len() else None
    rows = pl.DataFrame({"low": [-edge], "high": [edge]} if edge is not None else {"low": [], "high": []})
    return alt.Chart(rows).mark_rect(color=GREY, opacity=0.15).encode(y="low:Q", y2="high:Q")
