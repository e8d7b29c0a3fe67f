"""Variants of a heal: a run's kept texts trained at another beta or threshold, found and read beside the run.

    variant = find_variant(run, VariantSettings(beta=1.0))      # None where it was never trained
    variants_of(run)                                            # all that are stored, by rising beta
    variant_gate(run, variant)                                  # gate 3 with this model in place of the run's own

A variant is a folder beside the round that it varies, rounds/<n>/stops/<key>/, with what the round's own heal has:
adapter/, heal.parquet, heal.json, healed.parquet, drift.parquet, and arms.parquet, its line of the table. The key is
the hash of the run's data, the resolved heal and the limits. The folder appears in one step: a kill leaves nothing
half. The run's own heal is a variant too, read from where it lies. `ws.experiment.train_variant` makes new ones.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import polars as pl

from ws.errors import UserError
from ws.evaluation.comparison import coh_cost
from ws.files import digest, read_frame, read_sealed
from ws.gating import Gate, Thresholds, judge_heal
from ws.gating.arm_table import BASE, HEALED, SFT, UNFILTERED, seed_arms
from ws.healing.config import HealConfig
from ws.models.adapters.adapter import Adapter
from ws.runs.arms import reports_of
from ws.runs.config import from_dict, to_dict
from ws.runs.evidence_rows import evidence_of
from ws.runs.reader import Run
from ws.runs.stages import VERSIONS
from ws.runs.verdicts import read_facts
from ws.runs.whole import check_beside

__all__ = [
    "BETAS",
    "SHIPPED",
    "HealVariant",
    "VariantSettings",
    "estimate",
    "find_variant",
    "variant_gate",
    "variant_key",
    "variants_of",
]

BETAS = (0.0, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0, 100.0)
"""The slider's grid."""
SHIPPED = (0.0, 0.03, 0.1, 0.3, 3.0, 100.0)
"""Betas of the variants that a shipped run should hold; the last two show a barrier that is too strong."""
PHASES = ("training", "report", "drift")
HEAD = "heal.json"
"""The file of a variant that holds the checksums of the others and its own."""


@dataclass(frozen=True)
class VariantSettings:
    """Which variant: the barrier's slope and the filter's threshold (`Run.threshold`, in the runs that this began with
    the tail limit). None takes the run's own."""

    beta: float
    tail_ppl: float | None = None


@dataclass(frozen=True)
class HealVariant:
    """One stored training. arm: its row of the table; cost: coherence lost per nat with its interval (value, low,
    high); text: what the healed model wrote to the probes, unsteered."""

    settings: VariantSettings
    path: Path
    own: bool
    facts: dict[str, Any]
    curve: pl.DataFrame
    arm: pl.DataFrame
    drift: pl.DataFrame
    text: pl.DataFrame
    cost: tuple[float, float, float]

    @property
    def adapter(self) -> Adapter:
        """Read now; UserError where it is damaged."""
        if self.own:
            adapter: Adapter = Run(self.path.parents[1]).get("adapter", int(self.path.name))
            return adapter
        return Adapter.load(check_beside(self.path / HEAD, self.facts, "adapter", _way(self.path)))


def own_heal(run: Run, round: int) -> HealConfig:
    """The round's heal with every field resolved. UserError where the round ended before it."""
    if not run.has("heal.json", round) or not run.has("eval.parquet", round):
        raise UserError(f"Round {round} of {run.path} has no heal: the run ended before it. See its gates for why.")
    stored = run.get("heal.json", round)["meta"]["config"]
    return from_dict(to_dict(run.config) | {"heal": stored}).heal


def limits_of(run: Run, settings: VariantSettings, round: int) -> dict[str, Any]:
    """The filter's limits of a variant, as ws.keep takes them."""
    own = run.limits(round)
    return own if settings.tail_ppl is None else own | {run.threshold(round)[0]: float(settings.tail_ppl)}


def is_own(run: Run, settings: VariantSettings, round: int = 0) -> bool:
    """Whether these settings are the run's own."""
    return settings.beta == own_heal(run, round).beta and limits_of(run, settings, round) == run.limits(round)


def variant_key(run: Run, settings: VariantSettings, round: int = 0) -> str:
    """16 hex characters: the data, the heal, the limits, and the versions of the code that computes a variant."""
    beta, tail = settings.beta, settings.tail_ppl
    if not (0 <= beta < float("inf")) or not (tail is None or 0 < tail < float("inf")):
        raise UserError(f"A stop needs a finite beta of 0 or more and a tail_ppl above 0 (got {settings}).")
    heal = dataclasses.replace(own_heal(run, round), beta=float(beta))
    upstream = [run.status["stages"][f"{i}/heal"]["key"] for i in range(round)]
    data = run.status["stages"][f"{round}/data"]["key"]
    versions = [VERSIONS[name] for name in ("heal", "healed", "drift", "table")]
    keep = run.config.data.keep
    return digest([versions, upstream, data, to_dict(heal), limits_of(run, settings, round), keep])


def folder_of(run: Run, round: int) -> Path:
    """Where a round's variants lie."""
    return run.path / "rounds" / str(round) / "stops"


def find_variant(run: Run, settings: VariantSettings, round: int = 0) -> HealVariant | None:
    """The stored variant of these settings, the run's own heal included; None where there is none."""
    if is_own(run, settings, round):
        return _own(run.path, round, _stamp(run.whole(f"rounds/{round}/eval.parquet")))
    path = folder_of(run, round) / variant_key(run, settings, round)
    if not path.is_dir():
        return None
    if not (path / HEAD).exists():
        raise UserError(f"{path / HEAD} is missing. {_way(path)}")
    return _read(path, _stamp(path / HEAD))


def variants_of(run: Run, round: int = 0, tail_ppl: float | None = None, own: bool = True) -> list[HealVariant]:
    """Every stored variant at this threshold (None: the run's own), by rising beta; those of other data are left out.

    own: the run's own heal is one of them.
    """
    heads = sorted(folder_of(run, round).glob(f"*/{HEAD}"))
    betas = {float(read_sealed(head, _way(head.parent))["stop"]["beta"]) for head in heads}
    betas |= {own_heal(run, round).beta or 0.0} if own else set()
    asked = [VariantSettings(beta, tail_ppl) for beta in sorted(betas)]
    found = [find_variant(run, settings, round) for settings in asked if own or not is_own(run, settings, round)]
    return [variant for variant in found if variant is not None]


def variant_gate(run: Run, variant: HealVariant, round: int = 0, thresholds: Thresholds | None = None) -> Gate:
    """Gate 3 of a variant: the run's own arms with this healed model in place of its own."""
    facts = read_facts(run, round)
    others = facts.arms.filter(~pl.col("arm").is_in([*seed_arms(), *_unlike(run, variant, round)]))
    arms, drift = pl.concat([others, variant.arm], how="diagonal"), variant.drift if variant.drift.height else None
    reports = run.whole(f"rounds/{round}/eval.parquet")
    healed = ("healed.parquet", _way(variant.path))
    evidence = evidence_of(reports, None if variant.own else check_beside(variant.path / HEAD, variant.facts, *healed))
    beta, doses = float(variant.facts["beta"]), variant.facts["doses"]
    return judge_heal(arms, variant.curve, facts.trait, thresholds, beta, 1, drift, evidence, facts.floors, doses)


def _unlike(run: Run, variant: HealVariant, round: int) -> list[str]:
    """The run's controls that differ from a variant in more than one thing: the unfiltered ones were trained at the
    run's beta, the one without a barrier on what the run's threshold kept."""
    other_beta = variant.facts["beta"] != own_heal(run, round).beta
    other_rows = limits_of(run, variant.settings, round) != run.limits(round)
    return [UNFILTERED] * other_beta + [SFT] * other_rows


def _stamp(file: Path) -> int:
    return file.stat().st_mtime_ns


@lru_cache(maxsize=64)
def _read(path: Path, stamp: int) -> HealVariant:
    """A stored folder; stamp: it is read again when it was written again."""
    head, way = path / HEAD, _way(path)
    facts = read_sealed(head, way)
    names = [f"{name}.parquet" for name in ("heal", "arms", "drift", "healed")]
    curve, arm, drift, report = (read_frame(check_beside(head, facts, name, way)) for name in names)
    cost = tuple(facts["coh_cost"])
    return HealVariant(VariantSettings(**facts["stop"]), path, False, facts, curve, arm, drift, _texts(report), cost)


@lru_cache(maxsize=16)
def _own(folder: Path, round: int, stamp: int) -> HealVariant:
    """The round's own heal as a variant."""
    run = Run(folder)
    rows = run.frame("eval", round).filter(pl.col("arm").is_in([BASE, HEALED]))
    base, healed = (arm.report for arm in sorted(reports_of(rows), key=lambda arm: arm.arm))
    facts = run.get("heal.json", round)
    drift = run.frame("drift", round) if run.has("drift.parquet", round) else pl.DataFrame()
    arm = run.arms(round).filter(pl.col("arm") == HEALED)
    cost = coh_cost(base, healed)
    settings, path = VariantSettings(float(own_heal(run, round).beta or 0.0)), folder / "rounds" / str(round)
    figures = (cost.value, cost.low, cost.high)
    return HealVariant(settings, path, True, facts, run.frame("heal", round), arm, drift, healed.text, figures)


def _way(path: Path) -> str:
    """What to do about a damaged variant."""
    return f"Remove the folder {path}: the same setting trains it again."


def _texts(report: pl.DataFrame) -> pl.DataFrame:
    """The completions of a stored report."""
    return report["text"].explode().struct.unnest()


def estimate(run: Run, round: int = 0) -> dict[str, float]:
    """Seconds that each phase of a training takes, as the run's own heal took them: on a CPU the processor's time.

    A busy or another machine takes longer or shorter; a running training is reckoned from its own steps.
    """
    clock = "cpu" if run.env.get("device") == "cpu" else "seconds"
    stages = [run.status["stages"].get(f"{round}/{name}", {}) for name in ("heal", "healed", "drift")]
    return {phase: float(stage.get(clock, 0.0)) for phase, stage in zip(PHASES, stages, strict=True)}
