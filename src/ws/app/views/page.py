"""What the app's page shows, as one object: the settings in force, the stored run that has them, and its pictures.

page = Page(access, subject, seed, run)           # run: None where nobody has measured these settings
page.response(c=1.0)                              # the dose chart; a picture of what was not measured is None
page.filtered(20.0).chart()                       # what a threshold keeps and drops
page.training(beta=0.3).gates                     # the verdict on what is stored of an adapter trained at that beta
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import polars as pl

from ws.app.access import AppSettings
from ws.app.jobs import View
from ws.app.views import heal, labels, live_samples, page_settings, run_job, sample_cards, snippets, stored_runs
from ws.app.views.filter import marked, tail_steps
from ws.app.views.gate_tiles import tiles
from ws.app.views.shown import Filtered, Training
from ws.app.views.token_html import escaped
from ws.gating import Gate
from ws.reporting import charts
from ws.reporting.charts.compiled import CompiledChart
from ws.runs.heal_variants import VariantSettings, find_variant, variants_of
from ws.runs.reader import Run

__all__ = ["Page"]


@dataclass(frozen=True)
class Page:
    """The settings of a page and the run that it shows. Without a run there are live samples and nothing else."""

    access: AppSettings
    subject: page_settings.PageSettings
    seed: int
    run: Run | None

    @property
    def slow(self) -> bool:
        """Whether a live sample takes so long that a hand on the slider would not wait for it."""
        return not self.subject.recipe.instant

    @property
    def writes(self) -> bool:
        return self.access.writes

    @property
    def home(self) -> Run | None:
        """Where the run's labels, notes and trainings lie; found anew each time, since it is made when first needed."""
        return stored_runs.home_of(self.run, self.access.out) if self.run else None

    @cached_property
    def band(self) -> tuple[float, float]:
        """The coherent doses; (0, 0) where none was measured."""
        return stored_runs.coherent_band(self.run) if self.run else (0.0, 0.0)

    @cached_property
    def doses(self) -> list[float]:
        """Steps of the dose slider."""
        return stored_runs.dose_steps(self.run, page_settings.unit_of(self.subject.method))

    @property
    def usual_dose(self) -> float:
        """Where that slider starts: the judged dose."""
        return stored_runs.usual_dose(self.run, self.doses)

    @cached_property
    def betas(self) -> list[float]:
        """Steps of the beta slider."""
        return heal.beta_steps(self.run)

    @property
    def usual_beta(self) -> float:
        """Where that slider starts: the run's own beta."""
        return heal.usual_beta(self.run, self.betas)

    @cached_property
    def tails(self) -> list[float]:
        """Steps of the threshold slider."""
        return tail_steps(self.run) if self.run else [self.usual_tail]

    @cached_property
    def usual_tail(self) -> float:
        """The threshold at which the run itself kept texts."""
        return stored_runs.usual_tail(self.run)

    @cached_property
    def prompts(self) -> list[str]:
        return stored_runs.prompts(self.subject, self.run)

    @property
    def settings_html(self) -> tuple[str, str]:
        """What stands above and below the settings: which model that is, and the run that is shown."""
        title, shown = escaped(self.subject.recipe.title), escaped(stored_runs.about(self.run, self.subject))
        missing = f"<div class='ws-note'>Stored texts only: {escaped(self.missing)}</div>" if self.missing else ""
        head = f"<b>Settings</b><div class='ws-note'>{title}</div>{missing}"
        drawn = escaped(self.run.sampling if self.run else page_settings.drawn_said(self.subject))
        return head, f"<div class='ws-note'>Shown: {shown}</div><div class='ws-note'>sampling: {drawn}</div>"

    @cached_property
    def missing(self) -> str | None:
        """Why nothing can be written live: the model is not installed here, or does not load; None where it does."""
        return page_settings.unavailable(self.subject.model)

    # Steer

    def asked(self, own: str, prompt: str) -> str:
        """The viewer's own text, else the prompt that was chosen. UserError: the text is longer than the app takes."""
        return self.access.check_prompt(own) if own.strip() else prompt

    def near_sample(self, asked: str, c: float) -> pl.DataFrame | None:
        """Stored rows to look at while a slow model writes; None where it is fast or nothing is stored."""
        return live_samples.near_sample(self.run, asked, c, self.seed) if self.slow else None

    def sample(self, asked: str, c: float) -> pl.DataFrame:
        """Replies at 0, +c and -c, scored. UserError: a pair without two poles, or more than the app gives."""
        tokens = page_settings.tokens_of(self.access, self.subject)
        return live_samples.sample(self.subject, asked, c, self.seed, self.run, tokens)

    def cards(self, rows: pl.DataFrame, surprise: bool = False) -> str:
        """Samples side by side, as safe HTML; tokens have a surprise where there is a tokenizer to name them."""
        return sample_cards.sample_cards(self.subject.model, rows, surprise and self.missing is None)

    def response(self, c: float) -> CompiledChart | None:
        """What each dose moves and costs, with its rule at c."""
        if self.run is None:
            return None
        tables = self.run.frame("dose"), self.run.arms()
        drawn = charts.compiled_chart(heal.key_of(self.run), charts.response_chart, *tables, self.run.trait, self.band)
        return drawn.at(c)

    @property
    def measuring_key(self) -> str:
        """The key of the job that measures these settings."""
        return run_job.measuring_key(self.subject, self.seed)

    def progress(self, view: View | None) -> tuple[str, list[CompiledChart]]:
        """How far that job is, as safe HTML; no picture belongs to it."""
        return run_job.measuring_html(view), []

    # Filter

    def counts_html(self, tail_ppl: float) -> str | None:
        """What a threshold keeps, and why it drops the rest."""
        return snippets.counts_html(marked(self.run, tail_ppl), tail_ppl) if self.run else None

    def filtered(self, tail_ppl: float) -> Filtered:
        """The stored completions as a threshold marks them."""
        return Filtered(self.run, tail_ppl, marked(self.run, tail_ppl) if self.run else None)

    def completion_html(self, row: dict[str, Any] | None) -> str | None:
        """A borderline row whole, each token with its surprise; None for no row."""
        if row is None:
            return None
        text = sample_cards.completion_html(self.subject.model, row, self.missing is None)
        return sample_cards.cards({snippets.row_title(row): text})

    def labels(self) -> pl.DataFrame:
        """The researcher's labels of these completions; no rows without a run."""
        home = self.home
        return labels.read_labels(home) if home else pl.DataFrame(schema=labels.LABELS)

    # Learn, and the verdicts on all three

    def training(self, beta: float, tail_ppl: float | None = None) -> Training:
        """What is stored of a training at beta on what a threshold keeps; None: on what the run itself kept."""
        home, settings = self.home, VariantSettings(beta, tail_ppl)
        if home is None:
            return Training(settings, None, None, ())
        return Training(settings, home, find_variant(home, settings), tuple(variants_of(home, tail_ppl=tail_ppl)))

    def training_key(self, settings: VariantSettings) -> str | None:
        """The key of the job that trains this; None without a run."""
        return heal.job_key(self.run, settings) if self.run else None

    @cached_property
    def steer_gates(self) -> list[Gate]:
        return [gate for gate in self.run.gates() if gate.gate == 1] if self.run else []

    def gates(self, filtered: Filtered, training: Training) -> list[Gate]:
        """The verdicts that were reached, in the order of the experiment."""
        return [*self.steer_gates, *filtered.gates, *training.gates]

    def tiles(self, gates: list[Gate], notes: Mapping[str, Any]) -> str:
        """A tile per gate with the researcher's note inside: its field, by the gate's number, or the stored words."""
        inside = {gate.gate: snippets.note_html(gate, notes.get(str(gate.gate))) for gate in gates}
        return tiles(gates, inside)

    def the_run(self) -> Run:
        """The run. ValueError where there is none."""
        if self.run is None:
            raise ValueError("there is no run to show: look at page.run first")
        return self.run
