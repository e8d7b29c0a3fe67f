"""The Learn section's pieces of HTML: stored betas, the progress of a training, texts side by side. Texts escaped."""

from __future__ import annotations

from collections.abc import Sequence

import polars as pl

from ws.app.jobs import View
from ws.app.views.heal import steps_of
from ws.app.views.token_html import escaped, text_block
from ws.runs.heal_variants import PHASES, HealVariant, VariantSettings, estimate
from ws.runs.reader import Run

__all__ = ["left", "progress_html", "text_blocks", "train_label", "variants_html"]


def left(view: View, expected: dict[str, float]) -> tuple[str, float, float]:
    """(phase, share done, seconds left) of a training whose phases are expected to take so many seconds.

    Once steps have been measured they correct it: a machine that is slow in training is slow in what follows.
    """
    phase = next((str(row["phase"]) for row in reversed(view.rows) if "phase" in row), PHASES[0])
    done = [row for row in view.rows if "step" in row]
    training = done[-1]["seconds"] * done[-1]["steps"] / len(done) if done else expected[PHASES[0]]
    slower = training / max(expected[PHASES[0]], 1e-9)
    whole = training + slower * sum(expected[name] for name in PHASES[1:])
    rest = max(0.0, whole - view.seconds)
    return phase, view.seconds / max(view.seconds + rest, 1e-9), rest


def train_label(run: Run | None, settings: VariantSettings, variant: HealVariant | None) -> str:
    """The button's words, with how long it will take."""
    if variant or not run:
        return "stored"
    return f"Train at beta {settings.beta:g} (about {seconds(sum(estimate(run).values()))} on an idle machine)"


def seconds(value: float) -> str:
    return f"{value:.0f} s" if value < 90 else f"{value / 60:.0f} min"


def variants_html(variants: Sequence[HealVariant], settings: VariantSettings) -> str:
    """Which betas are stored at the training's threshold, the slider's own in bold."""
    stored = [variant.settings.beta for variant in variants]
    named = [f"<b>{beta:g}</b>" if beta == settings.beta else f"{beta:g}" for beta in stored]
    here = "stored" if settings.beta in stored else "not trained yet"
    tail = settings.tail_ppl
    kept = "what the run kept" if tail is None else f"what a perplexity under {tail:.4g} keeps"
    words = f"beta = <b>{settings.beta:g}</b>: {here}. Stored stops: {', '.join(named) or 'none'}. Trained on {kept}."
    return f'<p class="ws-stops">{words}</p>'


def progress_html(view: View | None, run: Run) -> str:
    """How far a training is, or how it ended."""
    if view is None:
        return ""
    title, state = escaped(view.title), view.state
    if state == "failed":
        return f'<p class="ws-job">{title} failed: {escaped(view.message)}</p>'
    if state != "running":
        return f'<p class="ws-job">{title}: {state}</p>'
    phase, share, rest = left(view, estimate(run))
    done = sum("step" in row for row in view.rows)
    words = f"step {done} of {steps_of(view) or '?'}" if phase == PHASES[0] else phase
    words = "stopping" if view.stopping else f"{words}, about {seconds(rest)} left"
    return f'<p class="ws-job"><progress value="{share:.3f}" max="1"></progress> {title}: {words}</p>'


def text_blocks(rows: pl.DataFrame) -> dict[str, str]:
    """First sample of each arm as escaped HTML, by title."""
    first = rows.filter(pl.col("sample") == rows["sample"].min())
    return {row["arm"]: text_block(row["text"]) for row in first.rows(named=True)}
