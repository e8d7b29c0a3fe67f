"""Settings of an app, fixed on its command line: notebooks read `AppSettings` once; viewers cannot change them.

    settings = AppSettings.from_args(mo.cli_args().to_dict())      # in a notebook
    settings.check_prompt(text)                                    # UserError: a bound is hit, and what it is

A shared app has its model fixed, bounds on tokens, samples, prompts and queued jobs, and writes (labels, journal,
notes, training) only with --allow-write. Whatever came from a viewer (a widget's value, the URL) is data: `picked` and
`run_named` turn it into one of the offered values.
"""

from __future__ import annotations

import dataclasses
import ipaddress
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from ws.errors import UserError

__all__ = [
    "AppSettings",
    "is_loopback",
]

T = TypeVar("T")


@dataclass(frozen=True)
class AppSettings:
    """The command line of an app. Every field is an option of `ws app` and of `marimo run nbs/gates.py -- ...`."""

    model: str | None = None
    """"smollm2", "mini", a hub id, a folder or a .gguf file that the app opens on; None: the shipped example's"""
    out: Path = Path("out")
    """where runs, labels and journal pages are kept"""
    run: Path | None = None
    """the run that opens first; None takes the shipped example or the newest"""
    shared: bool = False
    """others than the person who started it may open the app: writes need allow_write"""
    allow_write: bool = False
    """viewers of a shared app may save labels and notes, write journal pages and train"""
    max_tokens: int = 256
    """tokens per completion"""
    max_samples: int = 16
    """completions per request"""
    max_prompt: int = 2000
    """characters of a prompt or a persona"""
    max_jobs: int = 4
    """jobs that run or wait at one time"""

    def __post_init__(self) -> None:
        for name in ("max_tokens", "max_samples", "max_prompt", "max_jobs"):
            if getattr(self, name) < 1:
                raise UserError(f"--{name.replace('_', '-')} must be at least 1 (got {getattr(self, name)}).")

    @classmethod
    def from_args(cls, args: Mapping[str, Any], command: Sequence[str] | None = None) -> AppSettings:
        """Settings from `mo.cli_args().to_dict()`; unknown keys belong to the notebook.

        command: the process's own command line; with a `--host` beyond loopback on it the app counts as shared.
        UserError for a value that does not fit its option.
        """
        values = {f.name: _value(f, _given(args, f.name)) for f in dataclasses.fields(cls) if _has(args, f.name)}
        words = sys.orig_argv if command is None else command
        return cls(**values | {"shared": values.get("shared", False) or not is_loopback(_host(words))})

    def to_args(self) -> list[str]:
        """The words behind `--` that `from_args` reads back; defaults are left out."""
        words = []
        for f in dataclasses.fields(self):
            value = getattr(self, f.name)
            if value != f.default:
                words.append(f"--{f.name.replace('_', '-')}" + ("" if value is True else f"={value}"))
        return words

    @property
    def writes(self) -> bool:
        """Whether labels, notes, journal pages and trainings may be stored."""
        return self.allow_write or not self.shared

    def check_write(self, what: str) -> None:
        """UserError where this app does not write. what: for example "Training" or "Saving labels"."""
        if not self.writes:
            raise UserError(f"{what} is switched off: this shared app only reads. Its owner can restart it with "
                            "--allow-write, or run your own copy.")  # fmt: skip

    def check_prompt(self, text: str) -> str:
        """The text itself. UserError where it is empty or longer than max_prompt characters."""
        if not text.strip():
            raise UserError("The prompt is empty. Write a question, or choose one of the list.")
        return self.check_length(text, "prompt")

    def check_length(self, text: str, what: str) -> str:
        """The text itself. UserError where it is longer than max_prompt characters, whatever the page lets through."""
        if len(text) > self.max_prompt:
            raise UserError(f"The {what} has {len(text)} characters, this app takes {self.max_prompt}. Shorten it.")
        return text

    def check_size(self, tokens: int = 1, samples: int = 1) -> None:
        """UserError where a request asks for more tokens per completion or more completions than this app gives."""
        asked = (("tokens per completion", tokens, self.max_tokens), ("samples", samples, self.max_samples))
        for name, wanted, most in asked:
            if not 1 <= wanted <= most:
                raise UserError(f"{wanted} {name} were asked for, this app gives 1 to {most}. Ask for fewer, or run "
                                "your own copy.")  # fmt: skip


def _has(args: Mapping[str, Any], name: str) -> bool:
    return name in args or name.replace("_", "-") in args


def _given(args: Mapping[str, Any], name: str) -> Any:
    value = args.get(name, args.get(name.replace("_", "-")))
    if isinstance(value, list | tuple):
        raise UserError(f"--{name.replace('_', '-')} was given {len(value)} times. Give it once.")
    return value


def _value(option: dataclasses.Field[Any], given: Any) -> Any:
    """One option's value; a word of the command line may already have been read as a number or a truth value."""
    name = option.name.replace("_", "-")
    if isinstance(option.default, bool):
        words = {"": True, "true": True, "1": True, "false": False, "0": False}
        if str(given).lower() not in words:
            raise UserError(f"--{name} is a switch (got {given!r}). Write --{name}, or leave it out.")
        return words[str(given).lower()]
    if isinstance(option.default, int):
        if isinstance(given, bool) or not isinstance(given, int):
            raise UserError(f"--{name} needs a whole number (got {given!r}).")
        return given
    if given == "" or isinstance(given, bool):
        raise UserError(f"--{name} needs a value.")
    return str(given) if option.name == "model" else Path(str(given))


def _host(command: Sequence[str]) -> str:
    """The value of `--host` before any `--`; marimo's own default is loopback."""
    own = list(command)[: list(command).index("--")] if "--" in command else list(command)
    for i, word in enumerate(own):
        if word == "--host" and i + 1 < len(own):
            return own[i + 1]
        if word.startswith("--host="):
            return word.partition("=")[2]
    return "127.0.0.1"


def is_loopback(host: str) -> bool:
    """Whether only this machine reaches a server on that host; a name other than localhost counts as reachable."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False
