"""Short pieces of HTML between a page's pictures: counts, agreement with labels, titles, notes."""

from __future__ import annotations

import math
from typing import Any

import polars as pl

from ws.app.views.filter import counts
from ws.app.views.labels import agreement
from ws.app.views.token_html import escaped
from ws.errors import UserError
from ws.filtering.limits import separation
from ws.gating import Gate
from ws.reporting.tables import visible_frame

__all__ = ["border_table", "counts_html", "labels_html", "note_html", "row_title"]


def counts_html(marked: pl.DataFrame, tail_ppl: float) -> str:
    """How many training completions the threshold keeps, and what dropped the others."""
    found = counts(marked)
    lost = ", ".join(f"{name} {n}" for name, n in found["lost"].items()) or "none"
    share = 100 * found["kept"] / max(1, found["generated"])
    text = (
        f"below {tail_ppl:.4g}: kept {found['kept']} of {found['generated']} training completions "
        f"({share:.0f} % [{100 * found['low']:.0f}, {100 * found['high']:.0f}]); dropped: {lost}"
    )
    return f'<div class="ws-counts">{escaped(text)}</div>'


def border_table(border: pl.DataFrame) -> pl.DataFrame:
    """The borderline rows as a table: id, side, figures, text."""
    shown = border.select(
        "id", "side", "c", pl.col("tail_ppl").round(2), pl.col("rep").round(3), pl.col("bite").round(3), "text"
    )
    return visible_frame(shown)


def row_title(row: dict[str, Any]) -> str:
    """What a completion answered, at which dose, and on which side it fell."""
    why = "" if row["dropped"] is None else f" ({row['dropped']})"
    return f"completion {row['id']}, just {row['side']}{why}, c = {row['c']:+.3g}, to: {row['prompt']}"


def labels_html(marked: pl.DataFrame, labels: pl.DataFrame) -> str:
    """How the threshold in force agrees with the hand labels, and the limit that would serve best."""
    a = agreement(marked, labels)
    lines = [f"{a['n']} labelled ({a['coherent']} coherent, {a['narrates']} narrating)"]
    for name in ("precision", "recall"):
        lines.append(f"{name} of keeping: {'-' if math.isnan(a[name]) else format(a[name], '.2f')}")
    try:
        for row in separation(marked, labels).rows(named=True):
            best = f"best limit {row['threshold']:.3g} (precision {row['precision']:.2f}, recall {row['recall']:.2f})"
            lines.append(f"{row['score']}: AUC {row['auc']:.2f}, {best}")
    except UserError:
        lines.append(f"the best threshold is shown from {a['needed']} labels on")
    return '<div class="ws-labels">' + "".join(f"<div>{escaped(line)}</div>" for line in lines) + "</div>"


def note_html(gate: Gate, field: Any) -> str:
    """The researcher's judgement: its text field (a widget with its HTML in .text), or the stored words where None."""
    if field is not None:
        return f'<div class="ws-own">{field.text}</div>'
    return f'<p class="ws-own">Researcher: {escaped(gate.note or "no note yet")}</p>'
