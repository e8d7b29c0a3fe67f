"""The dose response: every foundation's shift in nats, its controls, and below it what the dose costs in coherence."""

from __future__ import annotations

from typing import Any

import altair as alt
import polars as pl

from ws.gating.arm_table import PERSONA, PERSONA_ENGINEERED, RANDOM, STEER, searched_arms, words_of
from ws.gating.foundations import FOUNDATIONS
from ws.gating.schemas import Trait
from ws.reporting.charts.compiled import AT
from ws.reporting.charts.style import BLUE, COHERENT, DASHES, GREEN, GREY, OFF, ORANGE, PURPLE, RULE, embedded

__all__ = ["band_chart", "response_chart"]

LEAST = 1e-3  # 1 - coherence below this is drawn here: a logarithm has no zero
PARTS = {
    "coherence": "coherence (the smaller)", "p_ans_any": "answers in the format", "coh_text": "readable text vs base",
}  # fmt: skip


def response_chart(
    grid: pl.DataFrame, arms: pl.DataFrame, trait: Trait, band: tuple[float, float], width: int = 600
) -> alt.VConcatChart:
    """Shift of every foundation over c (nats, 95 %) above 1 - coherence and its two parts on a log axis.

    grid: the dose grid (select set); arms: the report set's arms: persona and random directions are marks. band: the
    coherent doses, shaded. The rule of the slider is unseen until a picture of the chart is moved to a dose by `at`.
    """
    report, grid = arms.filter(pl.col("arm") == STEER), grid.filter(pl.col("arm") != PERSONA)  # which is no dose
    least, most = (float(x) for x in (min(0.0, *report["c"]), max(1.0, *grid["c"])))
    x = alt.X("c:Q", title="coefficient c", scale=alt.Scale(domain=[least, most], nice=False),
              axis=alt.Axis(tickCount=8))  # fmt: skip
    behind = [_band(band, x), _rule(most)]
    shifts = _shifts(grid, trait)
    top = alt.layer(
        *behind, _random(arms, trait), _area(shifts, x), _lines(shifts, x, trait), _errors(shifts, x, trait),
        _report(report, x, target_column(trait), BLUE), *_persona(arms, trait, least, x),
    ).properties(width=width, height=260)  # fmt: skip
    bottom = alt.layer(
        *behind,
        _floor(),
        *_costs(grid, x),
        _report(report.with_columns(loss=_loss("coherence")), x, "loss", ORANGE),
    ).properties(width=width, height=170)
    both = alt.vconcat(top, bottom, spacing=8).resolve_scale(color="independent", strokeDash="independent")
    chart: alt.VConcatChart = embedded(both.add_params(alt.param(name=AT, value=-1)))
    return chart


def target_column(trait: Trait) -> str:
    """The column of the target's unsigned shift; an axis outside the foundations has only the signed one."""
    return f"d_{trait.target}" if trait.target in FOUNDATIONS else "d_target"


def role(foundation: str, trait: Trait) -> str:
    """A foundation with what the axis intends for it."""
    sign = {1: "+", -1: "−"}
    if foundation == trait.target:
        return f"{foundation} (target, {sign[trait.intended.get(foundation, 1)]})"
    if foundation in trait.intended:
        return f"{foundation} (intended, {sign[trait.intended[foundation]]})"
    return f"{foundation} (off)"


def _shifts(grid: pl.DataFrame, trait: Trait) -> pl.DataFrame:
    """Long: c, foundation, role, target, value, low, high; base is 0 with no interval."""
    parts = []
    for f in dict.fromkeys([trait.target, *FOUNDATIONS]):
        name = target_column(trait) if f == trait.target else f"d_{f}"
        rows = grid.filter(pl.col("c") >= 0).select(
            "c", value=name, low=f"{name}_low", high=f"{name}_high",
            foundation=pl.lit(f), role=pl.lit(role(f, trait)), target=pl.lit(f == trait.target),
        )  # fmt: skip
        parts.append(rows.filter(pl.col("value").is_finite()))
    return pl.concat(parts).sort("foundation", "c")


def _colours(trait: Trait) -> tuple[list[str], list[str], list[list[int]]]:
    """Roles in the order of the legend, their colours and dashes: the target first, the off-target ones dashed."""
    intended = [f for f in trait.intended if f != trait.target]
    off = [f for f in FOUNDATIONS if f != trait.target and f not in intended and not trait.by_questions]
    names = [trait.target, *intended, *off]
    colours = [*[BLUE, GREEN, ORANGE, PURPLE][: len(names) - len(off)], *OFF[: len(off)]]
    dashes = [[1, 0]] * (len(names) - len(off)) + DASHES[: len(off)]
    return [role(f, trait) for f in names], colours, dashes


def _lines(shifts: pl.DataFrame, x: alt.X, trait: Trait) -> alt.Chart:
    names, colours, dashes = _colours(trait)
    legend = alt.Legend(title="shift of", symbolType="stroke", symbolStrokeWidth=3, labelLimit=220, symbolSize=300)
    return (
        alt.Chart(shifts)
        .mark_line(point=alt.OverlayMarkDef(size=22))
        .encode(
            x=x,
            y=alt.Y("value:Q", title=f"shift against base ({trait.unit.replace('nat', 'nats')})"),
            color=alt.Color("role:N", scale=alt.Scale(domain=names, range=colours), legend=legend),
            strokeDash=alt.StrokeDash("role:N", scale=alt.Scale(domain=names, range=dashes), legend=legend),
            size=alt.condition("datum.target", alt.value(3.5), alt.value(1.4)),
            tooltip=["foundation:N", alt.Tooltip("c:Q", format=".3g"), *_tips("value", "low", "high")],
        )
    )


def _tips(*names: str) -> list[alt.Tooltip]:
    return [alt.Tooltip(f"{name}:Q", format="+.3f") for name in names]


def _errors(shifts: pl.DataFrame, x: alt.X, trait: Trait) -> alt.Chart:
    names, colours, _ = _colours(trait)
    colour = alt.Color("role:N", scale=alt.Scale(domain=names, range=colours), legend=None)
    return alt.Chart(shifts).mark_rule(opacity=0.7).encode(x=x, y="low:Q", y2="high:Q", color=colour)


def _area(shifts: pl.DataFrame, x: alt.X) -> alt.Chart:
    return alt.Chart(shifts.filter("target")).mark_area(color=BLUE, opacity=0.2).encode(x=x, y="low:Q", y2="high:Q")


def _random(arms: pl.DataFrame, trait: Trait) -> alt.Chart:
    """Where 95 % of the random directions at the same KL lie."""
    draws = arms.filter(pl.col("arm") == RANDOM)["d_target"].drop_nulls().abs()
    edge = draws.quantile(0.95, "linear") if draws.len() else None
    rows = pl.DataFrame({"low": [-edge], "high": [edge]} if edge is not None else {"low": [], "high": []})
    tip = alt.value("random directions at the same KL: 95 % of their shifts of the target")
    return alt.Chart(rows).mark_rect(color=GREY, opacity=0.35).encode(y="low:Q", y2="high:Q", tooltip=tip)


def _persona(arms: pl.DataFrame, trait: Trait, least: float, x: alt.X) -> list[alt.Chart]:
    """The target's shift under the persona as a system prompt: it has no dose, so it is a line with its name."""
    names = {name: words_of(name) for name in (PERSONA, PERSONA_ENGINEERED)}
    rows = arms.filter(pl.col("arm").is_in(list(names)) & pl.col(target_column(trait)).is_not_null()).select(
        y=target_column(trait), name=pl.col("arm").replace_strict(names), c=pl.lit(least)
    )
    base = alt.Chart(rows)
    line = base.mark_rule(color=BLUE, strokeDash=[2, 4], size=1.5).encode(y="y:Q")
    text = base.mark_text(align="left", dy=-6, dx=4, color=BLUE, fontSize=11).encode(x=x, y="y:Q", text="name:N")
    return [line, text]


def _report(rows: pl.DataFrame, x: alt.X, name: str, colour: str) -> alt.Chart:
    """The doses that were read again on the report set, the judged one and minus it, as diamonds."""
    shown = rows.select("c", y=name).drop_nulls()
    tips = [alt.Tooltip("c:Q", format="+.3g"), alt.Tooltip("y:Q", format="+.3f", title="report set")]
    mark = alt.Chart(shown).mark_point(shape="diamond", size=110, color=colour, strokeWidth=2, filled=False)
    return mark.encode(x=x, y="y:Q", tooltip=tips)


def _band(band: tuple[float, float], x: alt.X) -> alt.Chart:
    rows = pl.DataFrame({"c": [band[0]], "high": [band[1]]}, schema={"c": pl.Float64, "high": pl.Float64})
    tip = alt.value(f"coherent doses: 0 to {band[1]:.3g}")
    return alt.Chart(rows).mark_rect(color=GREEN, opacity=0.12).encode(x=x, x2="high:Q", tooltip=tip)


def _rule(most: float) -> alt.Chart:
    """Where the slider stands: the parameter AT, unseen beyond the axis."""
    inside = alt.expr(f"{AT} >= 0 && {AT} <= {most} ? 1 : 0")
    rule = alt.Chart(pl.DataFrame({"here": [0]})).mark_rule(color=RULE, size=2, opacity=inside)
    return rule.encode(x=alt.XDatum(alt.expr(f"clamp({AT}, 0, {most})"), type="quantitative"))


def _floor() -> alt.Chart:
    rows = pl.DataFrame({"y": [1 - COHERENT]})
    return alt.Chart(rows).mark_rule(color=GREY, strokeDash=[6, 3]).encode(y="y:Q")


def _loss(name: str) -> pl.Expr:
    """1 - a share, at least what the log axis can show."""
    return (1 - pl.col(name)).clip(lower_bound=LEAST)


def _costs(grid: pl.DataFrame, x: alt.X) -> list[alt.Chart]:
    """1 - coherence and 1 - each of its parts; the interval of coherence itself."""
    rows = grid.filter(pl.col("arm").is_in(searched_arms()), pl.col("c") >= 0)
    relative = pl.col("coh_text") / rows.filter(pl.col("c") == 0)["coh_text"].first()
    rows = rows.with_columns(coh_text=relative) if rows.filter(pl.col("c") == 0).height else rows
    loss = {name: _loss(name) for name in [*PARTS, "coherence_low", "coherence_high"]}
    long = rows.select("c", **loss).unpivot(list(PARTS), index="c", variable_name="part", value_name="loss")
    long = long.drop_nulls().with_columns(part=pl.col("part").replace_strict(PARTS)).sort("part", "c")
    scale = alt.Scale(type="log", reverse=True, domain=[LEAST, 1])
    y: Any = alt.Y("loss:Q", scale=scale, title="1 − coherence (log, up is better)",
                   axis=alt.Axis(values=[0.001, 0.01, 0.05, 0.2, 1], format="~g"))  # fmt: skip
    names = list(PARTS.values())
    legend = alt.Legend(title="parts of coherence", labelLimit=220, symbolType="stroke", symbolStrokeWidth=3)
    colour = alt.Color("part:N", legend=legend, scale=alt.Scale(domain=names, range=[ORANGE, PURPLE, GREY]))
    lines = alt.Chart(long).mark_line(point=True, opacity=0.9).encode(
        x=x, y=y, color=colour, tooltip=["part:N", *(alt.Tooltip(f"{name}:Q", format=".3g") for name in ("c", "loss"))]
    )  # fmt: skip
    spans = rows.select("c", **loss).drop_nulls()
    error = alt.Chart(spans).mark_rule(color=ORANGE, opacity=0.7, size=2).encode(
        x=x, y=alt.Y("coherence_low:Q", scale=scale), y2="coherence_high:Q"
    )  # fmt: skip
    return [error, lines]


def band_chart(band: tuple[float, float], most: float, unit: str = "") -> str:
    """The slider's own axis as a strip of HTML: the coherent band shaded."""
    low, high = (100 * min(1.0, max(0.0, value / most)) for value in band)
    return (
        f'<div class="ws-axis" title="coherent doses: {band[0]:g} to {band[1]:g}{unit}">'
        f'<div class="ws-band" style="left:{low:.2f}%;width:{high - low:.2f}%"></div></div>'
        f'<div class="ws-axis-ends"><span>0</span><span>coherent up to {band[1]:g}{unit}</span>'
        f"<span>{most:g}{unit}</span></div>"
    )
