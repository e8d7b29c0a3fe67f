# Run it: .venv/bin/marimo run nbs/compare.py. Options after --: --out FOLDER. Reads stored runs, no model.

import marimo

__generated_with = "0.25.2"
app = marimo.App(width="medium", app_title="ws: arms compared")

with app.setup:
    import marimo as mo
    import polars as pl

    from ws.charts import pareto_chart
    from ws.choosing import comparable_runs
    from ws.comparing import MIN_SEEDS, arms_table, common_shift, equal_shift, instruments, points_frame
    from ws.serving import AppSettings
    from ws.showing import arms_shown, diary_table, equal_shown, verdicts_table
    from ws.trajectory import diary_frame

    PLAIN = {"show_download": False, "show_search": False, "show_data_types": False}


@app.cell(hide_code=True)
def _():
    mo.md(f"""
    # Which recipe buys more trait for less coherence?

    All finished runs, one row per **arm**: everything but the seed agrees. Arms are compared only where the
    instrument agrees (items, axis, weights), at **equal shift of the target**, between measured points and never beyond
    them, and ranked from {MIN_SEEDS} seeds on: with fewer, a difference may be the dice.
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
def _(skipped):
    mo.callout(mo.plain_text("\n".join(skipped)), kind="warn") if skipped else None
    return


@app.cell
def _(every):
    _found = instruments(every)
    instrument = mo.ui.dropdown(_found, value=next(iter(_found)), allow_select_none=False, label="axis and instrument")
    instrument
    return (instrument,)


@app.cell
def _(every, instrument):
    points = every.filter(pl.col("instrument") == instrument.value)
    arms = arms_table(points)
    return arms, points


@app.cell(hide_code=True)
def _():
    mo.md("""
    ## The arms

    Mean over seeds, with the seeds' own 95 % intervals averaged, and the spread (sd) where there are several seeds.
    Select an arm: it stands out in the chart, and the runs behind it open below.
    """)
    return


@app.cell
def _(arms):
    table = mo.ui.table(
        arms_shown(arms),
        selection="single",
        initial_selection=[0],
        wrapped_columns=["arm", "note"],
        pagination=False,
        **PLAIN,
    )
    table
    return (table,)


@app.cell
def _(arms, table):
    chosen = arms.row(table.value["#"][0] if len(table.value) else 0, named=True)
    return (chosen,)


@app.cell(hide_code=True)
def _():
    mo.md("""
    ## Shift against coherence

    One mark per seed, with 95 % intervals; right and up is better. The dashed line is 0.95: what lies
    under it is not coherent.
    """)
    return


@app.cell(hide_code=True)
def _(chosen, points):
    pareto_chart(points, chosen["arm"])
    return


@app.cell(hide_code=True)
def _():
    mo.md("""
    ## At equal shift

    Coherence of each family (an arm with all its betas) where it moved the target by as much as the slider says:
    a straight line between the two neighbouring betas, nothing outside what was measured.
    """)
    return


@app.cell
def _(arms):
    _reached = arms["d_target"].drop_nulls()
    _top = max(0.1, round(1.2 * _reached.max(), 1)) if _reached.len() else 1.0
    _start = common_shift(arms)
    _middle = _reached.median() if _reached.len() else 0.5
    at = mo.ui.slider(
        0.0, _top, step=0.01, value=round(min(_top, max(0.0, _middle if _start is None else _start)), 2),
        show_value=True, full_width=True, label="shift of the target (nats)",
    )  # fmt: skip
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
    mo.vstack([mo.md("## The runs behind the selected arm"), mo.plain_text(chosen["label"])])
    return


@app.cell
def _(chosen):
    behind = mo.ui.dropdown(chosen["runs"], value=chosen["runs"][-1], allow_select_none=False, label="run")
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


if __name__ == "__main__":
    app.run()
