# The app: make app, or ws app, or marimo run nbs/gates.py [-- --model ID_OR_PATH]. Controls and jobs stand at the end.

import marimo

__generated_with = "0.25.2"
app = marimo.App(width="full", app_title="ws: does it steer, can we filter, did it learn?", css_file="gates.css")

with app.setup:
    import marimo as mo

    from ws.app import views
    from ws.app.views import job_buttons, widgets
    from ws.reporting import charts


@app.cell(hide_code=True)
def _(access):
    asked, _trouble = widgets.opened(access)
    _trouble
    return (asked,)


@app.cell(hide_code=True)
def _(filtered, notes, page, training):
    gates = page.gates(filtered, training)
    mo.Html(page.tiles(gates, notes.elements))
    return


@app.cell(hide_code=True)
def _():
    mo.md("""
    # Does it steer? Can we filter? Did it learn?

    A persona pair gives a **direction** in the residual stream. The model writes with `c` times that direction added;
    incoherent texts are dropped; an adapter learns the rest under a KL barrier. Below is a finished run. Read the three
    tiles first (click one for its evidence), then move a slider; another model is one click away in the settings.
    """)
    return


@app.cell(hide_code=True)
def _(access, axis, first, measured, model, seed, subject):
    measured()  # a measurement that ends is a run to show
    run = views.run_for(subject, seed.value, access.out, first)
    _unready = widgets.unready(run, subject)
    mo.stop(_unready is not None, mo.vstack([_unready, model, axis]))
    page = views.Page(access, subject, seed.value, run)
    return page, run


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
def _(c, own, page, prompt, surprise):
    samples, _shown = widgets.samples(page, own.value, prompt.value, c.value, surprise.value)
    _shown
    return (samples,)


@app.cell(hide_code=True)
def _(c, page):
    page.response(c.value) or widgets.said(views.unmeasured(page.subject, page.seed), "info")
    return


@app.cell(hide_code=True)
def _(measuring_job, page):
    measure, stop_measuring = job_buttons.measuring_buttons(page, measuring_job)
    mo.hstack([measure, stop_measuring], gap=1, justify="start") if page.run is None else None
    return measure, stop_measuring


@app.cell(hide_code=True)
def _(page, told_of_run):
    job_buttons.job_report(told_of_run(), page.progress)
    return


@app.cell(hide_code=True)
def _():
    mo.md("""
    **What each dose moves, and what it costs.** Above: the shift of every foundation; the target is the thick line, the
    dashed ones should stay at 0. Grey band: 95 % of random directions at the same KL; dotted lines: the persona as a
    system prompt; diamonds: the judged dose and minus it, read again. Below: coherence and its parts (dashed: 0.95).
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
def _(page, settle, tail):
    # the counts follow the hand; picture, table and verdict, half a second's work for a browser, follow when it rests
    settle(tail.value)
    widgets.html(page.counts_html(tail.value))
    return


@app.cell(hide_code=True)
def _(below, filtered):
    filtered.chart() if below() else None
    return


@app.cell(hide_code=True)
def _():
    mo.md("""
    **Borderline cases**: the texts just kept and just dropped. Read a few: does the threshold separate what you would?
    Select one to see it whole, each token shaded by its surprise, and label it.
    """)
    return


@app.cell(hide_code=True)
def _(below, filtered):
    border = filtered.border() if below() else None
    mo.stop(border is None or border.height == 0)
    table = widgets.border_table(border)
    table
    return border, table


@app.cell(hide_code=True)
def _(border, page, table):
    row = widgets.selected(table, border)
    widgets.html(page.completion_html(row))
    return (row,)


@app.cell(hide_code=True)
def _(page, row, set_labels_changed):
    mo.stop(row is None or not page.writes)
    label = widgets.label_fields(page, row, set_labels_changed)
    mo.hstack([mo.plain_text("Your label:"), label["coherent"], label["acts"]], justify="start", gap=2)
    return


@app.cell(hide_code=True)
def _(filtered, labels_changed, page):
    widgets.agreement(filtered, page.labels(), labels_changed())
    return


@app.cell(hide_code=True)
def _():
    mo.md("""
    ## Learn?

    An adapter was trained on what the filter kept, under a KL barrier of slope beta. A stop of the slider is a stored
    training; one that is not stored can be trained here, and everybody who has this page open sees it run.
    """)
    return


@app.cell(hide_code=True)
def _(filtered, kept_at, page, set_kept_at):
    learn_from = widgets.kept_button(page, filtered.tail_ppl, kept_at(), set_kept_at)
    learn_from
    return


@app.cell(hide_code=True)
def _(page, training, training_job):
    train, cancel = job_buttons.training_buttons(page, training, training_job)
    _buttons = [] if training.variant else [mo.hstack([train, cancel], gap=1, justify="start")]
    mo.vstack([mo.Html(training.variants_html), *_buttons])
    return cancel, train


@app.cell(hide_code=True)
def _(told_of_training, training):
    job_buttons.job_report(told_of_training(), training.progress)
    return


@app.cell(hide_code=True)
def _():
    mo.md("""
    **Where they stand.** Left: up is coherent, right is more of the trait. A heal that keeps the trait without the
    incoherence lies right and up; if all betas lie on one line from steered to base, beta just trades. Right: what the
    axis sets against each other. Crosses are 95 % intervals. Diamond: trained on text that nothing had steered.
    """)
    return


@app.cell(hide_code=True)
def _(below, training):
    training.planes() if below() else None
    return


@app.cell(hide_code=True)
def _(below, training):
    _drawn = [training.beta_sweep(), training.four_arms()] if below() else []
    mo.vstack([picture for picture in _drawn if picture is not None])
    return


@app.cell(hide_code=True)
def _():
    mo.md("""
    **How it trained.** nll falls, D stays near tau (dashed), pressure near 1 or below; no step active: inert barrier.
    """)
    return


@app.cell(hide_code=True)
def _(below, training):
    training.curve() if below() else None
    return


@app.cell(hide_code=True)
def _():
    mo.md("""
    **The bet**: incoherent drift is large and erratic, trait drift small and systematic. KL to base by token, of the
    steered model that wrote them (before) and of the healed one (after): it holds where the dropped ones fall most.
    """)
    return


@app.cell(hide_code=True)
def _(below, training):
    training.drift() if below() else None
    return


@app.cell(hide_code=True)
def _(below, prompt, training):
    widgets.html(training.texts_html(prompt.value)) if below() else None
    return


@app.cell(hide_code=True)
def _():
    mo.md("""
    ## Keep it

    One page with all of this run, which opens from disk for ever; and an entry in `RESEARCH_JOURNAL.md`.
    """)
    return


@app.cell(hide_code=True)
def _(page):
    journal = mo.ui.run_button(label="Write the journal page", disabled=page.run is None or not page.writes)
    journal
    return (journal,)


@app.cell(hide_code=True)
def _(journal, page):
    widgets.written_journal(page) if journal.value else None
    return


@app.cell
def _(access, asked):
    # from here on: what the page is about, and its controls; of these the sidebar alone is seen
    model = widgets.choice("model", views.models(access.out, access.model), asked.config.model)
    return (model,)


@app.cell
def _(access, asked, model):
    first = asked if asked.config.model == model.value else views.opened(None, access.out, model.value)
    return (first,)


@app.cell
def _(access, first, model):
    axis = widgets.axis_choice(model.value, access.out, first.config.axis)
    return (axis,)


@app.cell
def _(access, axis):
    persona = widgets.persona_fields(axis.value == views.CUSTOM, access.max_prompt)
    return (persona,)


@app.cell
def _(first, model):
    method = widgets.choice("method", list(views.method_names()), first.config.method)
    layers, offered = widgets.layer_band(model.value, first.config.layers)
    seed = widgets.seed_field(first.config.seeds[0])
    sampling = widgets.sampling_fields(first)
    surprise = widgets.surprise_switch()
    return layers, method, offered, sampling, seed, surprise


@app.cell
def _(access, axis, first, layers, method, model, offered, persona, sampling):
    _pair, _drawn = views.pair_of(persona.value, access), widgets.drawn(sampling, first, access)[0]
    subject = views.PageSettings(model.value, axis.value, method.value, offered[layers.value], _pair, _drawn)
    return (subject,)


@app.cell
def _():
    access = widgets.access()
    told_of_run, measured, measuring_job = job_buttons.shared_job()
    told_of_training, trained, training_job = job_buttons.shared_job()
    labels_changed, set_labels_changed = mo.state(None)
    # the training's own threshold: following the slider would make every move of it a variant that is not stored
    kept_at, set_kept_at = mo.state(None, allow_self_loops=True)  # its button goes when it is pressed
    # what lies below the first screen is drawn two seconds later: six charts at once make the first wait for the last
    below = widgets.drawn_later()
    return (access, below, kept_at, labels_changed, measured, measuring_job, set_kept_at, set_labels_changed,
            told_of_run, told_of_training, trained, training_job)  # fmt: skip


@app.cell(hide_code=True)
def _(axis, first, layers, method, model, page, persona, sampling, seed):
    # the knobs stand in sidebars of their own: a cell that names a slider runs at each of its moves
    _head, _shown = map(mo.Html, page.settings_html)
    _box = widgets.sampling_box(sampling, first, page.access)
    mo.sidebar([_head, model, axis, *persona.elements.values(), method, layers, seed, _box, _shown], width="300px")
    return


@app.cell
def _(page):
    c = widgets.slider("c", page.doses, page.usual_dose, "coefficient c", debounce=page.slow)
    mo.sidebar([c, mo.Html(charts.band_chart(page.band, page.doses[-1]))])
    return (c,)


@app.cell
def _(page):
    beta = widgets.slider("beta", page.betas, page.usual_beta, "KL beta")
    tail, settled, settle = widgets.threshold(page.tails, page.usual_tail)
    mo.sidebar([beta, tail])
    return beta, settle, settled, tail


@app.cell
def _(page):
    prompt = widgets.choice("prompt", page.prompts, views.telling_prompt(page.run, page.prompts), full_width=True)
    notes = widgets.note_fields(page)
    return notes, prompt


@app.cell
def _(access):
    own = widgets.own_text(access.max_prompt)
    return (own,)


@app.cell
def _(page, settled):
    filtered = page.filtered(settled())
    return (filtered,)


@app.cell
def _(beta, kept_at, page, trained):
    trained()  # a training that ends is a new variant
    training = page.training(float(beta.value), kept_at())
    return (training,)


@app.cell(hide_code=True)
def _(axis, beta, c, layers, method, model, notes, own, persona, prompt, sampling, seed, surprise, tail):
    # cells run in this order: what a hand on a slider looks at comes before its echo and the address
    _typed = {"prompt": prompt, "own": own, **persona.elements, **sampling.elements, "surprise": surprise}
    _typed |= {"model": model, "axis": axis, "method": method, "layers": layers, "seed": seed}
    widgets.remember(c=c, beta=beta, tail=tail, **_typed)
    _echo = mo.Html(f"<b>c = {c.value:.4g}, beta = {beta.value:.4g}, keep below {tail.value:.4g}</b>")
    mo.sidebar([*widgets.refusals(c, beta, tail, persona, sampling, notes, *_typed.values()), _echo])
    return


if __name__ == "__main__":
    app.run()
