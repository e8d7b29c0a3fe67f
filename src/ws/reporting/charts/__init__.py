"""Pictures of a run, as altair charts: notebooks show them, `save` writes SVG, PNG, HTML or JSON by the suffix.

    charts.pareto_chart(points)     # in pareto.py, which is imported when its chart is first asked for

A new chart is a new file here: X.py with its function X_chart, and the notebook that shows it.
"""

from __future__ import annotations

import importlib
import pkgutil
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ws.reporting.charts.beta_sweep import beta_sweep_chart
    from ws.reporting.charts.compiled import compiled_chart
    from ws.reporting.charts.dose_response import band_chart, response_chart
    from ws.reporting.charts.dose_target import dose_chart
    from ws.reporting.charts.drift import drift_chart
    from ws.reporting.charts.filter import filter_chart, filter_data, filter_states, roc_chart
    from ws.reporting.charts.four_arms import four_arms_chart
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
    "four_arms_chart",
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

WHERE = {
    "band_chart": "dose_response", "response_chart": "dose_response",
    "dose_chart": "dose_target",
    "filter_data": "filter", "filter_states": "filter", "roc_chart": "filter",
    "clicked_arm": "pareto",
    "embedded": "style", "save": "style",
    "loop_plane_chart": "tradeoff_planes", "tradeoff_chart": "tradeoff_planes",
    "training_data": "training",
}  # fmt: skip
"""Name -> its file, for all that is not X_chart in X.py."""


def __getattr__(name: str) -> Any:
    """The public name from its file; AttributeError for anything else."""
    file = WHERE.get(name) or name.removesuffix("_chart")
    if name == file or file not in {module.name for module in pkgutil.iter_modules(__path__)}:
        raise AttributeError(f"there is no {name!r} in {__name__}; a chart X_chart is looked for in X.py")
    return getattr(importlib.import_module(f"{__name__}.{file}"), name)


def __dir__() -> list[str]:
    return sorted(__all__)
