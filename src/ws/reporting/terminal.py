"""What a run prints: tables with intervals and controls, samples to read (the broken ones too), the verdicts.

Text that a model wrote is untrusted: control characters are made visible and markup is never interpreted.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import polars as pl
from rich.console import Console
from rich.table import Table
from rich.text import Text

from ws.evaluation.definitions import DEFINITIONS
from ws.filtering.limits import borderline, tally
from ws.gating import Gate
from ws.gating.arm_table import BASE, RANDOM, STEER, dosed_arms, place_of, seed_arms, trained_arms, words_of
from ws.gating.facts import further_text
from ws.gating.foundations import FOUNDATIONS
from ws.gating.knee import knee_of, probes_of
from ws.gating.schemas import TOPIC, further_figures
from ws.gating.thresholds import DEFAULTS
from ws.intervals import as_float, interval_of, with_interval
from ws.reporting.visible import visible
from ws.runs.four_arms import four_arms

if TYPE_CHECKING:
    from ws.runs.config import DoseConfig
    from ws.runs.reader import Run

__all__ = ["print_diff", "print_gates", "print_run", "print_samples", "readable"]

COLOURS = {"green": "bold green", "yellow": "bold yellow", "red": "bold red"}
MARKS = {"green": "GREEN", "yellow": "YELLOW", "red": "RED"}
FOUR_FIGURES = ("d_target", "coherence", "retain", "capability")
SAMPLED = ("prompt_id", "prompt", "sample", "c", "text", "readable", "tail_ppl")
BARS = "▁▂▃▄▅▆▇█"


def readable(text: str, limit: int = 320) -> str:
    """Model text for one line of a terminal: newlines shown, control characters escaped, long ones cut."""
    safe = visible(text.replace("\n", " / ").replace("\t", " "))
    return safe if len(safe) <= limit else safe[: limit - 1] + "…"


def spark(values: list[float], width: int = 16) -> str:
    """Values as a line of bars, averaged down to `width`; empty for none."""
    values = [v for v in values if math.isfinite(v)]
    if not values:
        return ""
    n = min(width, len(values))
    cells = [values[i * len(values) // n : max((i + 1) * len(values) // n, i * len(values) // n + 1)] for i in range(n)]
    means = [sum(cell) / len(cell) for cell in cells]
    low, high = min(means), max(means)
    return "".join(BARS[round((m - low) / (high - low) * 7) if high > low else 3] for m in means)


def figure(value: float | None, digits: int = 2) -> str:
    return "-" if value is None or not math.isfinite(value) else f"{value:.{digits}f}"


def print_run(run: Run, console: Console) -> None:
    """Everything a reader needs, round by round, and where the run is."""
    if run.env.get("chat") is False:
        console.print(Text("No chat template: personas were written as plain text before the prompt."))
    console.print(Text(f"sampling: {run.sampling}"))
    console.print(Text(visible(f"steering: {run.steering}")))
    for number in range(run.rounds):
        print_round(run, number, console)
    print_definitions(console)
    console.print(Text(f"\nThis run: {run.path}"))
    console.print(Text(f"Read more of it: ws show {run.path} -n 3"), style="dim")


def print_round(run: Run, number: int, console: Console) -> None:
    """One round: doses, samples, filter, heal, verdicts."""
    from ws.runs.round_tables import base_said  # brings torch, which whoever has a run has loaded

    config = run.config
    heading = f"round {number}   {config.axis}   {config.model}   seeds {', '.join(map(str, config.seeds))}"
    console.rule(Text(visible(heading)), align="left", style="dim")
    if run.has("dose.parquet", number):
        found = run.frame("dose", number)
        dose_table(found, "Dose search (select prompts and items)", console, run.trait.unit)
        v = run.get("direction.safetensors", number)
        print_knee(found, config.dose, console, v.meta.get("relative"))
    if run.has("arms.parquet", number):
        dose_table(run.arms(number), "Report (prompts and items that chose nothing)", console, run.trait.unit)
        print_cautions(run.arms(number), len(config.seeds), console)
        for line in base_said(run, number):
            console.print(Text(f"base, {line}"))
    if run.has("grid.parquet", number):
        print_dose_samples(run.frame("grid", number, SAMPLED), console)
    if run.has("completions.parquet", number):
        print_filter(run, number, console)
    if run.has("heal.parquet", number):
        print_heal(run, number, console)
    print_gates(run.gates(number), console)


def dose_table(arms: pl.DataFrame, title: str, console: Console, unit: str = "nat") -> None:
    """Dose response with intervals; one line per arm, the random draws as their mean and 95th percentile.

    unit: of the shifts (`Trait.unit`)."""
    console.print(Text(f"\n{title}", style="bold"))
    table = Table(box=None, pad_edge=False, header_style="dim")
    table.add_column("arm", no_wrap=True)
    for name in ("c", f"d_target ({unit})", "coherence", "p_ans_any", "coh_text", "tail_ppl", "capability", "KL p95"):
        table.add_column(name, justify="right")
    rows = arms.filter(pl.col("arm") != RANDOM).rows(named=True)
    rows = sorted(rows, key=lambda row: (place_of(row["arm"]), row["c"] or 0.0))
    for row in rows:
        table.add_row(*_cells(row), style="bold" if row["chosen"] else None)
    draws = arms.filter(pl.col("arm") == RANDOM)
    if draws.height:
        table.add_row(*_random_cells(draws))
    console.print(table)
    read = [row for row in rows if row.get("d_self") is not None and row["arm"] != BASE]
    parts = [f"{_name(row)} {interval_of(row, 'd_self')}" for row in read]
    if parts:
        console.print(Text(f"d_self ({unit}), beside d_target: {'; '.join(parts)}"))
    parts = [f"{_name(row)} {interval_of(row, TOPIC[0])}" for row in rows if row.get(TOPIC[0]) is not None]
    if parts:
        console.print(Text(f"{TOPIC[0]}, how far text keeps to its prompt (nat per token): {'; '.join(parts)}"))
    read = [row for row in rows if row.get("d_answer") is not None and row["arm"] != BASE]
    parts = [f"{_name(row)} {interval_of(row, 'd_answer')}" for row in read]
    if parts:
        console.print(Text(f"d_target is in nat per token of the questions' answers; per answer: {'; '.join(parts)}"))
    for name in further_figures(arms.columns):
        parts = [f"{_name(row)} {further_text(row, name)}" for row in rows if row[name] is not None]
        console.print(Text(f"{name}: {'; '.join(parts) or 'not measured'}"))


def _name(row: dict[str, Any]) -> str:
    """An arm with its dose, in words."""
    return words_of(row["arm"]) + (f" c {row['c']:+.3g}" if row["arm"] == STEER else "")


def print_cautions(arms: pl.DataFrame, seeds: int, console: Console) -> None:
    """What the number of comparisons and of seeds allows to be said of a table of arms."""
    n = arms.filter(pl.col("arm") != BASE, pl.col("d_target").is_not_null()).height
    draws = arms.filter(pl.col("arm") == RANDOM).height
    measured = [f for f in FOUNDATIONS if arms[f"d_{f}"].drop_nulls().len()]
    shifts, what = n * max(1, len(measured)), f"{n} arms" + (f" x {len(measured)} foundations" if measured else "")
    lines = [
        f"Each interval holds 95 % by itself, none is corrected: of {shifts} shifts ({what}) about"
        f" {0.05 * shifts:.0f} miss by chance alone."
    ]
    if draws:
        lines.append(f"{draws} random directions: one more of them would beat them all in 1 of {draws + 1} tries.")
    healed = arms.filter(pl.col("arm").is_in(seed_arms()))["d_target"].drop_nulls()
    if healed.len() >= DEFAULTS.ranked:
        spread = f"{as_float(healed.min()):.2f} to {as_float(healed.max()):.2f} (sd {as_float(healed.std()):.2f})"
        lines.append(f"{healed.len()} seeds: d_target of the healed model {spread} nat; smaller gaps rank no arm.")
    elif healed.len():
        lines.append(f"{seeds} seed{'' if seeds == 1 else 's'}: arms are not ranked before {DEFAULTS.ranked}.")
    console.print(Text("\n".join(lines), style="dim"))


def print_knee(arms: pl.DataFrame, search: DoseConfig, console: Console, relative: float | None = None) -> None:
    """The chosen dose, and where a dose is too strong with its interval. relative: |v| / |h|, which makes
    doses of different axes comparable."""
    chosen = arms.filter(pl.col("arm") == STEER, pl.col("chosen"))
    share = f" ({relative * chosen['c'][0]:.0%} of the residual stream's length)" if relative and chosen.height else ""
    knee = knee_of(probes_of(arms), search.coherence, search.topic)
    kind = "strongest dose that keeps to its question" if knee.by_topic else "strongest coherent dose"
    told = f"c {chosen['c'][0]:.3g}{share} is the {kind}" if chosen.height else "No dose is coherent"
    console.print(Text(f"{told}; {knee.text}"))


def print_definitions(console: Console) -> None:
    """What the columns mean, once under all tables."""
    names = ("d_target", "d_nats", "d_self", "coherence", "coh_text", "p_ans_any")
    lines = [f"{name}: {DEFINITIONS[name]}" for name in names]
    lines.append("KL p95: 95th percentile over positions of KL(arm || base), nats;  *: the judged dose")
    console.print(Text("\n" + "\n".join(lines), style="dim"))


def _cells(row: dict[str, Any]) -> list[str]:
    return [
        words_of(row["arm"]) + (" *" if row["chosen"] else ""),
        "" if row["arm"] not in dosed_arms() else f"{row['c']:+.3g}",
        "0" if row["arm"] == BASE else interval_of(row, "d_target"),
        interval_of(row, "coherence"), figure(row["p_ans_any"]), figure(row["coh_text"]), figure(row["tail_ppl"], 1),
        interval_of(row, "capability"), figure(row["kl"]),
    ]  # fmt: skip


def _random_cells(draws: pl.DataFrame) -> list[str]:
    def mean(name: str, digits: int = 2) -> str:
        return figure(as_float(draws[name].mean()), digits)

    moved = draws["d_target"].abs()
    shift = f"|mean| {figure(as_float(moved.mean()))}, p95 {figure(as_float(moved.quantile(0.95, 'linear')))}"
    rest = [mean(name) for name in ("coherence", "p_ans_any", "coh_text")]
    return [
        f"{draws.height} {words_of(RANDOM)}",
        mean("c"),
        shift,
        *rest,
        mean("tail_ppl", 1),
        mean("capability"),
        mean("kl"),
    ]


def print_dose_samples(texts: pl.DataFrame, console: Console) -> None:
    """One sample per dose on the same prompt, the broken ones too."""
    first = texts.filter(pl.col("prompt_id") == texts["prompt_id"][0], pl.col("sample") == 0).sort("c")
    console.print(Text(f"\nOne sample per dose, same prompt, same dice: {readable(first['prompt'][0])}", style="bold"))
    for row in first.rows(named=True):
        mark = "" if row.get("readable") is None or row["readable"] else "  (unreadable)"
        print_text(f"c {row['c']:+.3g}", row["text"], console, note=f"tail_ppl {figure(row['tail_ppl'], 1)}{mark}")


def print_text(label: str, text: str, console: Console, note: str = "") -> None:
    line = Text(f"  {label:<12} ", style="bold")
    line.append(readable(text), style="not bold")
    if note:
        line.append(f"   {note}", style="dim not bold")
    console.print(line)


def print_filter(run: Run, number: int, console: Console) -> None:
    """Counts by dose and reason, two just-kept and two just-dropped texts."""
    texts = run.marked(number, tokens=False).filter(pl.col("split") != "base")
    counts = tally(texts)
    console.print(Text("\nFilter (a view of the stored completions)", style="bold"))
    table = Table(box=None, pad_edge=False, header_style="dim")
    for name in counts.columns:
        table.add_column(name, justify="left" if name == "c" else "right")
    for c, *numbers in counts.rows():
        table.add_row(f"{c:+.3g}", *map(str, numbers))
    console.print(table)
    for row in borderline(texts.drop("dropped"), k=2, **run.limits(number)).rows(named=True):
        note = f"c {row['c']:+.3g}, tail_ppl {figure(row['tail_ppl'], 1)}, rep {figure(row['rep'])}"
        print_text(f"just {row['side']}", row["text"], console, note=note)


def print_heal(run: Run, number: int, console: Console) -> None:
    """The curve in one line, and base, steered, healed and plain training side by side."""
    curve = run.frame("heal", number)
    nll, val = curve["nll"].drop_nulls().to_list(), curve["val_nll"].drop_nulls().to_list()
    active, pressure = curve["active"].mean(), curve["pressure"].mean()
    beta, seconds = run.get("heal.json", number)["beta"], curve["seconds"][-1]
    parts = [f"\nHeal: {len(nll)} steps", f"nll {nll[0]:.2f} {spark(nll)} {nll[-1]:.2f}"]
    parts += [f"validation {val[0]:.2f} -> {val[-1]:.2f}"] if val else []
    parts += [f"D {spark(curve['D'].drop_nulls().to_list())} {figure(curve['D'][-1])}", f"beta {beta:g}"]
    parts += [f"active {figure(as_float(active))}", f"pressure {figure(as_float(pressure))}", f"{figure(seconds, 0)} s"]
    console.print(Text(", ".join(parts), style="bold"))
    arms = run.arms(number)
    shown = arms.filter(pl.col("arm").is_in([BASE, *trained_arms()]) | (pl.col("chosen") & (pl.col("arm") == STEER)))
    dose_table(shown, "Base, steered, healed, and training without the barrier", console, run.trait.unit)
    parts = [
        f"{words_of(row['arm'])} {interval_of(row, 'retain')}"
        for row in arms.rows(named=True)
        if row["arm"] in trained_arms()
    ]
    if parts:
        console.print(Text(f"retain, the share of the steered shift that stayed: {'; '.join(parts)}"))
    print_four(four_arms(run, number), console)


def print_four(four: pl.DataFrame, console: Console) -> None:
    """Filter and barrier, each with and without, on the same texts; nothing where fewer than three were trained."""
    if four.height < 3:
        return
    console.print(Text("\nFilter and barrier, on as many texts of the same completions", style="bold"))
    table = Table(box=None, pad_edge=False, header_style="dim")
    table.add_column("trained with", no_wrap=True)
    for name in FOUR_FIGURES:
        table.add_column(name, justify="right")
    for row in four.rows(named=True):
        table.add_row(row["what"], *(interval_of(row, name) for name in FOUR_FIGURES))
    console.print(table)


def print_gates(gates: list[Gate], console: Console) -> None:
    """The verdicts: colour, outcome, figure, evidence, what else holds, what to do next."""
    console.print(Text("\nVerdicts", style="bold"))
    for gate in gates:
        line = Text(f"{MARKS[gate.colour]:<7}", style=COLOURS[gate.colour])
        line.append(f"gate {gate.gate} {gate.name}: {gate.outcome}", style="bold")
        if gate.also:
            line.append(f"   also: {', '.join(gate.also)}", style="default not bold")
        console.print(line)
        for name, text in _below(gate):
            console.print(Text(f"        {name:<9} {visible(text)}", style="dim" if name == "should" else ""))


def _below(gate: Gate) -> list[tuple[str, str]]:
    lines = [("seen", gate.evidence)]
    lines += [("also", f"{c[0]}: {c[3]}") for c in gate.checks if c[0] in gate.also]
    lines += [("but", caveat) for caveat in gate.caveats]
    lines += [("should", gate.should), ("next", gate.next)]
    return lines + ([("note", readable(gate.note))] if gate.note else [])


def print_samples(run: Run, n: int, console: Console) -> None:
    """n samples per arm for reading: probes of the report, the dose grid and the training data."""
    for number in range(run.rounds):
        console.rule(Text(f"round {number}"), align="left", style="dim")
        for title, texts in run.samples(number):
            console.print(Text(f"\n{title}", style="bold"))
            chosen = texts.unique("prompt_id", maintain_order=True).head(n)
            for row in chosen.rows(named=True):
                console.print(Text(f"  > {readable(row['prompt'])}", style="dim"))
                print_text("", row["text"], console)


def print_diff(settings: pl.DataFrame, headline: pl.DataFrame, verdicts: pl.DataFrame, console: Console) -> None:
    """Two runs side by side (the frames of ws.reporting.run_diff)."""
    _side_by_side("Settings that differ", settings.rows(), ("setting", "a", "b"), console)
    rows = [
        (arm, measure, figure(a, 3), figure(b, 3), with_interval(difference, low, high, 3), note)
        for arm, measure, a, b, difference, low, high, note in headline.rows()
    ]
    _side_by_side("Headline, best round of each", rows, ("arm", "measure", "a", "b", "b - a", ""), console)
    marked = [(str(n), a, b, "differs" if other else "") for n, a, b, other in verdicts.rows()]
    _side_by_side("Verdicts", marked, ("gate", "a", "b", ""), console)


def _side_by_side(title: str, rows: list[Any], head: tuple[str, ...], console: Console) -> None:
    console.print(Text(f"\n{title}", style="bold"))
    if not rows:
        console.print(Text("  none"))
        return
    table = Table(box=None, pad_edge=False, header_style="dim")
    for name in head:
        table.add_column(name, overflow="fold")
    for row in rows:
        table.add_row(*[Text(readable(str(cell))) for cell in row])
    console.print(table)
