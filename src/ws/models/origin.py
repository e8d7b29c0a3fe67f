"""Which weights something was made on: one checkpoint, and how it was loaded.

A fingerprint is of the numbers as they lie in memory, so that it differs by dtype and quantization. What was made on a
checkpoint in one of them fits it in every other: the origin, stored beside the fingerprint, knows the three apart.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from functools import lru_cache, partial
from pathlib import Path
from typing import Any, Protocol

from safetensors import safe_open
from torch import Tensor

from ws.models.architecture import hash_of

__all__ = ["UNKNOWN", "Origin", "Stamp", "checkpoint_of", "differs", "fits", "stamps_of"]

Stamp = tuple[str, int, int]  # path, size and time of a file
INDEX, SINGLE = "model.safetensors.index.json", "model.safetensors"


@dataclass(frozen=True)
class Origin:
    """checkpoint: 16 hex characters of the files' tensors and of what was merged in since, empty where no file is known
    (a model built in code); dtype ("bfloat16") and quantization ("4bit") as loaded, empty where not known."""

    checkpoint: str = ""
    dtype: str = ""
    quantization: str = ""

    def to_dict(self) -> dict[str, str]:
        """Plain data."""
        return asdict(self)

    @classmethod
    def read(cls, stored: Any) -> Origin:
        """Of stored plain data; nothing is known where there is none, as in files from before it was stored."""
        known = stored if isinstance(stored, dict) else {}
        return cls(*(str(known.get(name, "")) for name in ("checkpoint", "dtype", "quantization")))

    def __str__(self) -> str:
        how = ", ".join(part for part in (self.dtype, self.quantization) if part)
        return f"checkpoint {self.checkpoint or 'not known'}, {how or 'dtype not known'}"


UNKNOWN = Origin()


class Loaded(Protocol):
    """What is asked of a model here."""

    name: str
    fingerprint: str

    @property
    def origin(self) -> Origin:
        """Its own."""


def stamps_of(place: Path) -> tuple[Stamp, ...]:
    """The files that transformers reads the weights in `place` from; none where one is missing."""
    index = place / INDEX
    names = {SINGLE}
    if not (place / SINGLE).is_file() and index.is_file():
        names = set(json.loads(index.read_text(encoding="utf-8"))["weight_map"].values())
    files = sorted(place / name for name in names)
    if not all(file.is_file() for file in files):
        return ()
    return tuple((str(file), file.stat().st_size, file.stat().st_mtime_ns) for file in files)


@lru_cache(maxsize=16)
def checkpoint_of(stamps: tuple[Stamp, ...]) -> str:
    """16 hex characters of the tensors in these files, however they are split; empty where a file is not what it was.
    """
    if not stamps or stamps_of(Path(stamps[0][0]).parent) != stamps:
        return ""
    places: dict[str, str] = {}
    for path, *_ in stamps:
        with safe_open(path, framework="pt") as file:
            places |= dict.fromkeys(file.keys(), path)
    return hash_of({name: partial(_tensor, path, name) for name, path in places.items()})


def _tensor(path: str, name: str) -> Tensor:
    with safe_open(path, framework="pt") as file:
        value: Tensor = file.get_tensor(name)
        return value


def fits(fingerprint: str, origin: Origin, lm: Loaded) -> bool:
    """Whether what was made on these weights belongs on this model: the same numbers, or the same checkpoint."""
    return fingerprint == lm.fingerprint or bool(origin.checkpoint and origin.checkpoint == lm.origin.checkpoint)


def differs(fingerprint: str, origin: Origin, lm: Loaded) -> str:
    """Both in words, for a message: what it was made on and what the model is; the way out, without a full stop."""
    said = f"weights {fingerprint} ({origin}), and {lm.name} has {lm.fingerprint} ({lm.origin})"
    if origin.checkpoint and lm.origin.checkpoint:
        return f"{said}: two checkpoints. Load the one that it was made on"
    asked = f"dtype={origin.dtype!r}" if origin.dtype else "the dtype"
    return f"{said}. Load the model that it was made on, with {asked} and the quantization that it was made in"
