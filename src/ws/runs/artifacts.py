"""Stores and loads one file of a stage by its suffix: a frame, JSON, a direction, an adapter.

It knows nothing of runs: where the files lie is `ws.runs.writer`'s and `ws.runs.reader`'s.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import polars as pl

from ws.files import read_frame, read_json, write_atomic, write_frame, write_json

__all__ = ["save"]


def load(path: Path) -> Any:
    """What `save` stored under `path`, by its suffix."""
    if path.suffix == ".parquet":
        return read_frame(path)
    if path.suffix == ".json":
        return read_json(path)
    if path.suffix == ".safetensors":
        from ws.steering.direction import Direction

        return Direction.load(path)
    from ws.models.adapters.adapter import Adapter

    return Adapter.load(path)


def save(path: Path, value: Any) -> None:
    """Store a frame, a Direction, an Adapter or plain values under `path`, atomically."""
    if isinstance(value, pl.DataFrame):
        write_frame(path, value)
    elif path.suffix == ".json":
        write_json(path, value)
    else:
        write_atomic(path, value.save)
