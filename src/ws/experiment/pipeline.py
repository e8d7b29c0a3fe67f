"""One heal, from the filter to the report: what a round's stages and the variants of a stored run share.

A pipeline holds the model, the axis in its words, the configuration and the adapters of the rounds before. Everything
here computes and gives back; whoever calls stores it.
"""

from __future__ import annotations

import dataclasses
import threading
from collections.abc import Callable, Sequence
from typing import Any

import polars as pl

from ws.axes.axis import Axis
from ws.errors import Cancelled
from ws.evaluation.drift import drift_frame
from ws.evaluation.evaluator import evaluate
from ws.evaluation.instrument import Instrument
from ws.evaluation.items import CONDITIONS
from ws.evaluation.topic import tie, ties
from ws.filtering.limits import keep
from ws.gating.arm_table import BASE, HEALED, PERSONA
from ws.generation.rollout import Backtrack
from ws.healing.config import HealConfig
from ws.healing.training import Progress, heal
from ws.models.adapters.adapter import Adapter
from ws.models.lm import LM
from ws.runs.arms import Arm, topic_frame
from ws.runs.config import RunConfig
from ws.steering.application import parse_also
from ws.steering.coefficients import Fixed, Steered
from ws.steering.direction import Direction

__all__ = ["HealPipeline", "beside_of", "pushed_by", "spread_rows", "topic_of"]

DICE = 100_003  # between the seeds of a run's further texts; no seed of a run that anybody writes


class HealPipeline:
    """The parts of one heal, on one model. number: the round, 0 is the first; history: the earlier adapters;
    instrument: the run's, the same for all its arms."""

    def __init__(
        self,
        lm: LM,
        axis: Axis,
        config: RunConfig,
        number: int = 0,
        history: Sequence[Adapter] = (),
        cancel: threading.Event | None = None,
        instrument: Instrument | None = None,
    ) -> None:
        self.lm, self.axis, self.config, self.number = lm, axis, config, number
        self.history, self.cancel = tuple(history), cancel
        self.instrument = Instrument() if instrument is None else instrument

    def check(self) -> None:
        """Cancelled when whoever began this told it to stop."""
        if self.cancel is not None and self.cancel.is_set():
            raise Cancelled("the run was stopped between two steps; the same configuration resumes it")

    def evaluate(self, split: str, text: bool = True, dice: int = 0, **treatment: Any) -> Any:
        """`ws.evaluate` under the run's settings. text=False reads the target only; every `dice` has its own."""
        e, dose = self.config.evaluation, self.config.dose
        select = split == "select"
        readings = e.readings
        if readings is not None and (select or not text):  # what is short reads what the target is read off, no more
            readings = tuple(name for name in readings if name == "dilemmas")
        return evaluate(
            self.lm,
            self.axis,
            items=e.items,
            per_foundation=dose.per_foundation if select else e.per_foundation,
            think=e.think,
            think_samples=e.think_samples,
            free_text=text,
            capability=text and e.capability and not select,
            exam=e.exam,
            readings=readings,
            instrument=self.instrument,
            conditions=None if e.self_violate else CONDITIONS[:1],
            batch_size=e.batch_size,
            sampling=self.config.sampling.draws(self.config.seeds[0] + DICE * dice),
            split=split,
            texts=dose.texts if select else e.texts,
            **treatment,
        )

    def heal_settings(self, seed: int) -> HealConfig:
        """The configured heal with this seed's dice."""
        return dataclasses.replace(self.config.heal, seed=self.config.heal.seed + seed)

    def rows(self, scored: pl.DataFrame, limits: dict[str, Any]) -> tuple[pl.DataFrame, pl.DataFrame]:
        """(kept, chosen) of the scored completions. UserError (starvation) where too few are kept."""
        kept = keep(scored, min_keep=self.config.heal.min_rows, **limits)
        return kept, spread_rows(kept, self.config.data.keep)

    def train(self, rows: pl.DataFrame, settings: HealConfig, on_progress: Progress) -> Adapter:
        """One heal on the adapters of the rounds before; on_progress gets the curve's rows with `steps`."""
        return heal(
            self.lm,
            rows,
            settings,
            axis=self.axis,
            history=self.history,
            round=self.number,
            cancel=self.cancel,
            on_progress=on_progress,
        )

    def healing(
        self, scored: pl.DataFrame, limits: dict[str, Any], settings: HealConfig, on_progress: Progress
    ) -> tuple[Adapter, pl.DataFrame, dict[str, Any]]:
        """Filter and train: the adapter, its curve, and the facts that heal.json holds."""
        kept, chosen = self.rows(scored, limits)
        adapter = self.train(chosen, settings, on_progress)
        facts = {
            "generated": scored.height,
            "passed": kept.height,
            "kept": chosen.height,
            "doses": chosen["c"].to_list(),
        }
        return adapter, adapter.curve, facts | {"beta": adapter.meta["beta"], "meta": adapter.meta}

    def healed(self, adapter: Adapter, arm: str = HEALED, persona: str | None = None) -> Arm:
        """The healed model on the report set, unsteered; under the neutral prompt or a persona."""
        return Arm(arm, self.evaluate("report", adapters=[*self.history, adapter], persona=persona))

    @property
    def backtrack(self) -> Backtrack | None:
        """The rule by which steered text that breaks goes back, where the configuration asks for it."""
        return Backtrack() if self.config.backtrack else None

    def drifting(self, marked: pl.DataFrame, v: Steered, adapter: Adapter) -> pl.DataFrame:
        """The bet, read off this heal: drift from base before and after, by completion (ws.evaluation.drift).

        Of the texts that were written to train on, kept and dropped: they stand at the doses of the data.
        """
        h = self.config.heal.resolved(self.lm)
        texts = marked.filter(pl.col("split") == "train")
        how: dict[str, Any] = {"history": self.history, "aggregate": h.aggregate, "tau": h.tau}
        return drift_frame(self.lm, texts, v, adapter, **how)


def beside_of(config: RunConfig) -> list[str]:
    """The stages of the directions that stand beside a run's own."""
    return [f"direction.{i}" for i in range(len(config.also))]


def pushed_by(config: RunConfig, read: Callable[[str], Any]) -> Steered:
    """A round's direction as the configuration applies it, with those beside it; read: a file of the round."""
    v: Direction = read("direction.safetensors")
    v = v.applied(None if config.where == RunConfig.where else config.where, config.schedule, config.gate)
    told = zip(beside_of(config), config.also, strict=True)
    beside = [(read(f"{name}.safetensors"), Fixed(parse_also(text)[1])) for name, text in told]
    return [(v, 1.0), *beside] if beside else v


def topic_of(lm: LM, arms: Sequence[Arm]) -> pl.DataFrame:
    """How far the text of base, of the persona, of the judged dose and of the healed model keeps to its prompt."""
    read = [arm for arm in arms if arm.report.text.height and (arm.arm in (BASE, PERSONA, HEALED) or arm.chosen)]
    return topic_frame([(arm, tie(ties(lm, arm.report.text))) for arm in read])


def spread_rows(kept: pl.DataFrame, n: int) -> pl.DataFrame:
    """At most n distinct completions, the same number from every dose as far as they reach, first samples first.

    The same dice may write the same text at two doses: it is taken once, at the weaker one.
    """
    distinct = kept.sort("c", maintain_order=True).unique(
        ["prompt_id", "sample", "text"], keep="first", maintain_order=True
    )
    ranked = distinct.sort("sample", maintain_order=True).with_columns(turn=pl.int_range(pl.len()).over("c"))
    return ranked.sort("turn", "c", maintain_order=True).head(n).drop("turn")
