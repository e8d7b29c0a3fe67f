"""Pictures of a run, as altair charts: notebooks show them, `save` writes SVG, PNG, HTML or JSON by the suffix."""

from ws.reporting.charts.beta_sweep import beta_sweep_chart
from ws.reporting.charts.compiled import compiled_chart
from ws.reporting.charts.dose_response import band_chart, response_chart
from ws.reporting.charts.dose_target import dose_chart
from ws.reporting.charts.drift import drift_chart
from ws.reporting.charts.filter import filter_chart, filter_data, filter_states, roc_chart
from ws.reporting.charts.pareto import clicked_arm, pareto_chart
from ws.reporting.charts.profile import profile_chart
from ws.reporting.charts.round_metrics import round_metrics_chart
from ws.reporting.charts.rounds import rounds_chart
from ws.reporting.charts.style import embedded, save
from ws.reporting.charts.tradeoff_planes import loop_plane_chart, tradeoff_chart
from ws.reporting.charts.training import training_chart, training_data

__all__ = [
    "band_chart",
    "beta_sweep_chart",
    "clicked_arm",
    "compiled_chart",
    "dose_chart",
    "drift_chart",
    "embedded",
    "filter_chart",
    "filter_data",
    "filter_states",
    "loop_plane_chart",
    "pareto_chart",
    "profile_chart",
    "response_chart",
    "roc_chart",
    "round_metrics_chart",
    "rounds_chart",
    "save",
    "tradeoff_chart",
    "training_chart",
    "training_data",
]  # fmt: skip
