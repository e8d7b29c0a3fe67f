"""Evaluation: vignettes, free text, and further readings of a model under a treatment, and what may be compared.

    base, steered = ws.evaluate(lm, axis, direction=v, c=[0, 0.5])
    ws.compare(base, steered)              # d_nats with intervals, coherence, cost; refuses unlike instruments

In it: items (what is asked), answer_slot and vignettes (the readout), freetext, behaviour, readings (one file each: the
exam of capability, dilemmas, and what you add), drift, report, comparison, backends; definitions holds one sentence per
number. Names are imported when first used: the configuration looks the readings' names up where there is no torch.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ws.evaluation.base_cache import forget_bases
    from ws.evaluation.comparison import compare, retain, retain_behaviour, summary
    from ws.evaluation.definitions import DEFINITIONS
    from ws.evaluation.evaluator import evaluate
    from ws.evaluation.report import Report

__all__ = [
    "DEFINITIONS", "Report", "compare", "evaluate", "forget_bases", "retain", "retain_behaviour", "summary",
]  # fmt: skip

_WHERE = {
    "DEFINITIONS": "definitions", "Report": "report", "evaluate": "evaluator", "forget_bases": "base_cache",
    **dict.fromkeys(("compare", "retain", "retain_behaviour", "summary"), "comparison"),
}  # fmt: skip


def __getattr__(name: str) -> Any:
    """The public name from its module; AttributeError for anything else."""
    if name not in _WHERE:
        raise AttributeError(f"module 'ws.evaluation' has no attribute {name!r}")
    return getattr(importlib.import_module(f"ws.evaluation.{_WHERE[name]}"), name)
