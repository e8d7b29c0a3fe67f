"""A judge of two texts by an LLM, over any OpenAI-compatible endpoint: pairwise, blind, in both orders. Optional.

    pairs = pairs_of(run)                  # healed against base, on the probes
    judged = judge_pairs(Endpoint("http://localhost:8000/v1", "some-model"), pairs, question_for(axis.positive[0]))
    win_share(judged)                      # share of the pairs that the second text wins, ties half

Judges favour a place: a pair counts only where both orders name the same text, else it is a tie. The prompt, the
settings and the raw answers are in the frame. An answer that names neither text is counted and left out. With a file
to keep them in, answers are on disk as they come, and the same call goes on from there.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl

from ws.errors import UserError
from ws.evaluation.judge_answers import Kept, read_choice
from ws.evaluation.judge_client import Client, Endpoint, Refused
from ws.files import digest
from ws.intervals import Interval, wilson

__all__ = ["JUDGED", "Endpoint", "judge_pairs", "judging_key", "question_for", "win_share"]

PAIRS: dict[str, Any] = {
    "prompt_id": pl.String,
    "sample": pl.Int32,
    "prompt": pl.String,
    "a": pl.String,
    "b": pl.String,
}
JUDGED: dict[str, Any] = {
    **PAIRS,
    "asked_ab": pl.String,
    "answer_ab": pl.String,
    "choice_ab": pl.String,
    "asked_ba": pl.String,
    "answer_ba": pl.String,
    "choice_ba": pl.String,
    "verdict": pl.String,
    "settings": pl.String,
}
"""Columns of a judged frame. a, b: the two texts; asked_ab: the judge's prompt with a first, asked_ba with b first;
answer: raw, or how the endpoint refused; choice: "a", "b" or "tie" read from it, null where it cannot be told; verdict:
the choice of both orders, "tie" where they disagree, null where one of them is; settings: JSON of the endpoint and the
parameters that were sent (never the key)."""
TEMPLATE = """Two people replied to the same message. {question}

<message>
{prompt}
</message>

<reply_1>
{first}
</reply_1>

<reply_2>
{second}
</reply_2>

{question} Answer with one word: 1, 2 or tie."""


GIVE_UP = 3
"""Questions in a row that an endpoint refuses before it is taken to refuse all of them."""

def question_for(persona: str) -> str:
    """What the judge is asked about a trait, in the words of a persona. It never hears which model wrote what."""
    return f'Which of the two replies fits this description of its writer better? "{persona}"'


def judging_key(endpoint: Endpoint, question: str) -> str:
    """8 hex characters: answers with the same one are answers to the same questions, asked the same way."""
    return digest([endpoint.url.rstrip("/"), endpoint.model, endpoint.reasoning, question], 8)


def judge_pairs(
    endpoint: Endpoint,
    pairs: pl.DataFrame,
    question: str,
    *,
    keep: Path | None = None,
    tell: Callable[[str], object] = lambda _: None,
    on_progress: Callable[[int, int], object] = lambda done, total: None,
) -> pl.DataFrame:
    """The pairs (columns PAIRS) with the judge's answers in both orders, columns JUDGED.

    keep: a file of this `judging_key`; what it holds is not asked again, except what could not be read. tell: gets a
    line for each wait and each change of parameters; on_progress: questions done and in all.

    UserError: the package openai is missing, no key where one is named, a file that cannot be written, all before the
    first question; an endpoint that cannot be reached, times out or goes on refusing: the answers until then are kept.
    """
    orders = [(row, order) for row in pairs.iter_rows(named=True) for order in ("ab", "ba")]
    asked = [(row, order, _asked(row, order, question)) for row, order in orders]
    client = Client(endpoint, tell)
    with Kept(keep) as kept:
        _ask_all(client, asked, kept, tell, on_progress)
    rows: list[dict[str, Any]] = []
    for (row, _, ab), (_, _, ba) in zip(asked[::2], asked[1::2], strict=True):
        answers = {"ab": (ab, kept.found[digest(ab)]), "ba": (ba, kept.found[digest(ba)])}
        rows.append({**row, **_judged(answers), "settings": _settings(endpoint, question, answers["ab"][1])})
    return pl.DataFrame(rows, schema=JUDGED)


def _asked(row: dict[str, Any], order: str, question: str) -> str:
    return TEMPLATE.format(question=question, prompt=row["prompt"], first=row[order[0]], second=row[order[1]])


def _ask_all(
    client: Client,
    asked: list[tuple[dict[str, Any], str, str]],
    kept: Kept,
    tell: Callable[[str], object],
    on_progress: Callable[[int, int], object],
) -> None:
    """Asks what is not kept yet, and keeps each answer as it comes."""
    done = {key for key, record in kept.found.items() if read_choice(record["answer"])}
    refused = 0
    for i, (row, order, text) in enumerate(asked):
        on_progress(i, len(asked))
        if (key := digest(text)) in done:
            continue
        done.add(key)
        record = {"asked": key, "prompt_id": row["prompt_id"], "sample": row["sample"], "order": order}
        try:
            reply = client.ask(text)
        except Refused as refusal:
            refused += 1
            kept.add(record | {"answer": "", "refused": str(refusal)})
            if refused == GIVE_UP:
                said = f"the judge at {client.endpoint.url} answers nothing, {refused} times in a row: {refusal}"
                raise UserError(_going_on(said, kept)) from refusal
        except UserError as error:
            raise UserError(_going_on(str(error), kept)) from error
        else:
            refused = 0
            kept.add(record | {"answer": reply.answer, "finish": reply.finish, "sent": reply.sent})
            if reply.finish == "length" and not read_choice(reply.answer):
                room = client.endpoint.max_tokens
                tell(f"an answer was cut off at {room} tokens, thinking included: raise max_tokens")
    on_progress(len(asked), len(asked))


def _going_on(said: str, kept: Kept) -> str:
    """The message with where the answers are that came before."""
    answers = sum(not record.get("refused") for record in kept.found.values())
    if not answers or kept.path is None:
        return said
    return f"{said} {answers} answers are kept in {kept.path}: the same command goes on from there."


def _judged(answers: dict[str, tuple[str, dict[str, Any]]]) -> dict[str, str | None]:
    """Both orders of one pair, from question and record."""
    found: dict[str, str | None] = {}
    for order, (asked, record) in answers.items():
        chosen = {"1": order[0], "2": order[1], "tie": "tie"}.get(read_choice(record["answer"]) or "")
        raw = record.get("refused") or record["answer"]
        found |= {f"asked_{order}": asked, f"answer_{order}": raw, f"choice_{order}": chosen}
    ab, ba = found["choice_ab"], found["choice_ba"]
    return found | {"verdict": None if None in (ab, ba) else ab if ab == ba else "tie"}


def _settings(endpoint: Endpoint, question: str, record: dict[str, Any]) -> str:
    told = {"url": endpoint.url, "model": endpoint.model, "question": question, **record.get("sent", {})}
    return json.dumps(told, sort_keys=True)


def win_share(judged: pl.DataFrame) -> Interval:
    """Share of the readable pairs that b wins, ties half, with Wilson's 95 % interval; n: those pairs, bad: ties."""
    verdicts = judged["verdict"].drop_nulls()
    ties, wins = int((verdicts == "tie").sum()), int((verdicts == "b").sum())
    points, n = wins + ties / 2, len(verdicts)
    return Interval(points / n if n else float("nan"), *wilson(points, n), n, ties)
