"""Pictures of a run, as altair charts: notebooks show them, `save` writes SVG, PNG, HTML or JSON by the suffix."""

from ws.charts.dose import dose_chart
from ws.charts.drift import drift_chart
from ws.charts.gauges import gauges_chart
from ws.charts.ladder import ladder_chart
from ws.charts.pareto import clicked_arm, pareto_chart
from ws.charts.picture import picture
from ws.charts.planes import plane_chart, planes_chart
from ws.charts.profile import profile_chart
from ws.charts.response import band_chart, response_chart
from ws.charts.sieve import roc_chart, sieve_chart, sieve_data, sieve_states
from ws.charts.style import embedded, save
from ws.charts.training import training_chart, training_data
from ws.charts.zigzag import zigzag_chart

__all__ = [
    "band_chart", "clicked_arm", "dose_chart", "drift_chart", "embedded", "gauges_chart", "ladder_chart",
    "pareto_chart", "picture", "plane_chart", "planes_chart", "profile_chart", "response_chart", "roc_chart", "save",
    "sieve_chart", "sieve_data", "sieve_states", "training_chart", "training_data", "zigzag_chart",
]  # fmt: skip
