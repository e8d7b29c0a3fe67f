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
from ws.app.views.debounce import debounced
from ws.app.views.journal import write_page
from ws.app.views.live_samples import warm
from ws.app.views.page import Page
from ws.app.views.shown import Filtered
from ws.errors import UserError
from ws.runs.config import SamplingConfig
from ws.runs.reader import Run

__all__ = [
    "access", "agreement", "axis_choice", "border_table", "choice", "drawn", "drawn_later", "html", "kept_button",
    "label_fields", "layer_band", "link", "note_fields", "opened", "own_text", "persona_fields", "remember", "said",
    "samples", "sampling_box", "sampling_fields", "seed_field", "selected", "slider", "surprise_switch", "threshold",
    "written_journal",
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


def access() -> AppSettings:
    """What the app's command line says. UserError for a value that does not fit its option."""
    return AppSettings.from_args(mo.cli_args().to_dict())


def opened(access: AppSettings) -> tuple[Run, Any]:
    """The run of the link, else of the command line, else the shipped one; a message where there is none of the name.

    A served page's model is made ready meanwhile.
    """
    try:
        named = link().get("run") or (access.run.name if access.run else None)
        run, message = stored_runs.opened(named, access.out, access.model), None
    except UserError as error:
        run, message = stored_runs.opened(None, access.out), said(str(error))
    if served():
        warm(stored_runs.subject_of(run))
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


def axis_choice(model: str, out: Path, usual: str) -> Any:
    """The dropdown of axes, which says of each whether it is alive on this model; its value is the axis's name."""
    labels = page_settings.axis_labels(model, out)
    names = {name: label for label, name in labels.items()}
    chosen = picked(link().get("axis"), list(names), picked(usual, list(names), next(iter(names))))
    return mo.ui.dropdown(labels, value=names[chosen], label="axis", allow_select_none=False)


def slider(name: str, steps: Sequence[float], usual: float, label: str, **how: Any) -> Any:
    """A slider over these steps, of which the usual one must be one."""
    value = nearest(link().get(name), steps, usual)
    return mo.ui.slider(steps=steps, value=value, label=label, full_width=True, **how)


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
        return mo.ui.dictionary({})
    given = link()

    def text(name: str) -> Any:
        return mo.ui.text_area(given.get(name, ""), label=f"{name} persona", rows=2, max_length=most)

    target = choice("target", list(page_settings.FOUNDATIONS), "Authority", "target foundation")
    sign = choice("sign", ["falls", "rises"], "falls", "it should")
    return mo.ui.dictionary(
        {"positive": text("positive"), "negative": text("negative"), "target": target, "sign": sign}
    )


def layer_band(model: str, layers: tuple[int, ...] | None) -> tuple[Any, dict[str, tuple[int, ...] | None]]:
    """A dropdown of bands, these layers the usual ones; and the layers behind its labels."""
    offered = page_settings.bands(model)
    usual = page_settings.layers_of(layers, offered)
    return choice("layers", list(offered), usual, "layer band (blocks)"), offered


def seed_field(usual: int) -> Any:
    """A field that takes the stored seed, whichever it is; the link's seed as near as the field goes."""
    least, most = min(0, usual), max(9999, usual)
    asked = link().get("seed", "")
    value = min(max(int(asked), least), most) if asked.isdecimal() and len(asked) < 20 else usual
    return mo.ui.number(least, most, step=1, value=value, label="seed")


def sampling_fields(first: Run) -> Any:
    """Fields of the sampling, where the link or the run leaves them; an empty one is the model's own. `drawn` looks at
    what is typed."""
    given, own = link(), dataclasses.asdict(first.config.sampling)
    labels = {"max_new_tokens": "tokens of a reply"}

    def field(name: str) -> Any:
        value = page_settings.shown_number(name, given.get(name), own[name])
        step = 0.05 if page_settings.DRAWN[name][0] is float else 1
        return mo.ui.number(value=value, step=step, label=labels.get(name, name))

    return mo.ui.dictionary({name: field(name) for name in page_settings.DRAWN})


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
            stored_runs.save_note(run, page.access, int(number), text)

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
        snippets.border_table(border),
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
