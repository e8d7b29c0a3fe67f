"""Standard output as it is found: of another encoding, a pipe whose reader has gone, a full disk."""

from __future__ import annotations

import contextlib
import errno
import io
import os
from typing import Any, TextIO

from rich.console import Console

__all__ = ["PipedConsole", "encodable", "printable", "refusal"]

GONE = (errno.ENOSPC, errno.EDQUOT, errno.EIO)
NOT_OURS = (errno.EACCES, errno.EPERM, errno.ENAMETOOLONG, errno.ENOTDIR, errno.ELOOP, errno.EIO, errno.EROFS)
"""What a system says to a name that the user gave, or to a place that they may not read."""


class PipedConsole(Console):
    """A console that leaves it to the command line what a closed pipe means: rich's own would exit with 1."""

    def on_broken_pipe(self) -> None:
        raise BrokenPipeError


def printable(*streams: TextIO | Any) -> None:
    """Let a stream write what its encoding lacks as \\u escapes (LC_ALL=C, latin-1), in place of ending half way."""
    for stream in streams:
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def encodable(text: str, stream: TextIO) -> bool:
    """Whether a stream's encoding has every character of a text."""
    try:
        text.encode(getattr(stream, "encoding", None) or "utf-8")
    except UnicodeEncodeError:
        return False
    return True


def refusal(stream: TextIO | Any, error: OSError) -> str | None:
    """What the system refused, in words with the way out: standard output, or a file that was named.

    Empty where the reader of a pipe has gone (ws show | head), None where it is neither.
    """
    if isinstance(error, BrokenPipeError):
        _drop(stream)
        return ""
    if error.filename is None and error.errno in GONE:  # files say so themselves (ws.files.writing)
        _drop(stream)
        return f"standard output could not be written: {error.strerror}. Free some space there, or send it elsewhere."
    if error.filename is None or error.errno not in NOT_OURS:
        return None
    return f"{error.filename}: {error.strerror}. Name another place, or mend that one."


def _drop(stream: TextIO | Any) -> None:
    """Send what is still to come, and what is in the buffer, to nowhere; else the interpreter's end fails on it."""
    with contextlib.suppress(OSError, ValueError):  # a stream without a file of its own
        null = os.open(os.devnull, os.O_WRONLY)
        os.dup2(null, stream.fileno())
        os.close(null)
