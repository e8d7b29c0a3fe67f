"""Debounce: redraw a slow chart once the slider has rested for 0.35 s."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any

__all__ = ["REST", "debounced"]

REST = 0.35  # seconds; a held arrow key repeats every 0.03


def debounced(push: Callable[[Any], object], value: Any, rest: float = REST) -> None:
    """Push a control's value once it has stood still for `rest` seconds.

    The target of the mo.Thread of a cell that runs at every move: running again tells the thread before to exit.
    """
    time.sleep(rest)
    if not getattr(threading.current_thread(), "should_exit", False):
        push(value)
