"""A judge of two texts by an LLM, over any OpenAI-compatible endpoint: pairwise, blind, in both orders. Optional.

    pairs = pairs_of(run)                  # healed against base, on the probes
    judged = judge_pairs(Endpoint("http://localhost:8000/v1", "some-model"), pairs, question_for(axis.positive[0]))
    win_share(judged)                      # share of the pairs that the second text wins, ties half

Judges favour a place: a pair counts only where both orders name the same text, else it is a tie. The prompt, the
settings and the raw answers are in the frame. Nothing is returned unless every pair was answered.
"""

from __future__ import annotations

import http.client
import json
import os
import re
import urllib.error
import urllib.request
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import polars as pl

from ws.errors import UserError
from ws.intervals import Interval, wilson

if TYPE_CHECKING:
    pass

__all__ = ["JUDGED", "Endpoint", "judge_pairs", "question_for", "win_share"]

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
answer: raw, choice: "a", "b" or "tie" read from it; verdict: the choice of both orders, "tie" where they disagree;
settings: JSON of the endpoint (never the key)."""
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


@dataclass(frozen=True)
class Endpoint:
    """Where the judge answers and how it is asked."""

    url: str
    """base address, for example http://localhost:8000/v1"""
    model: str
    key: str = "OPENAI_API_KEY"
    """name of the environment variable that holds the API key; not set = none is sent"""
    timeout: float = 60.0
    """seconds per answer"""
    max_tokens: int = 256
    """room for the answer, thinking included"""

    def __post_init__(self) -> None:
        if not re.match(r"https?://[^/]", self.url):
            raise UserError(f"the judge's url must begin with http:// or https:// (got {self.url!r}).")
        if not self.timeout > 0 or self.max_tokens < 1:
            raise UserError(f"timeout ({self.timeout}) must be above 0 and max_tokens ({self.max_tokens}) at least 1.")


def question_for(persona: str) -> str:
    """What the judge is asked about a trait, in the words of a persona. It never hears which model wrote what."""
    return f'Which of the two replies fits this description of its writer better? "{persona}"'


def judge_pairs(endpoint: Endpoint, pairs: pl.DataFrame, question: str) -> pl.DataFrame:
    """The pairs (columns PAIRS) with the judge's answers in both orders, columns JUDGED.

    UserError for an endpoint that cannot be reached, times out, refuses, or answers something else than 1, 2 or tie.
    """
    settings = json.dumps({**asdict(endpoint), "temperature": 0, "question": question}, sort_keys=True)
    rows = [{**row, **_judge(endpoint, row, question), "settings": settings} for row in pairs.iter_rows(named=True)]
    return pl.DataFrame(rows, schema=JUDGED)


def _judge(endpoint: Endpoint, row: dict[str, Any], question: str) -> dict[str, str]:
    """Both orders of one pair."""
    found: dict[str, str] = {}
    for order in ("ab", "ba"):
        asked = TEMPLATE.format(question=question, prompt=row["prompt"], first=row[order[0]], second=row[order[1]])
        answer = _ask(endpoint, asked)
        choice = {"1": order[0], "2": order[1], "tie": "tie"}[_read(answer)]
        found |= {f"asked_{order}": asked, f"answer_{order}": answer, f"choice_{order}": choice}
    same = found["choice_ab"] == found["choice_ba"]
    return found | {"verdict": found["choice_ab"] if same else "tie"}


def _read(answer: str) -> str:
    """ "1", "2" or "tie" of a raw answer, thinking left out. UserError for anything else."""
    spoken = answer.rsplit("</think>", 1)[-1].strip().casefold()
    found = re.fullmatch(r"\W*(?:reply[ _]?)?(1|2|tie)\W*", spoken)
    if found is None:
        raise UserError(
            f"the judge answered {answer[:200]!r} in place of 1, 2 or tie."
            " Use a stronger judge, or raise max_tokens if the answer is cut off."
        )
    return found[1]


def _ask(endpoint: Endpoint, content: str) -> str:
    """The raw text of one answer, temperature 0."""
    body = {
        "model": endpoint.model,
        "messages": [{"role": "user", "content": content}],
        "temperature": 0,
        "max_tokens": endpoint.max_tokens,
    }
    reply = _post(endpoint, json.dumps(body).encode())
    try:
        answer = json.loads(reply)["choices"][0]["message"]["content"]
    except (ValueError, LookupError, TypeError) as error:
        raise UserError(
            f"the judge at {endpoint.url} sent {reply[:200]!r}, which is no chat completion."
            " Check that the url is the base of an OpenAI-compatible API, often /v1."
        ) from error
    if not isinstance(answer, str):
        raise UserError(f"the judge's message has no text (content {answer!r}). Raise max_tokens if it only thought.")
    return answer


def _post(endpoint: Endpoint, body: bytes) -> str:
    """The body of the endpoint's reply."""
    key = os.environ.get(endpoint.key)
    headers = {"Content-Type": "application/json", **({"Authorization": f"Bearer {key}"} if key else {})}
    request = urllib.request.Request(f"{endpoint.url.rstrip('/')}/chat/completions", data=body, headers=headers)
    try:
        with urllib.request.urlopen(request, timeout=endpoint.timeout) as reply:
            return str(reply.read().decode("utf-8", "replace"))
    except urllib.error.HTTPError as error:
        said = error.read().decode("utf-8", "replace")[:200]
        raise UserError(
            f"the judge at {endpoint.url} refused with HTTP {error.code}: {said!r}."
            f" Check the model's name and the key in ${endpoint.key}, or try again later."
        ) from error
    except (OSError, http.client.HTTPException) as error:  # URLError and timeouts are OSErrors
        if "timed out" in str(error):
            raise UserError(
                f"the judge at {endpoint.url} gave no answer in {endpoint.timeout:g} s."
                " Raise the timeout, or use a faster judge."
            ) from error
        raise UserError(f"the judge at {endpoint.url} cannot be reached ({error}). Check the url.") from error


def win_share(judged: pl.DataFrame) -> Interval:
    """Share of the pairs that b wins, ties half, with Wilson's 95 % interval; n: pairs, bad: ties."""
    verdicts = judged["verdict"]
    ties, wins = int((verdicts == "tie").sum()), int((verdicts == "b").sum())
    points, n = wins + ties / 2, len(verdicts)
    return Interval(points / n if n else float("nan"), *wilson(points, n), n, ties)
