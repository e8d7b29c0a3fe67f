"""Settings as plain values, as a run stores them and hashes them into its keys.

    penalty: float = field(default=0.0, metadata=LATER)     # runs that were stored without it keep keys and files
"""

from __future__ import annotations

import dataclasses
from typing import Any

__all__ = ["LATER", "to_dict"]

LATER: dict[str, bool] = {"later": True}
"""Of a field that runs were stored without: at its default it is left out, so that those runs keep keys and files."""


def to_dict(settings: Any) -> dict[str, Any]:
    """A dataclass as plain JSON values, tuples as lists; fields marked LATER only where they are not default."""
    plain: dict[str, Any] = _plain(settings)
    return plain


def _plain(value: Any) -> Any:
    if dataclasses.is_dataclass(value):
        told = {f: getattr(value, f.name) for f in dataclasses.fields(value)}
        return {f.name: _plain(v) for f, v in told.items() if not (f.metadata.get("later") and v == f.default)}
    if isinstance(value, dict):
        return {str(k): _plain(v) for k, v in value.items()}
    return [_plain(v) for v in value] if isinstance(value, list | tuple) else value
