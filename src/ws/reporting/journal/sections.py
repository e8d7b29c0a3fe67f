"""The sections of a journal page, each a function of the run."""

from __future__ import annotations

from typing import Any

import polars as pl

from ws.evaluation.definitions import DEFINITIONS
from ws.filtering.limits import borderline, tally
from ws.gating import Gate
from ws.gating.arm_table import HEALED, STEER
from ws.intervals import interval_of
from ws.reporting.charts import (
    dose_chart,
    drift_chart,
    loop_plane_chart,
    profile_chart,
    round_metrics_chart,
    rounds_chart,
)
from ws.reporting.charts.rounds import FLOOR
from ws.reporting.journal.figures import Pictures
from ws.reporting.journal.html import Html, join, tag
from ws.reporting.journal.run_header import facts_of, settings_of
from ws.reporting.journal.tables import arms_table, pairs_table, table
from ws.reporting.tables import who
from ws.reporting.terminal import figure
from ws.runs.reader import Run
from ws.runs.round_tables import base_said, cosines_frame, diary_frame, plane_of, rounds_frame, steps_frame

__all__ = [
    "HEADLINE",
    "diary",
    "filtered",
    "headline",
    "identity",
    "loop",
    "measures",
    "round_cells",
    "samples",
    "tiles",
    "verdicts",
]

ROUNDS_CAPTION = (
    "Steer and heal, round by round. Above: shift of the target. Below: incoherence on a log axis, dashed at 0.05; "
    f"under {FLOOR:g} it is drawn at {FLOOR:g}. 95 % intervals."
)
HEADLINE = (
    "round", "dose c", "steered", "steered coherence", "kept", "healed", "healed coherence", "retain",
)  # fmt: skip
EDGE = 5  # just kept and just dropped texts of each side


def badge(gate: Gate) -> Html:
    """The colour in words and as a colour: never as a colour alone."""
    return tag("span", gate.colour, class_=f"badge {gate.colour}")


def tiles(gates: list[Gate]) -> Html:
    """One tile per gate: colour, outcome, figure, what to do next."""
    cells = [
        tag(
            "div",
            tag("div", badge(g), tag("span", f" gate {g.gate} · {g.name}", class_="dim")),
            tag("div", g.outcome, class_="outcome"),
            tag("div", g.figure, class_="figure"),
            tag("div", f"next: {g.next}", class_="dim"),
            class_=f"tile {g.colour}",
        )
        for g in gates
    ]
    return tag("div", *cells, class_="tiles")


def headline(run: Run) -> Html:
    """Every round in one row: dose, steered, filter, healed."""
    rows = [round_cells(run, number) for number in range(run.rounds)]
    said = f"Shifts of the target against base ({run.trait.unit}), + as intended, with 95 % intervals; "
    said += "the delivered round in bold."
    return table(
        HEADLINE, rows, numbers=range(1, len(HEADLINE)), strong=[run.best] if run.rounds > 1 else (), caption=said
    )


def round_cells(run: Run, number: int) -> list[str]:
    """A round's figures in the order of HEADLINE."""
    arms = run.arms(number)
    steered = arms.filter(pl.col("arm") == STEER, pl.col("chosen")).rows(named=True)
    healed = arms.filter(pl.col("arm") == HEALED).rows(named=True)
    counts = run.get("heal.json", number) if run.has("heal.json", number) else None
    cells = [str(number), f"{steered[0]['c']:.3g}" if steered else "none passed"]
    cells += [interval_of(steered[0], name) if steered else "-" for name in ("d_target", "coherence")]
    cells += [f"{counts['passed']} of {counts['generated']}" if counts else "-"]
    cells += [interval_of(healed[0], name) if healed else "-" for name in ("d_target", "coherence", "retain")]
    return cells


def measures(run: Run, number: int, pictures: Pictures) -> Html:
    """Charts and whole tables of a round."""
    arms, parts = run.arms(number), []
    if run.has("dose.parquet", number):
        says = (
            "Dose response on the select set. Above: shift of the target with 95 % intervals; grey band: 95 % of the "
            "random directions at the same KL; dashed: persona as system prompt and healed model; diamond: the judged "
            "dose on the report set. Below: coherence, dashed at 0.95."
        )
        parts.append(pictures.figure(dose_chart(run.frame("dose", number), arms, "Dose response"), says))
    if run.has("arms.parquet", number):
        says = "What moved: every foundation, steered at the judged dose and healed, with 95 % intervals."
        parts.append(pictures.figure(profile_chart(arms, list(run.axis["intended"])), says))
    if run.has("drift.parquet", number) and run.frame("drift", number).height:
        says = "The bet: KL to base per token before and after the heal, by group of completions."
        parts.append(pictures.figure(drift_chart(run.frame("drift", number)), says))
    figures = tag("div", *parts, class_="figures")
    tables, unit = [], run.trait.unit
    if run.has("arms.parquet", number):
        tables.append(arms_table(arms, "Report: prompts and items that chose nothing", unit))
    if run.has("dose.parquet", number):
        tables.append(arms_table(run.frame("dose", number), "Dose search: select prompts and items", unit))
    able = [tag("p", f"base, {line}", class_="dim") for line in base_said(run, number)]
    return join([figures, *tables, *able, _definitions()])


def _definitions() -> Html:
    names = ("d_target", "coherence", "p_ans_any", "coh_text", "capability", "retain")
    items = [tag("div", tag("dt", name), tag("dd", DEFINITIONS[name])) for name in names]
    return tag("dl", *items, class_="dim")


def filtered(run: Run, number: int) -> Html:
    """Counts by dose and reason, and the texts just kept and just dropped."""
    texts = run.marked(number).filter(pl.col("split") != "base")
    counts = tally(texts)
    rows = [[f"{c:+.3g}", *map(str, numbers)] for c, *numbers in counts.rows()]
    limits = ", ".join(f"{name} {value:.4g}" if isinstance(value, float) else f"{name} {value}"
                       for name, value in run.limits(number).items())  # fmt: skip
    says = f"Completions kept and dropped, by dose and first reason. Limits: {limits}"
    counted = table(counts.columns, rows, numbers=range(counts.width), caption=says, narrow=True)
    edge = borderline(texts.drop("dropped"), k=EDGE, **run.limits(number)).rows(named=True)
    lines = [
        (f"just {row['side']}", f"{row['c']:+.3g}", figure(row["tail_ppl"], 1), figure(row["rep"]), said(row["text"]))
        for row in edge
    ]
    border = table(
        ("", "c", "tail_ppl", "rep", "text"), lines, numbers=(1, 2, 3), caption="On both sides of the threshold"
    )
    return join([counted, border])


def said(words: object) -> Html:
    """A text that a model or a person wrote: line breaks kept, nothing interpreted."""
    return tag("div", words, class_="said")


def samples(run: Run, number: int) -> Html:
    """Every stored completion of a round, folded by arm, to read."""
    parts = []
    for title, texts in run.samples(number):
        rows = [(said(row["prompt"]), said(row["text"])) for row in texts.rows(named=True)]
        whole = table(("prompt", "completion"), rows)
        parts.append(tag("details", tag("summary", f"{title}: {len(rows)} texts"), whole))
    return join(parts)


def diary(run: Run, prompts: int = 4) -> Html:
    """The same probe prompts answered by base, by each round's steered model and by each healed student."""
    texts = diary_frame(run)
    ids = texts["prompt_id"].unique(maintain_order=True).to_list()
    chosen = [ids[i * len(ids) // prompts] for i in range(prompts)] if len(ids) > prompts else ids
    parts = [_page_of_diary(texts.filter(pl.col("prompt_id") == name)) for name in chosen]
    return join(parts)


def _page_of_diary(texts: pl.DataFrame) -> Html:
    rows = [
        (who(row), figure(row["tail_ppl"], 1), "-" if row["readable"] is None else "yes" if row["readable"] else "no",
         said(row["text"]))
        for row in texts.rows(named=True)
    ]  # fmt: skip
    asked = tag("div", "Prompt: ", tag("strong", said(texts["prompt"][0])), class_="asked")
    return tag("div", asked, table(("model", "tail_ppl", "readable", "text"), rows, numbers=(1,)), class_="entry")


def loop(run: Run, pictures: Pictures) -> Html:
    """The rounds of a run as pictures."""
    steps, rounds = steps_frame(run), rounds_frame(run)
    x, y = plane_of(run)
    return tag(
        "div",
        pictures.figure(rounds_chart(steps), ROUNDS_CAPTION),
        pictures.figure(
            loop_plane_chart(steps, x, y, by_questions=run.trait.by_questions),
            f"{x} against {y}: base, steered and healed, with the round's number.",
        ),
        pictures.figure(
            round_metrics_chart(rounds, cosines_frame(run)), "Does it keep its direction, and how far has it drifted?"
        ),
        class_="figures",
    )


def verdicts(gates: list[Gate]) -> Html:
    """Every gate whole: all outcomes with evidence, what should be seen, what to do next, the researcher's note."""
    return join([_gate(gate) for gate in gates])


def _gate(gate: Gate) -> Html:
    rows = [
        (outcome, "yes" if measured else "no", "SEEN" if seen else "no" if measured else "-", evidence)
        for outcome, measured, seen, evidence in gate.checks
    ]
    strong = [i for i, check in enumerate(gate.checks) if check[2]]
    also = [tag("p", "Also: " + ", ".join(gate.also))] if gate.also else []
    but = [tag("p", "But: " + "; ".join(gate.caveats))] if gate.caveats else []
    note = gate.note or '(none yet: ws gates RUN --gate N --note "...")'
    return tag(
        "section",
        tag("h3", badge(gate), f" Gate {gate.gate}, {gate.name}: {gate.outcome} ", tag("span", gate.figure)),
        *also,
        *but,
        tag("p", f"Should: {gate.should}. Next: {gate.next}."),
        tag("div", tag("strong", "The researcher: "), said(note), class_="note" if gate.note else "note dim"),
        table(("outcome", "measured", "seen", "evidence"), rows, strong=strong),
        class_="gate",
    )


def identity(run: Run) -> Html:
    """What the numbers depend on: facts, configuration, axis, time by stage."""
    stages = {name: f"{stage['seconds']:.1f} s" for name, stage in run.status["stages"].items()}
    axis = {
        "target": run.axis["target"],
        "intended": ", ".join(f"{f} {sign:+d}" for f, sign in run.axis["intended"].items()),
        "positive personas": said("\n".join(run.axis["positive"])),
        "negative personas": said("\n".join(run.axis["negative"])),
    }
    return join([
        _named(facts_of(run), "This run"),
        _named(axis, "Axis"),
        tag("details", tag("summary", "Whole configuration"), pairs_table(settings_of(run))),
        tag("details", tag("summary", "Time by stage"), pairs_table(stages)),
    ])  # fmt: skip


def _named(values: dict[str, Any], caption: str) -> Html:
    rows = [(name, value if isinstance(value, Html) else said(value)) for name, value in values.items()]
    return table(("", ""), rows, caption=caption)
