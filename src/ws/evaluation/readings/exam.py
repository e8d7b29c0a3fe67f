"""The exam: questions with exact answers (arithmetic, two-step problems, short reasoning), asked greedily under the
same steering; a loss of capability shows here first.

A model whose recipe names exams of its own sits those; others get questions written here, a function of (n, seed)
only.
"""

from __future__ import annotations

import math
import random
import re
from collections.abc import Callable, Sequence
from typing import Any

import polars as pl

from ws.evaluation.readings import Request
from ws.generation.completions import Prompt, generate
from ws.intervals import wilson
from ws.models.lm import LM
from ws.models.recipe import part

__all__ = ["COLUMNS", "FLOORS", "ask", "asks", "capability_items", "figures", "is_right", "read"]

COLUMNS: dict[str, Any] = {
    "kind": pl.String,
    "user": pl.String,
    "answer": pl.String,
    "text": pl.String,
    "correct": pl.Boolean,
}
FLOORS = ("capability",)
PEOPLE = ("Ana", "Ben", "Chen", "Dana", "Emil", "Fatou", "Goro", "Hana", "Ivan", "Jude")
THINGS = ("apples", "books", "coins", "pens", "stamps", "shells")
SHORT = " Reply with the number only."
WORD = " Reply with one word."


def asks(request: Request) -> list[dict[str, str]]:
    """The items of the canary."""
    return capability_items(request.lm, request.exam, request.seed)


def read(request: Request, asked: Sequence[dict[str, str]]) -> list[pl.DataFrame]:
    """The answers at every dose."""
    size = 2 * request.batch_size
    return ask(request.lm, asked, **request.treatment, adapters=request.adapters, batch_size=size)


def figures(frame: pl.DataFrame) -> dict[str, float]:
    """capability, the share of exact answers, with Wilson's 95 % interval."""
    right = frame["correct"].cast(pl.Float64).to_numpy()
    low, high = wilson(float(frame["correct"].sum()), frame.height)
    share = float(right.mean()) if len(right) else math.nan
    return {"capability": share, "capability_low": low, "capability_high": high}


def capability_items(lm: LM, n: int, seed: int = 0) -> list[dict[str, str]]:
    """n items {user, answer, kind}, the kinds in turn; the same for the same n and seed."""
    if lm.recipe.exams is not None:
        exams = part(lm.recipe.exams).capability_items
        return [{key: str(item[key]) for key in ("user", "answer", "kind")} for item in exams(n, seed)]
    dice = random.Random(seed)
    kinds = list(QUESTIONS.items())
    items = []
    for i in range(n):
        kind, write = kinds[i % len(kinds)]
        user, answer = write(dice)
        items.append({"user": user, "answer": answer, "kind": kind})
    return items


def ask(
    lm: LM,
    items: Sequence[dict[str, str]],
    *,
    direction: Any = None,
    cs: Sequence[float] = (0.0,),
    adapters: Sequence[Any] = (),
    persona: str | None = None,
    batch_size: int = 128,
) -> list[pl.DataFrame]:
    """One frame (COLUMNS, rows in the items' order) per dose, all doses decoded together."""
    prompts = [Prompt(item["user"], id=f"capability {i}") for i, item in enumerate(items)]
    texts = generate(
        lm,
        prompts,
        direction,
        list(cs),
        temperature=0.0,
        max_new_tokens=24,
        trace=False,
        persona=persona,
        adapters=adapters,
        batch_size=batch_size,
        allow_stale=bool(adapters),
    )
    return [_marked(items, texts.filter(pl.col("c") == c)) for c in cs]


def _marked(items: Sequence[dict[str, str]], texts: pl.DataFrame) -> pl.DataFrame:
    rows = [
        (item["kind"], item["user"], item["answer"], text, is_right(text, item["answer"]))
        for item, text in zip(items, texts["text"], strict=True)
    ]
    return pl.DataFrame(rows, schema=COLUMNS, orient="row")


def is_right(text: str, answer: str) -> bool:
    """A number: the last one in the text is it. Words: they stand in the text as whole words, in any case."""
    if re.fullmatch(r"-?\d+", answer):
        found = re.findall(r"-?\d+", re.sub(r"(?<=\d),(?=\d{3}\b)", "", text))
        return bool(found) and int(found[-1]) == int(answer)
    return re.search(rf"\b{re.escape(answer.casefold())}\b", text.casefold()) is not None


def _sum(dice: random.Random) -> tuple[str, str]:
    a, b = dice.randint(12, 89), dice.randint(12, 89)
    return f"What is {a} + {b}?{SHORT}", str(a + b)


def _difference(dice: random.Random) -> tuple[str, str]:
    a, b = sorted((dice.randint(12, 99), dice.randint(12, 99)), reverse=True)
    return f"What is {a} - {b}?{SHORT}", str(a - b)


def _product(dice: random.Random) -> tuple[str, str]:
    a, b = dice.randint(3, 12), dice.randint(3, 19)
    return f"What is {a} times {b}?{SHORT}", str(a * b)


def _story(dice: random.Random) -> tuple[str, str]:
    who, thing = dice.choice(PEOPLE), dice.choice(THINGS)
    have, get, give = dice.randint(11, 30), dice.randint(3, 20), dice.randint(2, 10)
    story = f"{who} has {have} {thing}, is given {get} more and then gives {give} away."
    return f"{story} How many {thing} does {who} have now?{SHORT}", str(have + get - give)


def _order(dice: random.Random) -> tuple[str, str]:
    a, b, c = dice.sample(PEOPLE, 3)
    facts = [f"{a} is taller than {b}.", f"{b} is taller than {c}."]
    dice.shuffle(facts)
    tallest = dice.random() < 0.5
    return f"{' '.join(facts)} Who is the {'tallest' if tallest else 'shortest'}?{WORD}", a if tallest else c


QUESTIONS: dict[str, Callable[[random.Random], tuple[str, str]]] = {
    "sum": _sum,
    "difference": _difference,
    "product": _product,
    "two-step": _story,
    "order": _order,
}
