"""The commands of `ws`, one function each, with its options parsed: the library does the work, this prints it."""

from __future__ import annotations

import json
import math
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import polars as pl
from rich.console import Console
from rich.text import Text

from ws.errors import UserError
from ws.experiment.progress import bars
from ws.reporting.terminal import figure, print_gates, print_run, print_samples, print_text
from ws.reporting.visible import visible

if TYPE_CHECKING:
    from ws.app import options
    from ws.gating import Gate
    from ws.runs.reader import Run

__all__ = [
    "app", "bake", "diff", "doctor", "export", "gates", "journal", "judge", "results", "run", "show", "steer",
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
    print(json.dumps(_finite(value), ensure_ascii=False, allow_nan=False, default=str), flush=True)


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
    """The whole experiment; the report, or the summary as JSON."""
    from ws.experiment.loop import run as run_experiment
    from ws.experiment.workers import workers_for

    workers = workers_for(args.config) if args.workers is None else args.workers
    with bars(_progress()) as listen:
        done = run_experiment(args.config, listen, out=args.out, new=args.new, workers=workers)
    if args.json:
        _json(done.summary)
    else:
        print_run(done, _console())


def steer(args: options.SteerArgs) -> None:
    """One prompt at several doses."""
    from ws.axes.axis import load_axis
    from ws.filtering.scores import score
    from ws.generation.completions import generate
    from ws.models.lm import check_length, load_model, one_thread
    from ws.models.recipe import recipe_of
    from ws.runs.whole import check_in_run
    from ws.steering.direction import Direction
    from ws.steering.extraction import extract

    recipe = recipe_of(args.model)
    axis = load_axis(args.axis or recipe.axis).written_for(recipe, args.model)
    lm, draws = one_thread(load_model(args.model)), args.sampling.draws(args.seed, args.max_new_tokens)
    check_length(lm, lm.prompt_ids(args.prompt, system=args.persona), draws.max_new_tokens or 0)
    v = extract(lm, axis) if args.direction is None else Direction.load(check_in_run(args.direction))
    options = {"n": args.n, "sampling": draws, "persona": args.persona}
    texts = score(lm, generate(lm, args.prompt, v, list(args.c), **options), axis)  # type: ignore[arg-type]
    if args.json:
        columns = ["c", "sample", "text", "finished", "n_tokens", "worst_ppl", "tail_ppl", "rep", "loop", "bite",
                   "narrates", "refuses"]  # fmt: skip
        _json(
            {
                "prompt": args.prompt,
                "axis": axis.name,
                "model": lm.name,
                "sampling": draws.said_on(lm),
                "completions": texts.select(columns).to_dicts(),
            }
        )
        return
    console = _console()
    console.print(Text(f"sampling: {draws.said_on(lm)}"))
    for row in texts.rows(named=True):
        print_text(f"c {row['c']:+.3g}", row["text"], console, note=f"tail_ppl {figure(row['tail_ppl'], 1)}")


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
    if args.note is not None:
        if args.gate is None:
            raise UserError("A note belongs to one gate: say which with --gate.")
        found.note(args.gate, args.note, number)
    gates = gates_of(found) if args.round is None else found.gates(number)
    chosen = [gate for gate in gates if args.gate in (None, gate.gate)]
    if not chosen:
        raise UserError(f"Round {number} has no gate {args.gate}.")
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
    """An LLM's verdicts over pairs of a run's texts, stored in the round's folder once all of them are there."""
    from ws.evaluation.llm_judge import Endpoint, judge_pairs, question_for, win_share
    from ws.files import digest, write_frame
    from ws.runs.round_tables import pairs_of

    if args.n < 1:
        raise UserError(f"-n must be at least 1 (got {args.n}).")
    endpoint = Endpoint(args.url, args.model, args.key, args.timeout, args.max_tokens)
    found = _run_at(args.run, args.out)
    number = found.best if args.round is None else args.round
    pairs = pairs_of(found, args.arm, args.against, number)
    chosen = pairs[[i * pairs.height // args.n for i in range(args.n)]] if args.n < pairs.height else pairs
    judged = judge_pairs(endpoint, chosen, args.question or question_for(found.axis["positive"][0]))
    name = digest([judged["settings"][0], args.arm, args.against, args.n], 8)
    path = found.path / "rounds" / str(number) / f"judge-{name}.parquet"
    write_frame(path, judged.with_columns(arm=pl.lit(args.arm), against=pl.lit(args.against)))
    wins = win_share(judged)
    said = {
        "arm": args.arm,
        "against": args.against,
        "win_share": wins.value,
        "low": wins.low,
        "high": wins.high,
        "pairs": wins.n,
        "ties": wins.bad,
        "path": str(path),
    }
    _said(args.json, {"run": str(found.path), "round": number, **said})


def _stack(found: Run, round: int | None) -> tuple[Any, list[Any], int]:
    """The run's model and its adapters up to a round. UserError where a round was not healed."""
    from ws.experiment.identity import load_configured

    last = found.best if round is None else round
    if not found.has("adapter", last):
        raise UserError(f"Round {last} of {found.path} has no adapter: it was not healed.")
    lm = load_configured(found.config)
    return lm, [found.get("adapter", number) for number in range(last + 1)], last


def bake(args: options.BakeArgs) -> None:
    """Merge into the run's own folder."""
    found = _run_at(args.run, args.out)
    _write_model(found, found.path / "student", args.round, args.json)


def export(args: options.ExportArgs) -> None:
    """Write merged weights, the adapter or the direction elsewhere."""
    found = _run_at(args.run)
    if args.what == "model":
        _write_model(found, args.to, args.round, args.json)
        return
    if args.to.exists():
        raise UserError(f"{args.to} exists. Name a place that does not.")
    number = found.best if args.round is None else args.round
    if args.what == "adapter":
        _, adapters, _ = _stack(found, number)
        adapters[-1].save(args.to)
    else:
        lm, _, _ = _stack(found, number)
        found.get("direction.safetensors", number).save_gguf(args.to, lm.model.config.model_type)
    _said(args.json, {"run": str(found.path), "round": number, "what": args.what, "path": str(args.to)})


def _write_model(found: Run, folder: Path, round: int | None, as_json: bool) -> None:
    from ws.healing.baking import export as merge

    lm, adapters, last = _stack(found, round)
    error = merge(lm, adapters, folder)
    said = {"run": str(found.path), "round": last, "what": "model", "path": str(folder), "max_logit_error": error}
    _said(as_json, said)


def _said(as_json: bool, said: dict[str, Any]) -> None:
    if as_json:
        _json(said)
        return
    sys.stdout.write("\n".join(f"{name}: {value}" for name, value in said.items()) + "\n")


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
