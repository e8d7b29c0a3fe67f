"""Killed (signal 9) at any moment, what ws writes is whole or not there, and the same command ends as if undisturbed.

    WS_KILLS=200 pytest tests/runs/test_killed.py       # kills of runs in all; as many of the other commands together
    WS_KILL_MODEL=mini ...                              # of the embedded model; else of a random one at stub size
"""

from __future__ import annotations

import os
import random
import shutil
from pathlib import Path
from typing import Any

import pytest
from polars.testing import assert_frame_equal

from tests.builders.killing import killed, whole, write_model
from ws.files import SEAL, TEMPORARY, checksum, read_frame, read_json
from ws.models.adapters.adapter import Adapter
from ws.runs.ledger import read_results
from ws.runs.reader import Run, newest_run, open_run
from ws.runs.sweeps import newest_sweep
from ws.runs.whole import check_whole, recorded

pytestmark = pytest.mark.slow
KILLS = int(os.environ.get("WS_KILLS", "2"))
OTHERS = ("journal", "bake", "export", "variant")
CLOCKS = (".lock", "curve.parquet", "heal.parquet", "heal.json", "ws.json")
"""Names of files that hold seconds, or checksums of those that do."""
LATEST = 0.05  # seconds from a tick to the kill, at most


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> tuple[Run, int, int]:
    """A run of three rounds; ticks of its first round, and of the others."""
    write_model(tmp_path_factory.getbasetemp())
    out = tmp_path_factory.mktemp("undisturbed")
    ticks, later = whole("run", out, begin=1)
    return open_run(newest_run(out)), ticks - later, later


def leftovers(out: Path) -> list[Path]:
    return list(out.rglob(f"{TEMPORARY}*"))


def timeless(value: Any) -> Any:
    """JSON without how long anything took."""
    if isinstance(value, dict):
        return {name: timeless(inside) for name, inside in value.items() if name not in ("seconds", SEAL)}
    return [timeless(inside) for inside in value] if isinstance(value, list) else value


def same(a: Path, b: Path) -> bool:
    """Whether two files of runs hold the same; a heal's say how long each step took."""
    if a.suffix == ".parquet" and a.stem.startswith("heal") and not a.stem.startswith("healed"):
        assert_frame_equal(read_frame(a).drop("seconds"), read_frame(b).drop("seconds"))
        return True
    if a.name.startswith("heal") and a.suffix == ".json":
        return timeless(read_json(a)) == timeless(read_json(b))
    if a.is_dir():
        return Adapter.load(a).digest == Adapter.load(b).digest
    return checksum(a) == checksum(b)


def check_same(one: Run, other: Run, lines: int = 1) -> None:
    """Every file of every stage, the verdicts, the summary, the round to deliver, the lines of the ledger."""
    places = [name for name in recorded(one.status) if name.startswith("rounds/")]
    assert places == [name for name in recorded(other.status) if name.startswith("rounds/")]
    for name in places:
        check_whole(other.path, name, other.status)
        assert same(one.path / name, other.path / name), name
    summaries = [{k: v for k, v in run.summary.items() if k not in ("run", "seconds")} for run in (one, other)]
    assert summaries[0] == summaries[1]
    assert (one.best, one.finished) == (other.best, other.finished)
    assert read_results(other.path.parents[1]).height == lines


def test_a_run_of_three_rounds(undisturbed: tuple[Run, int, int], tmp_path: Path) -> None:
    """Each is killed in its first round, and again once the second has begun."""
    run, first, later = undisturbed
    rng = random.Random(0)
    for i in range(max(1, KILLS // 2)):
        out = tmp_path / str(i)
        moments = (rng.randint(1, first), 0), (rng.randint(1, int(0.97 * later)), 1)
        for at, begin in moments:
            assert killed("run", out, at, rng.choice([0.0, rng.uniform(0, LATEST)]), begin), (i, at, begin)
        whole("run", out)
        check_same(run, open_run(newest_run(out)))
        assert not leftovers(out)
        assert len(list((out / "runs").glob("2*"))) == 1
        shutil.rmtree(out)


def products(out: Path) -> dict[str, str]:
    """Checksums of every file under `out` by its place, but for those that say how long something took."""
    files = (path for path in out.rglob("*") if path.is_file() and path.name not in CLOCKS)
    return {str(path.relative_to(out)): checksum(path) for path in files}


@pytest.mark.parametrize("task", OTHERS)
def test_what_is_made_of_a_run(task: str, undisturbed: tuple[Run, int, int], tmp_path: Path) -> None:
    """Killed once, and the same command again."""
    run, rng = undisturbed[0], random.Random(task)

    def fresh(name: str) -> Path:
        shutil.copytree(run.path, tmp_path / name / "runs" / run.path.name)
        return tmp_path / name

    straight = fresh("straight")
    ticks, wanted = whole(task, straight)[0], products(straight)
    for i in range(max(1, KILLS // len(OTHERS))):
        out = fresh(str(i))
        at, delay = rng.randint(1, ticks), rng.choice([0.0, rng.uniform(0, LATEST)])
        killed(task, out, at, delay)
        whole(task, out)
        assert not leftovers(out)
        assert products(out) == wanted
        shutil.rmtree(out)


def test_a_sweep_killed_twice(tmp_path: Path) -> None:
    """In its first half, and again behind that; stages are counted: none was computed by two arms."""
    write_model(tmp_path)
    rng, straight = random.Random("sweep"), tmp_path / "straight"
    ticks = whole("sweep", straight)[0]
    wanted = newest_sweep(straight)
    for i in range(max(1, KILLS // 4)):
        out = tmp_path / str(i)
        for at in (rng.randint(ticks // 10, ticks // 2), rng.randint(ticks // 10, ticks // 3)):
            assert killed("sweep", out, at, rng.choice([0.0, rng.uniform(0, LATEST)])), (i, at)
        whole("sweep", out)
        found = newest_sweep(out)
        clocks = ("cpu", "run")
        assert found.table.drop(clocks).equals(wanted.table.drop(clocks))
        for one, other in zip(wanted.runs, found.runs, strict=True):
            check_same(one, other, lines=3)
        assert not leftovers(out)
        assert len(list((out / "runs").glob("2*"))) == 3
        shutil.rmtree(out)
