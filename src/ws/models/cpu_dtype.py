"""Which number type a model takes on this machine's CPU: bfloat16 where the processor multiplies in it.

    cpu_dtype()     # ("float32", "bfloat16 multiplies 0.2 times as fast here")

Measured once per processor and torch version, in a second at most, and kept beside the copies of models: a run's
workers, and the next run, take the same. The environment variable WS_CPU_DTYPE says it by hand.
"""

from __future__ import annotations

import functools
import json
import os
import platform
import time
from collections.abc import Callable
from pathlib import Path

import torch

from ws.errors import UserError
from ws.files import digest, write_json
from ws.models.gguf.preparing import models_folder, writing
from ws.models.recipe import DTYPES

__all__ = ["cpu_dtype"]

GAIN = 1.3  # under it the coarser numbers are not worth it
SHAPE = (64, 1024, 1024)  # a decode step of 64 rows through one matrix of a small model
TRIES = 7


def cpu_dtype(measure: Callable[[], float] | None = None) -> tuple[str, str]:
    """(key of DTYPES, why). measure: times as fast as float32 that bfloat16 is; None tries it, on one thread.

    UserError for a WS_CPU_DTYPE that is no number type, and where the answer cannot be stored.
    """
    asked = os.environ.get("WS_CPU_DTYPE")
    if asked:
        if asked not in DTYPES:
            raise UserError(f"WS_CPU_DTYPE={asked!r} is unknown. Use one of: {', '.join(DTYPES)}.")
        return DTYPES[asked], "WS_CPU_DTYPE"
    gain = _stored(measure or bf16_gain)
    return "bfloat16" if gain >= GAIN else "float32", _why(gain)


def _why(gain: float) -> str:
    return f"bfloat16 multiplies {gain:.1f} times as fast here"


def bf16_gain() -> float:
    """Time of a matrix product in float32 / in bfloat16, the best of some tries, on one thread."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        return _seconds(torch.float32) / _seconds(torch.bfloat16)
    finally:
        torch.set_num_threads(before)


def _seconds(dtype: torch.dtype) -> float:
    rows, inner, outer = SHAPE
    x, weight = torch.full((rows, inner), 0.5, dtype=dtype), torch.full((outer, inner), 0.5, dtype=dtype)
    times = []
    for _ in range(TRIES):
        start = time.perf_counter()
        torch.nn.functional.linear(x, weight)
        times.append(time.perf_counter() - start)
    return min(times)


def _stored(measure: Callable[[], float]) -> float:
    """What was measured here before, or what is measured now."""
    root = models_folder()
    path = _path(root)
    found = _read(path)
    if found is None:
        with writing(root):
            found = _read(path)  # another process may have measured meanwhile
            if found is None:
                found = measure()
                write_json(path, {"processor": _processor(), "torch": torch.__version__, "bf16_gain": found})
    return found


def _path(root: Path) -> Path:
    return root / "machine" / f"{digest([_processor(), torch.__version__])}.json"


def _read(path: Path) -> float | None:
    try:
        return float(json.loads(path.read_text())["bf16_gain"])
    except (OSError, ValueError, KeyError, TypeError):
        return None


@functools.cache
def _processor() -> str:
    """The processor's name and abilities, as far as the system says them."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    named = {line.split(":")[0].strip(): line for line in lines if line.startswith(("model name", "flags", "Features"))}
    return "; ".join(sorted(named.values())) or platform.processor() or platform.machine()
