"""Charts as SVG inside a page: no script, no outside font, colours of text and grid taken from the page's theme."""

from __future__ import annotations

import re
from itertools import count
from typing import Any

import altair as alt

from ws.reporting.journal.html import Html, tag

__all__ = ["Pictures"]

INK = "currentColor"
# id and every way in which an SVG refers to one
ID = re.compile(r'(\bid="|url\(#|href="#)')


class Pictures:
    """Figures of one page; the ids inside of each are its own, so that two charts never share a clip path."""

    def __init__(self) -> None:
        self.numbers = count(1)

    def figure(self, chart: alt.TopLevelMixin, caption: str) -> Html:
        """A chart with its caption. ValueError when the SVG holds anything that could run or load."""
        import vl_convert

        svg = vl_convert.vegalite_to_svg(themed(chart))
        svg = ID.sub(lambda m: f"{m.group()}f{number}-", svg) if (number := next(self.numbers)) else svg
        if found := re.search(r"<(script|foreignObject|iframe|image)\b|\son\w+=|(href|src)=\"(?!#)", svg, re.I):
            raise ValueError(f"the chart holds {found.group()!r}: a journal page is inert")
        return tag("figure", Html(svg), tag("figcaption", caption))


def themed(chart: alt.TopLevelMixin) -> dict[str, Any]:
    """The chart's specification with the page's own ink."""
    spec: dict[str, Any] = chart.to_dict()
    ink = {"labelColor": INK, "titleColor": INK}
    spec["background"] = "transparent"
    spec["config"] = {
        "font": "sans-serif",
        "axis": ink | {
            "domainColor": INK, "tickColor": INK, "gridColor": INK, "domainOpacity": 0.4, "tickOpacity": 0.4,
            "gridOpacity": 0.12, "labelFontSize": 12, "titleFontSize": 12, "titleFontWeight": "normal",
        },
        "legend": {**ink, "labelFontSize": 12, "symbolOpacity": 1},
        "title": {"color": INK, "fontSize": 13, "anchor": "start"},
        "view": {"stroke": None},
        "rule": {"color": INK},
        "axisBand": {"labelAngle": 0},
    }  # fmt: skip
    return spec
