"""The commands of `ws`, one function each, with its options parsed: the library does the work, this prints it."""

from __future__ import annotations

import dataclasses
import json
import math
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import polars as pl
from rich.text import Text

from ws.app.output import PipedConsole as Console
from ws.app.output import encodable
from ws.errors import UserError
from ws.experiment.progress import bars
from ws.reporting.terminal import print_gates, print_run, print_samples, print_text
from ws.reporting.visible import visible

if TYPE_CHECKING:
    from ws.app import options
    from ws.gating import Gate
    from ws.runs.reader import Run

__all__ = [
    "app", "bake", "calibrate", "diff", "doctor", "export", "gates", "heal", "journal", "judge", "layers", "results",
    "run", "show", "steer", "sweep",
]  # fmt: skip

WIDE = 144


def _console() -> Console:
    """Standard output; wide enough for the tables where it is no terminal."""
    console = Console(highlight=False)
    return console if console.is_terminal else Console(highlight=False, width=WIDE)


def _progress() -> Console:
    return Console(stderr=True, highlight=False)


def _json(value: Any) -> None:
    """One object on the last line of standard output; NaN has no JSON and becomes null."""
    plain = _finite(value)
    text = json.dumps(plain, ensure_ascii=False, allow_nan=False, default=str)
    print(text if encodable(text, sys.stdout) else json.dumps(plain, allow_nan=False, default=str), flush=True)


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {k: _finite(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(v) for v in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _run_at(path: Path | None, out: Path = Path("out")) -> Run:
    from ws.runs.reader import newest_run, open_run

    return open_run(newest_run(out) if path is None else path)


def run(args: options.RunArgs) -> None:
    """The whole experiment; the report, or the summary as JSON. With --check the findings before it alone."""
    from ws.experiment.loop import run as run_experiment
    from ws.experiment.workers import workers_for

    workers = workers_for(args.config) if args.workers is None else args.workers
    if args.check:
        _check(args, workers)
        return
    with bars(_progress()) as listen:
        done = run_experiment(args.config, listen, out=args.out, new=args.new, workers=workers)
    if args.json:
        _json(done.summary)
    else:
        print_run(done, _console())


def _check(args: options.RunArgs, workers: int) -> None:
    """Every finding of the pre-flight, a line each. UserError, and so exit code 2, where one refuses the run."""
    from ws.experiment.preflight import preflight

    findings = preflight(args.config, args.out, workers)
    refused = [found.check for found in findings if found.state == "refused"]
    if args.json:
        _json({"refused": refused, "findings": [dataclasses.asdict(found) for found in findings]})
    for found in () if args.json else findings:
        _console().print(Text(f"{found.state:<9}{found.check}: {visible(found.said)}"), soft_wrap=True)
    if refused:
        raise UserError(f"this run is refused ({', '.join(refused)}): nothing was written. Mend it and check again.")


def sweep(args: options.SweepArgs) -> None:
    """Every arm of a grid; the table of arms, or with --check the arms and the estimate alone."""
    from ws.app.sweeping import checked_arms, run_sweep

    _json_or_table(args.json, *(checked_arms(args) if args.check else run_sweep(args, _progress())))


def _json_or_table(as_json: bool, said: dict[str, Any], shown: Any, failed: str) -> None:
    """The object or what is shown in its place. UserError with what failed, after it."""
    _json(said) if as_json else _console().print(shown)
    if failed:
        raise UserError(failed)


def steer(args: options.SteerArgs) -> None:
    """One prompt at several doses."""
    from ws.app.steering import COLUMNS, write

    done = write(args)
    if args.json:
        columns = [*COLUMNS, *(name for name in ("scale", "rollbacks") if name in done.texts.columns)]
        told = {"prompt": args.prompt, "axis": done.axis.name, "model": done.lm.name, "sampling": done.sampling}
        told |= {"method": done.direction.method, "unit": done.direction.unit, "applied": done.applied}
        _json(told | {"completions": done.texts.select(columns).to_dicts()})
        return
    console = _console()
    console.print(Text(f"sampling: {done.sampling}"))
    console.print(Text(visible(f"method: {done.direction.method}" + (f"; {done.applied}" if done.applied else ""))))
    for row in done.texts.rows(named=True):
        print_text(f"c {done.dose(row['c'])}", row["text"], console, note=done.note(row))


def calibrate(args: options.CalibrateArgs) -> None:
    """Methods at equal KL."""
    from ws.app.calibrating import compare_methods, print_calibrated

    found = compare_methods(args)
    if args.json:
        _json({"calibrated": found.to_dicts()})
    else:
        print_calibrated(found, _console())


def layers(args: options.LayersArgs) -> None:
    """Bands of blocks at equal KL."""
    from ws.app.calibrating import compare_layers, print_calibrated

    found, told, picture = compare_layers(args)
    if args.json:
        _json({"bands": found.to_dicts(), "verdict": told, "picture": str(picture)})
        return
    print_calibrated(found, _console())
    _console().print(Text(f"{told}\nThe map: {visible(str(picture))}"))


def show(args: options.ShowArgs) -> None:
    """A run's report, and n samples per arm."""
    if args.n < 0:
        raise UserError(f"-n must be 0 or more (got {args.n}).")
    found = _run_at(args.run, args.out)
    if args.json:
        _json(found.summary)
        return
    console = _console()
    if found.rounds == 0:
        console.print(Text(f"{found.path}: {found.status.get('state', 'unknown')}, no round is judged yet."))
    print_run(found, console)
    if args.n:
        print_samples(found, args.n, console)


def gates(args: options.GatesArgs) -> None:
    """Every outcome of every gate, measured or not."""
    from ws.runs.summary import gates_of

    found = _run_at(args.run, args.out)
    number = found.best if args.round is None else args.round
    if not found.has("gates.json", number):
        raise UserError(f"{found.path} has no verdicts for round {number}; it has {found.rounds} judged rounds.")
    if args.note is not None and args.gate is None:
        raise UserError("A note belongs to one gate: say which with --gate.")
    judged = gates_of(found) if args.round is None else found.gates(number)
    if args.gate not in (None, *(there := [gate.gate for gate in judged])):
        raise UserError(f"Round {number} has no gate {args.gate}; it has {', '.join(map(str, there))}.")
    if args.note is not None and args.gate is not None:
        found.note(args.gate, args.note, number)
        judged = gates_of(found) if args.round is None else found.gates(number)
    chosen = [gate for gate in judged if args.gate in (None, gate.gate)]
    if args.json:
        _json({"run": str(found.path), "round": number, "gates": [gate.to_dict() for gate in chosen]})
        return
    console = _console()
    print_gates(chosen, console)
    for gate in chosen:
        _checks(gate, console)


def _checks(gate: Gate, console: Console) -> None:
    console.print(Text(f"\nEvery outcome of gate {gate.gate} {gate.name}", style="bold"))
    for outcome, measured, seen, evidence in gate.checks:
        state = "SEEN" if seen else "not seen" if measured else "not measured"
        line = Text(f"  {state:<13}{outcome}: ", style="" if measured else "dim")
        console.print(line.append(visible(evidence), style="" if seen else "dim"))


def doctor(args: options.DoctorArgs) -> None:
    """Versions, model, axis, and gate 0 on the base alone; or which shipped axes are alive."""
    from ws.app.doctor import examine, examine_all, print_alive, print_examined
    from ws.app.server.syntax_trees import advice

    if (line := advice()) is not None:
        _progress().print(Text(line))
    if args.axes == "all":
        table = examine_all(args, _progress())
        _json({"model": args.model, "axes": table.to_dicts()}) if args.json else print_alive(table, _console())
        return
    found = examine(args)
    _json(found.to_dict()) if args.json else print_examined(found, _console())


def results(args: options.ResultsArgs) -> None:
    """The ledger as a table, newest first."""
    from rich.table import Table

    from ws.runs.ledger import read_results

    frame = read_results(args.out)
    if args.json:
        _json({"results": frame.to_dicts()})
        return
    shown = ["time", "axis", "model", "c", "d_target", "coherence", "retain", "healed_coherence", "gates", "run"]
    table = Table(box=None, pad_edge=False, header_style="dim")
    for name in shown:
        table.add_column(name, overflow="fold")
    for row in frame.select(pl.col(shown).fill_null("")).reverse().rows():
        table.add_row(*[Text(visible(cell)) for cell in row])
    _console().print(table)


def diff(args: options.DiffArgs) -> None:
    """What differs between two runs: settings, headline numbers, verdicts."""
    from ws.reporting.run_diff import headline_diff, settings_diff, verdict_diff
    from ws.reporting.terminal import print_diff

    a, b = _run_at(args.a), _run_at(args.b)
    settings, headline, verdicts = settings_diff(a, b), headline_diff(a, b), verdict_diff(a, b)
    if args.json:
        parts = {"settings": settings.to_dicts(), "headline": headline.to_dicts(), "verdicts": verdicts.to_dicts()}
        _json({"a": str(a.path), "b": str(b.path), **parts})
        return
    print_diff(settings, headline, verdicts, _console())


def journal(args: options.JournalArgs) -> None:
    """The run's page and its entry in the journal."""
    from ws.reporting.journal import write_journal

    found = _run_at(args.run, args.out)
    done = write_journal(found, args.out / "journal", args.journal, interactive=args.interactive)
    said = {"run": str(found.path), "page": str(done.page), "journal": str(done.journal), "new_entry": done.entered}
    _said(args.json, said | ({"interactive": str(done.interactive)} if done.interactive else {}))


def judge(args: options.JudgeArgs) -> None:
    """LLMs' verdicts over pairs of a run's texts, stored in the round's folder as they come."""
    from ws.app.judging import ask_judges

    if args.n < 1:
        raise UserError(f"-n must be at least 1 (got {args.n}).")
    found = _run_at(args.run, args.out)
    with bars(_progress()) as listen:
        judges, failed = ask_judges(args, found, listen)
    for said in [{**judges[0], **({"judges": judges} if len(judges) > 1 else {})}] if args.json and judges else judges:
        _said(args.json, said)
    if failed:
        raise UserError("\n".join(failed))


def heal(args: options.HealArgs) -> None:
    """An adapter from a user's own conversations, and the report on it."""
    from ws.app.healing import heal_file

    with bars(_progress()) as listen:
        report = heal_file(args, listen)
    _said(args.json, report if args.json else {k: v for k, v in report.items() if k not in ("heal", "samples")})


def bake(args: options.BakeArgs) -> None:
    """Merge into the run's own folder."""
    from ws.app.exports import write_model

    found = _run_at(args.run, args.out)
    number, folder = found.best if args.round is None else args.round, found.path / "student"
    said = {"run": str(found.path), "round": number, "what": "model", "path": str(folder)}
    _said(args.json, said | write_model(found, folder, number))


def export(args: options.ExportArgs) -> None:
    """Write merged weights, an adapter or the direction elsewhere, and say what the tools that read it refuse."""
    from ws.app.exports import write_adapter, write_direction, write_gguf_adapter, write_model

    found = _run_at(args.run)
    number = found.best if args.round is None else args.round
    if args.what != "model" and args.to.exists():
        raise UserError(f"{args.to} exists. Name a place that does not.")
    if args.what == "direction":
        done = write_direction(found, args.to, number, args.drop_block_0)
    else:
        write = {"model": write_model, "adapter": write_adapter, "gguf-lora": write_gguf_adapter}[args.what]
        done = write(found, args.to, number)
    said = {"run": str(found.path), "round": number, "what": args.what, "path": str(args.to)}
    _said(args.json, said | done)


def _said(as_json: bool, said: dict[str, Any]) -> None:
    if as_json:
        _json(said)
        return
    lines = [f"{name}: {value}" for name, value in said.items() if name != "notes"]
    sys.stdout.write("\n".join([*lines, *(f"note: {note}" for note in said.get("notes", ()))]) + "\n")


def app(args: options.AppArgs) -> None:
    """Become `marimo run`: signals, exit code and output are its own."""
    from ws.app.server.command import app_command

    command = app_command(
        args.settings,
        notebook=args.notebook,
        host=args.host,
        port=args.port,
        share=args.share,
        password=args.token_password_file,
        headless=args.headless,
    )
    sys.stdout.flush()
    os.execv(command[0], command)
