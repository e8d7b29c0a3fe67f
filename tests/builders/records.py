"""The record of a run whose files a test has changed: it says again what the folder holds."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ws.runs.whole import read_status, record_again, write_status


def record_changes(folder: Path, **status: Any) -> None:
    """Take the files as they are now, and these values of status.json, for what the run wrote."""
    write_status(folder, read_status(folder) | status)
    record_again(folder)
