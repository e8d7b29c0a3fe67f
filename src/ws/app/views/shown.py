"""What a page shows at one place of a slider: the completions at a threshold, the training at a beta.

A picture, or a text, of what is not there is None. All HTML is safe.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import polars as pl

from ws.app.jobs import View
from ws.app.views import heal, heal_html, labels, sample_cards, snippets
from ws.app.views.filter import border_rows, filter_gate, shares
from ws.gating import Gate
from ws.reporting import charts
from ws.reporting.charts.compiled import CompiledChart
from ws.runs.four_arms import four_arms
from ws.runs.heal_variants import HealVariant, VariantSettings, variant_gate
from ws.runs.reader import Run

__all__ = ["Filtered", "Training"]


@dataclass(frozen=True)
class Filtered:
    """A run's completions as a threshold marks them (`ws.app.views.filter.marked`); run and marked are None
    together."""

    run: Run | None
    tail_ppl: float
    marked: pl.DataFrame | None

    @cached_property
    def gates(self) -> list[Gate]:
        """The verdict on this threshold; none without a run."""
        return [filter_gate(self.run, self.marked)] if self.run and self.marked is not None else []

    def chart(self) -> CompiledChart | None:
        """Every completion as a point, with the threshold's rule."""
        if self.run is None or self.marked is None:
            return None
        score = self.run.threshold()[0]
        data = charts.filter_data(self.marked, self.tail_ppl, self.run.limits()["rep"], shares(self.marked), score)
        return charts.compiled_chart(charts.filter_states(data), charts.filter_chart, data).showing(data)

    def border(self) -> pl.DataFrame:
        """The texts just kept and just dropped; no rows without a run."""
        return border_rows(self.run, self.tail_ppl) if self.run else pl.DataFrame()

    def agreement(self, given: pl.DataFrame) -> tuple[str, list[Any]]:
        """How it agrees with the labels that were given: words, and a chart once there are labels of both kinds."""
        if self.marked is None:
            return "", []
        curve = labels.roc(self.marked, given, self.run.threshold()[0] if self.run else "tail_ppl")
        pictures = [charts.roc_chart(curve, self.tail_ppl)] if curve.height else []
        return snippets.labels_html(self.marked, given), pictures


@dataclass(frozen=True)
class Training:
    """What the beta slider and the training's threshold ask for. variant: None while it is not trained; variants: all
    that are stored at this threshold; home: the run that they belong to, None where there is none."""

    settings: VariantSettings
    home: Run | None
    variant: HealVariant | None
    variants: tuple[HealVariant, ...]

    @cached_property
    def gates(self) -> list[Gate]:
        """The verdict on this variant; none while it is not trained."""
        return [variant_gate(self.home, self.variant)] if self.home and self.variant else []

    @property
    def label(self) -> str:
        return heal_html.train_label(self.home, self.settings, self.variant)

    @property
    def variants_html(self) -> str:
        return heal_html.variants_html(self.variants, self.settings)

    def planes(self) -> CompiledChart | None:
        """Where base, steered and healed stand, this beta marked; None without a run."""
        if self.home is None:
            return None
        key = heal.key_of(self.home, *self.variants)
        axes = heal.plane_of(self.home)
        given = self._points, axes, None, self.home.trait.by_questions
        return charts.compiled_chart(key, charts.tradeoff_chart, *given).at(self.settings.beta)

    def beta_sweep(self) -> CompiledChart | None:
        """What each beta keeps and costs, this one marked; None without a run."""
        if self.home is None:
            return None
        key = heal.key_of(self.home, *self.variants)
        return charts.compiled_chart(key, charts.beta_sweep_chart, self._points).at(self.settings.beta)

    def four_arms(self) -> CompiledChart | None:
        """Filter and barrier, each with and without, None where the run trained fewer than three."""
        four = four_arms(self.home) if self.home else pl.DataFrame()
        if self.home is None or four.height < 3:
            return None
        return charts.compiled_chart(heal.key_of(self.home), charts.four_arms_chart, four)

    def curve(self) -> CompiledChart | None:
        """How this variant trained; None while it is not trained."""
        if self.home is None or self.variant is None:
            return None
        key = heal.key_of(self.home, self.variant)
        return charts.compiled_chart(key, charts.training_chart, self.variant.curve, heal.tau_of(self.home))

    def drift(self) -> CompiledChart | None:
        """Drift of what was kept and dropped, before and after; None where this variant has no such figures."""
        if self.home is None or self.variant is None or not self.variant.drift.height:
            return None
        return charts.compiled_chart(heal.key_of(self.home, self.variant), charts.drift_chart, self.variant.drift)

    def texts_html(self, prompt: str) -> str | None:
        """What base, steered and healed answered, side by side, as safe HTML; None where one of them was not asked."""
        if self.home is None or self.variant is None or prompt not in heal.prompts_of(self.home):
            return None
        return sample_cards.cards(heal_html.text_blocks(heal.three_texts(self.home, self.variant, prompt)))

    def progress(self, view: View | None) -> tuple[str, list[CompiledChart]]:
        """How far this variant's training is: words as safe HTML, and its curve from its first step until it ends."""
        if self.home is None:
            return "", []
        rows, frame = heal.live_curve(view), (heal.tau_of(self.home), heal.steps_of(view))
        words = heal_html.progress_html(view, self.home)
        if not rows.height:
            return words, []
        curve = charts.compiled_chart(frame, charts.training_chart, rows, *frame)
        return words, [curve.showing(charts.training_data(rows))]

    @cached_property
    def _points(self) -> pl.DataFrame:
        return heal.points(self.home, self.variants) if self.home else pl.DataFrame()
