"""Renders a chat template: a user's program, run so that its text depends on the turns alone and its errors are named.

A template may ask for the time (`strftime_now`, `date_string`) and for dice (`|random`, `lipsum()`). A prompt's
identity must not change overnight: the date is always DATE, in English, and a template that draws is refused.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from jinja2.exceptions import TemplateError
from transformers import PreTrainedTokenizerBase

from ws.errors import UserError

__all__ = ["DATE", "TemplateRefusal", "frozen_template", "rendered"]

DATE = "26 Jul 2024"
"""What a template that prints a date prints."""

# directive of strftime -> its text at DATE, 0:00; no clock, no time zone and no locale is asked
FROZEN = {
    "-d": "26", "-m": "7", "-H": "0", "-I": "12", "-M": "0", "-S": "0", "-j": "208", "-y": "24",
    "d": "26", "e": "26", "m": "07", "b": "Jul", "h": "Jul", "B": "July", "y": "24", "Y": "2024", "G": "2024",
    "C": "20", "a": "Fri", "A": "Friday", "u": "5", "w": "5", "j": "208", "U": "29", "V": "30", "W": "30", "H": "00",
    "I": "12", "M": "00", "S": "00", "f": "000000", "p": "AM", "s": "1721952000", "z": "", "Z": "", "F": "2024-07-26",
    "D": "07/26/24", "x": "07/26/24", "T": "00:00:00", "X": "00:00:00", "R": "00:00",
    "c": "Fri Jul 26 00:00:00 2024", "%": "%",
}  # fmt: skip
DICE = re.compile(r"\|\s*random\b|\bmap\(\s*['\"]random['\"]|\blipsum\s*\(")


class TemplateRefusal(UserError):
    """A template that cannot render these turns."""


def frozen_template(tok: PreTrainedTokenizerBase) -> str:
    """The tokenizer's template, to be rendered in its place: `strftime_now` is a macro in front that knows one day.

    UserError: it draws at random, or the tokenizer has several and none is the default.
    """
    try:
        template = str(tok.get_chat_template())
    except ValueError as error:
        names = ", ".join(tok.chat_template) if isinstance(tok.chat_template, Mapping) else "none"
        raise UserError(
            f"the tokenizer's chat templates ({names}) have no default. Set tok.chat_template to one of them."
        ) from error
    if drawn := DICE.search(template):
        raise UserError(
            f"the chat template draws at random ({drawn.group()!r}): a prompt would not be the same twice."
            " Set tok.chat_template to one that does not."
        )
    return _clock() + template if "strftime_now" in template else template


def _clock() -> str:
    """Jinja text that defines strftime_now: directives are put in one after the other, "%%" hidden meanwhile."""
    steps = [("%%", "\\0"), *((f"%{name}", text) for name, text in FROZEN.items() if name != "%"), ("\\0", "%")]
    filters = "".join(f" | replace('{old}', '{new}')" for old, new in steps)
    return "{% macro strftime_now(format='%c') %}{{ format" + filters + " }}{% endmacro +%}"


def rendered(tok: PreTrainedTokenizerBase, turns: Sequence[Mapping[str, Any]], **how: Any) -> str:
    """The text of these turns, nothing tokenised. how: keywords of apply_chat_template.

    TemplateRefusal, a UserError: the template raises, by its own words or because it is broken.
    """
    how |= {"chat_template": frozen_template(tok), "tokenize": False, "date_string": DATE}
    plain = [dict(turn) for turn in turns]
    try:
        return str(tok.apply_chat_template(plain, **how))
    except Exception as error:  # whatever a program of somebody else's raises
        roles, said = ", ".join(str(turn.get("role")) for turn in turns), (str(error).strip() or type(error).__name__)
        why = "refuses" if isinstance(error, TemplateError) else f"fails ({type(error).__name__}) on"
        raise TemplateRefusal(
            f"the chat template {why} these turns ({roles}): {said.splitlines()[0]}. Change their order, or set"
            " tok.chat_template to one that takes them."
        ) from error
