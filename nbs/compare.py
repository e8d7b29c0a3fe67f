# Run it: .venv/bin/marimo run nbs/compare.py. Options after --: --out FOLDER. Reads stored runs, no model.

import marimo

__generated_with = "0.25.2"
app = marimo.App(width="medium", app_title="ws: arms compared")

with app.setup:
    import marimo as mo
    import polars as pl

    from ws.app.access import AppSettings
    from ws.app.page_link import nearest, picked, read_link, write_link
    from ws.app.views.controls import Menu, Slider, Table, refused_by
    from ws.app.views.run_picker import chosen_arm, comparable_runs, first_arm, shift_steps
    from ws.reporting.charts import clicked_arm, pareto_chart
    from ws.reporting.leaderboard import MIN_SEEDS, arms_table, equal_shift, instruments, points_frame
    from ws.reporting.tables import arms_shown, diary_table, equal_shown, sweep_shown, verdicts_table
    from ws.runs.round_tables import diary_frame
    from ws.runs.sweeps import sweeps_of

    PLAIN = dict.fromkeys(("show_download", "show_search", "show_data_types", "show_column_summaries"), False)


@app.function
def link():
    """The settings in the page's address; a script has none."""
    names = ("instrument", "arm", "at", "run")
    return read_link(mo.query_params().to_dict(), names) if mo.app_meta().mode in ("run", "edit") else {}


@app.cell(hide_code=True)
def _():
    mo.md(f"""
    # Which recipe buys more trait for less coherence?

    All finished runs, one row per **arm**: everything but the seed agrees; what the app trained at other betas counts.
    Arms are compared only where the instrument agrees (items, axis, weights), at **equal shift of the target**,
    between measured points and never beyond them, and ranked from {MIN_SEEDS} seeds on: with fewer, a difference may be
    the dice.
    """)
    return


@app.cell
def _():
    out = AppSettings.from_args(mo.cli_args().to_dict()).out
    return (out,)


@app.cell
def _(out):
    runs, skipped = comparable_runs(out)
    every = points_frame(list(runs.values()))
    return every, runs, skipped


@app.cell(hide_code=True)
def _(out):
    # looked at again while it runs; a page without a sweep has no clock
    again = mo.ui.refresh(options=["10s", "60s"], default_interval="10s") if sweeps_of(out) else None
    mo.vstack([mo.md("## The sweep that was written to last"), again]) if again else None
    return (again,)


@app.cell(hide_code=True)
def _(again, out):
    _ = again and again.value
    _found = sweeps_of(out)
    mo.ui.table(
        sweep_shown(_found[-1].table),
        selection=None, wrapped_columns=["arm", "verdict"], pagination=False, **PLAIN,
    ) if _found else None  # fmt: skip
    return


@app.cell
def _(every):
    first, missing = first_arm(every, link())
    return first, missing


@app.cell(hide_code=True)
def _(missing, skipped):
    _said = [*skipped, *missing]
    mo.callout(mo.plain_text("\n".join(_said)), kind="warn") if _said else None
    return


@app.cell
def _(every, first):
    _found = instruments(every)
    _label = next(label for label, name in _found.items() if name == first["instrument"])
    instrument = Menu("axis and instrument", _found, value=_label, label="axis and instrument")
    instrument
    return (instrument,)


@app.cell
def _(every, instrument):
    points = every.filter(pl.col("instrument") == instrument.value)
    arms = arms_table(points)
    return arms, points


@app.cell
def _(first):
    # one choice for two controls: the table and the chart set it, both are drawn from it, the last one used wins
    arm, set_arm = mo.state(first["arm"])
    return arm, set_arm


@app.cell
def _(arm, arms):
    chosen = chosen_arm(arms, arm())
    return (chosen,)


@app.cell(hide_code=True)
def _():
    mo.md("""
    ## The arms

    Mean over seeds, with the seeds' own 95 % intervals averaged, and the spread (sd) where there are several seeds.
    Select an arm here or click one of its points below: it stands out in both, and the runs behind it open at the end.
    """)
    return


@app.cell
def _(arms, chosen, set_arm):
    def _selected(rows):
        # an arm is always chosen: the mark that is taken off its row comes back
        set_arm(arms["arm"][rows["#"][0]] if len(rows) else chosen["arm"])

    table = Table(
        "the table of arms",
        arms_shown(arms),
        initial_selection=[chosen["#"]],
        on_change=_selected,
        wrapped_columns=["arm", "note"],
        pagination=False,
        **PLAIN,
    )
    table
    return (table,)


@app.cell(hide_code=True)
def _():
    mo.md("""
    ## Shift against coherence

    One mark per seed, with 95 % intervals; right and up is better. The dashed line is 0.95: what lies
    under it is not coherent. The arm that is selected is drawn large, the others are faint.
    """)
    return


@app.cell(hide_code=True)
def _(chosen, points, set_arm):
    def _clicked(_):
        found = clicked_arm(chart.selections)
        if found not in (None, chosen["arm"]):  # a click beside the points changes nothing
            set_arm(found)

    chart = mo.ui.altair_chart(
        pareto_chart(points, chosen["arm"]), chart_selection=False, legend_selection=False, on_change=_clicked
    )
    chart
    return (chart,)


@app.cell(hide_code=True)
def _():
    mo.md("""
    ## At equal shift

    Coherence of each family (an arm with all its betas) where it moved the target by as much as the slider says:
    a straight line between the two neighbouring betas, nothing outside what was measured.
    """)
    return


@app.cell
def _(arms, instrument):
    _steps, _usual = shift_steps(arms)
    # a shift belongs to its instrument: another one starts where its own arms can be compared
    _asked = link().get("at") if link().get("instrument", instrument.value) == instrument.value else None
    _label = "shift of the target (nats)"
    _start = nearest(_asked, _steps, _usual)
    at = Slider(_label, _steps, value=_start, show_value=True, full_width=True, label=_label)
    at
    return (at,)


@app.cell(hide_code=True)
def _(arms, at):
    mo.ui.table(
        equal_shown(equal_shift(arms, at.value)),
        selection=None, wrapped_columns=["family", "note"], pagination=False, **PLAIN,
    )  # fmt: skip
    return


@app.cell(hide_code=True)
def _(chosen):
    _says = "The verdicts of the round that the run delivers, and what its models say, round after round."
    mo.vstack([mo.md(f"## The runs behind the selected arm\n\n{_says}"), mo.plain_text(chosen["label"])])
    return


@app.cell
def _(chosen):
    _run = picked(link().get("run"), chosen["runs"], chosen["runs"][-1])
    behind = Menu("run", chosen["runs"], value=_run, label="run")
    behind
    return (behind,)


@app.cell(hide_code=True)
def _(behind, runs):
    mo.ui.table(
        verdicts_table(runs[behind.value]),
        selection=None, wrapped_columns=["evidence", "next", "note"], pagination=False, **PLAIN,
    )  # fmt: skip
    return


@app.cell(hide_code=True)
def _(behind, runs):
    mo.ui.table(
        diary_table(diary_frame(runs[behind.value])),
        selection=None, wrapped_columns=["prompt", "text"], page_size=9, **PLAIN,
    )  # fmt: skip
    return


@app.cell
def _(at, behind, chosen, instrument, table):
    if mo.app_meta().mode == "run":
        _shown = {"instrument": instrument.value, "arm": chosen["arm"], "at": f"{at.value:g}", "run": behind.value}
        write_link(mo.query_params(), _shown)
    _refused = "\n".join(refused_by([instrument, table, at, behind]))
    mo.callout(mo.plain_text(_refused), kind="warn") if _refused else None
    return


if __name__ == "__main__":
    app.run()
