"""Pictures of a run, as altair charts: notebooks show them, `save` writes SVG, PNG, HTML or JSON by the suffix."""

from ws.charts.dose import dose_chart
from ws.charts.drift import drift_chart
from ws.charts.response import band_chart, response_chart
from ws.charts.sieve import points_chart, roc_chart, shares_chart
from ws.charts.style import embedded, save

__all__ = [
    "band_chart", "dose_chart", "drift_chart", "embedded", "points_chart", "response_chart", "roc_chart",
    "save", "shares_chart",
]  # fmt: skip
