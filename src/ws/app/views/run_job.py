"""Measures settings that no stored run has: the quick recipe, as a job that every viewer shares."""

from __future__ import annotations

import dataclasses
import threading
from pathlib import Path
from typing import Any

from ws.app.access import AppSettings
from ws.app.jobs import JOBS, Job, Jobs, Tell, View, background
from ws.app.views.page_settings import PageSettings
from ws.app.views.token_html import escaped
from ws.experiment.loop import run as run_experiment
from ws.experiment.progress import Event
from ws.files import digest, write_json
from ws.models.lm import LM, load_model
from ws.runs.config import RunConfig
from ws.runs.recipes import recipe_for

__all__ = ["asked_config", "cancel_measuring", "measuring_html", "measuring_key", "start_measuring"]


def asked_config(subject: PageSettings, seed: int, out: Path) -> RunConfig:
    """The model's own recipe with these settings."""
    own, axis = recipe_for(subject.model), subject.source(out)
    read = dataclasses.replace(own, axis=axis, method=subject.method, layers=subject.layers)
    return dataclasses.replace(read, seeds=(seed,), sampling=subject.sampling)


def measuring_key(subject: PageSettings, seed: int) -> str:
    """The same settings are the same job, whoever asks."""
    return "run-" + digest([dataclasses.asdict(subject), seed], 16)


def start_measuring(
    subject: PageSettings, seed: int, access: AppSettings, *, lm: LM | None = None, jobs: Jobs = JOBS
) -> Job:
    """The shared job that runs the recipe and stores the run; a typed pair becomes an axis file that stays.

    UserError: read-only, a full queue, a pair with an empty or the same pole.
    """
    access.check_write("Measuring")
    config, own = asked_config(subject, seed, access.out), lm or load_model(subject.model)
    if subject.persona is not None:
        write_json(Path(config.axis), subject.resolved(own).to_dict())

    def work(tell: Tell, cancel: threading.Event) -> None:
        def listen(event: Event) -> None:
            if event.total:
                tell({"stage": event.stage, "done": event.done, "total": event.total})

        run_experiment(config, listen, out=access.out, lm=background(own), cancel=cancel)

    title = f"measuring {subject.axis}"
    return jobs.start(measuring_key(subject, seed), title, work, access.max_jobs, again=True)


def cancel_measuring(subject: PageSettings, seed: int, access: AppSettings, jobs: Jobs = JOBS) -> None:
    """Stop it between two steps, for every viewer; the stages that are done stay. UserError: a read-only app."""
    access.check_write("Cancelling a measurement")
    jobs.cancel(measuring_key(subject, seed))


def measuring_html(view: View | None) -> str:
    """The stage that runs and how far it has come, or how it ended, as safe HTML; empty where nothing was asked."""
    if view is None or view.state == "done":
        return ""
    if view.state in ("failed", "cancelled"):
        return f"<div class='ws-note'>{view.state}: {escaped(view.message or 'finished stages are kept')}</div>"
    row: dict[str, Any] = view.rows[-1] if view.rows else {"stage": "waiting for its turn", "done": 0, "total": 1}
    share = 100 * row["done"] / max(row["total"], 1e-9)
    state = "stopping" if view.stopping else f"{escaped(str(row['stage']))} {share:.0f} %"
    return f"<div class='ws-note'>{escaped(view.title)}: {state}, {view.seconds:.0f} s</div>"
