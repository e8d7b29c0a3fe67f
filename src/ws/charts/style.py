"""What all charts share: colours that stay apart for colour-blind eyes, the coherence line, writing to a file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import altair as alt

from ws.errors import UserError

__all__ = ["BLUE", "COHERENT", "GREEN", "GREY", "ORANGE", "quiet", "save"]

BLUE, ORANGE, GREY, GREEN = "#4a86c8", "#d9822b", "#8a8f98", "#3a8f5c"
COHERENT = 0.95
SUFFIXES = (".svg", ".png", ".html", ".json")


def quiet(**more: Any) -> alt.Axis:
    """An axis whose grid stays behind the marks on a light and on a dark page."""
    return alt.Axis(gridColor=GREY, gridOpacity=0.25, **more)


def save(chart: alt.TopLevelMixin, path: str | Path) -> Path:
    """Write the chart by its suffix (svg, png, html, json); no network. UserError for another suffix."""
    path = Path(path)
    if path.suffix not in SUFFIXES:
        raise UserError(f"A chart cannot be written as {path.name!r}. Use one of {', '.join(SUFFIXES)}.")
    if path.suffix == ".html":
        chart.save(str(path), inline=True)
    else:
        chart.save(str(path))
    return path
