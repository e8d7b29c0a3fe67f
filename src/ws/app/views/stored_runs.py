"""Stored runs behind a page: the shipped example, the run of a link, the run that fits the settings."""

from __future__ import annotations

import dataclasses
import shutil
from collections.abc import Sequence
from pathlib import Path

from ws.app.access import AppSettings
from ws.app.page_link import run_named
from ws.app.views.page_settings import PageSettings, axis_names, bands, method_names
from ws.errors import UserError
from ws.experiment.examples import EXAMPLES, example_of, shipped
from ws.files import checksum, write_atomic
from ws.models.lm import load_model
from ws.runs.reader import Run, finished_runs, open_run

MAX_NOTE = 4000  # characters of a note

__all__ = ["about", "coherent_band", "dose_steps", "home_of", "models", "not_shown", "offered_runs", "opened",
           "prompts", "run_for", "save_note", "subject_of", "unmeasured", "usual_dose", "usual_tail"]  # fmt: skip


def opened(name: str | None, out: Path, model: str | None = None) -> Run:
    """The run of that name; where none is named the model's shipped example, else the newest run on it, else the
    example that ships first. model: None takes that one's.

    UserError for a name that is no run directly in the runs folder.
    """
    named = {path.name: path for path in EXAMPLES.values()}
    if name and name not in named:
        return open_run(run_named(out, name))
    examples = shipped()
    path = named[name] if name else examples.get(model or "", next(iter(examples.values())))
    example = open_run(path)
    runs = [] if name or model in (None, example.config.model) else offered_runs(out)
    return next((run for run in runs if run.config.model == model), home_of(example, out))


def models(out: Path, asked: str | None) -> list[str]:
    """Models to choose from: the app's own, those with a shipped example, those with a finished run."""
    found = [*([asked] if asked else []), *shipped(), *(run.config.model for run in offered_runs(out))]
    return list(dict.fromkeys(found))


def not_shown(run: Run, access: AppSettings) -> str | None:
    """Why the page cannot show a run that was asked for: its menus do not offer what it was made with, or no round of
    it is finished; None where it can."""
    c, offered = run.config, models(access.out, access.model)
    if not run.rounds:
        why = "no round of it is finished"
    elif c.model not in offered:
        why = f"its model {c.model!r} is none of this app's ({', '.join(offered)}). Start it with --model {c.model}"
    elif c.axis not in axis_names(c.model):
        why = f"its axis {c.axis!r} is none of the menu's, which are those that ship with ws"
    elif c.layers is not None and c.layers not in bands(c.model).values():
        why = f"its layers {', '.join(map(str, c.layers))} are none of the menu's bands"
    elif c.method not in method_names():
        why = f"its method {c.method!r} is none of this version's"
    else:
        return None
    return (
        f"The run {run.path.name!r} was asked for, and another is shown: {why}. `ws show` and `ws journal` with its "
        "folder show it whole."
    )


def home_of(run: Run, out: Path, create: bool = False) -> Run:
    """Where a run's labels and notes lie: in its own folder, for a shipped example in a copy under `out`.

    The copy is made when something is first to be written; its name changes with the example.
    """
    if run.path not in EXAMPLES.values():
        return run
    copy = out / f"{run.path.name}-{checksum(run.path / 'status.json')[:8]}"
    if create and not copy.exists():
        write_atomic(copy, lambda place: shutil.copytree(run.path, place))
    return open_run(copy) if copy.exists() else run


def offered_runs(out: Path) -> list[Run]:
    """Finished runs under `out`, newest first, the examples last. A folder that cannot be read is left out."""
    runs, _ = finished_runs(out)
    examples = [home_of(open_run(path), out) for path in shipped().values()]
    return [*(run for run in reversed(runs) if not run.path.is_symlink()), *examples]


def subject_of(run: Run) -> PageSettings:
    """What a run's direction depended on, and how its texts were drawn."""
    c = run.config
    return PageSettings(c.model, c.axis, c.method, c.layers, sampling=c.sampling)


def run_for(subject: PageSettings, seed: int, out: Path, prefer: Run | None = None) -> Run | None:
    """The preferred run where it has these settings, else the newest finished one that has; None: not measured yet."""
    runs = [*([prefer] if prefer is not None else []), *offered_runs(out)]
    wanted = dataclasses.replace(subject, axis=subject.source(out), persona=None)
    fits = (run for run in runs if subject_of(run) == wanted and run.config.seeds[0] == seed and run.rounds)
    return next(fits, None)


def about(run: Run | None, subject: PageSettings) -> str:
    """Which run is shown, in one line."""
    if run is None:
        return f"live samples only, {subject.axis} was not measured with these settings"
    name = "the example that ships with ws" if example_of(run.path) else f"run {run.path.name}"
    return f"{name} (axis {run.axis['name']}, {run.config.method}, seed {run.config.seeds[0]})"


def unmeasured(subject: PageSettings, seed: int) -> str:
    """What is missing where no stored run has these settings, and the command that makes it."""
    missing = (
        "These settings show live samples; they have not been measured yet, so there is no dose response and no "
        "verdict. The button below measures them"
    )
    if subject.persona is not None:
        return f"{missing}."
    layers = f" --layers {' '.join(map(str, subject.layers))}" if subject.layers else ""
    asked = {name: value for name, value in dataclasses.asdict(subject.sampling).items() if value is not None}
    drawn = "".join(f" --sampling.{name.replace('_', '-')} {value:g}" for name, value in asked.items())
    command = f"ws run --axis {subject.axis} --model {subject.model} --method {subject.method}{layers}{drawn}"
    command += f" --seeds {seed}"
    return f"{missing}, or `{command}` in a terminal (about three minutes on the embedded model)."


def coherent_band(run: Run, round: int = 0) -> tuple[float, float]:
    """Doses from 0 to the knee, which all probes together decide; (0, 0): none is coherent."""
    return 0.0, float(run.get("knee.json", round)["c"] or 0.0)


def usual_dose(run: Run | None, steps: Sequence[float]) -> float:
    """Where the dose slider starts: the judged dose of the run, else the step nearest to 1."""
    chosen = run.get("knee.json")["c"] if run is not None else None
    return min(steps, key=lambda step: abs(step - (1.0 if chosen is None else float(chosen))))


def usual_tail(run: Run | None) -> float:
    """Where the threshold starts: the run's own limit."""
    return 20.0 if run is None else run.threshold()[1]


def prompts(subject: PageSettings, run: Run | None, most: int = 24) -> list[str]:
    """Prompts to choose from: probes of the axis, never trained on; the run's own where there is one."""
    if run is not None:
        return list(run.axis["probes"])[:most]
    return list(subject.lender(load_model(subject.model)).probes)[:most]


def save_note(run: Run, access: AppSettings, gate: int, text: str) -> None:
    """Store the researcher's judgement of a gate. UserError where this app does not write, or the note is too long."""
    access.check_write("Saving a judgement")
    if len(text) > MAX_NOTE:
        raise UserError(f"The note has {len(text)} characters, {MAX_NOTE} are kept. Shorten it.")
    home_of(run, access.out, create=True).note(gate, text)


def dose_steps(run: Run | None, unit: str = "multiples") -> list[float]:
    """Steps of the dose slider: an even grid and every stored dose."""
    even = [2.5 * i for i in range(25)] if unit == "degrees" else [0.125 * i for i in range(25)]
    if run is None:
        return even
    stored = run.frame("dose")["c"].to_list()
    return sorted({*even, *(float(c) for c in stored if c > 0)})
