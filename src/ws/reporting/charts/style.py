"""What all charts share: colours that stay apart for colour-blind eyes, the coherence line, writing to a file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import altair as alt

from ws.errors import UserError
from ws.gating import Thresholds

__all__ = [
    "BLUE", "COHERENT", "DASHES", "GREEN", "GREY", "OFF", "ORANGE", "PURPLE", "RULE", "STATES", "embedded",
    "quiet", "save",
]  # fmt: skip

# Mid tones, so that they read on a light and on a dark page; after Okabe and Ito, apart for colour-blind eyes.
BLUE, ORANGE, GREY, GREEN, PURPLE = "#3b82c4", "#e08a1e", "#8a8f98", "#1f9e77", "#b5679d"
RULE = "#d1495b"
OFF = ["#b08d57", "#7fa6c9", "#c98fb5", "#8a8f98", "#a3a847", "#6f7f94"]
DASHES = [[6, 3], [2, 3], [8, 2, 2, 2], [4, 4], [1, 2], [10, 4]]
STATES = {
    "kept": BLUE, "worst_ppl": "#d55e00", "tail_ppl": "#d55e00", "rep": "#e6b020", "loop": "#b08a00",
    "narrates": PURPLE, "refuses": "#7a6fb0",
    "unfinished": "#8a8f98", "distinct3": "#a0703c", "bite": "#5fb0a8", "not finite": "#555b66",
}  # fmt: skip
COHERENT = Thresholds().coherent
SUFFIXES = (".svg", ".png", ".html", ".json")


def embedded(chart: Any) -> Any:
    """The chart as a page shows it: SVG, sharp at any zoom and readable by a test, without vega's own menu."""
    sizes = {"labelFontSize": 11, "titleFontSize": 12}
    sized = chart.configure_axis(**sizes, labelFlush=False).configure_legend(**sizes)
    return sized.properties(background="transparent", usermeta={"embedOptions": {"renderer": "svg", "actions": False}})


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
