"""What a result means: pure functions of a run's frames, one precedence table per gate, every threshold in one place.

    for gate in ws.judge(run):          # the best round's gates; ws.judge(run, round=1) for another
        print(gate.colour, gate.name, gate.outcome, gate.next)

Gates inform, they never block. Instrument and absolute floors are read first, ratios last: a ratio can look best on a
broken model. Each gate reports all of its outcomes (measured? seen? evidence), the one that decided first.
The frames: `ws.gating.frames`. The tables: instrument (gate 0), steer (1), filter (2), heal (3), loop (4).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ws.gating.filter import judge_filter
from ws.gating.frames import ARMS, Trait
from ws.gating.gate import Gate, Row, verdict
from ws.gating.heal import judge_heal
from ws.gating.instrument import judge_instrument
from ws.gating.loop import judge_loop
from ws.gating.steer import judge_steer
from ws.gating.thresholds import Thresholds

if TYPE_CHECKING:
    from ws.runs import Run

__all__ = [
    "ARMS", "Gate", "Row", "Thresholds", "Trait",
    "judge", "judge_filter", "judge_heal", "judge_instrument", "judge_loop", "judge_rounds", "judge_steer", "verdict",
]  # fmt: skip


def judge(run: Run, round: int | None = None, thresholds: Thresholds | None = None) -> list[Gate]:
    """The gates of a run's round (default: the best one), from its stored frames, with the researcher's notes.

    Gate 4 judges the rounds up to that one, by default all of them; it is there from the second round on. UserError
    when the round has no results yet.
    """
    from ws.runs import read_facts

    facts = read_facts(run, round)
    limits = thresholds or Thresholds()
    gates = [
        judge_instrument(facts.arms, facts.trait, limits, facts.witnesses),
        judge_steer(facts.grid, facts.arms, facts.trait, limits, facts.seeds, facts.witnesses, facts.floors),
    ]
    if facts.texts is not None:
        gates.append(judge_filter(facts.texts, facts.grid, limits, min_keep=facts.min_keep, seeds=facts.seeds))
    if facts.curve is not None:
        heal = (facts.arms, facts.curve, facts.trait, limits, facts.beta, facts.seeds, facts.drift, facts.witnesses)
        gates.append(judge_heal(*heal, facts.floors))
    gates += judge_rounds(run, round, limits)
    return [gate.with_note(facts.notes.get(str(gate.gate), "")) for gate in gates]


def judge_rounds(run: Run, last: int | None = None, thresholds: Thresholds | None = None) -> list[Gate]:
    """Gate 4 over a run's rounds up to `last`, from stored files; nothing before the second healed round."""
    from ws.trajectory import rounds_frame

    rounds = rounds_frame(run, last)
    return [judge_loop(rounds, thresholds, len(run.config.seeds))] if rounds.height > 1 else []
