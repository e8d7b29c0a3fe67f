"""Pictures of a run, as altair charts: notebooks show them, `save` writes SVG, PNG, HTML or JSON by the suffix."""

from ws.reporting.charts.beta_sweep import ladder_chart
from ws.reporting.charts.compiled import picture
from ws.reporting.charts.dose_response import band_chart, response_chart
from ws.reporting.charts.dose_target import dose_chart
from ws.reporting.charts.drift import drift_chart
from ws.reporting.charts.filter import roc_chart, sieve_chart, sieve_data, sieve_states
from ws.reporting.charts.pareto import clicked_arm, pareto_chart
from ws.reporting.charts.profile import profile_chart
from ws.reporting.charts.round_metrics import gauges_chart
from ws.reporting.charts.rounds import zigzag_chart
from ws.reporting.charts.style import embedded, save
from ws.reporting.charts.tradeoff_planes import plane_chart, planes_chart
from ws.reporting.charts.training import training_chart, training_data

__all__ = [
    "band_chart", "clicked_arm", "dose_chart", "drift_chart", "embedded", "gauges_chart", "ladder_chart",
    "pareto_chart", "picture", "plane_chart", "planes_chart", "profile_chart", "response_chart", "roc_chart", "save",
    "sieve_chart", "sieve_data", "sieve_states", "training_chart", "training_data", "zigzag_chart",
]  # fmt: skip
