"""Results by question as Markdown, with a picture for each answer: what `make results` writes to docs/results.md."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import altair as alt
import polars as pl

from ws.files import write_atomic, write_text
from ws.reporting.charts.style import quiet, save
from ws.reporting.questions.answers import QUESTIONS, Answer, Question
from ws.reporting.questions.evidence import Stored
from ws.reporting.visible import visible
from ws.runs.reader import Run

__all__ = ["bars_chart", "section", "write_results"]

HEAD = """# Results by question

Written by `make results` from stored runs; every sentence is computed from the figures under it, by the rule beside it.
Levels of fewer than three seeds are shown and not ranked. Intervals: over seeds (t) in comparisons, over rows and texts
elsewhere, as the run's own reports say them. What stands in brackets names the instrument with all further settings.
"""
NO_COMMAND = "No run of this version has the setting."


def write_results(runs: Sequence[Run], to: Path) -> Path:
    """Write the page, and its pictures beside it in img/."""
    stored = Stored(runs)
    parts = [section(question, question.ask(stored), to.parent / "img") for question in QUESTIONS]
    write_text(to, "\n".join([HEAD, *parts]))
    return to


def section(question: Question, answer: Answer | None, pictures: Path) -> str:
    """One question: sentence, rule, picture, table, runs; or the command that would answer it."""
    title = f"## {question.title}\n\n"
    again = f"`{question.command}`" if question.command else NO_COMMAND
    if answer is None:
        way = f"Would answer it: {again}" if question.command else again
        return f"{title}**No stored run answers this.** {way}\n"
    picture = pictures / f"results-{question.name}.svg"
    write_atomic(picture, lambda place: save(bars_chart(answer), place))
    return "\n".join([
        f"{title}**{_cell(answer.sentence)}**\n", f"Rule: {question.rule} Again: {again}\n",
        f"![{question.title}](img/{picture.name})\n", _table(answer.table), _behind(answer.runs),
    ])  # fmt: skip


def bars_chart(answer: Answer) -> Any:
    """The answer's figures with their intervals, a row each."""
    text, value, low, high, of = answer.bars
    rows = answer.table.with_columns(pl.col(text).cast(pl.String), (pl.col(of).cast(pl.String)).fill_null("-"))
    rows = rows.with_row_index("row").with_columns(shown=pl.format("{} ({})", text, "row"))
    drawn = rows.select("shown", text, value, low, high, of).to_dicts()
    y = alt.Y("shown:N", title=None, sort=rows["shown"].to_list(), axis=alt.Axis(labelLimit=420))
    base = alt.Chart(alt.InlineData(drawn)).encode(y=y)
    x = alt.X(f"{value}:Q", title=value, scale=alt.Scale(zero=False), axis=quiet())
    colour = alt.Color(f"{of}:N", title=None, legend=alt.Legend(orient="bottom", columns=1, labelLimit=620))
    span = base.mark_rule().encode(x=f"{low}:Q", x2=f"{high}:Q", color=colour)
    dots = base.mark_point(filled=True, size=70).encode(x=x, color=colour)
    return alt.layer(span, dots).properties(width=420)


def _table(frame: pl.DataFrame) -> str:
    head = [f"| {' | '.join(frame.columns)} |", "|" + "---|" * frame.width]
    return "\n".join([*head, *(f"| {' | '.join(_cell(value) for value in row)} |" for row in frame.iter_rows())]) + "\n"


def _cell(value: Any) -> str:
    """A value in a table of Markdown."""
    if value is None:
        return ""
    text = f"{value:.3g}" if isinstance(value, float) else visible(str(value))
    return text.replace("|", "/").replace("\n", " ").replace("*", r"\*").replace("<", "&lt;")


def _behind(runs: Sequence[Run]) -> str:
    """The runs of an answer: seeds, commit, command, without the places of the machine that they ran on."""
    lines = []
    for run in runs:
        argv = ["ws" if Path(word).name == "__main__.py" else word for word in run.env.get("argv", [])]
        words = [word for word in argv if not Path(word).is_absolute()]
        seeds = " ".join(map(str, run.config.seeds))
        lines.append(f"- {run.path.name}: seeds {seeds}, commit {run.env.get('commit')}, `{_cell(' '.join(words))}`")
    return "\n".join(lines) + "\n"
