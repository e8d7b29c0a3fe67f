"""A chart as a page shows it: turned into JSON and compiled from Vega-Lite to Vega once, not at each move.

altair's own checks, which cost ten times the drawing, are left out; the compiling is a third of a browser's work.
"""

from __future__ import annotations

import json
import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable
from dataclasses import dataclass
from typing import Any

import altair as alt
import vl_convert
from altair.utils import schemapi

__all__ = ["AT", "CompiledChart", "compiled_chart"]

MIME = "application/vnd.vega.v6+json"
AT = "at"  # the parameter that marks where a slider stands
KEPT = 96  # pictures remembered, some tens of kB each

_LOCK = threading.Lock()  # altair's switches belong to the process
_SEEN: OrderedDict[Hashable, CompiledChart] = OrderedDict()


@dataclass(frozen=True)
class CompiledChart:
    """A Vega spec (JSON) with its data inside. Notebooks show it as they show the chart."""

    spec: str

    def at(self, value: float) -> CompiledChart:
        """The same picture with another value of its parameter `at`: nothing is built again."""
        return self._with("signals", "value", {AT: value})

    def showing(self, data: dict[str, Any]) -> CompiledChart:
        """The same picture with other data sets in place of its own, by name."""
        return self._with("data", "values", data)

    def _with(self, part: str, field: str, values: dict[str, Any]) -> CompiledChart:
        """KeyError for a name that the picture does not have."""
        spec = json.loads(self.spec)
        entries = {entry["name"]: entry for entry in spec[part]}
        for name, value in values.items():
            entries[name][field] = value
        return CompiledChart(json.dumps(spec))

    def _mime_(self) -> tuple[str, str]:
        return MIME, self.spec


def compiled_chart(key: Hashable, build: Callable[..., Any], *args: Any) -> CompiledChart:
    """build(*args), an altair chart, as a picture; remembered for all viewers under (build, key)."""
    name = (build.__module__, build.__qualname__, key)
    with _LOCK:
        if name in _SEEN:
            _SEEN.move_to_end(name)
            return _SEEN[name]
        # the data stand in the spec: marimo's own way keeps them in files that end with a viewer
        with schemapi.debug_mode(False), alt.data_transformers.enable("default", max_rows=None):
            chart = build(*args).to_dict(validate=False)
        made = CompiledChart(json.dumps(vl_convert.vegalite_to_vega(chart)))
        _SEEN[name] = made
        while len(_SEEN) > KEPT:
            _SEEN.popitem(last=False)
    return made
