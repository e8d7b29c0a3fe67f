"""One flipped bit anywhere in any file that a run leaves: it is named, or without effect; never another number.

    WS_DRAWS=500 pytest tests/runs/test_damage.py -k many      # how many flips the slow test draws; 100 by itself
"""

from __future__ import annotations

import io
import os
import random
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from rich.console import Console

from tests.builders.records import record_changes
from ws.app.views.labels import read_labels, save_label
from ws.errors import UserError
from ws.experiment.examples import EXAMPLE
from ws.models.adapters.adapter import Adapter
from ws.reporting.journal import page_of
from ws.reporting.journal.entry import entry_of
from ws.reporting.terminal import print_run, print_samples
from ws.runs.heal_variants import variant_gate, variants_of
from ws.runs.ledger import append_result, read_results
from ws.runs.reader import Run, open_run
from ws.runs.summary import gates_of, ledger_row
from ws.runs.whole import check_in_run
from ws.steering.direction import Direction

FEW, MANY = 40, int(os.environ.get("WS_DRAWS", "100"))
VARIANTS = 1  # of the example's; the others are like it


@pytest.fixture(scope="module")
def out(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run with everything that a run can have, its line in the ledger, and what was taken out of it."""
    out = tmp_path_factory.mktemp("out")
    run = out / "runs" / "run"
    shutil.copytree(EXAMPLE, run)
    for folder in sorted((run / "rounds/0/stops").iterdir())[VARIANTS:]:
        shutil.rmtree(folder)
    record_changes(run, records={})
    done = open_run(run)
    done.note(1, "as I would say")
    save_label(done, done.marked().row(0, named=True), coherent=True, acts="enacts")
    append_result(out, ledger_row(done, done.summary))
    done.get("direction.safetensors").save(out / "direction.safetensors")
    done.get("adapter").save(out / "adapter")
    return out


def shown(out: Path) -> str:
    run, text = open_run(out / "runs/run"), io.StringIO()
    console = Console(file=text, width=144)
    print_run(run, console)
    print_samples(run, 1, console)
    return text.getvalue() + repr(run.summary)


def judged(out: Path) -> str:
    run = open_run(out / "runs/run")
    return repr([gates_of(run), run.gates(0), run.best, run.rounds, run.finished])


def entered(out: Path) -> str:
    run = open_run(out / "runs/run")
    return page_of(run) + entry_of(run, "page.html")


def delivered(out: Path) -> str:
    """What bake, export and steer read."""
    run = open_run(out / "runs/run")
    found = [run.get("adapter", run.best), Adapter.load(out / "adapter")]
    told = [(a.digest, a.fingerprint, a.meta, a.curve.rows(), sorted(a.config.to_dict().items(), key=str))
            for a in found]  # fmt: skip
    places = [out / "direction.safetensors", out / "runs/run/rounds/0/direction.safetensors"]
    read = [Direction.load(check_in_run(place)) for place in places]
    return repr([told, [(v.layers, v.method, v.fingerprint, v.meta) for v in read], run.config])


def varied(out: Path) -> str:
    run = open_run(out / "runs/run")
    found = variants_of(run)
    told = [(v.settings, v.facts, v.curve.rows(), v.arm.rows(), v.drift.rows(), v.text.rows(), v.cost) for v in found]
    return repr([told, [variant_gate(run, v) for v in found], [v.adapter.digest for v in found]])


def said(out: Path) -> str:
    run: Run = open_run(out / "runs/run")
    return repr([run.notes(), read_labels(run).rows(), read_results(out).rows(), run.env, run.axis])


QUICK: dict[str, Callable[[Path], str]] = {
    "gates": judged, "bake, export, steer": delivered, "notes, labels, results": said,
}  # fmt: skip
BY_TURNS: dict[str, Callable[[Path], str]] = {"show": shown, "variants": varied}


def flip(path: Path, rng: random.Random) -> bytes:
    """One bit of one byte, in a new file of that name: the old one may still be mapped. What was there before."""
    before = path.read_bytes()
    raw = bytearray(before)
    raw[rng.randrange(len(raw))] ^= 1 << rng.randrange(8)
    put(path, bytes(raw))
    return before


def put(path: Path, raw: bytes) -> None:
    path.with_name("new").write_bytes(raw)
    path.with_name("new").replace(path)


def check(out: Path, draws: int, seed: int) -> int:
    """Flip, read, put back, `draws` times over all files; how often a reader named the file."""
    rng, named = random.Random(seed), 0
    wanted = {name: read(out) for name, read in (QUICK | BY_TURNS).items()}
    files = sorted(path for path in out.rglob("*") if path.is_file() and path.name != ".lock")
    for i in range(draws):
        path = files[i % len(files)]
        before, told = flip(path, rng), False
        slow = list(BY_TURNS)[(i + i // len(files)) % 2]  # each file meets both
        for name, read in (QUICK | {slow: BY_TURNS[slow]}).items():
            try:
                assert read(out) == wanted[name], f"draw {i}: {path.relative_to(out)} changes what {name} says"
            except UserError as error:
                told = True
                assert any(part in str(error) for part in (path.name, path.parent.name)), (path, error)
        put(path, before)
        named += told
    return named


def test_one_flipped_bit_is_named_or_without_effect(out: Path) -> None:
    assert check(out, FEW, 0) > FEW / 2  # not every reader meets every file


@pytest.mark.slow
def test_many_flipped_bits(out: Path) -> None:
    assert check(out, MANY, 1) > MANY / 2


@pytest.mark.slow
def test_flipped_bits_and_the_journal(out: Path) -> None:
    rng, wanted = random.Random(2), entered(out)
    files = sorted(path for path in (out / "runs").rglob("*") if path.is_file() and "stops" not in path.parts)
    for path in rng.sample(files, 15):
        before = flip(path, rng)
        try:
            assert entered(out) == wanted, path
        except UserError as error:
            assert any(part in str(error) for part in (path.name, path.parent.name)), (path, error)
        put(path, before)
