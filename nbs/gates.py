# The app: make app, or ws app, or marimo run nbs/gates.py [-- --model ID_OR_PATH]. Cells hold prose, controls, plots.

import marimo

__generated_with = "0.25.2"
app = marimo.App(width="full", app_title="ws: does it steer, can we filter, did it learn?", css_file="gates.css")

with app.setup:
    import threading

    import marimo as mo

    from ws import charts, views
    from ws.errors import UserError
    from ws.gating import Trait
    from ws.linking import write_link
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
def _():
    progress_of_run, set_progress_of_run = mo.state(None)
    measured, set_measured = mo.state(None)
    return measured, progress_of_run, set_measured, set_progress_of_run


@app.cell
def _():
    # what lies below the first screen is drawn two seconds later: six charts at once make the first wait for the last
    below, set_below = mo.state(mo.app_meta().mode != "run")
    mo.Thread(target=views.when_rested, args=(set_below, True, 2.0), daemon=True).start() if not below() else None
    return (below,)


@app.cell
def _(access, first, measured, seed, subject):
    measured()  # a measurement that ends is a run to show
    run = views.run_for(subject, seed.value, access.out, first)
    trait = Trait(run.axis["target"], dict(run.axis["intended"])) if run else None
    band = views.coherent_band(run) if run else (0.0, 0.0)
    return band, run, trait


@app.cell(hide_code=True)
def _(axis, layers, method, persona, run, seed, subject):
    # the knobs stand in sidebars of their own cells: a cell that names a slider runs at each of its moves
    mo.sidebar(
        [
            mo.Html(f"<b>Settings</b><div class='ws-note'>model: {views.escaped(subject.model)}</div>"),
            axis,
            *persona.elements.values(),
            method,
            layers,
            seed,
            mo.Html(f"<div class='ws-note'>Shown: {views.escaped(views.about(run, subject))}</div>"),
        ],
        width="300px",
    )
    return


@app.cell
def _(band, run, subject):
    _steps = views.dose_steps(run, views.unit_of(subject.method))
    c = mo.ui.slider(
        steps=_steps,
        value=views.nearest(link().get("c"), _steps, views.usual_dose(run, _steps)),
        label="coefficient c",
        full_width=True,
        debounce=not subject.recipe.instant,
    )
    mo.sidebar([c, mo.Html(charts.band_chart(band, _steps[-1]))])
    return (c,)


@app.cell
def _(run):
    _steps = views.learned.beta_steps(run)
    beta = mo.ui.slider(
        steps=_steps,
        value=views.nearest(link().get("beta"), _steps, views.learned.usual_beta(run, _steps)),
        label="KL beta",
        full_width=True,
    )
    mo.sidebar([beta])
    return (beta,)


@app.cell
def _(run):
    _steps = views.tail_steps(run) if run else [20.0]
    _here = views.nearest(link().get("tail"), _steps, views.usual_tail(run))
    settled, set_settled = mo.state(_here)
    tail = mo.ui.slider(
        steps=_steps,
        value=_here,
        label="filter threshold: keep below this tail perplexity",
        full_width=True,
    )
    mo.sidebar([tail])
    return set_settled, settled, tail


@app.cell(hide_code=True)
def _(set_settled, settled, tail):
    # the counts follow the hand; picture, table and verdict, half a second's work for a browser, follow when it rests
    if settled() != tail.value:
        mo.Thread(target=views.when_rested, args=(set_settled, tail.value), daemon=True).start()
    return


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


@app.cell
def _(run):
    steer_gate = [g for g in run.gates() if g.gate == 1] if run else []
    return (steer_gate,)


@app.cell
def _(home, stop):
    learn_gate = [views.learned.stop_gate(home, stop)] if stop else []
    return (learn_gate,)


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
def _(learn_gate, marked, notes, run, steer_gate):
    gates = [*steer_gate, *([views.filter_gate(run, marked)] if run else []), *learn_gate]
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
        _near = None if subject.recipe.instant else views.near_sample(run, _asked, c.value, seed.value)
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
    mo.stop(run is None, mo.callout(mo.plain_text(views.unmeasured(subject, seed.value)), kind="info"))
    _key, _tables = views.learned.key_of(run), (run.frame("dose"), run.arms())
    charts.picture(_key, charts.response_chart, *_tables, trait, band).at(c.value)
    return


@app.cell
def _(access, run, subject):
    measure = mo.ui.run_button(
        label="Measure these settings (about three minutes on the embedded model)",
        disabled=run is not None or not access.writes,
    )
    stop_measuring = mo.ui.run_button(label="Cancel the measurement", kind="warn")
    mo.hstack([measure, stop_measuring], gap=1, justify="start") if run is None else None
    return measure, stop_measuring


@app.cell
def _(access, measure, seed, set_measured, set_progress_of_run, stop_measuring, subject):
    try:
        if measure.value:
            views.measuring.start_measuring(subject, seed.value, access)
        if stop_measuring.value:
            views.measuring.cancel_measuring(subject, seed.value, access)
        unmeasurable = None
    except UserError as error:
        unmeasurable = str(error)
    set_progress_of_run(None)
    _page = threading.current_thread()
    _key = views.measuring.measuring_key(subject, seed.value)
    mo.Thread(target=views.watch, args=(_key, set_progress_of_run, set_measured, _page), daemon=True).start()
    return (unmeasurable,)


@app.cell(hide_code=True)
def _(progress_of_run, unmeasurable):
    mo.stop(unmeasurable is None and progress_of_run() is None)
    mo.vstack(
        [
            *([mo.callout(mo.plain_text(unmeasurable), kind="warn")] if unmeasurable else []),
            mo.Html(views.measuring.measuring_html(progress_of_run())),
        ]
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
def _(run, tail):
    mo.Html(views.counts_html(views.marked(run, tail.value), tail.value)) if run else None
    return


@app.cell
def _(run, settled):
    marked = views.marked(run, settled()) if run else None
    return (marked,)


@app.cell(hide_code=True)
def _(below, marked, run, settled):
    mo.stop(run is None or not below())
    _data = charts.sieve_data(marked, settled(), run.limits()["rep"], views.shares(marked))
    charts.picture(charts.sieve_states(_data), charts.sieve_chart, _data).showing(_data)
    return


@app.cell(hide_code=True)
def _():
    mo.md("""
    **Borderline cases**: the texts just kept and just dropped. Read a few: does the threshold separate what you would?
    Select one to see it whole, each token shaded by its surprise under base, and label it.
    """)
    return


@app.cell
def _(below, run, settled):
    border = views.border_rows(run, settled()) if run and below() else None
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
        column_widths={"id": 56, "side": 72, "c": 60, "tail_ppl": 80, "rep": 60, "bite": 60, "text": 440},
    )
    table
    return border, table


@app.cell(hide_code=True)
def _(border, subject, table):
    _ids = table.value["id"].to_list()
    row = border.filter(border["id"] == _ids[0]).row(0, named=True) if _ids else None
    mo.stop(row is None)
    mo.Html(views.cards({views.row_title(row): views.completion_html(subject.model, row, True)}))
    return (row,)


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
def _(access, labels_changed, marked, run, settled):
    labels_changed()
    mo.stop(run is None)
    _labels = views.read_labels(views.home_of(run, access.out))
    _roc = views.roc(marked, _labels)
    _pictures = [charts.roc_chart(_roc, settled())] if _roc.height else []
    mo.hstack([mo.Html(views.labels_html(marked, _labels)), *_pictures], justify="start", gap=2)
    return


@app.cell(hide_code=True)
def _():
    mo.md("""
    ## Learn?

    An adapter was trained on what the filter kept, under a KL barrier of slope beta. One stop of the beta slider is one
    stored training; a stop that is not stored can be trained here, and everybody who has this page open sees it run.
    """)
    return


@app.cell
def _():
    progress, set_progress = mo.state(None)
    trained, set_trained = mo.state(None)
    return progress, set_progress, set_trained, trained


@app.cell
def _():
    # the training's own threshold: following the slider would make every move of it a stop that is not stored
    kept_at, set_kept_at = mo.state(None)
    return kept_at, set_kept_at


@app.cell(hide_code=True)
def _(kept_at, run, set_kept_at, settled):
    _own = views.usual_tail(run)
    _at = None if settled() == _own else settled()
    mo.ui.button(
        label=f"learn from what the threshold {settled():.4g} keeps" if _at else "learn from what the run kept",
        on_click=lambda _: set_kept_at(_at),
    ) if _at != kept_at() else None
    return


@app.cell
def _(access, beta, kept_at, run, trained):
    trained()  # a training that ends is a new stop
    ask = views.learned.Ask(float(beta.value), kept_at())
    home = views.home_of(run, access.out) if run else None
    stop = views.learned.find_stop(home, ask) if home else None
    stops = views.learned.stops_of(home, tail_ppl=ask.tail_ppl) if home else []
    return ask, home, stop, stops


@app.cell
def _(access, ask, home, stop):
    train = mo.ui.run_button(
        label=views.learned.train_label(home, ask, stop), disabled=bool(stop) or not home or not access.writes
    )
    cancel = mo.ui.run_button(label="Cancel the training", kind="warn")
    return cancel, train


@app.cell(hide_code=True)
def _(ask, cancel, stop, stops, train):
    _stored = mo.Html(views.learned.stops_html(stops, ask))
    mo.vstack([_stored, *([] if stop else [mo.hstack([train, cancel], gap=1, justify="start")])])
    return


@app.cell
def _(access, ask, cancel, run, set_progress, set_trained, train):
    # the result is read from the store and never from the button, whose value lasts for one run of this cell
    try:
        if train.value:
            views.learned.start_training(run, ask, access)
        if cancel.value:
            views.learned.cancel_training(run, ask, access)
        refused = None
    except UserError as error:
        refused = str(error)
    set_progress(None)
    _page = threading.current_thread()
    if run:
        _key = views.learned.job_key(run, ask)
        mo.Thread(target=views.watch, args=(_key, set_progress, set_trained, _page), daemon=True).start()
    return (refused,)


@app.cell(hide_code=True)
def _(home, progress, refused):
    mo.stop(refused is None and progress() is None)
    _shown = [mo.callout(mo.plain_text(refused), kind="warn")] if refused else []
    _shown.append(mo.Html(views.learned.progress_html(progress(), home)))
    _live = views.learned.live_curve(progress())
    if _live.height:
        _frame = (views.learned.tau_of(home), views.learned.steps_of(progress()))
        _curve = charts.picture(_frame, charts.training_chart, _live, *_frame)
        _shown.append(_curve.showing(charts.training_data(_live)))
    mo.vstack(_shown)
    return


@app.cell(hide_code=True)
def _():
    mo.md("""
    **Where they stand.** Left: up is coherent, right is more of the trait. A heal that keeps the trait without the
    incoherence lies right and up; if all betas lie on one line from steered to base, beta just trades. Right: the two
    foundations that the axis sets against each other. One point per stored beta, crosses are 95 % intervals. The
    diamond was trained on text that nothing had steered: what training alone does.
    """)
    return


@app.cell(hide_code=True)
def _(ask, below, home, stops):
    mo.stop(home is None or not below())
    points = views.learned.points(home, stops)
    _axes, _stops = views.learned.plane_of(home), views.learned.key_of(home, *stops)
    charts.picture(_stops, charts.planes_chart, points, _axes).at(ask.beta)
    return (points,)


@app.cell(hide_code=True)
def _(ask, home, points, stops):
    charts.picture(views.learned.key_of(home, *stops), charts.ladder_chart, points).at(ask.beta)
    return


@app.cell(hide_code=True)
def _():
    mo.md("""
    **How it trained.** nll should fall, D should stay near tau (dashed), pressure near 1 or below; no active step means
    that the barrier did nothing.
    """)
    return


@app.cell(hide_code=True)
def _(below, home, stop):
    mo.stop(stop is None or not below())
    charts.picture(views.learned.key_of(home, stop), charts.training_chart, stop.curve, views.learned.tau_of(home))
    return


@app.cell(hide_code=True)
def _():
    mo.md("""
    **The bet**: incoherent drift is large and erratic, trait drift small and systematic. KL to base of kept, dropped
    and on-trait tokens, of the steered model that wrote them (before) and of the healed one (after). It holds where the
    dropped ones fall most.
    """)
    return


@app.cell(hide_code=True)
def _(below, home, stop):
    mo.stop(stop is None or not stop.drift.height or not below())
    charts.picture(views.learned.key_of(home, stop), charts.drift_chart, stop.drift)
    return


@app.cell(hide_code=True)
def _(below, home, prompt, stop):
    mo.stop(stop is None or not below() or prompt.value not in views.learned.prompts_of(home))
    mo.Html(views.cards(views.learned.text_blocks(views.learned.three_texts(home, stop, prompt.value))))
    return


@app.cell(hide_code=True)
def _():
    mo.md("""
    ## Keep it

    One page with every table, picture, verdict and text of this run, which opens from disk for ever; and an entry in
    `RESEARCH_JOURNAL.md` with a line for your own reading.
    """)
    return


@app.cell
def _(access, run):
    journal = mo.ui.run_button(label="Write the journal page", disabled=run is None or not access.writes)
    journal
    return (journal,)


@app.cell(hide_code=True)
def _(access, journal, run):
    mo.stop(not journal.value)
    with mo.status.spinner(title="Writing the page"):
        _said, _kind = views.write_page(run, access)
    mo.callout(mo.plain_text(_said), kind=_kind)
    return


@app.cell(hide_code=True)
def _(beta, c, tail):
    # cells run in this order: what a hand on a slider looks at comes before its echo and the address
    mo.sidebar([mo.Html(f"<b>c = {c.value:.4g}, beta = {beta.value:.4g}, keep below {tail.value:.4g}</b>")])
    return


@app.cell(hide_code=True)
def _(axis, beta, c, layers, method, own, persona, prompt, seed, surprise, tail):
    _values = {"axis": axis, "method": method, "layers": layers, "seed": seed, "c": c, "beta": beta, "tail": tail}
    _values |= {"prompt": prompt, "own": own, **persona.elements}
    _shown = {name: str(control.value) for name, control in _values.items()} | {"surprise": "on" * surprise.value}
    if mo.app_meta().mode == "run":
        write_link(mo.query_params(), _shown)
    return


if __name__ == "__main__":
    app.run()
