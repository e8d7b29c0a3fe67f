"""What a completion's text alone says: repetition, narration, refusal. Plain functions of one string."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from functools import lru_cache

from ws.phrases import NARRATION, REFUSAL

__all__ = ["distinct_trigrams", "narrates", "refuses", "repetition"]

FEW = 10  # n-grams; among fewer a pair says nothing


def words_of(text: str) -> list[str]:
    """Words in lower case, punctuation left out; an apostrophe stays inside its word."""
    return re.findall(r"[^\W_]+(?:['’][^\W_]+)*", text.casefold())


def repetition(text: str) -> float:
    """`rep`: max over n = 2, 3, 4 of the share of the most frequent n-gram, over words and characters; 1.0: too
    short.

    Only an n-gram that repeats counts (twice; three times where there are fewer than 10 n-grams): six distinct
    words would score 0.33 otherwise, four 1.0. Too short: one word of fewer than 12 characters, or nothing.
    """
    words, letters = words_of(text), " ".join(text.casefold().split())
    if len(words) < 2 and len(letters) < 12:
        return 1.0
    return max(_top_share(units, n) for units in (words, list(letters)) for n in (2, 3, 4))


def _top_share(units: Sequence[str], n: int) -> float:
    grams = Counter(zip(*(units[i:] for i in range(n)), strict=False))
    total, most = grams.total(), max(grams.values(), default=0)
    return most / total if most >= (2 if total >= FEW else 3) else 0.0


def distinct_trigrams(text: str) -> float:
    """`distinct3`: unique word trigrams / all; 1.0 below three words, where none repeats."""
    words = words_of(text)
    grams = list(zip(words, words[1:], words[2:], strict=False))
    return len(set(grams)) / len(grams) if grams else 1.0


def narrates(text: str, patterns: Sequence[str] = ()) -> bool:
    """First-person verbalising of the trait instead of enacting it: the general patterns and the given ones."""
    return _any((*NARRATION, *patterns)).search(_plain(text)) is not None


def refuses(text: str) -> bool:
    """Refusal or assistant-identity boilerplate: specific phrases ("I cannot assist"), not a bare "I cannot"."""
    return _any(REFUSAL).search(_plain(text)) is not None


def _plain(text: str) -> str:
    """One line, straight apostrophes; what stands in double quotes is somebody else's, unless nothing else is there."""
    line = " ".join(text.replace("’", "'").split())
    own = re.sub(r'"[^"]*"|“[^”]*”', " ", line)
    return own if re.search(r"\w", own) else line


@lru_cache(maxsize=64)
def _any(patterns: tuple[str, ...]) -> re.Pattern[str]:
    return re.compile("|".join(f"(?:{p})" for p in patterns), re.IGNORECASE)
