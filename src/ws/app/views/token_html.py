"""Model text as safe HTML: escaped, nothing cut, each token shaded by its surprise."""

from __future__ import annotations

import html
import math
from collections.abc import Sequence

from ws.models.lm import load_model
from ws.reporting.visible import visible

__all__ = ["escaped", "pieces", "strip", "text_block"]

DEEP = 8.0  # nats: a token this surprising has the full colour


def escaped(text: object) -> str:
    """The text for HTML: markup, quotes, line breaks, control and reordering characters are shown and never read."""
    return html.escape(visible(str(text).replace("\r", "")), quote=True).replace("\n", "&#10;")


def text_block(text: str) -> str:
    """A whole text as one block."""
    return f'<div class="ws-text">{escaped(text)}</div>'


def pieces(model: str, token_ids: Sequence[int]) -> list[str]:
    """What each token adds to the text; characters made of several tokens come with the last of them."""
    tok, done, found = load_model(model).tok, "", []
    for i in range(len(token_ids)):
        text = str(tok.decode(list(token_ids[: i + 1])))
        whole = text.rstrip("\ufffd")
        piece = whole[len(done) :] if whole.startswith(done) else ""
        done = whole if whole.startswith(done) else done
        found.append(piece)
    return found


def strip(parts: Sequence[str], logp: Sequence[float] | None) -> str:
    """The tokens in a row, each shaded by its surprise under base (-log p, nats), which its tooltip says."""
    values = list(logp) if logp is not None else [math.nan] * len(parts)
    spans = [_span(part, -value if value is not None else math.nan) for part, value in zip(parts, values, strict=True)]
    return f'<div class="ws-text">{"".join(spans)}</div>'


def _span(part: str, surprise: float) -> str:
    if not math.isfinite(surprise):
        return f"<span>{escaped(part)}</span>"
    share = min(1.0, max(0.0, surprise / DEEP))
    title = f"surprise under base {surprise:.2f} nats"
    return f'<span class="ws-token" style="--surprise:{share:.2f}" title="{title}">{escaped(part)}</span>'
