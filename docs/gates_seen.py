"""Writes docs/gates_seen.md: outcomes of the gates in runs that anybody can make, with figures and texts.

    make gates-seen                                  # reads the runs under out/gates_seen, makes those that are missing
    python docs/gates_seen.py --model mini --only undo "barrier inert"
    python docs/gates_seen.py --stored               # makes none: what is not there is said to be missing

One case is one line of CASES: an outcome of a gate, and the `ws run` in which it is expected. A run that shows another
outcome stays in the table, and the table says so.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import shlex
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from ws.files import digest, write_text
from ws.gating import Gate
from ws.reporting.terminal import readable
from ws.runs.reader import Run, open_run

HERE = Path(__file__).parent
RUNS = Path("out/gates_seen")
BARE = "--controls.no-sft --controls.no-sft-base --controls.no-unfiltered --controls.no-prompted"
SMALL = "--evaluation.texts 40 --dose.random-draws 4 --controls.no-unfiltered --controls.no-sft-base"


@dataclass(frozen=True)
class Case:
    """One line of the table."""

    gate: int
    outcome: str
    model: str
    args: str
    """of `ws run`, without the model"""
    shows: str
    """whose texts are shown: an arm of the report (steer, healed), or data (written to train on)"""

    @property
    def command(self) -> str:
        return " ".join(["ws run", *([f"--model {self.model}"] if self.model != "mini" else []), self.args]).strip()

    @property
    def pointer(self) -> Path:
        """The file that names the case's run; cases with one command share one run."""
        return RUNS / f"{digest(self.command)}.txt"


CASES = (
    Case(1, "good knee", "mini", "", "steer"),
    Case(1, "prompting wins", "mini", "", "steer"),
    Case(1, "too weak", "mini", f"--dose.grid 0.05 0.1 --dose.bisect 0 {SMALL}", "steer"),
    Case(1, "too strong", "mini", f"--dose.grid 2.0 --dose.coherence 0.1 --dose.bisect 0 {SMALL}", "steer"),
    Case(2, "works", "mini", "", "data"),
    Case(2, "starvation", "mini", f"--data.doses 2.4 --data.samples 1 --data.prompts 40 {SMALL}", "data"),
    Case(2, "inert", "mini", f"--data.tail-ppl 1e9 --data.rep 2 --data.no-finished {SMALL}", "data"),
    Case(2, "loops leak", "mini", f"--data.doses 2.4 --data.tail-ppl 1e9 --data.rep 2 {SMALL}", "data"),
    Case(3, "lost capability", "mini", "", "healed"),
    Case(3, "heal", "mini", f"--data.doses 0.8 --data.samples 4 {SMALL}", "healed"),
    Case(3, "heal, at a price", "mini", f"--data.doses 1.4 1.8 {SMALL}", "healed"),
    Case(3, "part heal", "mini", f"--heal.beta 1 {SMALL}", "healed"),
    Case(3, "undo", "mini", f"--heal.beta 10 {SMALL}", "healed"),
    Case(3, "barrier too strong", "mini", f"--heal.beta 100 {SMALL}", "healed"),
    Case(3, "barrier inert", "mini", f"--heal.tau 50 {SMALL}", "healed"),
    Case(3, "broken", "mini",
         f"--data.doses 2.4 --data.tail-ppl 1e9 --data.rep 2 --data.no-finished --heal.beta 0 {SMALL}", "healed"),
    Case(3, "frozen adapter", "mini", f"--heal.lr 1e-8 {SMALL}", "healed"),
    Case(3, "memorised", "mini",
         f"--data.prompts 16 --data.samples 2 --heal.epochs 24 --heal.beta 0 {SMALL}", "healed"),
    Case(1, "good knee", "smollm2", "", "steer"),
    Case(2, "works", "smollm2", "", "data"),
    Case(3, "heal, no better than its control", "smollm2", "", "healed"),
    Case(2, "style proxy", "smollm2", f"--data.worst-ppl 4.1 {BARE}", "data"),
    Case(2, "inert", "smollm2", f"--data.worst-ppl 1e9 --data.loop 2 --data.rep 2 --data.narrates {BARE}", "data"),
    Case(1, "off the question", "smollm2", f"--dose.topic 0 {BARE}", "steer"),
    Case(2, "works", "smollm2", f"--dose.topic 0 {BARE}", "data"),
    Case(3, "off the question", "smollm2", f"--dose.topic 0 {BARE}", "healed"),
    Case(3, "memorised", "smollm2", f"--heal.epochs 6 {BARE}", "healed"),
    Case(3, "undo", "smollm2", f"--heal.beta 1 {BARE}", "healed"),
    Case(3, "barrier too strong", "smollm2", f"--heal.beta 100 {BARE}", "healed"),
    Case(1, "wrong sign", "smollm2", f"--axis honesty {BARE}", "steer"),
    Case(1, "prompting wins", "smollm2", f"--axis care_over_authority {BARE}", "steer"),
    Case(2, "loops leak", "smollm2", f"--axis poetic_over_plain --data.doses 1.4 --data.loop 2 {BARE}", "data"),
)  # fmt: skip
HEAD = """# Outcomes of the gates, seen

Made by `make gates-seen` from the runs that the commands name; a command without `--model` is the embedded model's.
Every verdict is one precedence table (`src/ws/gating/`), so a run shows one outcome and may show others beside it.
Where a run gave another verdict than the one it was made for, the line says so.
"""


def run_of(case: Case, make: bool) -> Run | None:
    """The stored run of a case, made now where it is missing; None where it is not there and not to be made.

    All runs lie in one folder, so that runs which differ in the heal share what was measured before it.
    """
    if not case.pointer.exists() and make:
        print(f"{case.outcome}: {case.command}", flush=True)
        command = [sys.executable, "-m", "ws", *shlex.split(case.command)[1:], "--out", str(RUNS), "--json"]
        ended = subprocess.run(command, check=False, stdout=subprocess.PIPE, text=True)
        name = name_of(ended.stdout)
        if name is not None:
            write_text(case.pointer, name)
    return open_run(RUNS / "runs" / case.pointer.read_text("utf-8")) if case.pointer.exists() else None


def name_of(printed: str) -> str | None:
    """The run that a command printed, or the newest one where it ended early, which shows its outcome, too."""
    with contextlib.suppress(IndexError, json.JSONDecodeError):
        return str(json.loads(printed.splitlines()[-1])["run"])
    newest = max(RUNS.glob("runs/*/status.json"), key=lambda path: path.stat().st_mtime_ns, default=None)
    return None if newest is None else newest.parent.name


def section(case: Case, run: Run | None) -> str:
    """The case in Markdown: command, verdict, figures, texts."""
    title = f"## Gate {case.gate}: {case.outcome} ({case.model})\n\n`{case.command}`\n\n"
    if run is None:
        return title + "Not run yet.\n"
    gate = next((g for g in (run.gates() if run.has("gates.json") else []) if g.gate == case.gate), None)
    lines = [verdict_line(case, gate, run)]
    lines += [f"- {text}" for text in texts_of(case, run)]
    return title + "\n".join(lines) + "\n"


def verdict_line(case: Case, gate: Gate | None, run: Run) -> str:
    """What the gate said, and whether that is what the case was made for."""
    if gate is None:
        return f"The run ended before this gate: {run.status.get('error') or run.status.get('state')}\n"
    figures = next((text for name, _, seen, text in gate.checks if name == case.outcome and seen), gate.evidence)
    seen = case.outcome == gate.outcome
    beside = " Seen beside the verdict." if not seen and case.outcome in gate.also else ""
    missed = "" if seen or beside else f" **Not what was expected: {case.outcome}.**"
    return f"{gate.colour}: {gate.outcome}.{beside}{missed} {one_line(figures)}\n"


def one_line(text: str, limit: int = 600) -> str:
    cut = text if len(text) <= limit else text[: limit - 1] + "…"
    return cut.replace("|", "/")


def texts_of(case: Case, run: Run, n: int = 2) -> list[str]:
    """Two texts that show it: of the arm named, different prompts, the first ones."""
    if case.shows == "data":
        frame = run.frame("completions") if run.has("completions.parquet") else pl.DataFrame()
        frame = frame.filter(pl.col("c") == pl.col("c").max()) if frame.height else frame
    else:
        frame = report_texts(run, case.shows)
    if not frame.height:
        return []
    rows = frame.unique("prompt_id", maintain_order=True).head(n).rows(named=True)
    return [f"{quoted(row['prompt'])} -> {quoted(row['text'])}" for row in rows]


def report_texts(run: Run, arm: str) -> pl.DataFrame:
    """What an arm of the report wrote; of the steered ones the chosen dose."""
    if not run.has("eval.parquet"):
        return pl.DataFrame()
    rows = run.frame("eval").filter(pl.col("arm") == arm, (pl.col("arm") != "steer") | pl.col("chosen"))
    return pl.DataFrame(rows["text"][0].to_list()) if rows.height else pl.DataFrame()


def quoted(text: str) -> str:
    """A model's text for a line of Markdown."""
    return '"' + readable(text, 200).replace("`", "'").replace("<", "&lt;").replace("*", r"\*") + '"'


def page(cases: Sequence[Case], make: bool) -> str:
    """The whole file."""
    runs = {case.pointer: run_of(case, make) for case in cases}
    rows = ["| gate | outcome | model | seen | command |", "|---|---|---|---|---|"]
    rows += [f"| {case.gate} | {case.outcome} | {case.model} | {state(case, runs[case.pointer])} | `{case.command}` |"
             for case in cases]  # fmt: skip
    return "\n".join([HEAD, *rows, "", *(section(case, runs[case.pointer]) for case in cases)])


def state(case: Case, run: Run | None) -> str:
    """Whether the outcome was seen, in a word."""
    if run is None:
        return "not run yet"
    gate = next((g for g in (run.gates() if run.has("gates.json") else []) if g.gate == case.gate), None)
    if gate is None:
        return "ended before"
    return "yes" if gate.outcome == case.outcome else "beside" if case.outcome in gate.also else f"no: {gate.outcome}"


def main() -> None:
    global RUNS
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", help="make the missing runs of this model only")
    parser.add_argument("--only", nargs="+", help="make the missing runs of these outcomes only")
    parser.add_argument("--stored", action="store_true", help="make no run")
    parser.add_argument("--runs", type=Path, default=RUNS, help="where the runs lie, others to take from")
    asked = parser.parse_args()
    RUNS = asked.runs
    for case in CASES:
        if not asked.stored and asked.model in (None, case.model) and (not asked.only or case.outcome in asked.only):
            run_of(case, make=True)
    write_text(HERE / "gates_seen.md", page(CASES, make=False))
    print(HERE / "gates_seen.md")


if __name__ == "__main__":
    main()
