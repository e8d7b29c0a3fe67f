"""Controls of the app's page, each made once: where the page's link leaves them, within what is offered and allowed.

c = widgets.slider("c", page.doses, usual, label="coefficient c")      # the link's stop, else the usual one
told, trained, job = widgets.shared_job()                              # states of a page, and what sets them
train, cancel = widgets.training_buttons(page, training, job)          # they act, and `told()` says how it goes

A control's callbacks hold what they need: names of the cell that made it are gone when a viewer comes to it.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import marimo as mo
import polars as pl

from ws.errors import UserError
from ws.jobs import View, watch
from ws.linking import nearest, write_link
from ws.runs import Run
from ws.serving import AppSettings, picked
from ws.views import labels, learned, measuring, prose, settings, stored
from ws.views.journal import write_page
from ws.views.live import warm
from ws.views.page import Page
from ws.views.resting import when_rested
from ws.views.shown import Filtered, Training

__all__ = [
    "SharedJob", "Told", "access", "agreement", "border_table", "choice", "drawn_later", "html", "job_report",
    "kept_button", "label_fields", "layer_band", "link", "measuring_buttons", "note_fields", "opened", "own_text",
    "persona_fields", "remember", "said", "samples", "seed_field", "selected", "shared_job", "slider",
    "surprise_switch", "threshold", "training_buttons", "written_journal",
]  # fmt: skip

WIDTHS = {"id": 56, "side": 72, "c": 60, "tail_ppl": 80, "rep": 60, "bite": 60, "text": 440}
LOW = 2.0  # seconds after which a page draws what lies below its first screen


def served() -> bool:
    """Whether somebody looks at a page; a script and an export have nobody."""
    return bool(mo.app_meta().mode == "run")


def link() -> dict[str, str]:
    """The settings in the page's address; a script has none."""
    return settings.read_link(mo.query_params().to_dict()) if mo.app_meta().mode in ("run", "edit") else {}


def remember(**shown: Any) -> None:
    """Put the controls' values into the page's address, under their names."""
    values = {name: control.value for name, control in shown.items()}
    words = {name: "on" * value if isinstance(value, bool) else str(value) for name, value in values.items()}
    if served():
        write_link(mo.query_params(), words)


def access() -> AppSettings:
    """What the app's command line says. UserError for a value that does not fit its option."""
    return AppSettings.from_args(mo.cli_args().to_dict())


def opened(access: AppSettings) -> tuple[Run, Any]:
    """The run of the link, else of the command line, else the shipped one; a message where there is none of the name.

    A served page's model is made ready meanwhile.
    """
    try:
        named = link().get("run") or (access.run.name if access.run else None)
        run, message = stored.opened(named, access.out, access.model), None
    except UserError as error:
        run, message = stored.opened(None, access.out), said(str(error))
    if served():
        warm(stored.subject_of(run))
    return run, message


def said(message: str | None, kind: Any = "warn") -> Any:
    """A message to the viewer, as text; None where there is nothing to say."""
    return mo.callout(mo.plain_text(message), kind=kind) if message else None


def html(text: str | None) -> Any:
    """Safe HTML as an output; None where there is none."""
    return mo.Html(text) if text else None


# Settings: the link's value where it is offered, else the usual one


def choice(name: str, offered: Sequence[str], usual: str, label: str = "", **how: Any) -> Any:
    """A dropdown; the first choice where the usual one is not offered either."""
    value = picked(link().get(name), offered, picked(usual, offered, offered[0]))
    return mo.ui.dropdown(list(offered), value=value, label=label or name, allow_select_none=False, **how)


def slider(name: str, steps: Sequence[float], usual: float, label: str, **how: Any) -> Any:
    """A slider over these steps, of which the usual one must be one."""
    value = nearest(link().get(name), steps, usual)
    return mo.ui.slider(steps=steps, value=value, label=label, full_width=True, **how)


def threshold(steps: Sequence[float], usual: float) -> tuple[Any, Any, Callable[[float], None]]:
    """(slider, settled, settle) of the filter; `settled()` is where the hand rests if moves call `settle(value)`."""
    settled, set_settled = mo.state(nearest(link().get("tail"), steps, usual))

    def settle(value: float) -> None:
        if settled() != value:
            mo.Thread(target=when_rested, args=(set_settled, value), daemon=True).start()

    return slider("tail", steps, usual, "filter threshold: keep below this tail perplexity"), settled, settle


def persona_fields(custom: bool, most: int) -> Any:
    """The fields of a typed persona pair, texts of at most so many characters; none unless the axis is one's own."""
    if not custom:
        return mo.ui.dictionary({})
    given = link()

    def text(name: str) -> Any:
        return mo.ui.text_area(given.get(name, ""), label=f"{name} persona", rows=2, max_length=most)

    target = choice("target", list(settings.FOUNDATIONS), "Authority", "target foundation")
    sign = choice("sign", ["falls", "rises"], "falls", "it should")
    return mo.ui.dictionary(
        {"positive": text("positive"), "negative": text("negative"), "target": target, "sign": sign}
    )


def layer_band(model: str, layers: tuple[int, ...] | None) -> tuple[Any, dict[str, tuple[int, ...] | None]]:
    """A dropdown of bands, these layers the usual ones; and the layers behind its labels."""
    offered = settings.bands(model)
    usual = settings.layers_of(layers, offered)
    return choice("layers", list(offered), usual, "layer band (blocks)"), offered


def seed_field(usual: int) -> Any:
    return mo.ui.number(0, 9999, step=1, value=int(nearest(link().get("seed"), range(10000), usual)), label="seed")


def own_text(most: int) -> Any:
    """A prompt of one's own, of at most so many characters."""
    return mo.ui.text(
        link().get("own", ""),
        label="or your own text",
        placeholder="press Enter to ask it",
        max_length=most,
        full_width=True,
    )


def surprise_switch() -> Any:
    return mo.ui.switch(link().get("surprise") == "on", label="colour tokens by their surprise under base")


# What a page shows and a viewer can answer


def samples(page: Page, own: str, prompt: str, c: float, surprise: bool) -> tuple[pl.DataFrame | None, Any]:
    """(scored replies, what to show of them); None and the reason where they were refused.

    While a slow model writes, the nearest dose that is stored stands in the cell's place.
    """
    try:
        asked = page.asked(own, prompt)
        near = page.near_sample(asked, c)
        if near is not None:
            mo.output.replace(mo.Html(page.cards(near)))
        rows = page.sample(asked, c)
        return rows, mo.Html(page.cards(rows, surprise))
    except UserError as error:
        return None, said(str(error))


def note_fields(page: Page) -> Any:
    """A field per gate for the researcher's own judgement, stored with the run; none where this app does not write."""
    if page.run is None or not page.writes:
        return mo.ui.dictionary({})
    run, written = page.run, page.run.notes()

    def field(number: str) -> Any:
        def save(text: str) -> None:
            stored.save_note(run, page.access, int(number), text)

        return mo.ui.text_area(
            written.get(number, ""),
            label="your own judgement, stored with the run",
            rows=2,
            full_width=True,
            on_change=save,
        )

    return mo.ui.dictionary({number: field(number) for number in ("1", "2", "3")})


def border_table(border: pl.DataFrame) -> Any:
    """The borderline texts, of which one is selected."""
    return mo.ui.table(
        prose.border_table(border),
        selection="single",
        initial_selection=[0],
        wrapped_columns=["text"],
        page_size=10,
        show_column_summaries=False,
        show_data_types=False,
        show_download=False,
        show_search=False,
        column_widths=WIDTHS,
    )


def selected(table: Any, rows: pl.DataFrame) -> dict[str, Any] | None:
    """The row of these that is selected in their table, by its id; None where none is."""
    ids = table.value["id"].to_list()
    return rows.filter(pl.col("id") == ids[0]).row(0, named=True) if ids else None


def label_fields(page: Page, row: dict[str, Any], changed: Callable[[Any], None]) -> Any:
    """The researcher's label of a completion: radios coherent and acts; `changed` counts what was stored."""
    run, was = page.the_run(), labels.label_of(page.labels(), row)

    def save(**label: Any) -> None:
        labels.store_label(run, page.access, row, **label)
        changed(lambda n: n + 1)

    def radio(offered: Sequence[str], value: str | None, on_change: Callable[[str], None]) -> Any:
        return mo.ui.radio(list(offered), value=value, inline=True, on_change=on_change)

    coherent = {flag: word for word, flag in labels.COHERENT.items()}.get(was["coherent"])
    return mo.ui.dictionary(
        {
            "coherent": radio(list(labels.COHERENT), coherent, lambda word: save(coherent=labels.COHERENT[word])),
            "acts": radio(labels.ACTS, was["acts"], lambda word: save(acts=word)),
        }
    )


def agreement(filtered: Filtered, given: pl.DataFrame) -> Any:
    """How a threshold agrees with the labels that were given; None without a run."""
    if filtered.run is None:
        return None
    words, pictures = filtered.agreement(given)
    return mo.hstack([mo.Html(words), *pictures], justify="start", gap=2)


def kept_button(page: Page, tail_ppl: float, kept_at: float | None, set_kept_at: Callable[[Any], None]) -> Any:
    """Learn from what this threshold keeps; None where the training already does. kept_at: None, the run's own."""
    at = None if tail_ppl == page.usual_tail else tail_ppl
    if at == kept_at:
        return None
    words = "learn from what the run kept" if at is None else f"learn from what the threshold {at:.4g} keeps"
    return mo.ui.button(label=words, on_click=lambda _: set_kept_at(at))


def written_journal(page: Page) -> Any:
    """Write the run's journal page; what to say of it."""
    with mo.status.spinner(title="Writing the page"):
        words, kind = write_page(page.the_run(), page.access)
    return said(words, kind)


# Jobs: a pair of buttons, what they do, and what is told of it


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
    measure = job.button(words, measuring.start_measuring, *asked, disabled=shut)
    return measure, job.button("Cancel the measurement", measuring.cancel_measuring, *asked, kind="warn")


def training_buttons(page: Page, training: Training, job: SharedJob) -> tuple[Any, Any]:
    """(train, cancel) of a stop that is not stored; what that job does is told from here on."""
    job.follow(page.training_key(training.ask))
    asked = page.run, training.ask, page.access
    shut = training.stop is not None or training.home is None or not page.writes
    train = job.button(training.label, learned.start_training, *asked, disabled=shut)
    return train, job.button("Cancel the training", learned.cancel_training, *asked, kind="warn")


def job_report(told: Told, progress: Callable[[View | None], tuple[str, list[Any]]]) -> Any:
    """What there is to tell of a job; None: nothing. progress: its words, as safe HTML, and its pictures."""
    if told == Told():
        return None
    words, pictures = progress(told.view)
    return mo.vstack([*([said(told.refused)] if told.refused else []), mo.Html(words), *pictures])


def drawn_later() -> Any:
    """A state: whether what lies below the first screen may be drawn. All charts at once make the first wait."""
    below, set_below = mo.state(not served())
    if served():
        mo.Thread(target=when_rested, args=(set_below, True, LOW), daemon=True).start()
    return below
