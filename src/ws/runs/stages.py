"""The stages of a round, one table: what each is called, which version it has, what it reads and what it leaves.

    files_of("heal.seed1")      # ("adapter.seed1", "heal.seed1.parquet", "heal.seed1.json")
    STAGES["steer"].version     # goes into the stage's key

A stage of a seed that is not the leading one carries it behind its name (heal.seed1), a stage of a control its arm
(plain.sft). Needs no model and no torch.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

__all__ = ["STAGES", "VERSIONS", "Stage", "files_of", "reads_of", "seeded", "stage_of"]


@dataclass(frozen=True)
class Stage:
    """One line of the table."""

    name: str
    version: int
    """goes into the key: raise it when the code behind the stage changes its numbers"""
    reads: tuple[str, ...]
    """stages of the same round whose keys go into its own, in this order: those of its own seed, the leading seed's
    where it has none; "name.*": all there are, of every seed or control"""
    files: tuple[str, ...]
    """what it leaves in the round's folder; {seed} is nothing for the leading seed (of a direction: for the run's own,
    else the place of one that stands beside), {arm} the control's"""
    per_seed: bool = False
    """every seed has one of its own"""


TABLE = (
    Stage("direction", 1, (), ("direction{seed}.safetensors",)),
    Stage("dose", 8, ("direction", "direction.*"), ("dose.parquet", "grid.parquet", "knee.json")),
    Stage("unsteered", 4, (), ("unsteered.parquet",)),
    Stage("steer", 8, ("direction", "dose"), ("steer.parquet",)),
    Stage("random", 1, ("direction", "dose"), ("random.parquet",)),
    Stage("data", 3, ("direction", "dose"), ("completions{seed}.parquet",), per_seed=True),
    Stage("heal", 2, ("dose", "data"), ("adapter{seed}", "heal{seed}.parquet", "heal{seed}.json"), per_seed=True),
    Stage("plain", 6, ("dose", "data"), ("adapter.{arm}", "heal.{arm}.parquet", "{arm}.parquet")),
    Stage("healed", 6, ("heal",), ("healed{seed}.parquet",), per_seed=True),
    Stage("drift", 4, ("direction", "dose", "data", "heal"), ("drift.parquet",)),
    Stage("topic", 2, ("unsteered", "steer", "healed"), ("topic.parquet",)),
    Stage("table", 4, ("dose", "unsteered", "steer", "random", "healed.*", "plain.*", "topic"),
          ("eval.parquet", "arms.parquet")),
    Stage("judge", 10, ("dose", "data", "heal.*", "drift", "table"), ("gates.json",)),
)
"""Every stage, in the order of a round."""
STAGES = {stage.name: stage for stage in TABLE}
VERSIONS = {stage.name: stage.version for stage in TABLE}


def stage_of(name: str) -> Stage:
    """The line of the table behind the name of a stage with its seed or control."""
    return STAGES[name.partition(".")[0]]


def seeded(stem: str, seed: int, seeds: Sequence[int]) -> str:
    """A stage (or a file's stem) of one seed; the leading seed, the first of `seeds`, has the plain name."""
    return stem if seed == seeds[0] else f"{stem}.seed{seed}"


def files_of(name: str) -> tuple[str, ...]:
    """What a stage leaves in the round's folder; its report, where it makes one, is the last."""
    _, dot, tail = name.partition(".")
    return tuple(file.format(seed=dot + tail, arm=tail) for file in stage_of(name).files)


def reads_of(name: str, every: Mapping[str, Sequence[str]]) -> list[str]:
    """The stages of its round that a stage reads. every: all names of a stage, for those that are read whole."""
    _, dot, tail = name.partition(".")
    found: list[str] = []
    for read in stage_of(name).reads:
        stem, star, _ = read.partition(".")
        own = dot + tail if stage_of(name).per_seed and STAGES[stem].per_seed else ""
        found += every[stem] if star else [stem + own]
    return found
