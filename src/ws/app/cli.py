"""The command line: `ws run` and the other commands of `ws.app.options.COMMANDS`.

With --json the last line of standard output is one JSON object; progress goes to standard error. Exit codes: 0 done,
2 the user's mistake or the system's refusal (one message, no traceback), 130 Ctrl-C, 1 a bug.
"""

from __future__ import annotations

import dataclasses
import inspect
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import tyro
from tyro.conf import FlagCreatePairsOff

from ws.app.options import COMMANDS, RunArgs
from ws.app.output import printable, refusal
from ws.errors import UserError
from ws.experiment.preflight import before_loading, refuse
from ws.reporting.visible import visible
from ws.runs.config import RunConfig
from ws.runs.recipes import recipe_for

__all__ = ["main"]

STORING = (["run"], ["sweep"], ["judge"])
"""Commands that keep what they finished and go on when they are called again."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and give its exit code."""
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    args = list(sys.argv[1:] if argv is None else argv)
    printable(sys.stdout, sys.stderr)
    try:
        code = _dispatch(args)
        if sys.stdout is not None:  # closed from the start: nothing is printed
            sys.stdout.flush()  # what the system refuses is told here, and not at the interpreter's end
        return code
    except UserError as error:
        print(f"ws: {visible(error)}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        kept = " What was finished is stored; the same command goes on from there." if args[:1] in STORING else ""
        print(f"ws: stopped.{kept}", file=sys.stderr)
        return 130
    except OSError as error:
        refused = refusal(sys.stdout, error)
        if refused is None:
            raise
        if refused:
            print(f"ws: {visible(refused)}", file=sys.stderr)
        return 2 if refused else 0


def _dispatch(args: list[str]) -> int:
    if args[:1] == ["--version"]:
        from ws import __version__

        print(f"ws {__version__}")
        return 0
    name = args[0] if args else ""
    if name not in COMMANDS:
        return _usage(name)
    try:
        options = _parse(name, args[1:])
    except SystemExit as stop:  # tyro's own: 0 after --help, 2 for an option it does not know
        return int(stop.code or 0)
    if isinstance(options, RunArgs) and not options.check:
        refuse(before_loading(options.config, options.out))
    from ws.app import commands  # only now: it brings torch

    action: Callable[[Any], None] = getattr(commands, name)
    action(options)
    return 0


def _usage(name: str) -> int:
    """The list of commands; a mistake unless help was asked for."""
    asked = name in ("-h", "--help", "help")
    lines = [f"  ws {command:<9}{(kind.__doc__ or '').splitlines()[0]}" for command, kind in COMMANDS.items()]
    text = "ws: steer, heal, loop.\n\n" + "\n".join(lines) + "\n\nws COMMAND --help says more."
    problem = "" if asked or not name else f"ws: there is no command {name!r}.\n\n"
    print(problem + text, file=sys.stdout if asked else sys.stderr)
    return 0 if asked else 2


def _parse(name: str, args: list[str]) -> Any:
    """The command's options. `ws run` takes its defaults from a recipe (`_recipe`)."""
    kind = COMMANDS[name]
    how: dict[str, Any] = {"prog": f"ws {name}", "description": inspect.cleandoc(kind.__doc__ or ""), "args": args}
    how["config"] = (FlagCreatePairsOff,)
    if name == "run":
        how["default"] = RunArgs(config=_recipe(args))
    return _at_home(tyro.cli(kind, **how))


def _recipe(args: Sequence[str]) -> RunConfig:
    """The defaults of `ws run` for what is named of model, recipe, method and adapter."""
    given = {name: value for name in ("method", "heal.adapter") if (value := _option(args, name)) is not None}
    own = {name.removeprefix("heal."): value for name, value in given.items()}
    return recipe_for(_option(args, "model") or "mini", _option(args, "recipe"), **own)


def _at_home(options: Any) -> Any:
    """With ~ in paths as the home folder: shells leave it in --out=~/runs, which would make a folder called "~"."""
    there = {field.name: getattr(options, field.name) for field in dataclasses.fields(options)}
    home = {name: path.expanduser() for name, path in there.items() if isinstance(path, Path)}
    return dataclasses.replace(options, **home)


def _option(args: Sequence[str], name: str) -> str | None:
    """The value of --name in args, before the real parse."""
    for i, word in enumerate(args):
        if word == f"--{name}" and i + 1 < len(args):
            return args[i + 1]
        if word.startswith(f"--{name}="):
            return word.partition("=")[2]
    return None


if __name__ == "__main__":
    sys.exit(main())
