"""A page's settings in its address, so that a link reproduces the page. Whatever a link holds is data.

given = read_link(mo.query_params().to_dict(), ("run", "prompt"))      # in a notebook
prompt = picked(given.get("prompt"), prompts, prompts[0])              # ws.app.access: what is offered, else a default
write_link(mo.query_params(), {"run": run, "prompt": prompt})
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

from ws.app.access import T
from ws.errors import UserError

__all__ = ["LONGEST", "nearest", "not_offered", "picked", "read_link", "run_named", "write_link"]

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


def picked(value: object, offered: Sequence[T], default: T) -> T:
    """The offered value that equals what a viewer or the URL sent, else the default."""
    return next((choice for choice in offered if choice == value or str(choice) == value), default)


def run_named(out: Path, name: str) -> Path:
    """The run folder of that name directly under `out`/runs. UserError for any other name: it is data from a URL."""
    runs = out / "runs"
    known = {p.name: p for p in runs.iterdir() if (p / "config.json").is_file()} if runs.is_dir() else {}
    if name not in known or known[name].is_symlink():
        raise UserError(f"There is no run {name[:80]!r} under {runs}. `ws results` lists the runs of this folder.")
    return known[name]
