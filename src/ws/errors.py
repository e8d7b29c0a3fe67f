"""Errors: `UserError` is the user's to fix, shown without a traceback (exit code 2); `Cancelled` is a job stopped."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

__all__ = ["Cancelled", "UserError", "near", "whole_text"]


class UserError(Exception):
    """A mistake of the user: the message says what happened, the value seen and the way out."""


class Cancelled(Exception):
    """The user stopped a job between two steps: nothing is half done, the model is as it was."""


def whole_text(text: str, where: str) -> str:
    """The text. UserError where it holds half a character (a lone surrogate), which no file and no tokenizer takes."""
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise UserError(
            f"{where} holds half a character ({text[error.start]!a}) at place {error.start}. Write the whole one."
        ) from None
    return text


def near(name: str, known: Iterable[str]) -> str:
    """ " Did you mean 'x'?" with the known name nearest to a misspelt one; empty where none is near."""
    found = difflib.get_close_matches(name, list(known), n=1)
    return f" Did you mean {found[0]!r}?" if found else ""
