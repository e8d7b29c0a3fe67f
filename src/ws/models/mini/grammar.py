"""Slots, capitals and verb forms: the small engine under the corpus and under its reader."""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Mapping, Sequence
from typing import TypeVar

T = TypeVar("T")
SLOT = re.compile(r"\{(\w+)\}")
_ADVERBS = {"never", "always", "not", "often"}
_DOUBLING = {
    *("put", "let", "set", "sit", "cut", "dig", "spit", "trip", "stop", "rub", "hit", "shut", "slip", "forbid"),
    *("forget", "submit", "bet", "drag", "burp", "nod", "chat", "beg", "begin", "split", "grab", "ban", "run", "get"),
}
_THIRD = {"do": "does", "go": "goes", "have": "has", "are": "is", "be": "is"}


def pick(rng: random.Random, items: Sequence[T]) -> T:
    """One item, uniformly."""
    return items[int(rng.random() * len(items))]


def fill(template: str, slots: Mapping[str, str]) -> str:
    """The template with every {slot} filled, twice, so that a slot's text may hold slots; {Slot} is capitalised."""
    for _ in range(2):
        template = SLOT.sub(lambda m: _slot(m.group(1), slots), template)
    return template


def _slot(name: str, slots: Mapping[str, str]) -> str:
    return slots[name] if name in slots else capital(slots[name[0].lower() + name[1:]])


def capital(text: str) -> str:
    """First letter upper case, the rest as it is."""
    return text[:1].upper() + text[1:]


def _on_verb(phrase: str, form: Callable[[str], str]) -> str:
    head, _, rest = phrase.partition(" ")
    if head in _ADVERBS and rest:
        return f"{head} {_on_verb(rest, form)}"
    return form(head) + (" " + rest if rest else "")


def third(phrase: str) -> str:
    """'look after others' -> 'looks after others'."""
    return _on_verb(phrase, _third)


def gerund(phrase: str) -> str:
    """'let people suffer' -> 'letting people suffer'."""
    return _on_verb(phrase, _gerund)


def _third(verb: str) -> str:
    if verb in _THIRD:
        return _THIRD[verb]
    if re.search(r"(s|sh|ch|x|z|o)$", verb):
        return verb + "es"
    return verb[:-1] + "ies" if re.search(r"[^aeiou]y$", verb) else verb + "s"


def _gerund(verb: str) -> str:
    if verb in _DOUBLING:
        return verb + verb[-1] + "ing"
    if verb.endswith("ie"):
        return verb[:-2] + "ying"
    return (verb[:-1] if verb.endswith("e") and not verb.endswith(("ee", "ye", "oe")) else verb) + "ing"
