"""Judges a stored run (`ws.judge`): reads a round's frames and settings, hands them to the gates, adds the notes."""

from __future__ import annotations

from dataclasses import dataclass

import polars as pl

from ws.errors import UserError
from ws.evaluation.readings import floors_of
from ws.gating.filter import judge_filter
from ws.gating.gate import Gate
from ws.gating.heal import judge_heal
from ws.gating.instrument import judge_instrument
from ws.gating.loop import judge_loop
from ws.gating.schemas import Trait
from ws.gating.steer import judge_steer
from ws.gating.thresholds import Thresholds
from ws.runs.reader import Run
from ws.runs.round_tables import rounds_frame

__all__ = ["Facts", "judge", "judge_rounds", "read_facts"]


def judge(run: Run, round: int | None = None, thresholds: Thresholds | None = None) -> list[Gate]:
    """The gates of a run's round (default: the best one), from its stored frames, with the researcher's notes.

    Gate 4 judges the rounds up to that one, by default all of them; it is there from the second round on. UserError
    when the round has no results yet.
    """

    facts = read_facts(run, round)
    limits = thresholds or Thresholds()
    gates = [
        judge_instrument(facts.arms, facts.trait, limits, facts.evidence),
        judge_steer(facts.grid, facts.arms, facts.trait, limits, facts.seeds, facts.evidence, facts.floors),
    ]
    if facts.texts is not None:
        gates.append(judge_filter(facts.texts, facts.grid, limits, min_keep=facts.min_keep, seeds=facts.seeds))
    if facts.curve is not None:
        heal = (facts.arms, facts.curve, facts.trait, limits, facts.beta, facts.seeds, facts.drift, facts.evidence)
        gates.append(judge_heal(*heal, facts.floors, facts.doses))
    gates += judge_rounds(run, round, limits)
    return [gate.with_note(facts.notes.get(str(gate.gate), "")) for gate in gates]


def judge_rounds(run: Run, last: int | None = None, thresholds: Thresholds | None = None) -> list[Gate]:
    """Gate 4 over a run's rounds up to `last`, from stored files; nothing before the second healed round."""
    rounds = rounds_frame(run, last)
    return [judge_loop(rounds, thresholds, len(run.config.seeds), run.trait.unit)] if rounds.height > 1 else []


@dataclass(frozen=True)
class Facts:
    """The frames and settings that a round's gates are judged from."""

    grid: pl.DataFrame
    arms: pl.DataFrame
    texts: pl.DataFrame | None
    curve: pl.DataFrame | None
    drift: pl.DataFrame | None
    evidence: pl.DataFrame | None
    """the rows and samples that the evidence names; None where the reports are not stored"""
    floors: tuple[str, ...]
    """figures of the run's further readings that must not fall"""
    trait: Trait
    beta: float
    doses: tuple[float, ...]
    """c of every training row"""
    min_keep: int
    seeds: int
    notes: dict[str, str]


def read_facts(run: Run, round: int | None = None) -> Facts:
    """What `ws.judge` reads of a run. UserError when the round has no results yet."""
    number = run.best if round is None else round
    if not run.has("dose.parquet", number):
        raise UserError(
            f"Round {number} of {run.path} has nothing to judge yet. Run the same `ws run` command to go on."
        )
    return Facts(
        grid=run.frame("dose", number),
        arms=run.arms(number),
        texts=run.marked(number) if run.has("completions.parquet", number) else None,
        curve=run.frame("heal", number) if run.has("healed.parquet", number) else None,
        drift=run.frame("drift", number) if run.has("drift.parquet", number) else None,
        evidence=run.evidence(number) if run.has("eval.parquet", number) else None,
        floors=tuple(floor for name in run.config.evaluation.readings or () for floor in floors_of(name)),
        trait=run.trait,
        beta=float(run.get("heal.json", number)["beta"]) if run.has("heal.json", number) else 0.0,
        doses=tuple(run.get("heal.json", number)["doses"]) if run.has("heal.json", number) else (),
        min_keep=run.config.heal.min_rows,
        seeds=len(run.config.seeds),
        notes=run.notes(number),
    )
