"""Pictures of a run, as altair charts: notebooks show them, `save` writes SVG, PNG, HTML or JSON by the suffix."""

from ws.charts.dose import dose_chart
from ws.charts.drift import drift_chart
from ws.charts.style import save

__all__ = ["dose_chart", "drift_chart", "save"]
