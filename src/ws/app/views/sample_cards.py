"""Samples side by side as HTML: one card per dose, model text escaped, figures above it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import polars as pl

from ws.app.views.live_samples import stored_sample
from ws.app.views.token_html import escaped, pieces, strip, text_block
from ws.filtering.limits import LOOP
from ws.runs.reader import Run

__all__ = ["cards", "completion_html", "sample_cards", "telling_prompt"]


def cards(texts: Mapping[str, str]) -> str:
    """Titles over blocks of HTML, side by side. Titles are escaped, the blocks must be safe already."""
    parts = [
        f'<div class="ws-card"><div class="ws-title">{escaped(title)}</div>{text}</div>'
        for title, text in texts.items()
    ]
    return f'<div class="ws-cards">{"".join(parts)}</div>'


def sample_cards(model: str, rows: pl.DataFrame, surprise: bool = False) -> str:
    """Base, +c and -c; surprise: each token shaded by its surprise under base."""
    return cards({_title(row): completion_html(model, row, surprise) for row in rows.rows(named=True)})


def _title(row: dict[str, Any]) -> str:
    return "baseline, c = 0" if row["c"] == 0 else f"c = {row['c']:+.3g}"


def completion_html(model: str, row: dict[str, Any], surprise: bool = False) -> str:
    """One completion: its figures, then its text or its strip of tokens."""
    end = "" if row["finished"] else " · cut off"
    source = f" · {row['source']}" if row.get("source") else ""
    figures = f"tail perplexity {row['tail_ppl']:.1f} · repetition {row['rep']:.2f} · bite {row['bite']:.2f} nats"
    head = f'<div class="ws-note">{escaped(figures + end + source)}</div>'
    if not surprise:
        return head + text_block(row["text"])
    n = len(row["token_ids"]) - bool(row["finished"])  # the token that ends a turn is no text
    return head + strip(pieces(model, row["token_ids"][:n]), row["logp_base"] and row["logp_base"][:n])


def telling_prompt(run: Run | None, probes: Sequence[str]) -> str:
    """The first prompt whose stored texts at 0, +c and -c of the judged dose all differ, and none of them is one phrase
    again and again if there is such a prompt; the first where none differs."""
    chosen = run.get("knee.json")["c"] if run is not None else None
    if run is None or chosen is None:
        return probes[0]
    rows = ((prompt, stored_sample(run, prompt, chosen, run.config.seeds[0])) for prompt in probes)
    telling = [(prompt, r) for prompt, r in rows if r is not None and r["text"].n_unique() == r.height > 2]
    varied = (prompt for prompt, r in telling if (r["rep"] < LOOP).all())
    return next(varied, telling[0][0] if telling else probes[0])
