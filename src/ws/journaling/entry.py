"""The entry of a run in RESEARCH_JOURNAL.md: appended once, newest last, nothing above it touched."""

from __future__ import annotations

import os
import re
from pathlib import Path
from urllib.parse import quote

from ws.gating.gate import span
from ws.journaling.html import TRICKS
from ws.journaling.identity import command_of, day_of, name_of, question_of
from ws.journaling.sections import UNITS, gates_of
from ws.runs import Run
from ws.storing import write_text
from ws.summary import summarise

__all__ = ["append_entry", "code", "entry_of"]

HEAD = "# Research journal\n\nNewest last. One entry per question: what was asked, what was run, what came out, what it means.\n"


def code(value: object) -> str:
    """Any text as one line of Markdown code, in which nothing is interpreted: no tags, links, tables or formulas."""
    line = " ".join(TRICKS.sub(lambda m: ascii(m.group())[1:-1], str(value)).split())
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
    env, seeds = run.env, ", ".join(map(str, run.config.seeds))
    verdicts = [
        f"- gate {g.gate} {g.name}: **{g.outcome}** ({g.colour}){_figure(g.value, g.low, g.high, UNITS.get(g.gate, ''))}"
        for g in gates_of(run)
    ]
    return "\n".join([
        f"## {day_of(run)} · {code(run.axis['name'])} on {code(run.config.model)}",
        marker(run),
        "",
        f"**Question.** {_question(run)}",
        "",
        f"**What was run.** {code(command_of(run))}; seeds {seeds}, branch {code(env.get('branch') or '-')}, commit "
        f"{code(env.get('commit') or '-')}, model fingerprint {code(env.get('fingerprint') or '-')}, ws {code(env.get('ws'))}.",
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


def _figure(value: float | None, low: float | None, high: float | None, unit: str) -> str:
    shown = span(value, low, high)
    return "" if shown == "-" else f", {shown}{unit}"


def _headline(run: Run) -> list[str]:
    """A table, one line per round."""
    lines = [
        "| round | dose c | steered | coherence | kept | healed | coherence | retain |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for entry in summarise(run)["rounds"]:
        s, k, h = entry["steer"], entry["filter"], entry["heal"]
        kept = f"{k['passed']} of {k['generated']}" if k.get("generated") else "-"
        cells = [
            str(entry["round"]), span(s.get("c"), None, None), span(s.get("d_target"), s.get("low"), s.get("high")),
            span(s.get("coherence"), None, None), kept, span(h.get("d_target"), h.get("low"), h.get("high")),
            span(h.get("coherence"), None, None), span(h.get("retain"), None, None),
        ]  # fmt: skip
        lines.append("| " + " | ".join(cells) + " |")
    return lines
