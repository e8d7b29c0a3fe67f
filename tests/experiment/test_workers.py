"""Stages side by side: the numbers of one process, no process left behind, nothing lost."""

from __future__ import annotations

import dataclasses
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from polars.testing import assert_frame_equal

from ws.errors import Cancelled, UserError
from ws.experiment import workers
from ws.experiment.loop import run
from ws.experiment.progress import Event
from ws.experiment.workers import workers_for
from ws.healing.config import HealConfig
from ws.runs.config import ControlConfig, DataConfig, DoseConfig, EvalConfig, RunConfig
from ws.runs.reader import Run, newest_run, open_run
from ws.runs.recipes import mini_full, mini_quick

ROOT = Path(__file__).parents[2]
CONFIG = RunConfig(
    dose=DoseConfig(grid=(1.0,), bisect=0, texts=8, per_foundation=2, random_draws=1),
    data=DataConfig(doses=(1.0,), prompts=12, keep=8, finished=False, tail_ppl=1e9),
    heal=HealConfig(min_rows=4, epochs=1),
    evaluation=EvalConfig(texts=8, per_foundation=2, think=0, exam=4, self_violate=False),
    controls=ControlConfig(sft=False, prompted=False, engineered=False),
    seeds=(0, 1),
    max_new_tokens=24,
    threads=1,
)


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> Run:
    return run(CONFIG, out=tmp_path_factory.mktemp("alone"))


def same_numbers(a: Run, b: Run) -> None:
    for name in ("dose", "grid", "arms", "completions", "drift"):
        assert_frame_equal(a.frame(name), b.frame(name))
    assert_frame_equal(a.frame("heal").drop("seconds"), b.frame("heal").drop("seconds"))
    keys = [{name: stage["key"] for name, stage in r.status["stages"].items()} for r in (a, b)]
    assert keys[0] == keys[1]
    assert a.gates() == b.gates()


def test_two_workers_compute_what_one_process_does(alone: Run, tmp_path: Path) -> None:
    heard: list[Event] = []
    shared: set[Path] = set()

    def listen(event: Event) -> None:
        heard.append(event)
        shared.update(path.parent for path in (tmp_path / "runs").rglob(".tmp-*-bases"))

    both = run(CONFIG, listen, out=tmp_path, workers=2)
    assert shared == {both.path} and not list(tmp_path.rglob(".tmp-*"))
    same_numbers(alone, both)
    assert both.finished
    ended = {event.stage for event in heard if event.total and event.done >= event.total}
    assert {"direction", "dose search", "base", "steer", "data", "heal", "heal.seed1", "sft_base", "drift"} <= ended
    again = run(CONFIG, out=tmp_path)
    assert again.path == both.path, "workers are no part of what a run is"


def test_a_finished_run_is_found_again_without_workers(alone: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ws.experiment.loop.WorkerPool", lambda *_: pytest.fail("workers were started for nothing"))
    assert run(CONFIG, out=alone.path.parent.parent, workers=2).path == alone.path


@pytest.mark.slow
def test_a_cancelled_pool_leaves_its_record_and_no_process(tmp_path: Path) -> None:
    stop = threading.Event()

    def listen(event: Event) -> None:
        if event.stage == "heal":
            stop.set()

    with pytest.raises(Cancelled):
        run(CONFIG, listen, out=tmp_path, cancel=stop, workers=2)
    record = open_run(newest_run(tmp_path)).status
    assert record["state"] == "interrupted"
    assert "0/data" in record["stages"] and "0/heal" not in record["stages"]
    assert not _workers_of(os.getpid())


def _workers_of(parent: int) -> list[int]:
    """Spawned processes below `parent` (0: anywhere), which is all that a pool leaves if it leaves anything."""
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            words = (entry / "cmdline").read_bytes().split(b"\0")
            above = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
        except (OSError, ValueError):
            continue
        if any(b"spawn_main" in word for word in words) and parent in (0, above):
            found.append(int(entry.name))
    return found


SCRIPT = """
import signal
import sys
from pathlib import Path
from tests.experiment.test_workers import CONFIG
from ws.experiment.loop import run

if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background jobs do not hear Ctrl-C
    run(CONFIG, lambda e: print(e.stage, flush=True), out=Path(sys.argv[1]), workers=2)
"""


@pytest.mark.slow
@pytest.mark.parametrize(("how", "code"), [(signal.SIGKILL, -signal.SIGKILL), (signal.SIGINT, 1)])
def test_workers_end_with_the_process_that_started_them(
    how: signal.Signals, code: int, alone: Run, tmp_path: Path
) -> None:
    script = tmp_path / "script.py"
    script.write_text(SCRIPT)
    path = os.pathsep.join([str(ROOT / "src"), str(ROOT)])
    process = subprocess.Popen(
        [sys.executable, str(script), str(tmp_path / "out")], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        env=os.environ | {"PYTHONPATH": path}, start_new_session=True,
    )  # fmt: skip
    assert process.stdout is not None
    for line in process.stdout:
        if line.startswith("heal"):
            break
    workers = _workers_of(process.pid)
    assert len(workers) == 2
    if how == signal.SIGINT:
        os.killpg(process.pid, how)  # as a terminal does: the workers are sent it, too
    else:
        process.send_signal(how)
    error = process.communicate(timeout=60)[1]
    assert process.returncode == code or "KeyboardInterrupt" in error, error
    assert "SpawnProcess" not in error
    end = time.monotonic() + 30
    while set(workers) & set(_workers_of(0)) and time.monotonic() < end:
        time.sleep(0.1)
    assert not set(workers) & set(_workers_of(0))
    if how == signal.SIGKILL:
        assert open_run(newest_run(tmp_path / "out")).status["state"] == "running"
        same_numbers(alone, run(CONFIG, out=tmp_path / "out"))
    assert not list((tmp_path / "out").rglob(".tmp-*")), "what the workers shared is gone"


@pytest.mark.slow
def test_a_worker_that_is_killed_is_an_error_that_says_so(tmp_path: Path) -> None:
    def listen(event: Event) -> None:
        if event.stage == "heal":
            for worker in _workers_of(os.getpid())[:1]:
                os.kill(worker, signal.SIGKILL)

    with pytest.raises(UserError, match=r"worker process ended .* --workers 1"):
        run(CONFIG, listen, out=tmp_path, workers=2)
    assert not _workers_of(os.getpid())
    assert open_run(newest_run(tmp_path)).status["state"] == "failed"


@pytest.mark.slow
def test_starvation_lets_the_stages_beside_it_end_and_is_judged(tmp_path: Path) -> None:
    strict = dataclasses.replace(CONFIG, data=dataclasses.replace(CONFIG.data, tail_ppl=1.0), seeds=(0,))
    with pytest.raises(UserError, match=r"0 of 12 completions pass, 4 are needed"):
        run(strict, out=tmp_path, workers=2)
    failed = open_run(newest_run(tmp_path))
    assert failed.status["state"] == "failed"
    assert [gate.gate for gate in failed.gates()] == [0, 1, 2]
    assert {"0/unsteered", "0/steer", "0/random"} <= set(failed.status["stages"])


@pytest.mark.slow
def test_a_search_without_a_coherent_dose_is_stored_and_judged(tmp_path: Path) -> None:
    """As one process does: the next try finds the search, and the gates say why there is none."""
    strict = dataclasses.replace(CONFIG, dose=dataclasses.replace(CONFIG.dose, grid=(30.0,), topic=0.0))
    for _ in range(2):
        heard: list[Event] = []
        with pytest.raises(UserError, match="No dose is coherent"):
            run(strict, heard.append, out=tmp_path, workers=2)
    record = open_run(newest_run(tmp_path))
    assert "0/dose" in record.status["stages"] and record.rounds == 1
    assert [gate.outcome for gate in record.gates() if gate.gate == 1] == ["too strong"]
    assert not [event for event in heard if event.stage == "dose search" and 0 < event.done < event.total]


def test_another_axis_than_the_runs_is_refused() -> None:
    with pytest.raises(UserError, match=r"another axis \(a\) than the run has \(b\)"):
        workers._check({"axis": "a", "threads": 1}, {"axis": "b", "threads": 1})


def test_how_many_workers_suit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(16)), raising=False)
    assert workers_for(mini_quick()) == workers_for(mini_full()) == 4
    assert workers_for(dataclasses.replace(mini_quick(), threads=None)) == 1
    assert workers_for(dataclasses.replace(mini_quick(), model="Qwen/Qwen3-0.6B")) == 1
    assert workers_for(dataclasses.replace(mini_quick(), device="cuda")) == 1
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0}, raising=False)
    assert workers_for(mini_quick()) == 1
    with pytest.raises(UserError, match="workers must be 1 or more"):
        run(CONFIG, workers=0)
