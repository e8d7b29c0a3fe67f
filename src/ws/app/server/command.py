"""The command line that serves a notebook as an app: where it listens, its password file, its notebook."""

from __future__ import annotations

import dataclasses
import sys
from pathlib import Path

from ws.app.access import AppSettings, is_loopback
from ws.app.page_link import run_named
from ws.errors import UserError
from ws.models.recipe import check_path

__all__ = ["app_command", "check_there", "notebook_file", "token_file"]


OTHERS = 0o077
"""Bits of a file's mode that give anything to its group or to everybody."""


def token_file(path: Path | None) -> Path:
    """The token password file that a shared app needs. UserError where none is named, it is missing or empty, nobody
    could log in with what it holds, or others may read it."""
    way_out = "Write a password into a file of your own (umask 077; openssl rand -hex 16 > ~/.ws-token) and name it: "
    way_out += "make share TOKEN=~/.ws-token, or ws app --share --token-password-file ~/.ws-token."
    if path is None:
        raise UserError(f"A shared app needs a token password file, and none was named. {way_out}")
    place = path.expanduser()
    if not place.is_file():
        raise UserError(f"There is no token password file {place}. {way_out}")
    password = place.read_text(encoding="utf-8", errors="replace").strip()
    if not password:
        raise UserError(f"The token password file {place} is empty: anybody could open the app. {way_out}")
    if not (password.isascii() and password.isprintable()):
        raise UserError(f"The password in {place} holds other than plain ASCII characters: marimo compares those only, "
                        f"and nobody could log in. {way_out}")  # fmt: skip
    if (mode := place.stat().st_mode) & OTHERS:
        raise UserError(f"The token password file {place} can be read by others (mode {mode & 0o777:o}). Close it with "
                        f"chmod 600 {place}, and choose another password where somebody may have read it.")  # fmt: skip
    return place


def check_there(settings: AppSettings, notebook: str = "gates") -> None:
    """UserError for a model or a run that is named and is not there, before anything is served.

    A model that is there and cannot be loaded, and a hub id, are told of on the page.
    """
    if settings.model is not None:
        check_path(settings.model)
    if settings.run is None or notebook != "gates":
        return
    from ws.experiment.examples import EXAMPLES

    if settings.run.name not in {path.name for path in EXAMPLES.values()}:
        run_named(settings.out, settings.run.name)


def notebook_file(name: str) -> Path:
    """nbs/<name>.py of the checkout that ws is installed from, else of this folder. UserError: in neither."""
    places = [Path(__file__).parents[4] / "nbs", Path("nbs")]
    known = {p.stem: p for folder in reversed(places) for p in folder.glob("*.py")}
    if name not in known:
        raise UserError(f"There is no notebook {name!r} (known: {', '.join(sorted(known)) or 'none'}). Notebooks are "
                        "in the repository's nbs/: run `ws app` from a checkout.")  # fmt: skip
    return known[name]


def app_command(
    settings: AppSettings,
    *,
    notebook: str = "gates",
    host: str | None = None,
    port: int = 2718,
    share: bool = False,
    password: Path | None = None,
    headless: bool = False,
) -> list[str]:
    """The `marimo run` command line of an app. UserError: beyond loopback without a token password file, no notebook,
    no such model or run.

    marimo itself asks for no token: a server that others reach gets it here. Headers come from `ws.app.server.main`;
    what a proxy has to add is in docs/sharing.md.
    """
    check_there(settings, notebook)
    place = host or ("0.0.0.0" if share else "127.0.0.1")
    shared = share or not is_loopback(place)
    words = [sys.executable, "-m", "ws.app.server.main", "run", str(notebook_file(notebook))]
    words += ["--host", place, "--port", str(port)]
    if shared or password is not None:
        words += ["--token", "--token-password-file", str(token_file(password))]
    if shared or headless or password is not None:  # marimo opens a browser on an address with the password in it
        words.append("--headless")
    return [*words, "--", *dataclasses.replace(settings, shared=shared or settings.shared).to_args()]
