"""What marimo does with an app's password that it should not: print it, and fail on a guess in other letters.

marimo's banner has the password in the address that it prints, so that it is in the log of whatever runs the app; and
its comparison takes ASCII alone, so that any other guess is an internal error.
"""

from __future__ import annotations

import hmac
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace

__all__ = ["banner", "compare_any_text", "same", "without_banner"]


def without_banner(words: Sequence[str]) -> list[str]:
    """A server's command line on which marimo prints no address, where the address would hold a password."""
    return [words[0], "--quiet", *words[1:]] if "--token" in words else list(words)


def banner(words: Sequence[str]) -> str | None:
    """What is printed in its place; None where marimo prints its own."""
    if "--token" not in words:
        return None
    host, port = _option(words, "--host") or "127.0.0.1", _option(words, "--port") or "2718"
    file = _option(words, "--token-password-file")
    asked = f"the password is what {file} holds" if file else "it asks for the password that it was started with"
    return f"Serving {Path(_page(words)).name} on http://{host}:{port}; {asked}."


def _page(words: Sequence[str]) -> str:
    return next((word for word in words[1:] if word.endswith(".py")), "")


def _option(words: Sequence[str], name: str) -> str | None:
    return words[words.index(name) + 1] if name in words[:-1] else None


def same(guess: str, password: str) -> bool:
    """Whether a guess is the password, in a time that says nothing of where they differ."""
    return hmac.compare_digest(*(text.encode("utf-8", "surrogatepass") for text in (guess, password)))


def compare_any_text() -> None:
    """Let marimo's login compare any two texts."""
    from marimo._server.api import auth

    auth.hmac = SimpleNamespace(new=hmac.new, compare_digest=same)  # type: ignore[assignment]
