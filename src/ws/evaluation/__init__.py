"""Evaluation: vignettes, dilemmas, free text and capability of a model under a treatment, and what may be compared.

    base, steered = ws.evaluate(lm, axis, direction=v, c=[0, 0.5])
    ws.compare(base, steered)              # d_nats with intervals, coherence, cost; refuses unlike instruments

Rooms: items (what is asked), slots and vignettes (the readout), dilemmas, freetext, behaviour, capability,
statistics, report, comparison, backends; definitions holds one sentence per number.
"""

from __future__ import annotations

from ws.evaluation.comparison import compare, retain, retain_behaviour, summary
from ws.evaluation.definitions import DEFINITIONS
from ws.evaluation.evaluator import evaluate
from ws.evaluation.memory import forget_bases
from ws.evaluation.report import Report

__all__ = [
    "DEFINITIONS", "Report", "compare", "evaluate", "forget_bases", "retain", "retain_behaviour", "summary",
]  # fmt: skip
