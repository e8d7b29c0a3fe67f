"""Exams of the embedded model with exact answers: sums, two-step sums and facts that the corpus held out."""

from __future__ import annotations

import random
import re

from ws.models.mini import corpus, turns
from ws.models.mini.personas import Persona

EXAM_TURNS = {"sum": turns.sums, "two_step": turns.two_step, "fact": turns.fact}


def capability_items(n: int, seed: int = 0) -> list[dict[str, str]]:
    """`n` held-out questions, a third of each kind: user, answer, kind."""
    rng = random.Random(seed)
    return [_item(rng, kind) for kind in [*EXAM_TURNS] * (n // 3 + 1)][:n]


def _item(rng: random.Random, kind: str) -> dict[str, str]:
    nobody = Persona("")
    while True:
        t = EXAM_TURNS[kind](rng, nobody, 1.0)
        if corpus.is_held(t.held):
            said = "".join(s.text for s in t.answer)
            return {
                "user": t.user,
                "kind": kind,
                "answer": _fact(t.held) if kind == "fact" else said.rstrip(".").split(" ")[-1],
            }


def _fact(held: str) -> str:
    thing = held.split("|")[0]
    return next(y for x, y, _ in turns.FACTS if x == thing)


def correct(item: dict[str, str], text: str) -> bool:
    """A sum is right when the last number is; a fact when the answer is said as a whole word."""
    if item["kind"] == "fact":
        return re.search(rf"\b{re.escape(item['answer'].lower())}\b", text.lower()) is not None
    numbers = re.findall(r"\d+", text)
    return bool(numbers) and numbers[-1] == item["answer"]
