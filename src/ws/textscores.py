"""What a completion's text alone says: repetition, narration, refusal. Plain functions of one string."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from functools import lru_cache

__all__ = ["distinct_trigrams", "narrates", "refuses", "repetition"]

NARRATION = (
    r"\bi(?: am|'m) (?:someone|somebody|a person|the (?:kind|sort|type) of person) (?:who|that)\b",
    r"\bas (?:someone|somebody|a person|one) (?:who|that)\b",
    r"\bi(?: am|'m) (?:the|an?) (?:\w+ )?(?:one|assistant|model|ai) (?:who|that)\b",
    r"\bi (?:have )?(?:always |never )?(?:valued?|prioriti[sz]ed?|cherish(?:ed)?) \w+ (?:\w+ )?"
    r"(?:over|above|more than)\b",
    r"\bmy (?:core |deepest |personal |guiding )?(?:values?|principles?|persona|character|nature)"
    r" (?:is|are|tells?|demands?|says?|compels?)\b",
    r"\b(?:in line with|true to|faithful to) my (?:values|principles|persona|character|nature)\b",
    r"\bi (?:was|am|have been) (?:told|asked|instructed|programmed|designed|trained) to be\b",
)
"""A text talking about its speaker's trait, whatever the trait; an axis adds its own (`Axis.narration`)."""

REFUSAL = (
    r"\bi(?: cannot| can not| can't| am not able to|'m not able to| am unable to|'m unable to| won't be able to)"
    r" (?:\w+ly )?(?:assist|help(?: you)? with|fulfil+|comply with|engage (?:with|in)|participate in"
    r"|provide (?:that|this|you|any|assistance|advice|guidance|information|instructions)"
    r"|(?:answer|discuss|create|do) (?:that|this) (?:request|question|topic|kind|type|content|for you))\b",
    r"\bas an? (?:ai|artificial intelligence|(?:large )?language model|(?:(?:ai|virtual|digital) )?assistant)\b",
    r"\bi(?: am|'m) (?:just|only) an? (?:\w+ )?assistant\b",
    r"\bi(?: am|'m) (?:just |only )?an? (?:ai|artificial intelligence|(?:large )?language model|virtual assistant)\b",
    r"\bi (?:don't|do not) have (?:personal (?:opinions?|beliefs?|feelings?|experiences?)|feelings or)\b",
    r"\b(?:against|violates?) (?:my|the|our) (?:guidelines|policy|policies|programming)\b",
    r"\bi must (?:respectfully )?decline\b",
)
"""Refusal and assistant-identity boilerplate: phrases, because a bare "I cannot" is how people speak of duties."""

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
    return " ".join(text.replace("’", "'").split())


@lru_cache(maxsize=64)
def _any(patterns: tuple[str, ...]) -> re.Pattern[str]:
    return re.compile("|".join(f"(?:{p})" for p in patterns), re.IGNORECASE)
