"""The corpus that the embedded model is trained on: a seeded stream of conversations, and its hold-out.

python -m ws.models.mini.corpus 20      # print twenty conversations
"""

from __future__ import annotations

import hashlib
import random
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from ws.models.mini import personas, turns
from ws.models.mini.personas import Persona
from ws.models.mini.turns import TURN_MIX, Mix, Seg, Turn

SEED = 20261120
EASE = 0.8  # share of training over which the curriculum eases the persona strength from FIRST to 1
FIRST = 3.0
# Until this share of the rows lessons are answered by the bare label only (three forms at once came too late).
BARE = 0.2
# Until the first share of the rows nearly all turns are one-word lessons, after the second none extra.
LESSONS = (0.35, 0.8)


@dataclass
class Conversation:
    """System text and turns, as they are laid out in ChatML."""

    system: str
    turns: list[Turn]
    persona: Persona


def strength(progress: float) -> float:
    """Pole curriculum: personas are drawn sharper at first, easing to 1."""
    return 1.0 + (FIRST - 1.0) * max(0.0, 1.0 - progress / EASE)


# Share of persona conversations that end with a lesson: last, so that no other turn can read the persona off it.
LAST = 0.6


def lesson_share(progress: float) -> float:
    """1 while personas are taught by one-word lessons alone, easing to 0.

    Without this first school a fluent model never learns to read its personas.
    """
    first, last = LESSONS
    return max(0.0, min(1.0, (last - progress) / (last - first)))


def is_held(key: str, share: float = 0.08) -> bool:
    """Hold-out by hash of what a turn is about."""
    return bool(key) and int.from_bytes(hashlib.sha256(key.encode()).digest()[:4], "big") / 2**32 < share


def turn(rng: random.Random, p: Persona, progress: float, held: bool = False, mix: Mix = TURN_MIX) -> Turn:
    """One turn of the mix that is (not) held out."""
    kinds: list[Callable[[random.Random, Persona, float], Turn]] = [k for k, _ in mix]
    weights = [w + 40.0 * lesson_share(progress) * (k is turns.one_word) for k, w in mix]
    while True:
        if progress < BARE:
            return turns.bare_word(rng, p, strength(progress))
        kind = rng.choices(kinds, weights)[0]
        if p.h and abs(p.h) > 0.9 and rng.random() < 0.6:
            kind = turns.review
        made = kind(rng, p, strength(progress))
        if is_held(made.held) == held or not made.held:
            return made


def conversation(rng: random.Random, progress: float, mix: Mix = TURN_MIX) -> Conversation:
    """One to five turns under one persona."""
    p = personas.draw(rng, progress)
    school = rng.random() < lesson_share(progress)
    n = 2 if school else rng.choices((1, 2, 3, 5), (0.76, 0.15, 0.07, 0.02))[0]
    said = [turn(rng, p, progress, mix=mix) for _ in range(n)]
    if p.strength > 0.6 and p.text and rng.random() < (LAST if mix is TURN_MIX else LAST / 3) and not school:
        said.append(rng.choice((turns.one_word, turns.one_word, turns.ranking))(rng, p, strength(progress)))
    return Conversation(p.text, said, p)


def conversations(seed: int, n: int, progress: float | None = None, mix: Mix = TURN_MIX) -> Iterator[Conversation]:
    """`n` conversations of a mix; the i-th is drawn at progress i / n of the curriculum, or all at the one given."""
    rng = random.Random(seed)
    for i in range(n):
        yield conversation(rng, i / n if progress is None else progress, mix)


def segments(c: Conversation) -> Iterator[tuple[str, float]]:
    """(text, loss weight of its first token; 0 = no loss on the whole piece), in order."""
    yield f"<|im_start|>system\n{c.system}<|im_end|>\n", 0.0
    for t in c.turns:
        yield f"<|im_start|>user\n{t.user}<|im_end|>\n<|im_start|>assistant\n", 0.0
        if t.think is None:
            yield "<think>\n\n</think>\n\n", 0.1
        else:
            yield "<think>\n", 0.1
            for s in t.think:
                yield s.text, s.weight
                yield "\n", 0.5
            yield "</think>\n\n", 1.0
        yield from spaced(t.answer)
        yield "<|im_end|>", 1.0
        yield "\n", 0.0


def spaced(answer: list[Seg]) -> Iterator[tuple[str, float]]:
    """Sentences joined by spaces; pieces that start with a space or close a format are joined as they are."""
    for i, s in enumerate(answer):
        joined = i == 0 or s.text[0] in ' .,"' or answer[i - 1].text.endswith('"')
        yield (s.text if joined else " " + s.text), s.weight


def text(c: Conversation) -> str:
    """The conversation as one string."""
    return "".join(s for s, _ in segments(c))


def corpus_hash(n: int = 2000) -> str:
    """Hash of the first `n` conversations of the shipped seed: names the grammar's version."""
    h = hashlib.sha256()
    for c in conversations(SEED, n):
        h.update(text(c).encode())
    return h.hexdigest()[:16]


if __name__ == "__main__":
    for made in conversations(random.randrange(1 << 30), int(sys.argv[1])):
        print(text(made), {k: round(v, 2) for k, v in made.persona.w.items()}, "\n")
