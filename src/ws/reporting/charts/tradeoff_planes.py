"""Models as points of a plane: coherence against the target, one foundation against another, each with 95 % intervals.

`tradeoff_chart` shows one round: base, the chosen dose and every beta (ws.app.views.heal.points).
`loop_plane_chart` shows where a run of several rounds goes, step by step (ws.runs.round_tables.steps_frame).
"""

from __future__ import annotations

import math
from typing import Any

import altair as alt
import polars as pl

from ws.gating.arm_table import BASE, HEALED, STEERED, STEPS, UNSTEERED_TEXT
from ws.reporting.charts.compiled import AT
from ws.reporting.charts.rounds import kind_colour, kind_shape
from ws.reporting.charts.style import BLUE, COHERENT, GREEN, GREY, ORANGE, PURPLE, embedded, quiet

__all__ = ["coherence_plane", "foundations_plane", "loop_plane_chart", "tradeoff_chart"]

ARM_NAMES, COLOURS = [*STEPS, UNSTEERED_TEXT], [GREY, ORANGE, GREEN, PURPLE]
SHAPES = ["square", "triangle-up", "circle", "diamond"]
HERE = f"datum.beta === {AT}"
SIZE = {"width": 270, "height": 250}
PADDED = alt.Scale(padding=22)


def tradeoff_chart(
    points: pl.DataFrame, axes: tuple[str, str], beta: float | None = None, by_questions: bool = False
) -> alt.HConcatChart:
    """Both planes of a round side by side under one legend; the first alone where no two foundations were measured.

    by_questions: the shifts are of a foundation's answers against the plain ones, per token.
    """
    planes = [coherence_plane(points, by_questions)]
    if points.select((pl.col("x").is_not_null() & pl.col("y").is_not_null()).any()).item():
        planes.append(foundations_plane(points, axes, by_questions))
    both = alt.hconcat(*planes)
    both = both.configure_legend(orient="top").add_params(alt.param(name=AT, value=-1 if beta is None else beta))
    chart: alt.HConcatChart = embedded(both)
    return chart


def coherence_plane(points: pl.DataFrame, by_questions: bool = False) -> Any:
    """Coherence (share) over the shift of the target (nats, + as intended); 95 % intervals."""
    floor = pl.DataFrame({"y": [COHERENT]})
    line = alt.Chart(floor).mark_rule(color=GREY, strokeDash=[4, 3]).encode(y="y:Q")
    unit = "nats per token" if by_questions else "nats"
    x, y = f"shift of the target ({unit}, + as intended)", f"coherence (share, rule at {COHERENT:g})"
    return alt.layer(line, *_marks(points, "d_target", "coherence", x, y)).properties(**SIZE)


def foundations_plane(points: pl.DataFrame, axes: tuple[str, str], by_questions: bool = False) -> Any:
    """Shift of the foundation that should rise over that of the one that should fall (nats), base at 0, 0."""
    zero = pl.DataFrame({"at": [0.0]})
    rules = [alt.Chart(zero).mark_rule(color=GREY, opacity=0.5).encode(**{k: "at:Q"}) for k in ("x", "y")]
    x, y = (_shift_of(name, by_questions) for name in axes)
    return alt.layer(*rules, *_marks(points, "x", "y", x, y)).properties(**SIZE)


def loop_plane_chart(
    steps: pl.DataFrame, x: str = "Authority", y: str = "Care", size: int = 300, *, by_questions: bool = False
) -> alt.TopLevelMixin:
    """Shifts of two foundations (nats against base, 95 %), a node for base and for every round's steered and healed.

    steps: ws.runs.round_tables.steps_frame. The line joins base and the healed students; steered models hang off it,
    dashed. A run that did not measure both foundations has no map, which is said in its place.
    """
    columns = _with_ends(f"d_{x}", f"d_{y}")
    rows = steps.select("at", "round", "kind", "c", *columns).drop_nulls([f"d_{x}", f"d_{y}"]).sort("at")
    if not rows.height:
        said = pl.DataFrame({"text": [f"{x} and {y} were not measured: the axis is read by its questions"]})
        return alt.Chart(said).mark_text(color=GREY).encode(text="text:N").properties(width=size, height=60)
    where = {
        "x": alt.X(f"d_{x}:Q", title=_shift_of(x, by_questions), scale=PADDED, axis=quiet()),
        "y": alt.Y(f"d_{y}:Q", title=_shift_of(y, by_questions), scale=PADDED, axis=quiet()),
    }
    tips = ["kind:N", "round:Q", *(alt.Tooltip(f"{n}:Q", format=".3f") for n in ("c", *columns))]
    base, colour = alt.Chart(rows), kind_colour()
    dots = base.mark_point(filled=True, size=90, opacity=1).encode(
        **where, color=colour, shape=kind_shape(), tooltip=tips
    )
    spans = _spans(base, f"d_{x}", f"d_{y}", where, colour)
    layers = [_trail(rows, where), _excursions(rows, x, y), *spans, dots, _numbers(rows, x, y, where, size)]
    return alt.layer(*layers).properties(width=size, height=size)


def _shift_of(foundation: str, by_questions: bool) -> str:
    if by_questions:
        return f"answers of {foundation} against plain ones (nats per token, against base)"
    return f"shift of {foundation} (nats against base)"


def _with_ends(*names: str) -> list[str]:
    """Columns of values with those of their intervals."""
    return [f"{name}{end}" for name in names for end in ("", "_low", "_high")]


def _spans(base: alt.Chart, x: str, y: str, at: dict[str, Any], colour: alt.Color, **look: Any) -> list[Any]:
    """The intervals of points, across and up."""
    across = base.mark_rule(**look).encode(y=at["y"], x=f"{x}_low:Q", x2=f"{x}_high:Q", color=colour)
    up = base.mark_rule(**look).encode(x=at["x"], y=f"{y}_low:Q", y2=f"{y}_high:Q", color=colour)
    return [across, up]


def _marks(points: pl.DataFrame, x: str, y: str, x_title: str, y_title: str) -> list[Any]:
    """Points with intervals both ways, the healed ones joined in the order of beta, the one in force labelled."""
    columns = _with_ends(x, y)
    rows = points.select("arm", "beta", "label", *columns).filter(pl.col(x).is_not_null(), pl.col(y).is_not_null())
    base = alt.Chart(rows)
    scale = alt.Scale(zero=False, padding=18, nice=True)
    at = {"x": alt.X(f"{x}:Q", title=x_title, scale=scale), "y": alt.Y(f"{y}:Q", title=y_title, scale=scale)}
    colour = alt.Color("arm:N", title=None, scale=alt.Scale(domain=ARM_NAMES, range=COLOURS))
    shape = alt.Shape("arm:N", title=None, scale=alt.Scale(domain=ARM_NAMES, range=SHAPES))
    tips = [alt.Tooltip("label:N", title="arm"), *(alt.Tooltip(f"{c}:Q", format=".3f") for c in columns)]
    path = base.transform_filter(f"datum.arm == '{HEALED}'").mark_line(color=GREEN, opacity=0.4, strokeDash=[3, 3])
    dots = base.mark_point(filled=True, opacity=1).encode(
        **at, color=colour, shape=shape, tooltip=tips, size=alt.condition(HERE, alt.value(190), alt.value(70))
    )
    names = base.mark_text(align="left", dx=9, dy=-8, fontSize=11, color=BLUE).encode(**at, text="label:N")
    shown = names.transform_filter(f"{HERE} || datum.arm === '{BASE}' || datum.arm === '{STEERED}'")
    return [*_spans(base, x, y, at, colour, opacity=0.6), path.encode(**at, order="beta:Q"), dots, shown]


def _numbers(rows: pl.DataFrame, x: str, y: str, where: dict[str, Any], size: int) -> Any:
    """The round beside each node, in the node's colour, where it is farthest from other nodes and numbers."""
    places = _clear_places(list(zip(_pixels(rows[f"d_{x}"], size), _pixels(-rows[f"d_{y}"], size), strict=True)))
    named = rows.with_columns(dx=pl.Series([dx for dx, _ in places]), dy=pl.Series([dy for _, dy in places]))
    text = alt.Chart(named.filter(pl.col("kind") != BASE)).mark_text(
        dx=alt.expr("datum.dx"), dy=alt.expr("datum.dy"), fontSize=12, fontWeight="bold", baseline="middle"
    )
    return text.encode(**where, text="round:N", color=kind_colour())


def _pixels(values: pl.Series, size: int) -> list[float]:
    """About where values stand on an axis of which they take three quarters."""
    low, high = (float(end) for end in (values.min(), values.max()))  # type: ignore[arg-type]
    return [0.75 * size * (value - low) / ((high - low) or 1.0) for value in values]


def _clear_places(nodes: list[tuple[float, float]], away: float = 16) -> list[tuple[float, float]]:
    """For each node (pixels), in turn, the first of twelve places around it that is farthest from what is there."""
    around = [(away * math.cos(math.pi * k / 6), away * math.sin(math.pi * k / 6)) for k in range(12)]
    taken, chosen = list(nodes), []
    for x, y in nodes:
        best = max(around, key=lambda to: min(math.dist((x + to[0], y + to[1]), other) for other in taken))
        taken.append((x + best[0], y + best[1]))
        chosen.append(best)
    return chosen


def _trail(rows: pl.DataFrame, where: dict[str, Any]) -> Any:
    """Base and the healed students, joined in order."""
    kept = rows.filter(pl.col("kind") != STEERED)
    return alt.Chart(kept).mark_line(color=GREY, strokeWidth=1.5).encode(**where, order="at:Q")


def _excursions(rows: pl.DataFrame, x: str, y: str) -> Any:
    """From the student that each round began with to its steered model."""
    start = rows.filter(pl.col("kind") != STEERED).select(
        pl.col(f"d_{x}").alias("x0"), pl.col(f"d_{y}").alias("y0"), at=pl.col("at") + 0.5
    )
    pairs = rows.filter(pl.col("kind") == STEERED).join(start, on="at").select("x0", "y0", f"d_{x}", f"d_{y}")
    return alt.Chart(pairs).mark_rule(color=GREY, strokeDash=[3, 3]).encode(
        x="x0:Q", y="y0:Q", x2=f"d_{x}:Q", y2=f"d_{y}:Q"
    )  # fmt: skip
