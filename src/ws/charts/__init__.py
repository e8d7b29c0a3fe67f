"""Pictures of a run, as altair charts: notebooks show them, `save` writes SVG, PNG, HTML or JSON by the suffix."""

from ws.charts.dose import dose_chart
from ws.charts.drift import drift_chart
from ws.charts.gauges import gauges_chart
from ws.charts.pareto import pareto_chart
from ws.charts.plane import plane_chart
from ws.charts.profile import profile_chart
from ws.charts.style import save
from ws.charts.zigzag import zigzag_chart

__all__ = [
    "dose_chart", "drift_chart", "gauges_chart", "pareto_chart", "plane_chart", "profile_chart", "save", "zigzag_chart",
]  # fmt: skip
