"""The one exception that is the user's to fix: shown as a clean message, without a traceback (exit code 2)."""

from __future__ import annotations

__all__ = ["Cancelled", "UserError"]


class UserError(Exception):
    """A mistake of the user: the message says what happened, the value seen and the way out."""


class Cancelled(Exception):
    """The user stopped a job between two steps: nothing is half done, the model is as it was."""
