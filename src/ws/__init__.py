"""ws: steer, heal, loop. The public names are imported when first used, so that `import ws` costs nothing."""

from __future__ import annotations

import importlib
from typing import Any

__version__ = "0.1.0"

_WHERE = {
    "load_model": "models",
    "load_axis": "axes",
    "Axis": "axes",
    "extract": "extraction",
    "Direction": "steering",
    "steered": "steering",
    "generate": "generation",
    "Prompt": "generation",
    "decode": "decoding",
    "Backtrack": "decoding",
    "CosineGate": "schedules",
    "trace": "tracing",
    "score": "filtering",
    "keep": "filtering",
    "reasons": "filtering",
    "borderline": "filtering",
    "heal": "healing",
    "HealConfig": "healing",
    "Adapter": "adapters",
    "bake": "baking",
    "export": "baking",
    "evaluate": "evaluation",
    "compare": "evaluation",
    "Report": "evaluation",
    "judge": "gating",
    "Gate": "gating",
    "run": "loop",
    "RunConfig": "config",
    "recipe_for": "config",
    "open_run": "runs",
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
