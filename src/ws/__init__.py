"""The public names of ws (extract, steered, generate, keep, heal, evaluate, judge, run), imported when first used.

So `import ws` costs nothing: torch comes with the first name that needs it.
"""

from __future__ import annotations

import importlib
from typing import Any

__version__ = "0.1.0"

_WHERE = {
    "load_model": "models.lm",
    "load_axis": "axes.axis",
    "Axis": "axes.axis",
    "extract": "steering.extraction",
    "Direction": "steering.direction",
    "steered": "steering.hooks",
    "generate": "generation.completions",
    "Sampling": "generation.settings",
    "Intervention": "generation.settings",
    "Prompt": "generation.completions",
    "decode": "generation.decoding",
    "Backtrack": "generation.decoding",
    "CosineGate": "steering.schedules",
    "trace": "generation.tracing",
    "score": "filtering.scores",
    "keep": "filtering.limits",
    "reasons": "filtering.limits",
    "borderline": "filtering.limits",
    "heal": "healing.training",
    "HealConfig": "healing.config",
    "Adapter": "models.adapters.adapter",
    "bake": "healing.baking",
    "export": "healing.baking",
    "evaluate": "evaluation",
    "compare": "evaluation",
    "Report": "evaluation",
    "judge": "runs.verdicts",
    "Gate": "gating",
    "run": "experiment.loop",
    "sweep": "experiment.sweep_loop",
    "RunConfig": "runs.config",
    "recipe_for": "runs.recipes",
    "open_run": "runs.reader",
    "UserError": "errors",
}

__all__ = [*_WHERE, "__version__"]


def __getattr__(name: str) -> Any:
    """The public name from its module; AttributeError for anything else."""
    if name not in _WHERE:
        raise AttributeError(f"module 'ws' has no attribute {name!r}; it has {', '.join(sorted(_WHERE))}")
    return getattr(importlib.import_module(f"ws.{_WHERE[name]}"), name)


def __dir__() -> list[str]:
    return sorted(__all__)
