"""A cache of what was measured of the base: every arm is compared with it, so it is measured once.

In a process by (weights, template, settings); among processes that were told of one folder, in that folder too.
"""

from __future__ import annotations

import pickle
import threading
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar, cast

from ws.evaluation.prompt_cache import forget_prefixes
from ws.files import digest, write_atomic
from ws.models.lm import LM

__all__ = ["forget_bases", "remembered", "share_bases"]

T = TypeVar("T")
MOST = 64  # parts of bases

_MEMORY: OrderedDict[str, Any] = OrderedDict()
_LOCK = threading.Lock()
_FOLDER: Path | None = None


def remembered(lm: LM, settings: list[Any], compute: Callable[[], T]) -> T:
    """What `compute` gave before for the same weights, template and settings, or what it gives now."""
    key = digest([lm.fingerprint, str(lm.dtype), str(lm.device), lm.neutral, str(lm.tok.chat_template), settings])
    with lm.lock:
        with _LOCK:  # private copies have a lock of their own and share this memory
            found: T | None = _MEMORY.get(key)
        if found is None:
            found = _shared(key, compute)
            with _LOCK:
                _MEMORY[key] = found
                while len(_MEMORY) > MOST:
                    _MEMORY.popitem(last=False)
    return found


def _shared(key: str, compute: Callable[[], T]) -> T:
    """What another process has left in the folder, or what is computed now and left there."""
    if _FOLDER is None:
        return compute()
    place = _FOLDER / key
    if place.exists():
        return cast(T, pickle.loads(place.read_bytes()))
    found = compute()
    write_atomic(place, lambda temporary: temporary.write_bytes(pickle.dumps(found)))
    return found


def share_bases(folder: Path | None) -> None:
    """Share what is remembered with processes that name the same folder; nobody else may be able to write to it."""
    global _FOLDER
    _FOLDER = folder


def forget_bases() -> None:
    """Forget what the base gave, for example after weights were changed in place."""
    forget_prefixes()
    with _LOCK:
        _MEMORY.clear()
