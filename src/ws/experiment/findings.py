"""A finding of the pre-flight: one check, ok, a doubt or a refusal, in one line with the way out."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from ws.errors import UserError

__all__ = ["ADAPTERS", "DISK", "FOLDER", "TABLES", "Doubt", "Finding", "check_disk", "looked", "refuse"]

TABLES = 32 << 20
"""Bytes of a round's tables, generously: a round of the quick recipe leaves 4 MB."""
FOLDER, DISK, ADAPTERS = WRITES = "output folder", "disk", "room for adapters"
"""Checks of the place where a run is written."""


class Doubt(str):
    """What a check says where the run may begin and may not do what was meant."""


@dataclass(frozen=True)
class Finding:
    """What one check found, in one line with the way out."""

    check: str
    state: Literal["ok", "warn", "refused"]
    said: str

    @property
    def writes(self) -> bool:
        """Whether it is of the place where a run is written, which one that is finished already leaves alone."""
        return self.check in WRITES


def looked(check: str, look: Callable[[], str]) -> Finding:
    """One check: its words, a Doubt, or the UserError that it raises."""
    try:
        said = look()
    except UserError as error:
        return Finding(check, "refused", str(error))
    return Finding(check, "warn" if isinstance(said, Doubt) else "ok", str(said))


def refuse(findings: Sequence[Finding]) -> None:
    """UserError with everything that is refused, a line each; nothing where nothing is."""
    if refused := [found.said for found in findings if found.state == "refused"]:
        raise UserError("\n".join(refused))


def check_disk(out: Path, needed: int) -> str:
    """UserError where fewer than the needed bytes are free; a Doubt where it is not twice as much."""
    there = next(place for place in (out.absolute(), *out.absolute().parents) if place.exists())
    free = shutil.disk_usage(there).free
    said = f"{_size(free)} free at {out}, the run may take {_size(needed)}"
    if free < needed:
        raise UserError(f"The disk is too full: {said}. Free some space, or name another folder with --out.")
    return said if free >= 2 * needed else Doubt(f"{said}: nothing else should fill the disk meanwhile")


def _size(count: float) -> str:
    return f"{count / 2**30:.1f} GiB" if count >= 2**30 else f"{count / 2**20:.0f} MiB"
