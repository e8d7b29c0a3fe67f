"""Gate 4: does the loop stay coherent and keep its direction? Read from one row per round; floors first."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import polars as pl

from ws.gating.advice import ADVICE
from ws.gating.gate import Finding, Gate, Row, decide, near_end, seed_caveat, verdict, worst
from ws.gating.thresholds import DEFAULTS, Thresholds
from ws.intervals import as_float, finite_or_none, interval_of

SHOULD = (
    f"the target moves round after round at coherence >= {DEFAULTS.coherent:g}, cos_v0 >= {DEFAULTS.cosine:g}, "
    "KL to base bounded"
)


@dataclass(frozen=True)
class LoopFacts:
    """The rounds of a run, first to last (columns ws.gating.schemas.ROUNDS)."""

    rounds: pl.DataFrame
    limits: Thresholds
    unit: str = "nat"
    """of d_target"""

    @cached_property
    def last(self) -> dict[str, Any]:
        return self.rounds.row(-1, named=True)

    @cached_property
    def gains(self) -> list[float]:
        """Nats that each round after the first added to the target's shift."""
        return self.rounds["d_target"].diff().drop_nulls().to_list()

    @cached_property
    def fell(self) -> bool:
        """Whether coherence fell since the most coherent round before the last, by enough and by more than chance."""
        before = as_float(self.rounds["coherence"].head(self.rounds.height - 1).max())
        return (
            before - as_float(self.last["coherence"]) >= self.limits.decline
            and as_float(self.last["coherence_high"]) < before
        )

    def path(self, column: str, digits: int = 2) -> str:
        """A column over the rounds, as in 0.9 -> 1.2."""
        return " -> ".join("-" if v is None else f"{v:.{digits}f}" for v in self.rounds[column])

    @property
    def text(self) -> str:
        return f"d_target {self.path('d_target')} {self.unit}, coherence {self.path('coherence')}"


def _collapse(f: LoopFacts) -> Finding:
    if f.last["coherence"] is None:
        return None, "coherence was not measured"
    found = f.last["c"] is not None and (f.last["kept"] or 0) > 0
    under = as_float(f.last["coherence_high"]) < f.limits.coherent
    text = f"coherence {f.path('coherence')} while the dose search gave c {f.path('c')} and {f.last['kept']} texts"
    return found and under and f.fell, text


def _erodes(f: LoopFacts) -> Finding:
    if not f.gains or f.last["coherence"] is None:
        return None, "target or coherence was not measured"
    return f.gains[-1] <= -f.limits.gain and f.fell, f.text


def _erased(f: LoopFacts) -> Finding:
    if not f.gains:
        return None, "the target was not measured"
    if f.last["reference"] != "base":
        return False, "the reference is the previous round"
    return f.gains[-1] <= -f.limits.gain and not f.fell, f"reference base; {f.text}"


def _wanders(f: LoopFacts) -> Finding:
    if f.last["cos_v0"] is None:
        return None, "the direction has no cosine with the first round's"
    return f.last["cos_v0"] < f.limits.cosine, f"cos_v0 {f.path('cos_v0')}"


def _saturates(f: LoopFacts) -> Finding:
    if len(f.gains) < 2:
        return None, "needs three rounds"
    flat = all(abs(gain) < f.limits.gain for gain in f.gains[-2:])
    return flat, f"gains of the last two rounds {f.gains[-2]:+.2f} and {f.gains[-1]:+.2f} {f.unit}"


def _accumulates(f: LoopFacts) -> Finding:
    if not f.gains or f.last["coherence"] is None:
        return None, "target or coherence was not measured"
    moved = all(gain >= f.limits.gain for gain in f.gains)
    return moved and as_float(f.rounds["coherence"].min()) >= f.limits.coherent, f.text


def _drifts(f: LoopFacts) -> Finding:
    first = f.rounds.row(0, named=True)
    if any(row[name] is None for row in (first, f.last) for name in ("kl_base", "kl_prev")):
        return None, "the KL to base and to the round before was not logged"
    steps = as_float(f.rounds["kl_prev"].max()) <= f.limits.step * first["kl_prev"]
    grown = all(rise > 0 for rise in f.rounds["kl_base"].diff().drop_nulls())
    far = f.last["kl_base"] > f.limits.far * first["kl_base"]
    text = f"KL to base {f.path('kl_base')} nat, to the round before {f.path('kl_prev')}"
    return steps and grown and far, text


TABLE: tuple[Row[LoopFacts], ...] = (
    Row("hidden collapse", _collapse, red=True),
    Row("erodes", _erodes, red=True),
    Row("history erased", _erased, yellow=True),
    Row("wanders", _wanders, yellow=True),
    Row("saturates", _saturates, yellow=True),
    Row("accumulates", _accumulates),
    Row("drifts", _drifts, yellow=True),
)
OTHERWISE: Row[LoopFacts] = Row("unclear", lambda f: (True, f.text))


def judge_loop(rounds: pl.DataFrame, limits: Thresholds | None = None, seeds: int = 1, unit: str = "nat") -> Gate:
    """Gate 4 from one row per round, two at least (ValueError). value: the last round's shift with its interval.

    unit: of d_target (`Trait.unit`)."""
    if rounds.height < 2:
        raise ValueError(f"the loop is judged from two rounds on (got {rounds.height})")
    f = LoopFacts(rounds.sort("round"), limits or Thresholds(), unit)
    primary, checks, seen = decide(TABLE, f, OTHERWISE)
    last = f.last
    whole = f"last of {rounds.height} rounds: d_target {interval_of(last, 'd_target')} {unit}"
    colour = verdict(
        near_end(as_float(last["d_target_low"]), as_float(last["d_target_high"])),
        as_float(last["coherence"]),
        as_float(last["coherence_low"]),
        as_float(last["coherence"]) - as_float(last["coherence_base"]),
        as_float(last["d_target"]),
        surgical=last["surgical"],
        finite=not last["nonfinite"],
        limits=f.limits,
    )
    return Gate(
        gate=4,
        name="loop",
        outcome=primary.outcome,
        also=[row.outcome for row in seen if row is not primary],
        checks=checks,
        colour=worst("yellow" if primary is OTHERWISE and colour == "green" else colour, seen),
        value=finite_or_none(as_float(last["d_target"])),
        low=finite_or_none(as_float(last["d_target_low"])),
        high=finite_or_none(as_float(last["d_target_high"])),
        should=SHOULD,
        next=ADVICE[4][primary.outcome],
        unit=f.unit,
        caveats=[*seed_caveat(seeds, f.limits), whole],
    )
