"""Starts marimo's own command with this library imported and warmed up.

    python -m ws.app.server.main run nbs/gates.py --port 2718

The first page then need not wait for torch, nor for what it shows of the example: what takes seconds is done before the
server answers.
"""

from __future__ import annotations

import gc
import runpy
import sys
from pathlib import Path

SWITCH = 0.0005  # seconds; an output passes through three threads, each of which waits for the cell that runs next


def main() -> None:
    """Import what notebooks import, then be `python -m marimo` with the same arguments."""
    from ws.app.server.password import banner, compare_any_text, without_banner
    from ws.app.server.syntax_trees import advice, make_in_turn

    for line in filter(None, (advice(), banner(sys.argv))):
        print(line, file=sys.stderr, flush=True)
    make_in_turn()
    compare_any_text()
    sys.argv = without_banner(sys.argv)
    ready(sys.argv)
    gc.collect()
    gc.freeze()  # what is there now stays: a collection that walks through it stops every viewer for 0.3 s
    runpy.run_module("marimo", run_name="__main__", alter_sys=True)


def ready(words: list[str]) -> None:
    """Import, load and draw what the first page needs, and put our layers before marimo's. words: the command line."""
    from torch import set_num_threads
    from transformers import PreTrainedModel  # noqa: F401  imported lazily otherwise, by the first page

    from ws.app import views  # noqa: F401
    from ws.experiment.examples import shipped
    from ws.models.lm import load_model
    from ws.models.recipe import missing_weights
    from ws.reporting import charts

    for name in charts.__all__:
        getattr(charts, name)  # imported lazily otherwise, by the first page
    sys.setswitchinterval(SWITCH)
    seen_first, face = "", next(iter(shipped()))
    if "--model" not in " ".join(words):
        if missing_weights(face) is None:
            load_model(face)
        set_num_threads(1)  # on models of this size two are slower as soon as anything else runs beside them
        seen_first = warm_up(words)
    add_middleware(seen_first, words)


def add_middleware(seen_first: str, words: list[str]) -> None:
    """Put our own layers before marimo's routes; marimo sorts them by name, outermost first. seen_first: HTML; words:
    the server's command line."""
    import marimo
    from marimo._server.registry import MIDDLEWARE_REGISTRY
    from starlette.middleware import Middleware

    from ws.app.server.body_limit import BodyLimit
    from ws.app.server.first_paint import FirstPaint
    from ws.app.server.own_host import OwnHost
    from ws.app.server.security_headers import Headers
    from ws.app.server.static_files import Assets

    assets = Path(marimo.__file__).parent / "_static" / "assets"
    layers = (Middleware(OwnHost, local="--token" not in words), Middleware(Headers), Middleware(BodyLimit),
              Middleware(Assets, folder=assets), Middleware(FirstPaint, html=seen_first))  # fmt: skip
    for place, layer in enumerate(layers):
        MIDDLEWARE_REGISTRY.register(f"ws.{place}", layer)


def warm_up(words: list[str]) -> str:
    """Run this command line's notebook once, as a script, for what the library remembers of it: its first screen.

    What goes wrong in it is left to the page, which says it where it belongs: "" then, and without prompts.
    """
    from ws.app.views.first_paint import first_paint_html

    page = next((word for word in words[1:] if Path(word).suffix == ".py"), None)
    if page is None:
        return ""
    sys.argv = [page, *words[words.index("--") + 1 :]] if "--" in words else [page]
    try:
        outputs, defined = runpy.run_path(page, run_name="warm_up")["app"].run()
        return first_paint_html(outputs, defined["prompt"].value) if "prompt" in defined else ""
    except Exception as error:  # noqa: BLE001  whatever a cell raises
        print(f"{page} was not rehearsed: {error}", file=sys.stderr)
        return ""
    finally:
        sys.argv = words


if __name__ == "__main__":
    main()
