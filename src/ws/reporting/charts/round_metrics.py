"""What a loop watches round by round: cosines of its directions, KL to base and to the round before, the dose."""

from __future__ import annotations

from typing import Any

import altair as alt
import polars as pl

from ws.gating import Thresholds
from ws.reporting.charts.style import BLUE, GREY, ORANGE, quiet

__all__ = ["round_metrics_chart"]

WANDERS = Thresholds().cosine
LINES = {"to round 0": BLUE, "to base (cumulative)": BLUE, "to the round before": ORANGE}


def round_metrics_chart(rounds: pl.DataFrame, cosines: pl.DataFrame, width: int = 220) -> alt.TopLevelMixin:
    """Three small panels over the rounds.

    rounds: ws.runs.round_tables.rounds_frame; cosines: ws.runs.round_tables.cosines_frame (round, line, value).
    """
    names = {"kl_base": "to base (cumulative)", "kl_prev": "to the round before"}
    kl = rounds.select("round", *(pl.col(k).alias(v) for k, v in names.items()))
    kl = kl.unpivot(index="round", variable_name="line", value_name="value").drop_nulls()
    dose = rounds.select("round", value="c").drop_nulls().with_columns(line=pl.lit("dose"))
    floor = alt.Chart(pl.DataFrame({"y": [WANDERS]})).mark_rule(color=GREY, strokeDash=[4, 3]).encode(y="y:Q")
    cosine = _lines(
        cosines,
        "cosine of the direction",
        ["to round 0", "to the round before"],
        alt.Scale(domain=[-0.05, 1.05], nice=False),
    )
    panels = [
        alt.layer(floor, cosine),
        _lines(kl, "KL at the end of the heal (nats)", list(names.values()), alt.Scale(zero=True)),
        _lines(dose, "dose: coefficient c", [], alt.Scale(zero=True)),
    ]
    sized = [panel.properties(width=width, height=150) for panel in panels]
    return alt.hconcat(*sized).resolve_scale(color="independent", shape="independent")


def _lines(rows: pl.DataFrame, title: str, lines: list[str], scale: alt.Scale) -> Any:
    rounds = sorted(set(rows["round"].to_list()))
    x = alt.X("round:Q", axis=quiet(values=rounds, format="d", grid=False), scale=alt.Scale(nice=False, padding=16))
    base = alt.Chart(rows.select("round", "line", "value")).encode(
        x=x, y=alt.Y("value:Q", title=title, scale=scale, axis=quiet())
    )
    tips = ["round:Q", "line:N", alt.Tooltip("value:Q", format=".3f")]
    if not lines:
        points = base.mark_point(color=BLUE, filled=True, size=60, opacity=1).encode(tooltip=tips)
        return alt.layer(base.mark_line(color=BLUE), points)
    colours = alt.Scale(domain=lines, range=[LINES[name] for name in lines])
    legend = alt.Legend(orient="top", direction="vertical", labelLimit=200)
    colour = alt.Color("line:N", title=None, scale=colours, legend=legend)
    shape = alt.Shape("line:N", title=None, scale=alt.Scale(domain=lines, range=["circle", "square"]), legend=legend)
    points = base.mark_point(filled=True, size=60, opacity=1).encode(color=colour, shape=shape, tooltip=tips)
    return alt.layer(base.mark_line().encode(color=colour), points)
