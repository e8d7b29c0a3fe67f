"""One thread at a time makes a syntax tree, on the versions of CPython 3.11 where two at once fail.

Before 3.11.8 all threads of a process share one counter of a tree's depth; where another thread comes in between (a
garbage collection lets it), the tree of a correct text ends in "SystemError: AST constructor recursion depth mismatch"
(CPython issue 106905). marimo makes trees whenever a page is opened: a new viewer, while others' cells were compiled,
was answered by an error or by an empty page. A newer 3.11 needs none of this.
"""

from __future__ import annotations

import ast
import functools
import sys
import threading
from collections.abc import Callable
from typing import Any

__all__ = ["advice", "affected", "in_turn", "make_in_turn"]

MENDED = (3, 11, 8)
_TURN = threading.RLock()  # a finaliser that runs meanwhile may parse too


def affected(version: tuple[int, ...] = sys.version_info[:3]) -> bool:
    return (3, 11) <= version < MENDED


def advice(version: tuple[int, ...] = sys.version_info[:3]) -> str | None:
    """One line for who starts the app on such a version; None on another."""
    if not affected(version):
        return None
    return (
        f"Python {'.'.join(map(str, version))} fails at times where several threads parse code (mended in 3.11.8): the "
        "app lets its viewers' pages parse one after the other. Python 3.11.8 or later needs no such turn."
    )


def in_turn(make: Callable[..., Any]) -> Callable[..., Any]:
    """The same function, which waits for whoever makes a tree."""

    @functools.wraps(make)
    def waiting(*args: Any, **options: Any) -> Any:
        with _TURN:
            return make(*args, **options)

    return waiting


def make_in_turn() -> None:
    """Every tree of this process, by `ast.parse` and by marimo's own compiler, where the version is affected."""
    if not affected():
        return
    from marimo._ast import compiler

    ast.parse = in_turn(ast.parse)
    compiler.ast_compile = in_turn(compiler.ast_compile)
