"""Viewers who speak to the server without a browser: what they send, many at once, what a page then says."""

from __future__ import annotations

import shutil
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.builders.browser import serving
from tests.builders.records import record_changes
from tests.builders.viewer import Viewer
from ws.experiment.examples import EXAMPLE
from ws.files import read_json, write_json

pytestmark = pytest.mark.slow

AXIS = "20260101T000000Z-axis"
SEED = "20260102T000000Z-seed"
FAILED = ("Traceback", "Error", "exception was raised")
"""Words of a server's log that no viewer may bring about."""


@pytest.fixture(scope="module")
def out(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run on an axis that the app does not offer, and one of a large seed."""
    out = tmp_path_factory.mktemp("viewers")
    for name, changes in ((AXIS, {"axis": "my/own.toml"}), (SEED, {"seeds": [31337]})):
        folder = out / "runs" / name
        shutil.copytree(EXAMPLE, folder)
        write_json(folder / "config.json", read_json(folder / "config.json") | changes)
        record_changes(folder)
    return out


@pytest.fixture(scope="module")
def log(out: Path) -> Path:
    return out / "server.log"


@pytest.fixture(scope="module")
def url(out: Path, log: Path) -> Iterator[str]:
    with serving(["--model", "mini", "--out", str(out), "--max-prompt", "100"], log=log) as address:
        yield address


def finished(viewer: Viewer) -> str:
    """The whole page: three tiles, texts, no cell that failed."""
    viewer.settle()
    text = viewer.text()
    assert text.count('data-gate="') == 3, text[:2000]
    assert "baseline, c = 0" in text and "tail perplexity" in text and viewer.errors == []
    return text


def unharmed(log: Path) -> None:
    printed = log.read_text()
    assert not [word for word in FAILED if word in printed], printed[-3000:]


def test_an_emptied_number_is_said_and_is_in_no_link(url: str, log: Path) -> None:
    with Viewer(url) as viewer:
        finished(viewer)
        viewer.send(viewer.controls()["seed"], None)
        viewer.shows("seed is empty: it needs a whole number")
        assert "None" not in viewer.link.values() and viewer.link.get("seed", "0") == "0"
    unharmed(log)


def test_a_run_that_the_app_cannot_show_is_named(url: str, log: Path) -> None:
    with Viewer(url, run=AXIS, own="x" * 101) as viewer:
        text = finished(viewer)
        told = f"The run '{AXIS}' was asked for, and another is shown: its axis 'my/own.toml'"
        assert told in text.replace("&#x27;", "'")
        assert "longer than the 100 characters" in text and "x" * 101 not in text
    unharmed(log)


def test_a_run_of_any_seed_opens_with_its_tiles(url: str, log: Path) -> None:
    with Viewer(url, run=SEED) as viewer:
        text = finished(viewer)
        assert "was asked for" not in text and "seed 31337" in text
    unharmed(log)


def test_many_pages_opened_at_once_are_all_whole(url: str, log: Path) -> None:
    """Cells of all of them compile together; each has its own dose, and the texts of it."""
    failed: list[str] = []

    def look(place: int) -> None:
        try:
            with Viewer(url, c=str(place / 8)) as viewer:
                text = finished(viewer)
                assert f"c = +{place / 8:.3g}" in text
        except (AssertionError, OSError) as error:
            failed.append(f"{place}: {error}"[:500])

    viewers = [threading.Thread(target=look, args=(place,)) for place in range(1, 17)]
    for viewer in viewers:
        viewer.start()
    for viewer in viewers:
        viewer.join()
    assert failed == []
    unharmed(log)
