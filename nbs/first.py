# Run it: make app, or .venv/bin/marimo run nbs/first.py. All on the embedded model, without network.

import marimo

__generated_with = "0.25.2"
app = marimo.App(width="medium", app_title="ws: a first look")

with app.setup:
    import altair as alt
    import marimo as mo
    import polars as pl

    from ws.charts import dose_chart
    from ws.views import dose_response, ready, sample

    MODEL = "mini"
    DOSES = (-1.0, 0.25, 0.5, 0.75, 1.0, 1.5, 2.0, 3.0)


@app.cell(hide_code=True)
def _():
    mo.md("""
    # Does it steer?

    A persona pair gives a **direction** in the residual stream: mean activation under one persona minus the other.
    The slider adds `c` times that direction while the model writes. Both replies below use the same dice, so that
    what differs is the dose. The model is a toy of 3M parameters that this project trains from scratch: the
    phenomena are real on it, and nothing here is a claim about large models.
    """)
    return


@app.cell
def _():
    axis = mo.ui.dropdown(
        ["care_over_authority", "fairness_over_loyalty", "liberty_over_sanctity"],
        value="care_over_authority",
        label="axis",
    )
    axis
    return (axis,)


@app.cell
def _(axis):
    prompt = mo.ui.dropdown(list(ready(MODEL, axis.value)[0].probes), allow_select_none=False, label="prompt")
    prompt
    return (prompt,)


@app.cell
def _():
    c = mo.ui.slider(-3.0, 4.0, step=0.25, value=1.0, show_value=True, label="coefficient c", full_width=True)
    c
    return (c,)


@app.cell(hide_code=True)
def _(axis, c, prompt):
    texts = sample(MODEL, axis.value, prompt.value, c.value)

    def card(row):
        note = f"c = {row['c']:+.2f}   tail perplexity {row['tail_ppl']:.1f}   repetition {row['rep']:.2f}"
        return mo.vstack([mo.plain_text(note), mo.callout(mo.plain_text(row["text"]), kind="neutral")])

    mo.hstack([card(row) for row in texts.rows(named=True)], widths="equal", gap=1)
    return


@app.cell(hide_code=True)
def _():
    mo.md("""
    ## What each dose moves, and what it costs

    Above: how far the target foundation moved against base, in nats, + as the axis intends, with 95 % intervals.
    Below: coherence, the smaller of "still answers in the format" and "still writes readable text". The dashed line
    is 0.95: the strongest dose above it is the knee. The red rule is the slider.
    """)
    return


@app.cell
def _(axis):
    arms = dose_response(MODEL, axis.value, DOSES)
    return (arms,)


@app.cell(hide_code=True)
def _(arms, c):
    here = alt.Chart(pl.DataFrame({"c": [c.value]})).mark_rule(color="#c0392b").encode(x="c:Q")
    top, bottom = dose_chart(arms, arms, title=" ").vconcat
    alt.vconcat(top + here, bottom + here).resolve_scale(x="shared")
    return


if __name__ == "__main__":
    app.run()
