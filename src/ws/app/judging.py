"""`ws judge`: one or several LLMs over the same pairs of a run's texts, each in turn, each stored by itself."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import polars as pl

from ws.errors import UserError
from ws.evaluation.llm_judge import Endpoint, judge_pairs, judging_key, question_for, win_share
from ws.experiment.progress import Event, Listener, say
from ws.files import digest, write_frame
from ws.runs.round_tables import pairs_of

if TYPE_CHECKING:
    from ws.app.options import JudgeArgs
    from ws.runs.reader import Run

__all__ = ["ask_judges", "endpoints_of"]


def endpoints_of(args: JudgeArgs) -> list[Endpoint]:
    """The judges in their order. UserError where urls, models and keys do not fit together, or one is no address."""
    count = max(len(args.url), len(args.model))
    for name, given in (("url", args.url), ("model", args.model), ("key", args.key)):
        if len(given) not in (1, count):
            raise UserError(
                f"{len(given)} of --{name} do not fit {len(args.url)} of --url and {len(args.model)} of --model."
                " Name one, or one for each judge."
            )
    urls, models, keys = (given * (count if len(given) == 1 else 1) for given in (args.url, args.model, args.key))
    judges = [
        Endpoint(url, model, key, args.timeout, args.max_tokens, args.reasoning, args.retries)
        for url, model, key in zip(urls, models, keys, strict=True)
    ]
    if len(set(judges)) < count:
        raise UserError(f"a judge is named twice ({', '.join(args.model)} at {', '.join(args.url)}). Name each once.")
    return judges


def ask_judges(args: JudgeArgs, run: Run, listen: Listener) -> tuple[list[dict[str, Any]], list[str]]:
    """What each judge found, and the messages of those that failed: one that fails costs the others nothing."""
    judges, number = endpoints_of(args), run.best if args.round is None else args.round
    pairs = pairs_of(run, args.arm, args.against, number)
    chosen = pairs[[i * pairs.height // args.n for i in range(args.n)]] if args.n < pairs.height else pairs
    found, failed = [], []
    for judge in judges:
        try:
            found.append(_ask(judge, chosen, args, run, number, listen))
        except UserError as error:
            failed.append(str(error))
    return found, failed


def _ask(
    judge: Endpoint, pairs: pl.DataFrame, args: JudgeArgs, run: Run, number: int, listen: Listener
) -> dict[str, Any]:
    """One judge's verdicts: stored, and in short."""
    question = args.question or question_for(run.axis["positive"][0])
    folder, key = run.path / "rounds" / str(number), judging_key(judge, question)
    judged = judge_pairs(
        judge,
        pairs,
        question,
        keep=folder / f"judge-{key}.jsonl",
        tell=lambda line: say(listen, line, number),
        on_progress=lambda done, total: listen(Event(number, f"judge {judge.model}", done, total)),
    )
    path = folder / f"judge-{digest([key, args.arm, args.against, args.n], 8)}.parquet"
    write_frame(path, judged.with_columns(arm=pl.lit(args.arm), against=pl.lit(args.against)))
    wins = win_share(judged)
    return {
        "run": str(run.path),
        "round": number,
        "judge": judge.model,
        "url": judge.url,
        "arm": args.arm,
        "against": args.against,
        "win_share": wins.value,
        "low": wins.low,
        "high": wins.high,
        "pairs": wins.n,
        "ties": wins.bad,
        "unreadable": judged["verdict"].null_count(),
        "path": str(path),
    }
