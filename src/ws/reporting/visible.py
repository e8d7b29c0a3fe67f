"""Text that can be read as it stands: what is invisible or reorders its neighbours is shown as its code.

    visible("a\\x1b[2Jb\\u202ec")        # 'a\\\\x1b[2Jb\\\\u202ec'

Model text, names and notes are somebody else's: a control character moves a terminal's cursor, a bidirectional one
makes a text read as another. Every place that shows such text, terminal, page or app, takes it through here.
No table library is needed here: the command line reads this file before it knows what is asked.
"""

from __future__ import annotations

import re

__all__ = ["visible"]

TRICKS = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff\ud800-\udfff\ufffe\uffff]"
)


def visible(text: object) -> str:
    """The text with control, zero-width and reordering characters as \\x.. or \\u....; tabs and line breaks stay."""
    return TRICKS.sub(lambda m: ascii(m.group())[1:-1], str(text))
