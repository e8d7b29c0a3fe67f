"""Buttons of a shared job: start and cancel it from one page, and tell every viewer how it goes.

told, trained, job = shared_job()                              # states of the page, and what sets them
train, cancel = training_buttons(page, training, job)          # they act
job_report(told(), training.progress)                          # how it goes, whoever started it
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import marimo as mo

from ws.app.jobs import View, watch
from ws.app.views import heal, run_job
from ws.app.views.page import Page
from ws.app.views.shown import Training
from ws.app.views.widgets import said
from ws.errors import UserError

__all__ = ["SharedJob", "Told", "job_report", "measuring_buttons", "shared_job", "training_buttons"]


class Told(NamedTuple):
    """What a page says of a job: why it was refused to this viewer, and how far it is."""

    refused: str | None = None
    view: View | None = None


@dataclass(frozen=True)
class SharedJob:
    """A job that every viewer may start, watch and cancel, as one page has it. told, over: setters of its states."""

    told: Callable[[Any], None]
    over: Callable[[Any], None]

    def follow(self, key: str | None) -> None:
        """Tell how the job of this key goes, whoever started it, until the cell that asked runs again."""
        self.told(Told())
        if key is not None:
            viewer = threading.current_thread()
            mo.Thread(target=watch, args=(key, self._grown, self.over, viewer), daemon=True).start()

    def _grown(self, view: View) -> None:
        self.told(lambda was: was._replace(view=view))

    def button(self, label: str, act: Callable[..., Any], *args: Any, **how: Any) -> Any:
        """A button that does act(*args); what a UserError says is told."""

        def press(_: Any) -> None:
            try:
                act(*args)
                refused = None
            except UserError as error:
                refused = str(error)
            self.told(lambda was: was._replace(refused=refused))

        return mo.ui.button(label=label, on_click=press, **how)


def shared_job() -> tuple[Any, Any, SharedJob]:
    """(told, over, job): two states of a page, how the job goes and that one has ended; and what sets them."""
    told, set_told = mo.state(Told())
    over, set_over = mo.state(None)
    return told, over, SharedJob(set_told, set_over)


def measuring_buttons(page: Page, job: SharedJob) -> tuple[Any, Any]:
    """(measure, cancel) of settings that have no run; what that job does is told from here on."""
    job.follow(page.measuring_key)
    asked = page.subject, page.seed, page.access
    words = "Measure these settings (about three minutes on the embedded model)"
    shut = page.run is not None or not page.writes
    measure = job.button(words, run_job.start_measuring, *asked, disabled=shut)
    return measure, job.button("Cancel the measurement", run_job.cancel_measuring, *asked, kind="warn")


def training_buttons(page: Page, training: Training, job: SharedJob) -> tuple[Any, Any]:
    """(train, cancel) of a variant that is not stored; what that job does is told from here on."""
    job.follow(page.training_key(training.settings))
    asked = page.run, training.settings, page.access
    shut = training.variant is not None or training.home is None or not page.writes
    train = job.button(training.label, heal.start_training, *asked, disabled=shut)
    return train, job.button("Cancel the training", heal.cancel_training, *asked, kind="warn")


def job_report(told: Told, progress: Callable[[View | None], tuple[str, list[Any]]]) -> Any:
    """What there is to tell of a job; None: nothing. progress: its words, as safe HTML, and its pictures."""
    if told == Told():
        return None
    words, pictures = progress(told.view)
    return mo.vstack([*([said(told.refused)] if told.refused else []), mo.Html(words), *pictures])
