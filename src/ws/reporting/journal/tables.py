"""Tables of a page: whole, never paged, numbers right-aligned, every cell escaped."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Any

import polars as pl

from ws.evaluation.definitions import DEFINITIONS
from ws.gating.arm_table import BASE, HEALED, RANDOM, dosed_arms, place_of, words_of
from ws.gating.facts import further_text
from ws.gating.schemas import TOPIC, further_figures
from ws.intervals import interval_of
from ws.reporting.journal.html import Html, join, tag
from ws.reporting.terminal import figure

__all__ = ["arms_table", "pairs_table", "table"]


def table(head: Sequence[str], rows: Iterable[Sequence[Any]], *, numbers: Sequence[int] = (),
          strong: Sequence[int] = (), caption: str = "", titles: dict[str, str] | None = None,
          narrow: bool = False) -> Html:  # fmt: skip
    """Rows of cells (text or Html). numbers: columns that are right-aligned; strong: rows that stand out; titles: what
    a column means; narrow: only as wide as its cells."""

    def kind(i: int) -> str | None:
        return "n" if i in numbers else None

    heads = [tag("th", name, class_=kind(i), title=(titles or {}).get(name)) for i, name in enumerate(head)]
    lines = [
        tag(
            "tr",
            *(tag("td", cell, class_=kind(i)) for i, cell in enumerate(row)),
            class_="strong" if k in strong else None,
        )
        for k, row in enumerate(rows)
    ]
    parts = [tag("caption", caption)] if caption else []
    parts += [tag("thead", tag("tr", *heads)), tag("tbody", join(lines))]
    return tag("div", tag("table", *parts, class_="narrow" if narrow else None), class_="wide")


def pairs_table(values: dict[str, Any], head: tuple[str, str] = ("", ""), caption: str = "") -> Html:
    """Names and values, one pair a row."""
    return table(head, [(tag("code", name), shown(value)) for name, value in values.items()], caption=caption)


def shown(value: Any) -> str:
    """A plain value for a cell."""
    if value is None:
        return "-"
    if isinstance(value, list | tuple):
        return ", ".join(shown(v) for v in value)
    if isinstance(value, float):
        return f"{value:.6g}" if math.isfinite(value) else str(value)
    return str(value)


COLUMNS = (
    "arm",
    "c",
    "d_target",
    "coherence",
    "p_ans_any",
    "coh_text",
    "tail_ppl",
    "capability",
    "retain",
    "KL p95",
)


def arms_table(arms: pl.DataFrame, caption: str, unit: str = "nat") -> Html:
    """Every arm with its intervals, each random draw too; the judged dose stands out. unit: of the shifts."""
    rows = sorted(arms.rows(named=True), key=lambda r: (place_of(r["arm"]), r["draw"] or 0, r["c"] or 0.0))
    strong = [i for i, row in enumerate(rows) if row["chosen"] or row["arm"] == HEALED]
    topic = [name for name in TOPIC[:1] if name in arms.columns and arms[name].is_not_null().any()]
    further = [*topic, *further_figures(arms.columns)]
    cells = [[*_cells(row), *(further_text(row, name) for name in further)] for row in rows]
    named = (f"{name} ({unit})" if name == "d_target" else name for name in COLUMNS)
    head = (*named, *further)
    titles = {name: DEFINITIONS[name.split(" ")[0]] for name in head if name.split(" ")[0] in DEFINITIONS}
    numbers = range(1, len(head))
    return table(head, cells, numbers=numbers, strong=strong, caption=caption, titles=titles)


def _cells(row: dict[str, Any]) -> list[str]:
    drawn = f", draw {row['draw']}" if row["draw"] is not None else ""
    dosed = row["arm"] in dosed_arms()
    name = "random direction, same KL" if row["arm"] == RANDOM else words_of(row["arm"])
    retain = interval_of(row, "retain") if row.get("retain") is not None else "-"
    return [
        name + drawn + (" (judged)" if row["chosen"] else ""), f"{row['c']:+.3g}" if dosed else "",
        "0" if row["arm"] == BASE else interval_of(row, "d_target"), interval_of(row, "coherence"),
        figure(row["p_ans_any"]), figure(row["coh_text"]), figure(row["tail_ppl"], 1),
        figure(row["capability"]), retain, figure(row["kl"]),
    ]  # fmt: skip
