"""Text that can be read as it stands: what is invisible or reorders its neighbours is shown as its code.

    visible("a\\x1b[2Jb\\u202ec")        # 'a\\\\x1b[2Jb\\\\u202ec'

Model text, names and notes are somebody else's: a control character moves a terminal's cursor, a bidirectional one
makes a text read as another. Every place that shows such text, terminal, page or app, takes it through here.
"""

from __future__ import annotations

import re

import polars as pl

__all__ = ["visible", "visible_frame"]

TRICKS = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff\ud800-\udfff\ufffe\uffff]"
)


def visible(text: object) -> str:
    """The text with control, zero-width and reordering characters as \\x.. or \\u....; tabs and line breaks stay."""
    return TRICKS.sub(lambda m: ascii(m.group())[1:-1], str(text))


def visible_frame(frame: pl.DataFrame) -> pl.DataFrame:
    """A table to be shown, each of its texts as `visible` gives it."""
    return frame.with_columns(pl.col(pl.String).map_elements(visible, return_dtype=pl.String))
