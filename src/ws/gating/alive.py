"""Is an axis alive on a model? A verdict before any run, from what a prompt and a small dose move on its questions.

Read in this order: what random directions of equal norm move has no sign, and says nothing of the axis.
"""

from __future__ import annotations

from collections.abc import Sequence

from ws.gating.gate import near_end
from ws.gating.thresholds import DEFAULTS, Thresholds
from ws.intervals import Interval

__all__ = ["ADVICE", "ALIVE", "alive_verdict"]

ALIVE = "alive"
ADVICE = {
    ALIVE: "run it",
    "persona only": "the prompt moves it and the direction does not: other layers, another pair, a stronger dose",
    "steered backwards": "the direction moves it against the personas: a finding; -c is the way that was meant",
    "non-specific": "random directions move it as much: another pair or layers",
    "too few questions": "the interval is too wide to call it dead: more questions (32 or more), or a run",
    "dead": "neither prompt nor direction moves it on this model: take another axis, or write other personas",
}
"""Verdict -> what to do next."""


def alive_verdict(steered: Interval, persona: Interval, randoms: Sequence[float], limits: Thresholds = DEFAULTS) -> str:
    """One of `ADVICE`.

    steered: logratio at +c minus that at -c, nats per token; persona: under the positive persona as system prompt minus
    under the negative one; randoms: twice what random directions of equal norm move at +c. A shift counts where the end
    of its interval that is nearest to 0 is beyond `Thresholds.guard`.
    """
    moved, prompted = near_end(steered.low, steered.high), near_end(persona.low, persona.high)
    band = max((abs(draw) for draw in randoms), default=0.0)
    if abs(moved) >= limits.guard and abs(moved) > band:
        return ALIVE if moved > 0 else "steered backwards"
    if prompted >= limits.guard:
        return "persona only"
    if abs(moved) >= limits.guard:
        return "non-specific"
    return "too few questions" if max(abs(steered.low), abs(steered.high)) >= limits.unseen else "dead"
