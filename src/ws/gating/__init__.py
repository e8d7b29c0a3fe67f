"""What a result means: pure functions of a run's frames, one precedence table per gate, every threshold in one place.

    for gate in ws.judge(run):          # the best round's gates; ws.judge(run, round=1) for another
        print(gate.colour, gate.name, gate.outcome, gate.next)

Gates inform, they never block. Instrument and absolute floors are read first, ratios last: a ratio can look best on a
broken model. Each gate reports all of its outcomes (measured? seen? evidence), the one that decided first.
The frames: `ws.gating.schemas`. The tables: instrument (gate 0), steer (1), filter (2), heal (3), loop (4).
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ws.gating.filter import judge_filter
    from ws.gating.gate import Gate, Row, verdict
    from ws.gating.heal import judge_heal
    from ws.gating.instrument import judge_instrument
    from ws.gating.loop import judge_loop
    from ws.gating.schemas import ARMS, Trait
    from ws.gating.steer import judge_steer
    from ws.gating.thresholds import Thresholds

__all__ = [
    "ARMS", "Gate", "Row", "Thresholds", "Trait",
    "judge_filter", "judge_heal", "judge_instrument", "judge_loop", "judge_steer", "verdict",
]  # fmt: skip

_WHERE = {
    **{f"judge_{gate}": gate for gate in ("filter", "heal", "instrument", "loop", "steer")},
    **dict.fromkeys(("Gate", "Row", "verdict"), "gate"), **dict.fromkeys(("ARMS", "Trait"), "schemas"),
    "Thresholds": "thresholds",
}  # fmt: skip


def __getattr__(name: str) -> Any:
    """The public name from its module, when it is first used: the table of arms is read where there are no frames."""
    if name not in _WHERE:
        raise AttributeError(f"module 'ws.gating' has no attribute {name!r}")
    return getattr(importlib.import_module(f"ws.gating.{_WHERE[name]}"), name)
