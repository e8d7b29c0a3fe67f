"""How a model is asked about a vignette: the user turn, the answer words, the forced first words of the reply."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from ws.gating.foundations import FOUNDATIONS
from ws.models.lm import LM
from ws.models.recipe import part

__all__ = ["Wording", "wording_of"]

LABELS = {f: f for f in FOUNDATIONS} | {"SocialNorms": "Social norms"}
WORD_END = re.compile(r"[^a-z]")


@dataclass(frozen=True)
class Wording:
    """labels: foundation -> answer word; user(text, order): the user turn; prefill: what is forced before the
    answer; nudge: the second user turn of `strict_june`."""

    labels: dict[str, str]
    user: Callable[[str, Sequence[str]], str]
    prefill: str = '{"violation": "'
    nudge: str = "Answer now."

    def is_valid(self, continuation: str) -> bool:
        """Whether prefill and continuation, to the first closing brace, are JSON with one label as its only value.

        Without a prefill: whether the continuation opens with a label as its first word.
        """
        if not self.prefill:
            return WORD_END.split(continuation, maxsplit=1)[0] in self.labels.values()
        try:
            read = json.loads(self.prefill + continuation.split("}")[0] + "}")
        except json.JSONDecodeError:
            return False
        return "}" in continuation and list(read.values()) in [[label] for label in self.labels.values()]

    def is_closed(self, continuation: str) -> bool:
        """Whether `is_valid` stays what it is, whatever follows."""
        return bool("}" in continuation if self.prefill else WORD_END.search(continuation))


def wording_of(lm: LM) -> Wording:
    """The wording for a model; one that was trained on another (its recipe says so) is asked in that."""
    if lm.recipe.wording is None:
        return Wording(LABELS, _ask)
    words = part(lm.recipe.wording)
    return Wording(words.LABELS, words.vignette_user, words.PREFILL)


def _ask(text: str, order: Sequence[str]) -> str:
    options = "\n".join(f"- {LABELS[f]}" for f in order)
    return (
        f"{text}\n\nWhich one of these moral concerns does this go against most?\n{options}\n\n"
        'Reply in JSON, with one of them as the value: {"violation": "..."}'
    )
