"""The entry of a run in RESEARCH_JOURNAL.md: appended once, newest last, nothing above it touched."""

from __future__ import annotations

import os
import re
from pathlib import Path
from urllib.parse import quote

from ws.files import write_text
from ws.reporting.journal.run_header import command_of, day_of, name_of, question_of
from ws.reporting.journal.sections import HEADLINE, round_cells
from ws.reporting.visible import visible
from ws.runs.reader import Run
from ws.runs.summary import gates_of

__all__ = ["append_entry", "code", "entry_of"]

HEAD = """# Research journal

Newest last. One entry per question: what was asked, what was run, what came out, what it means.
"""


def code(value: object) -> str:
    """Any text as one line of Markdown code, in which nothing is interpreted: no tags, links, tables or formulas."""
    line = " ".join(visible(value).split())
    fence = "`" * (max((len(run) for run in re.findall("`+", line)), default=0) + 1)
    pad = " " if line.startswith("`") or line.endswith("`") else ""
    return f"{fence}{pad}{line}{pad}{fence}" if line else "-"


def append_entry(run: Run, journal: Path, page: Path) -> bool:
    """Add the run's entry at the end of `journal`, making the file where there is none; False when it is in there.

    Nothing that stands in the file is changed, line endings included.
    """
    before = journal.read_bytes().decode("utf-8") if journal.exists() else HEAD
    if marker(run) in before.splitlines():
        return False
    ended = before if before.endswith("\n") else before + "\n"
    write_text(journal, ended + "\n" + entry_of(run, link(page, journal)))
    return True


def marker(run: Run) -> str:
    """The line by which an entry is found again."""
    return f"<!-- run: {re.sub('--+', '-', name_of(run))} -->"


def link(page: Path, journal: Path) -> str:
    """The page as seen from the journal's folder."""
    return quote(Path(os.path.relpath(page.resolve(), journal.resolve().parent)).as_posix())


def entry_of(run: Run, address: str) -> str:
    """Question, what was run, headline numbers with intervals, verdicts, the page, a line for the reader's words."""
    seeds = ", ".join(map(str, run.config.seeds))
    branch, commit, weights, version = (code(run.env.get(k) or "-") for k in ("branch", "commit", "fingerprint", "ws"))
    verdicts = [f"- gate {g.gate} {g.name}: **{g.outcome}** ({g.colour}), {g.figure}" for g in gates_of(run)]
    return "\n".join([
        f"## {day_of(run)} · {code(run.axis['name'])} on {code(run.config.model)}",
        marker(run),
        "",
        f"**Question.** {_question(run)}",
        "",
        f"**What was run.** {code(command_of(run))}; seeds {seeds}, branch {branch}, commit {commit}, model "
        f"fingerprint {weights}, ws {version}.",
        "",
        "**Headline** (95 % intervals; shifts of the target in nats against base, + as intended).",
        "",
        *_headline(run),
        "",
        "**Verdicts.**",
        "",
        *verdicts,
        "",
        f"[The page with every number and sample]({address})",
        "",
        "**My reading.**",
        "",
    ]) + "\n"  # fmt: skip


def _question(run: Run) -> str:
    """The question with its names as code."""
    axis, model = run.axis["name"], run.config.model
    asked = question_of(run)
    return asked.replace(f"Does {axis} steer {model},", f"Does {code(axis)} steer {code(model)},", 1)


def _headline(run: Run) -> list[str]:
    """A table, one line per round."""
    lines = [HEADLINE, *(round_cells(run, number) for number in range(run.rounds))]
    rows = ["| " + " | ".join(cells) + " |" for cells in lines]
    return [rows[0], "|" + "---|" * len(HEADLINE), *rows[1:]]
