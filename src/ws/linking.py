"""A page's settings in its address, so that a link reproduces the page. Whatever a link holds is data.

given = read_link(mo.query_params().to_dict(), ("run", "prompt"))      # in a notebook
prompt = picked(given.get("prompt"), prompts, prompts[0])              # ws.serving: what is offered, else a default
write_link(mo.query_params(), {"run": run, "prompt": prompt})
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from typing import Any

__all__ = ["LONGEST", "nearest", "not_offered", "read_link", "write_link"]

LONGEST = 2000  # characters of one setting


def read_link(params: Mapping[str, Any], names: Sequence[str]) -> dict[str, str]:
    """The settings of those names in a link as texts of bounded length; anything else in it is left out."""
    found = {}
    for name in names:
        value = params.get(name)
        value = value[-1] if isinstance(value, list) and value else value
        if isinstance(value, str) and value.strip():
            found[name] = value[:LONGEST]
    return found


def write_link(params: Any, settings: Mapping[str, str]) -> None:
    """Put the settings into the address. params: marimo's query parameters; an empty setting is taken out of them."""
    for name, value in settings.items():
        if (params.get(name) or "") != value:
            params[name] = value or None


def not_offered(given: Mapping[str, str], name: str, offered: Collection[str]) -> list[str]:
    """A line for the reader where a link asks for something that is not here; nothing where it is, or asks nothing."""
    if name not in given or given[name] in offered:
        return []
    return [f"The link asks for the {name} {given[name][:80]!r}, which is not here: the page shows another."]


def nearest(value: object, steps: Sequence[float], default: float) -> float:
    """The step nearest to a number in a text; the default where it is no finite number. The default must be a step."""
    try:
        number = float(value)  # type: ignore[arg-type]
    except (TypeError, ValueError):
        return default
    return min(steps, key=lambda step: abs(step - number)) if math.isfinite(number) else default
