# Run it: .venv/bin/marimo run nbs/loop.py. Options after --: --out FOLDER, --run FOLDER. Reads stored runs, no model.

import marimo

__generated_with = "0.25.2"
app = marimo.App(width="medium", app_title="ws: round after round")

with app.setup:
    from pathlib import Path

    import marimo as mo
    import polars as pl

    from ws.app.access import AppSettings
    from ws.app.page_link import picked as one_of
    from ws.app.page_link import read_link, write_link
    from ws.app.views.controls import Menu, refused_by
    from ws.app.views.run_picker import chosen_run, first_run, looped, run_choices
    from ws.reporting.charts import embedded, loop_plane_chart, round_metrics_chart, rounds_chart
    from ws.reporting.tables import diary_table, rounds_table, verdict_text
    from ws.runs.round_tables import cosines_frame, diary_frame, plane_of, rounds_frame, steps_frame
    from ws.runs.verdicts import judge_rounds

    PLAIN = dict.fromkeys(("show_download", "show_search", "show_data_types", "show_column_summaries"), False)
    KINDS = {"green": "success", "yellow": "warn", "red": "danger"}


@app.function
def link():
    """The settings in the page's address; a script has none."""
    names = ("run", "prompt")
    return read_link(mo.query_params().to_dict(), names) if mo.app_meta().mode in ("run", "edit") else {}


@app.cell(hide_code=True)
def _():
    mo.md("""
    # Round after round: does it keep its direction?

    Each round **steers** the student of the round before, keeps what is coherent, and **heals**: an adapter learns the
    kept texts, so that the trait stays without the steering. A good loop climbs like a staircase: every steered
    peak is followed by a healed step that keeps most of it, coherence comes back each time, and the direction of the
    first round is still the direction of the last.
    """)
    return


@app.cell
def _():
    out = AppSettings.from_args(mo.cli_args().to_dict()).out
    return (out,)


@app.cell
def _():
    asked = mo.cli_args().get("run")
    return (asked,)


@app.cell
def _(asked, out):
    choices, skipped = run_choices(out, asked)
    return choices, skipped


@app.cell
def _(choices):
    first, missing = first_run(choices, link())
    return first, missing


@app.cell
def _(choices, first):
    picked = Menu("run", choices, value=first, label="run", full_width=True)
    picked
    return (picked,)


@app.cell(hide_code=True)
def _(missing, skipped):
    _said = [*missing, *(["Not readable:"] if skipped else []), *skipped]
    mo.callout(mo.plain_text("\n".join(_said)), kind="warn") if _said else None
    return


@app.cell
def _(choices, picked):
    run = chosen_run(picked.value, choices)
    steps = steps_frame(run)
    return run, steps


@app.cell(hide_code=True)
def _(run):
    gates = judge_rounds(run)
    _one = "One round only: gate 4 judges from the second round on. `ws run --rounds 3` makes such a run."
    mo.vstack(
        [mo.callout(mo.plain_text(verdict_text(gate)), kind=KINDS[gate.colour]) for gate in gates]
        or [mo.callout(mo.md(_one), kind="info")]
    )
    return


@app.cell(hide_code=True)
def _():
    mo.md("""
    ## The zigzag

    Above: how far the target moved against the untouched base, in nats, + as the axis intends, with 95 % intervals.
    Below: incoherence on a log axis; the dashed line is 0.05, above it a model is no longer coherent.
    """)
    return


@app.cell(hide_code=True)
def _(steps):
    embedded(rounds_chart(steps))
    return


@app.cell(hide_code=True)
def _(run):
    _x, _y = plane_of(run)
    mo.md(f"""
    ## The map

    {_x} against {_y}, one node for base and for every round's steered and healed model. Along the solid line go the
    healed students; the dashed lines are the steered excursions. A loop that keeps its direction goes on
    along one line; one that wanders turns.
    """)
    return


@app.cell(hide_code=True)
def _(run, steps):
    embedded(loop_plane_chart(steps, *plane_of(run), size=380, by_questions=run.trait.by_questions))
    return


@app.cell(hide_code=True)
def _():
    mo.md("""
    ## What to watch

    The **cosine** of each round's direction with the first round's (under 0.5 the loop wanders) and with the round
    before's; the **KL** at the end of each heal, to the base (it adds up) and to the round before (its budget); the
    **dose** that each round's search found.
    """)
    return


@app.cell(hide_code=True)
def _(run):
    rounds = rounds_frame(run)
    embedded(round_metrics_chart(rounds, cosines_frame(run))) if rounds.height else mo.md(
        "No round of this run was healed."
    )
    return (rounds,)


@app.cell(hide_code=True)
def _(rounds, run):
    mo.ui.table(rounds_table(rounds, run.trait.unit), selection=None, **PLAIN, label="Round by round")
    return


@app.cell(hide_code=True)
def _(run):
    mo.accordion({
        f"Gate {gate.gate}, {gate.name}: every outcome, measured or not": mo.ui.table(
            pl.DataFrame(gate.checks, schema=["outcome", "measured", "seen", "evidence"], orient="row"),
            selection=None, wrapped_columns=["evidence"], pagination=False, **PLAIN,
        )
        for gate in judge_rounds(run)
    } if looped(run) else {})  # fmt: skip
    return


@app.cell(hide_code=True)
def _():
    mo.md("""
    ## Diary

    The same prompt with the same dice, answered by base, by each round's steered model and by its healed student.
    """)
    return


@app.cell
def _(run):
    texts = diary_frame(run)
    return (texts,)


@app.cell
def _(texts):
    _prompts = texts["prompt"].unique(maintain_order=True).to_list()
    _first = one_of(link().get("prompt"), _prompts, _prompts[0] if _prompts else None)
    prompt = Menu("prompt", _prompts, value=_first, label="prompt", full_width=True)
    prompt
    return (prompt,)


@app.cell(hide_code=True)
def _(prompt, texts):
    mo.ui.table(
        diary_table(texts.filter(pl.col("prompt") == prompt.value)),
        selection=None, wrapped_columns=["text"], pagination=False, **PLAIN,
    )  # fmt: skip
    return


@app.cell
def _(picked, prompt):
    if mo.app_meta().mode == "run":
        write_link(mo.query_params(), {"run": Path(picked.value).name, "prompt": prompt.value or ""})
    _refused = "\n".join(refused_by([picked, prompt]))
    mo.callout(mo.plain_text(_refused), kind="warn") if _refused else None
    return


if __name__ == "__main__":
    app.run()
