"""Safe HTML: every string is escaped, only `tag` makes markup.

tag("p", "2 < 3", class_="note")        # <p class="note">2 &lt; 3</p>
"""

from __future__ import annotations

import html
import re

from ws.reporting.visible import visible

__all__ = ["Html", "join", "tag", "text"]

VOID = {"meta", "br"}
NAME = re.compile(r"[a-z][a-z0-9-]*")


class Html(str):
    """Markup that this module made; any other string is text."""


def text(value: object) -> Html:
    """A value as escaped text; control and reordering characters as \\x.. or \\u...."""
    return Html(html.escape(visible(value), quote=True))


def join(parts: list[Html], between: str = "\n") -> Html:
    return Html(between.join(parts))


def tag(name: str, /, *children: object, **attributes: str | None) -> Html:
    """An element; children that are no Html are escaped, as are attributes (class_ for class, None leaves one out).

    ValueError for a name of a tag or attribute that is none: names are never data.
    """
    given = {key.rstrip("_").replace("_", "-"): value for key, value in attributes.items() if value is not None}
    for word in (name, *given):
        if not NAME.fullmatch(word) or name == "script" or word.startswith("on"):
            raise ValueError(f"{word!r} is no tag or attribute of this page")
    opened = name + "".join(f' {key}="{text(value)}"' for key, value in given.items())
    if name in VOID:
        return Html(f"<{opened}>")
    inner = "".join(child if isinstance(child, Html) else text(child) for child in children)
    return Html(f"<{opened}>{inner}</{name}>")
