"""One round of the loop, stage by stage. Each stage is a function of its inputs, stored under the hash of them."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Sequence
from functools import cached_property
from typing import Any

import polars as pl

from ws.errors import UserError
from ws.evaluation.instrument import instrument_from
from ws.evaluation.report import Report
from ws.experiment.context import RunContext
from ws.experiment.controls import (
    STANDING,
    UNSTEERED,
    baselines_of,
    plain_rows,
    random_arms,
    steered_arms,
    unsteered_arms,
)
from ws.experiment.dose_search import find_knee
from ws.experiment.pipeline import HealPipeline, beside_of, pushed_by, topic_of
from ws.experiment.probes import Probes
from ws.experiment.progress import Reporter, say
from ws.filtering.scores import score
from ws.gating import Thresholds
from ws.gating.advice import ADVICE
from ws.gating.arm_table import BASE, HEALED, HEALED_PERSONA, HEALED_SEED, STEER, STUDENT, UNFILTERED
from ws.gating.facts import row_of
from ws.gating.instrument import MUSH, mush
from ws.gating.knee import knee_of, probes_of
from ws.generation.completions import Prompt, generate
from ws.generation.second_look import second_look
from ws.healing.training import Progress
from ws.intervals import as_float
from ws.models.adapters.adapter import Adapter
from ws.runs.arms import Arm, arms_of, reports_frame, reports_of, stacked, with_retain, with_topic
from ws.runs.artifacts import load
from ws.runs.config import DoseConfig, to_dict
from ws.runs.reader import Run
from ws.runs.stages import files_of, reads_of, seeded, stage_of
from ws.runs.verdicts import judge
from ws.steering.application import parse_also
from ws.steering.coefficients import Steered, as_pairs
from ws.steering.direction import Direction
from ws.steering.extraction import extract, extract_beside

__all__ = ["Call", "Round"]

Call = tuple[Any, ...]  # the name of a method of Round, and its arguments


class Round(HealPipeline):
    """Stages of one round, in the order of `calls`. Values are read back from disk: a resumed round sees them again."""

    def __init__(self, context: RunContext, number: int) -> None:
        super().__init__(context.lm, context.axis, context.config, number, context.history, context.cancel,
                         instrument_from(context.identity.get("instrument")))  # fmt: skip
        self.context = context

    def calls(self) -> dict[str, Call]:
        """Everything up to the table, stage by stage, in the order of one process."""
        drawn = ["random"] if self.config.dose.random_draws else []
        names = ["direction", *self.beside, "dose", "unsteered", "steer", *drawn]
        calls: dict[str, Call] = {name: ("also", name) if name in self.beside else (name,) for name in names}
        for stage in ("data", "heal"):
            calls |= {self.named(stage, seed): (stage, seed) for seed in self.config.seeds}
        # the longest first, so that workers end together
        calls |= {f"plain.{name}": ("plain", name) for name in reversed(baselines_of(self))}
        calls |= {self.named("healed", seed): ("report_healed", seed) for seed in self.config.seeds}
        return calls | {"drift": ("drift",), "topic": ("topic",)}

    @cached_property
    def v(self) -> Direction:
        """The direction of this round, as it is applied."""
        return as_pairs(self.pushed)[0][0]

    @cached_property
    def pushed(self) -> Steered:
        """The same, and those beside it at doses of their own."""
        return pushed_by(self.config, self.read)

    @property
    def beside(self) -> list[str]:
        """The stages of the directions beside."""
        return beside_of(self.config)

    @property
    def application(self) -> dict[str, Any]:
        """How it is applied, where that is not as usual."""
        plain = to_dict(self.config)
        return {name: plain[name] for name in ("where", "schedule", "gate", "backtrack", "also") if name in plain}

    @cached_property
    def c(self) -> float:
        """The knee."""
        return float(self.read("knee.json")["c"])

    @property
    def doses(self) -> list[float]:
        """Doses of the data."""
        return [self.c * share for share in self.config.data.doses]

    # What the stages share

    def stage(self, name: str, settings: Any, compute: Callable[[], Any], after: Sequence[str] = ()) -> Any:
        """One stage: its key is made of the run's identity, its settings, the stages it reads and the rounds before."""
        keys = [self.context.folder.key(f"{self.number}/{stage}") for stage in after or self.after(name)]
        inputs = [self.context.identity, settings, keys, self.context.keys]
        place = f"{self.number}/{name}"
        return self.context.folder.stage(place, stage_of(name).version, inputs, files_of(name), compute)

    def after(self, name: str) -> list[str]:
        """The stages of this round that a stage reads."""
        every = {stem: [self.named(stem, seed) for seed in self.config.seeds] for stem in ("heal", "healed")}
        every |= {"direction": self.beside, "plain": [f"plain.{arm}" for arm in baselines_of(self)]}
        return reads_of(name, every)

    def there(self, name: str) -> list[str]:
        """Of the stages that a stage reads, those that are finished; the table and the verdicts take what there is."""
        done = self.context.folder.status["stages"]
        return [stage for stage in self.after(name) if f"{self.number}/{stage}" in done]

    def named(self, stem: str, seed: int, suffix: str = "") -> str:
        """A file or stage of one seed; the leading seed has the plain name."""
        return seeded(stem, seed, self.config.seeds) + suffix

    @property
    def reading(self) -> list[Any]:
        """Settings that every report depends on."""
        return [to_dict(self.config.evaluation), self.config.seeds[0]]

    # The stages

    def direction(self) -> None:
        """Read the direction from the student of the rounds before."""
        c = self.config
        report = self.context.reporter(self.number, "direction")

        def compute() -> tuple[Direction]:
            report(0, 1)
            return (extract(self.lm, self.axis, c.method, c.layers, c.contrast, self.history),)

        self.stage("direction", [c.method, c.layers, c.contrast], compute)
        report(1, 1)

    def also(self, name: str) -> None:
        """Read a direction that stands beside: of this axis by another method, or of another axis."""
        c, (told, _) = self.config, parse_also(self.config.also[self.beside.index(name)])
        report = self.context.reporter(self.number, name)

        def compute() -> tuple[Direction]:
            report(0, 1)
            how: dict[str, Any] = {"layers": c.layers, "contrast": c.contrast, "adapters": self.history}
            return (extract_beside(self.lm, self.axis, told, **how),)

        self.stage(name, [told, c.layers, c.contrast], compute)
        report(1, 1)

    def dose(self) -> None:
        """Find the knee on the select set. UserError with the table of probes where no dose is coherent."""
        evaluation, seed = self.reading
        # further readings are no part of the search: with another list of them the knee is still the same
        how = [{name: value for name, value in evaluation.items() if name != "readings"}, seed]
        settings = [dataclasses.asdict(self.config.dose), how, *([self.application] if self.application else [])]
        knee = self.stage("dose", settings, self.search)[2]
        if knee["c"] is None:
            raise UserError(no_dose(knee, self.read("dose.parquet"), self.config.dose, self.lm.name))

    @property
    def without_dose(self) -> bool:
        """Whether its search ended, and no dose passed."""
        return f"{self.number}/dose" in self.context.folder.status["stages"] and self.read("knee.json")["c"] is None

    def search(self) -> tuple[pl.DataFrame, pl.DataFrame, dict[str, Any]]:
        """The probes of the dose search: their arms, their texts, and what they decided."""
        d = self.config.dose
        report = self.context.reporter(self.number, "dose search")
        known = Probes(self, self.pushed, report, len(d.grid) + 2 * d.bisect + 1)
        known.measure([], 0)  # the base alone: what it says of itself is said before anything is steered
        self.warn(known.base)
        if not known.base.coherence >= d.coherence:
            return self.searched(known, None)
        c = find_knee(known.measure, d.grid, d.bisect, d.coherence, d.topic)
        report(1, 1)
        return self.searched(known, c)

    def warn(self, base: Report) -> None:
        """Say that the base's own text is no text to steer, as gate 0 will."""
        row = row_of(arms_of(base, [Arm(BASE, base, split="select")], self.v.fingerprint), BASE)
        seen, text = mush(row, Thresholds())
        if seen:
            told = f"The base's own text is mush: {text}. Way out: {ADVICE[0][MUSH]}."
            say(self.context.listen, told, self.number)

    def searched(self, known: Probes, c: float | None) -> tuple[pl.DataFrame, pl.DataFrame, dict[str, Any]]:
        """What a search leaves: the table of its arms, their texts, and what they decided. c: the knee."""
        base = known.base
        arms = [dataclasses.replace(arm, chosen=arm.c == c) if arm.arm == STEER else arm for arm in known.arms]
        doses = [arm for arm in arms if arm.arm in (STUDENT, STEER)]
        texts = [base.text.with_columns(split=pl.lit("base" if self.history else "select"))]
        texts += [arm.report.text.with_columns(split=pl.lit("select")) for arm in doses]
        knee = {
            "c": c,
            "base": base.coherence,  # NaN: no readable text to be relative to
            "probes": [[arm.c, arm.report.coherence] for arm in doses if arm.c],
            **known.limits,
        }
        table = with_topic(arms_of(base, arms, self.v.fingerprint), known.topic)
        return table, pl.concat(texts), knee

    def unsteered(self) -> None:
        """The report set without steering: base, the student of earlier rounds, personas as system prompts."""
        further = [name for name in UNSTEERED if name not in STANDING]
        settings = [self.reading, self.config.controls.engineered, *further]
        self.reports("unsteered", settings, lambda tell: unsteered_arms(self, tell), shown="base")

    def steer(self) -> None:
        """The report set at the knee, minus the knee, and the doses of the data."""
        arms = lambda tell: steered_arms(self, self.pushed, self.c, self.doses, tell)  # noqa: E731
        self.reports("steer", [self.doses, self.reading], arms)

    def random(self) -> None:
        """The report set under random directions that disturb as much as the knee does."""
        arms = lambda tell: random_arms(self, self.v, self.pushed, self.c, tell)  # noqa: E731
        self.reports("random", [self.reading, self.config.dose.random_draws], arms)

    def reports(self, name: str, settings: Any, arms: Callable[[Reporter], list[Arm]], shown: str = "") -> None:
        """A stage that is the reports of some arms."""
        report = self.context.reporter(self.number, shown or name)
        self.stage(name, settings, lambda: (reports_frame(arms(report)),))
        report(1, 1)

    def data(self, seed: int) -> None:
        """Completions of the train prompts below the knee, scored."""
        d, cfg = self.config.data, self.config
        report = self.context.reporter(self.number, self.named("data", seed))
        prompts = [Prompt(text, split="train") for text in evenly(self.axis.train, d.prompts)]

        def compute() -> tuple[pl.DataFrame]:
            texts = generate(
                self.lm,
                prompts,
                self.pushed,
                self.doses,
                n=d.samples,
                sampling=cfg.draws(seed),
                adapters=self.history,
                batch_size=cfg.batch_size,
                allow_stale=bool(self.history),
                backtrack=self.backtrack,
                on_progress=report,
            )
            scored = score(self.lm, texts, self.axis)
            odd = min(self.read("knee.json")["readable_ppl"], *stricter, math.inf)
            return (second_look(self.lm, scored, self.axis, odd, batch_size=cfg.batch_size),)

        stricter = [] if d.worst_ppl is None else [d.worst_ppl]
        settings = [self.doses, d.samples, d.prompts, seed, cfg.max_new_tokens, *stricter]
        self.stage(self.named("data", seed), settings, compute)
        report(1, 1)

    def heal(self, seed: int) -> None:
        """Filter, and train on what is left. UserError (starvation) where that is too little."""
        report = self.context.reporter(self.number, self.named("heal", seed))
        settings = self.heal_settings(seed)

        def compute() -> tuple[Adapter, pl.DataFrame, dict[str, Any]]:
            return self.healing(self.scored(seed), self.limits, settings, steps(report))

        self.stage(self.named("heal", seed), [to_dict(settings), self.filtering], compute)
        report(1, 1)

    @property
    def filtering(self) -> dict[str, Any]:
        """Settings that decide which rows are trained on; the doses are in the key of the data."""
        return to_dict(self.config.data) | {"doses": None}

    def scored(self, seed: int) -> pl.DataFrame:
        frame: pl.DataFrame = self.read(self.named("completions", seed, ".parquet"))
        return frame

    @property
    def limits(self) -> dict[str, Any]:
        return Run(self.context.folder.path).limits(self.number)

    def report_healed(self, seed: int) -> None:
        """The healed model on the report set, unsteered; the leading seed's under the persona's system prompt, too."""
        report, name = self.context.reporter(self.number, self.named("healed", seed)), self.named("healed", seed)
        lead = seed == self.config.seeds[0]
        prompted = lead and self.config.controls.prompted

        def compute() -> tuple[pl.DataFrame]:
            report(0, 1)
            adapter = self.read(self.named("adapter", seed))
            arms = [self.healed(adapter, HEALED if lead else HEALED_SEED)]
            if prompted:
                arms.append(self.healed(adapter, HEALED_PERSONA, self.axis.positive[0]))
            return (reports_frame(arms),)

        self.stage(name, [self.reading, prompted], compute)
        report(1, 1)

    def drift(self) -> None:
        """The bet, read off the leading seed's heal: drift from base before and after, by completion."""
        report, h = self.context.reporter(self.number, "drift"), self.config.heal.resolved(self.lm)

        def compute() -> tuple[pl.DataFrame]:
            marked = Run(self.context.folder.path).marked(self.number)
            return (self.drifting(marked, self.pushed, self.read("adapter")),)

        settings = [self.filtering, h.aggregate, h.tau]
        self.stage("drift", settings, compute)
        report(1, 1)

    def topic(self) -> None:
        """How far text keeps to its prompt: of base, the persona, the judged dose and the leading seed's heal."""
        report = self.context.reporter(self.number, "topic")

        def compute() -> tuple[pl.DataFrame]:
            report(0, 1)
            files = [files_of(stage)[-1] for stage in self.there("topic")]
            return (topic_of(self.lm, reports_of(stacked([self.read(file) for file in files]))),)

        self.stage("topic", None, compute, after=self.there("topic"))
        report(1, 1)

    def plain(self, name: str) -> None:
        """A healed control of the leading seed (`BASELINES`), on the report set.

        It reads the data and not the heal, so that runs that differ in the barrier share it.
        """
        report, seed = self.context.reporter(self.number, name), self.config.seeds[0]
        own = self.heal_settings(seed)
        settings = own if name == UNFILTERED else dataclasses.replace(own, beta=0.0)

        def compute() -> tuple[Adapter, pl.DataFrame, pl.DataFrame]:
            scored = self.scored(seed)
            rows = plain_rows(self, name, self.rows(scored, self.limits)[1], scored)
            adapter = self.train(rows, settings, steps(report))
            return adapter, adapter.curve, reports_frame([self.healed(adapter, name)])

        inputs = [to_dict(settings), self.filtering, self.reading]
        self.stage(f"plain.{name}", inputs, compute)
        report(1, 1)

    def judge(self) -> None:
        """All reports in one file, the table of arms, and the gates; whatever of it was measured."""
        there = self.there("table")
        if "steer" in there:
            parts = [stage for stage in there if stage not in ("dose", "topic")]
            self.stage("table", None, lambda: self.table(parts), after=there)
        settings = [dataclasses.asdict(Thresholds()), to_dict(self.config.data), self.config.heal.min_rows]
        run = Run(self.context.folder.path)
        gates = lambda: ([gate.to_dict() for gate in judge(run, self.number)],)  # noqa: E731
        self.stage("judge", settings, gates, after=self.there("judge"))

    def table(self, parts: Sequence[str]) -> tuple[pl.DataFrame, pl.DataFrame]:
        """Every report of the round, and the arms; a trained arm says how much of the steered shift it retains."""
        reports = stacked([self.read(files_of(stage)[-1]) for stage in parts])
        arms = reports_of(reports)
        base = next(arm.report for arm in arms if arm.arm == BASE)
        table = arms_of(base, arms, self.v.fingerprint)
        if self.has("topic.parquet"):
            table = with_topic(table, self.read("topic.parquet"))
        if not self.has("heal.json"):
            return reports, table
        return reports, with_retain(table, arms, self.read("heal.json")["doses"])

    def healed_coherence(self) -> float:
        """Coherence of the leading seed's healed model; NaN without free text."""
        healed = self.read("arms.parquet").filter(pl.col("arm") == HEALED)
        return as_float(healed["coherence"][0])

    def read(self, file: str) -> Any:
        return load(self.context.folder.path / "rounds" / str(self.number) / file)

    def has(self, file: str) -> bool:
        return (self.context.folder.path / "rounds" / str(self.number) / file).exists()


def steps(report: Reporter) -> Progress:
    """A heal's rows as the progress of a stage."""
    return lambda row: report(row["step"] + 1, row["steps"])


def no_dose(knee: dict[str, Any], arms: pl.DataFrame, search: DoseConfig, model: str) -> str:
    """Why there is no coherent dose, with the table of probes, or with the parts that the base fails; arms: the
    search's."""
    floor = search.coherence
    if not knee["base"] >= floor:
        base = row_of(arms, BASE)
        mass = "" if base["p_ans_any"] is None else f"p_ans_any {base['p_ans_any']:.2f}, "
        told = f"{mass}readable share of its text {as_float(base['coh_text']):.2f}"
        told += f", median tail_ppl {as_float(base['tail_ppl']):.1f}"
        return (
            f"{model} is not coherent before any steering: coherence {knee['base']:.2f}, at least {floor:g} is needed "
            f"({told}). Where its text is mush, sample it cooler or give it more tokens; where its answers are off the "
            "list, --evaluation.instrument questions reads the axis without them. `ws doctor` says more."
        )
    table = ", ".join(f"{c:g}: {coherence:.2f}" for c, coherence in knee["probes"])
    if knee_of(probes_of(arms), floor, search.topic).by_topic:
        return (
            "At every dose text leaves its question: what ties it to its prompt is under --dose.topic "
            f"{search.topic:g} of what unsteered text has (coherence by c: {table}). Try smaller doses (--dose.grid), "
            "another layer band, a better persona pair, or let it leave (--dose.topic 0)."
        )
    return (
        f"No dose is coherent (coherence by c: {table}; at least {floor:g} is needed). "
        "Try smaller doses (--dose.grid), another layer band, or a better persona pair."
    )


def evenly(prompts: Sequence[str], n: int | None) -> list[str]:
    """n of the prompts, evenly spaced; all of them for None or more than there are."""
    if n is None or n >= len(prompts):
        return list(prompts)
    return [prompts[i * len(prompts) // n] for i in range(n)]
