# The app: make app, or ws app, or marimo run nbs/gates.py [-- --model ID_OR_PATH]. Cells hold prose, controls, plots.

import marimo

__generated_with = "0.25.2"
app = marimo.App(width="full", app_title="ws: does it steer, can we filter, did it learn?", css_file="gates.css")

with app.setup:
    import marimo as mo

    from ws import charts, views
    from ws.errors import UserError
    from ws.gating import Trait
    from ws.serving import AppSettings, picked


@app.function
def link():
    """The settings in the page's address; a script has none."""
    return views.read_link(mo.query_params().to_dict()) if mo.app_meta().mode in ("run", "edit") else {}


@app.cell
def _():
    access = AppSettings.from_args(mo.cli_args().to_dict())
    return (access,)


@app.cell
def _(access):
    try:
        first = views.opened(link().get("run") or (access.run and access.run.name), access.out, access.model)
        trouble = None
    except UserError as error:
        first, trouble = views.opened(None, access.out), str(error)
    if mo.app_meta().mode == "run":
        views.warm(views.subject_of(first))
    mo.callout(mo.plain_text(trouble), kind="warn") if trouble else None
    return (first,)


@app.cell
def _(access, first):
    axis_names = [*views.axis_names(access.model), views.CUSTOM]
    axis = mo.ui.dropdown(
        axis_names,
        value=picked(link().get("axis"), axis_names, picked(first.config.axis, axis_names, axis_names[0])),
        label="axis",
        allow_select_none=False,
    )
    return (axis,)


@app.cell
def _(access, axis):
    _own = axis.value == views.CUSTOM
    persona = mo.ui.dictionary(
        {
            "positive": mo.ui.text_area(
                link().get("positive", ""), label="positive persona", rows=2, max_length=access.max_prompt
            ),
            "negative": mo.ui.text_area(
                link().get("negative", ""), label="negative persona", rows=2, max_length=access.max_prompt
            ),
            "target": mo.ui.dropdown(
                list(views.FOUNDATIONS),
                value=picked(link().get("target"), views.FOUNDATIONS, "Authority"),
                label="target foundation",
                allow_select_none=False,
            ),
            "sign": mo.ui.dropdown(
                ["falls", "rises"],
                value=picked(link().get("sign"), ["falls", "rises"], "falls"),
                label="it should",
                allow_select_none=False,
            ),
        }
        if _own
        else {}
    )
    return (persona,)


@app.cell
def _(first):
    method = mo.ui.dropdown(
        list(views.METHODS),
        value=picked(link().get("method"), views.METHODS, first.config.method),
        label="method",
        allow_select_none=False,
    )
    return (method,)


@app.cell
def _(access, first):
    offered = views.bands(access.model)
    layers = mo.ui.dropdown(
        list(offered),
        value=picked(link().get("layers"), list(offered), views.layers_of(first.config.layers, offered)),
        label="layer band (blocks)",
        allow_select_none=False,
    )
    return layers, offered


@app.cell
def _(first):
    seed = mo.ui.number(
        0, 9999, step=1, value=int(views.nearest(link().get("seed"), range(10000), first.config.seeds[0])), label="seed"
    )
    return (seed,)


@app.cell
def _(access, axis, layers, method, offered, persona):
    subject = views.Subject(access.model, axis.value, method.value, offered[layers.value], views.pair_of(persona.value))
    return (subject,)


@app.cell
def _(access, first, seed, subject):
    run = views.run_for(subject, seed.value, access.out, first)
    trait = Trait(run.axis["target"], dict(run.axis["intended"])) if run else None
    band = views.coherent_band(run) if run else (0.0, 0.0)
    return band, run, trait


@app.cell
def _(run, subject):
    _steps = views.dose_steps(run, views.unit_of(subject.method))
    c = mo.ui.slider(
        steps=_steps,
        value=views.nearest(link().get("c"), _steps, views.usual_dose(run, _steps)),
        label="coefficient c",
        full_width=True,
        debounce=subject.model != "mini",
    )
    return (c,)


@app.cell
def _(run):
    # LEARN (controls): replaced by the training jobs' own slider
    _steps = sorted({0.0, 0.1, 0.3, 1.0, *([run.config.heal.beta] if run and run.config.heal.beta else [])})
    beta = mo.ui.slider(
        steps=_steps, value=views.nearest(link().get("beta"), _steps, 0.3), label="KL beta", full_width=True
    )
    return (beta,)


@app.cell
def _(run):
    _steps = views.tail_steps(run) if run else [20.0]
    tail = mo.ui.slider(
        steps=_steps,
        value=views.nearest(link().get("tail"), _steps, views.usual_tail(run)),
        label="filter threshold: tail perplexity",
        full_width=True,
    )
    return (tail,)


@app.cell
def _(run, subject):
    probes = views.prompts(subject, run)
    prompt = mo.ui.dropdown(
        probes,
        value=picked(link().get("prompt"), probes, views.telling_prompt(run, probes)),
        label="prompt",
        allow_select_none=False,
        full_width=True,
    )
    return (prompt,)


@app.cell
def _(access):
    own = mo.ui.text(
        link().get("own", ""),
        label="or your own text",
        placeholder="press Enter to ask it",
        max_length=access.max_prompt,
        full_width=True,
    )
    return (own,)


@app.cell
def _():
    surprise = mo.ui.switch(link().get("surprise") == "on", label="colour tokens by their surprise under base")
    return (surprise,)


@app.cell(hide_code=True)
def _(axis, band, beta, c, layers, method, persona, run, seed, subject, tail):
    _controls = mo.vstack(
        [
            mo.Html(f"<b>Settings</b><div class='ws-note'>model: {views.escaped(subject.model)}</div>"),
            axis,
            *persona.elements.values(),
            method,
            layers,
            seed,
            mo.Html(f"<b>c = {c.value:.4g}</b>"),
            c,
            mo.Html(charts.band_chart(band, c.steps[-1], c.value)),
            mo.Html(f"<b>beta = {beta.value:.4g}</b>"),
            beta,
            mo.Html(f"<b>keep below {tail.value:.4g}</b>"),
            tail,
            mo.Html(f"<div class='ws-note'>Shown: {views.escaped(views.about(run, subject))}</div>"),
        ],
        gap=0.4,
    )
    mo.sidebar([_controls], width="300px")
    return


@app.cell(hide_code=True)
def _(axis, beta, c, layers, method, own, persona, prompt, seed, surprise, tail):
    _values = {"axis": axis, "method": method, "layers": layers, "seed": seed, "c": c, "beta": beta, "tail": tail}
    _values |= {"prompt": prompt, "own": own, **persona.elements}
    _shown = {name: str(control.value) for name, control in _values.items()} | {"surprise": "on" * surprise.value}
    if mo.app_meta().mode == "run":
        _params = mo.query_params()
        for _name, _value in _shown.items():
            if (_params.get(_name) or "") != _value:
                _params[_name] = _value or None
    return


@app.cell
def _(run, tail):
    marked = views.marked(run, tail.value) if run else None
    gates = [g for g in run.gates() if g.gate in (1, 3)] + [views.filter_gate(run, marked)] if run else []
    return gates, marked


@app.cell
def _(access, run):
    _notes = run.notes() if run else {}
    notes = mo.ui.dictionary(
        {
            number: mo.ui.text_area(
                _notes.get(number, ""),
                label="your own judgement, stored with the run",
                rows=2,
                full_width=True,
                on_change=lambda text, number=number: views.save_note(run, access, int(number), text),
            )
            for number in ("1", "2", "3")
            if run and access.writes
        }
    )
    return (notes,)


@app.cell(hide_code=True)
def _(gates, notes):
    _inside = {g.gate: views.note_html(g, notes.elements.get(str(g.gate))) for g in gates}
    mo.Html(views.tiles(gates, _inside))
    return


@app.cell(hide_code=True)
def _():
    mo.md("""
    # Does it steer? Can we filter? Did it learn?

    A persona pair gives a **direction** in the residual stream. The model writes with `c` times that direction added;
    incoherent texts are dropped; an adapter learns the rest under a KL barrier. Below is a finished example on a toy
    model of 3M parameters: the phenomena are real on it, and nothing here is a claim about large models. Read the three
    tiles first (click one for its evidence), then move a slider.
    """)
    return


@app.cell(hide_code=True)
def _():
    mo.md("""
    ## Steer?

    The same prompt and the same dice at three doses: what differs is the dose.
    """)
    return


@app.cell(hide_code=True)
def _(own, prompt, surprise):
    mo.vstack([mo.hstack([prompt, own], widths=[3, 2]), surprise])
    return


@app.cell(hide_code=True)
def _(access, c, own, prompt, run, seed, subject, surprise):
    try:
        _asked = access.check_prompt(own.value) if own.value.strip() else prompt.value
        _near = None if subject.model == "mini" else views.near_sample(run, _asked, c.value, seed.value)
        if _near is not None:
            mo.output.replace(mo.Html(views.sample_cards(subject.model, _near)))
        samples = views.sample(subject, _asked, c.value, seed.value, run, views.tokens_of(access, subject.model))
        _shown = mo.Html(views.sample_cards(subject.model, samples, surprise.value))
    except UserError as error:
        samples, _shown = None, mo.callout(mo.plain_text(str(error)), kind="warn")
    _shown
    return (samples,)


@app.cell(hide_code=True)
def _(band, c, run, seed, subject, trait):
    (
        charts.response_chart(run.frame("dose"), run.arms(), trait, band, c.value)
        if run
        else mo.callout(mo.plain_text(views.unmeasured(subject, seed.value)), kind="info")
    )
    return


@app.cell(hide_code=True)
def _():
    mo.md("""
    **What each dose moves, and what it costs.** Above: the shift of every foundation; the target is the thick line,
    the dashed ones should stay at 0. The grey band is where 95 % of random directions at the same KL move the target;
    dotted lines are the persona as a system prompt, diamonds the judged dose and minus it, read again on the report
    set. Below: coherence and its two parts; above the dashed line (0.95)
    is coherent. Green doses are coherent, the red rule is the slider.
    """)
    return


@app.cell(hide_code=True)
def _():
    mo.md("""
    ## Filter?

    Every stored completion is a point. The red rule is the threshold: moving it drops and keeps, and generates nothing.
    """)
    return


@app.cell(hide_code=True)
def _(marked, tail):
    mo.Html(views.counts_html(marked, tail.value)) if marked is not None else None
    return


@app.cell(hide_code=True)
def _(marked, run, tail):
    charts.points_chart(marked, tail.value, run.limits()["rep"]) if run else None
    return


@app.cell(hide_code=True)
def _(marked):
    charts.shares_chart(views.shares(marked)) if marked is not None else None
    return


@app.cell(hide_code=True)
def _():
    mo.md("""
    **Borderline cases**: the texts just kept and just dropped. Read a few: does the threshold separate what you would?
    Select one to see it whole, each token shaded by its surprise under base, and label it.
    """)
    return


@app.cell
def _(run, tail):
    border = views.border_rows(run, tail.value) if run else None
    return (border,)


@app.cell
def _(border):
    mo.stop(border is None or border.height == 0)
    table = mo.ui.table(
        views.border_table(border),
        selection="single",
        initial_selection=[0],
        wrapped_columns=["text"],
        page_size=10,
        show_column_summaries=False,
        show_data_types=False,
        show_download=False,
        show_search=False,
        column_widths={"text": 480},
    )
    table
    return (table,)


@app.cell
def _(border, table):
    _ids = table.value["id"].to_list()
    row = border.filter(border["id"] == _ids[0]).row(0, named=True) if _ids else None
    return (row,)


@app.cell(hide_code=True)
def _(row, subject):
    mo.stop(row is None)
    mo.Html(views.cards({views.row_title(row): views.completion_html(subject.model, row, True)}))
    return


@app.cell
def _():
    labels_changed, set_labels_changed = mo.state(0)
    return labels_changed, set_labels_changed


@app.cell
def _(access, row, run, set_labels_changed):
    mo.stop(row is None or not access.writes)
    _was = views.label_of(views.read_labels(views.home_of(run, access.out)), row)

    def _save(**label):
        views.store_label(run, access, row, **label)
        set_labels_changed(lambda n: n + 1)

    label = mo.ui.dictionary(
        {
            "coherent": mo.ui.radio(
                list(views.COHERENT),
                value={True: "coherent", False: "not coherent"}.get(_was["coherent"]),
                inline=True,
                on_change=lambda v: _save(coherent=views.COHERENT[v]),
            ),
            "acts": mo.ui.radio(list(views.ACTS), value=_was["acts"], inline=True, on_change=lambda v: _save(acts=v)),
        }
    )
    mo.hstack([mo.plain_text("Your label:"), label["coherent"], label["acts"]], justify="start", gap=2)
    return (label,)


@app.cell(hide_code=True)
def _(access, labels_changed, marked, run, tail):
    labels_changed()
    mo.stop(run is None)
    _labels = views.read_labels(views.home_of(run, access.out))
    _roc = views.roc(marked, _labels)
    _pictures = [charts.roc_chart(_roc, tail.value)] if _roc.height else []
    mo.hstack([mo.Html(views.labels_html(marked, _labels)), *_pictures], justify="start", gap=2)
    return


@app.cell(hide_code=True)
def _():
    # LEARN (section): from here to the end of the file, replaced by the training jobs' own cells
    mo.md("""
    ## Learn?

    An adapter was trained on what the filter kept, under a KL barrier. Base, steered and healed on the report set:
    """)
    return


@app.cell(hide_code=True)
def _(run):
    mo.ui.table(views.heal_table(run), selection=None, show_data_types=False, show_column_summaries=False,
                show_download=False) if run else None  # fmt: skip
    return


@app.cell(hide_code=True)
def _(prompt, run):
    _texts = views.three_texts(run, prompt.value) if run else {}
    mo.Html(views.cards({title: views.text_block(text) for title, text in _texts.items()}))
    return


if __name__ == "__main__":
    app.run()
