"""Controls of the app's page, each made once: where the page's link leaves them, within what is offered and allowed.

c = widgets.slider("c", page.doses, page.usual_dose, "coefficient c")  # the link's value, else the usual one
tail, settled, settle = widgets.threshold(page.tails, page.usual_tail) # and a state that follows once it has rested

A control's callbacks hold what they need: names of the cell that made it are gone when a viewer comes to it.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import marimo as mo
import polars as pl

from ws.app.access import AppSettings
from ws.app.page_link import nearest, picked, write_link
from ws.app.views import labels, page_settings, snippets, stored_runs
from ws.app.views.controls import Area, Fields, Menu, Number, Radio, Slider, Switch, Table, Text, refused_by
from ws.app.views.debounce import debounced
from ws.app.views.journal import write_page
from ws.app.views.live_samples import warm
from ws.app.views.page import Page
from ws.app.views.shown import Filtered
from ws.errors import UserError
from ws.runs.config import SEEDS, SamplingConfig
from ws.runs.reader import Run

__all__ = [
    "access", "agreement", "axis_choice", "border_table", "choice", "drawn", "drawn_later", "html", "kept_button",
    "label_fields", "layer_band", "link", "note_fields", "opened", "own_text", "persona_fields", "refusals", "remember",
    "said", "samples", "sampling_box", "sampling_fields", "seed_field", "selected", "slider", "surprise_switch",
    "threshold", "unready", "written_journal",
]  # fmt: skip

WIDTHS = {"id": 56, "side": 72, "c": 60, "tail_ppl": 80, "rep": 60, "bite": 60, "text": 440}
LOW = 2.0  # seconds after which a page draws what lies below its first screen


def served() -> bool:
    """Whether somebody looks at a page; a script and an export have nobody."""
    return bool(mo.app_meta().mode == "run")


def link() -> dict[str, str]:
    """The settings in the page's address; a script has none."""
    return page_settings.read_link(mo.query_params().to_dict()) if mo.app_meta().mode in ("run", "edit") else {}


def remember(**shown: Any) -> None:
    """Put the controls' values into the page's address, under their names."""
    values = {name: control.value for name, control in shown.items()}
    words = {name: "on" * value if isinstance(value, bool) else str(value) for name, value in values.items()}
    words |= {name: "" for name, value in values.items() if value is None}
    if served():
        write_link(mo.query_params(), words)


def refusals(*controls: Any) -> list[Any]:
    """A message for everything that was sent to these controls and not taken; their values are what they were."""
    return [said(words) for words in dict.fromkeys(refused_by(controls))]


def access() -> AppSettings:
    """What the app's command line says. UserError for a value that does not fit its option."""
    return AppSettings.from_args(mo.cli_args().to_dict())


def opened(access: AppSettings) -> tuple[Run, Any]:
    """The run of the link, else of the command line, else the shipped one; and what of that cannot be shown, and why.

    A served page's model is made ready meanwhile.
    """
    given, told = link(), []
    named = given.get("run") or (access.run.name if access.run else None)
    try:
        run = stored_runs.opened(named, access.out, access.model)
        told += [stored_runs.not_shown(run, access)] if named else []
    except UserError as error:
        run = stored_runs.opened(None, access.out, access.model)
        told.append(str(error))
    for name in ("own", "positive", "negative"):
        if len(given.get(name, "")) > access.max_prompt:
            told.append(f"The link's text {name!r} is longer than the {access.max_prompt} characters that this app "
                        "takes: it was left out.")  # fmt: skip
    if served():
        warm(stored_runs.subject_of(run))
    return run, said("\n".join(line for line in told if line))


def unready(run: Run | None, subject: page_settings.PageSettings) -> Any:
    """Why there is nothing to show of these settings; None where something is stored or the model can write."""
    why = page_settings.unavailable(subject.model) if run is None else None
    return said(f"Nothing can be shown of the model {subject.model!r}: {why}" if why else None)


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
    return Menu(name, list(offered), value=value, label=label or name, **how)


def axis_choice(model: str, out: Path, usual: str) -> Any:
    """The dropdown of axes, which says of each whether it is alive on this model; its value is the axis's name."""
    labels = page_settings.axis_labels(model, out)
    names = {name: label for label, name in labels.items()}
    chosen = picked(link().get("axis"), list(names), picked(usual, list(names), next(iter(names))))
    return Menu("axis", labels, value=names[chosen], label="axis")


def slider(name: str, steps: Sequence[float], usual: float, label: str, **how: Any) -> Any:
    """A slider over these steps, of which the usual one must be one."""
    value = nearest(link().get(name), steps, usual)
    return Slider(label, steps, value=value, label=label, full_width=True, **how)


def threshold(steps: Sequence[float], usual: float) -> tuple[Any, Any, Callable[[float], None]]:
    """(slider, settled, settle) of the filter; `settled()` is where the hand rests if moves call `settle(value)`."""
    settled, set_settled = mo.state(nearest(link().get("tail"), steps, usual))

    def settle(value: float) -> None:
        if settled() != value:
            mo.Thread(target=debounced, args=(set_settled, value), daemon=True).start()

    return slider("tail", steps, usual, "filter threshold: keep below this perplexity"), settled, settle


def drawn_later() -> Any:
    """A state: whether what lies below the first screen may be drawn. All charts at once make the first wait."""
    below, set_below = mo.state(not served())
    if served():
        mo.Thread(target=debounced, args=(set_below, True, LOW), daemon=True).start()
    return below


def persona_fields(custom: bool, most: int) -> Any:
    """The fields of a typed persona pair, texts of at most so many characters; none unless the axis is one's own."""
    if not custom:
        return Fields("the persona", {})
    given = link()

    def text(name: str) -> Any:
        return Area(f"the {name} persona", most, given.get(name, ""), label=f"{name} persona", rows=2)

    target = choice("target", list(page_settings.FOUNDATIONS), "Authority", "target foundation")
    sign = choice("sign", ["falls", "rises"], "falls", "it should")
    fields = {"positive": text("positive"), "negative": text("negative"), "target": target, "sign": sign}
    return Fields("the persona", fields)


def layer_band(model: str, layers: tuple[int, ...] | None) -> tuple[Any, dict[str, tuple[int, ...] | None]]:
    """A dropdown of bands, these layers the usual ones; and the layers behind its labels."""
    offered = page_settings.bands(model)
    usual = page_settings.layers_of(layers, offered)
    return choice("layers", list(offered), usual, "layer band (blocks)"), offered


def seed_field(usual: int) -> Any:
    """Any seed that a run may have; a run of an earlier version has its own, a negative one too."""
    low, high = min(0, usual), max(SEEDS - 1, usual)
    asked = page_settings.whole_in(link().get("seed"), low, high)
    return Number("seed", low, high, step=1, value=usual if asked is None else asked, label="seed")


def sampling_fields(first: Run) -> Any:
    """Fields of the sampling, where the link or the run leaves them; an empty one is the model's own. `drawn` looks at
    what is typed."""
    given, own = link(), dataclasses.asdict(first.config.sampling)
    labels = {"max_new_tokens": "tokens of a reply"}

    def field(name: str) -> Any:
        kind, low, high = page_settings.DRAWN[name]
        value = page_settings.shown_number(name, given.get(name), own[name])
        step, label = (1, labels.get(name, name)) if kind is int else (0.05, name)
        return Number(name, low, high, value=value, whole=kind is int, empty=True, step=step, label=label)

    return Fields("the sampling", {name: field(name) for name in page_settings.DRAWN})


def drawn(fields: Any, first: Run, access: AppSettings) -> tuple[SamplingConfig, Any]:
    """(sampling, message) of the fields: the run's and why, where this app does not take theirs."""
    try:
        return page_settings.sampling_of(fields.value, access), None
    except UserError as error:
        return first.config.sampling, said(str(error))


def sampling_box(fields: Any, first: Run, access: AppSettings) -> Any:
    """The fields, folded away, with why they were not taken."""
    refused = drawn(fields, first, access)[1]
    folded = mo.accordion({"sampling (empty: the model's own)": mo.vstack([*fields.elements.values()])})
    return mo.vstack([folded, refused] if refused else [folded])


def own_text(most: int) -> Any:
    """A prompt of one's own, of at most so many characters."""
    how = {"label": "or your own text", "placeholder": "press Enter to ask it", "full_width": True}
    return Text("your own text", most, link().get("own", ""), **how)


def surprise_switch() -> Any:
    words = "colour tokens by their surprise under base"
    return Switch(words, link().get("surprise") == "on", label=words)


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
        return Fields("the notes", {})
    run, written = page.run, page.run.notes()

    def field(number: str) -> Any:
        def save(text: str) -> None:
            stored_runs.save_note(run, page.access, int(number), text)

        how = {"label": "your own judgement, stored with the run", "rows": 2, "full_width": True, "on_change": save}
        words = written.get(number, "")
        return Area(f"the note of gate {number}", max(stored_runs.MAX_NOTE, len(words)), words, **how)

    return Fields("the notes", {number: field(number) for number in ("1", "2", "3")})


def border_table(border: pl.DataFrame) -> Any:
    """The borderline texts, of which one is selected."""
    return Table(
        "the borderline table",
        snippets.border_table(border),
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
    """The researcher's label of a completion: radios coherent and acts. `changed` is told that one was given: None, or
    why it was not stored."""
    run, was = page.the_run(), labels.label_of(page.labels(), row)

    def save(**label: Any) -> None:
        try:
            labels.store_label(run, page.access, row, **label)
            changed(None)
        except UserError as error:
            changed(str(error))

    def radio(name: str, offered: Sequence[str], value: str | None, on_change: Callable[[str], None]) -> Any:
        return Radio(f"the label {name}", offered, value=value, inline=True, on_change=on_change)

    coherent = {flag: word for word, flag in labels.COHERENT.items()}.get(was["coherent"])
    words = list(labels.COHERENT)
    fields = {
        "coherent": radio("coherent", words, coherent, lambda word: save(coherent=labels.COHERENT.get(word))),
        "acts": radio("acts", labels.ACTS, was["acts"], lambda word: save(acts=word)),
    }
    return Fields("the label", fields)


def agreement(filtered: Filtered, given: pl.DataFrame, refused: str | None = None) -> Any:
    """How a threshold agrees with the labels that were given, and why the last one was not stored; None without a
    run."""
    if filtered.run is None:
        return None
    words, pictures = filtered.agreement(given)
    shown = mo.hstack([mo.Html(words), *pictures], justify="start", gap=2)
    return mo.vstack([said(refused), shown]) if refused else shown


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
