"""What each arm moves: the shift of every foundation, steered against healed."""

from __future__ import annotations

from collections.abc import Sequence

import altair as alt
import polars as pl

from ws.gating.arm_table import HEALED, STEER, STEERED
from ws.gating.foundations import FOUNDATIONS
from ws.reporting.charts.rounds import kind_colour, kind_shape
from ws.reporting.charts.style import GREY, quiet

__all__ = ["profile_chart"]


def profile_chart(arms: pl.DataFrame, intended: Sequence[str] = (), width: int = 420) -> alt.TopLevelMixin:
    """Shift of every foundation (nats against base, 95 %) of the judged dose and the healed model; intended ones first.

    arms: the report's table (ws.gating.schemas.ARMS).
    """
    judged = pl.col("chosen") & (pl.col("arm") == STEER)
    chosen = arms.filter(judged | (pl.col("arm") == HEALED)).with_columns(
        kind=pl.when(pl.col("arm") == STEER).then(pl.lit(STEERED)).otherwise(pl.lit(HEALED))
    )
    order = [*(f for f in intended if f in FOUNDATIONS), *(f for f in FOUNDATIONS if f not in intended)]
    parts = [
        chosen.select("kind", pl.lit(f).alias("foundation"), d=f"d_{f}", low=f"d_{f}_low", high=f"d_{f}_high")
        for f in order
    ]
    rows = pl.concat(parts).drop_nulls("d")
    offset = alt.YOffset("kind:N", sort=[STEERED, HEALED])
    y = alt.Y("foundation:N", title=None, sort=order)
    base = alt.Chart(rows).encode(y=y, yOffset=offset, color=kind_colour())
    x = alt.X("d:Q", title="shift (nats against base)", axis=quiet())
    tips = ["foundation:N", "kind:N", *(alt.Tooltip(f"{n}:Q", format=".3f") for n in ("d", "low", "high"))]
    zero = alt.Chart(pl.DataFrame({"x": [0.0]})).mark_rule(color=GREY).encode(x="x:Q")
    rule = base.mark_rule(strokeWidth=2).encode(x="low:Q", x2="high:Q")
    dots = base.mark_point(filled=True, size=70, opacity=1).encode(x=x, shape=kind_shape(), tooltip=tips)
    return alt.layer(zero, rule, dots).properties(width=width, height=alt.Step(14))
