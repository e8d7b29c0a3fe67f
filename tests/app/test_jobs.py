"""Jobs: one per key whoever asks, cancelled, failed and bounded with words, no thread or hook left behind."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from polars.testing import assert_frame_equal

from tests.builders.small_runs import ending_lm
from ws.app.jobs import Jobs, Tell, View, background, watch
from ws.errors import Cancelled, UserError
from ws.evaluation.prompt_cache import forget_prefixes, prefix
from ws.generation.completions import generate
from ws.healing.config import HealConfig
from ws.healing.training import heal
from ws.steering.direction import Direction

SOON = 20.0  # seconds within which anything below has long happened


@pytest.fixture
def jobs() -> Iterator[Jobs]:
    made = Jobs(limit=3)
    yield made
    made.close(SOON)


class Gate:
    """Work that waits for a gate, counts its runs and stops when it is told to."""

    def __init__(self) -> None:
        self.open, self.began, self.runs = threading.Event(), threading.Event(), 0

    def __call__(self, tell: Tell, cancel: threading.Event) -> None:
        self.runs += 1
        self.began.set()
        tell({"step": 0})
        while not self.open.wait(0.01):
            if cancel.is_set():
                raise Cancelled("stopped")
        tell({"step": 1})


def until(holds: Callable[[], bool]) -> None:
    end = time.monotonic() + SOON
    while not holds():
        assert time.monotonic() < end, "it did not happen"
        time.sleep(0.01)


def test_one_key_is_one_job_whoever_asks(jobs: Jobs) -> None:
    work, found = Gate(), []
    askers = [threading.Thread(target=lambda: found.append(jobs.start("k", "t", work))) for _ in range(8)]
    for asker in askers:
        asker.start()
    for asker in askers:
        asker.join()
    assert len({id(job) for job in found}) == 1
    work.open.set()
    assert found[0].wait(SOON).state == "done"
    assert jobs.start("k", "t", work) is found[0], "what is done is not done again"
    assert work.runs == 1
    assert [row["step"] for row in found[0].view().rows] == [0, 1]


def test_cancel_running_and_waiting(jobs: Jobs) -> None:
    first, second = Gate(), Gate()
    running, waiting = jobs.start("a", "a", first), jobs.start("b", "b", second)
    assert first.began.wait(SOON)
    assert waiting.view().state == "queued"
    waiting.cancel()
    assert waiting.view().state == "cancelled"
    running.cancel()
    assert running.wait(SOON).state == "cancelled"
    until(lambda: not jobs.active())
    assert second.runs == 0
    again = jobs.start("a", "a", first)
    assert again is not running, "a cancelled job can be started again"
    first.open.set()
    assert again.wait(SOON).state == "done"


@pytest.mark.parametrize(
    ("error", "message"),
    [(UserError("starvation: 3 rows"), "starvation: 3 rows"), (ZeroDivisionError("oh"), "ZeroDivisionError: oh")],
)
def test_a_failure_is_kept_with_its_message(jobs: Jobs, error: Exception, message: str) -> None:
    def work(tell: Tell, cancel: threading.Event) -> None:
        tell({"step": 0})
        raise error

    view = jobs.start("k", "t", work).wait(SOON)
    assert (view.state, view.message, len(view.rows)) == ("failed", message, 1)
    good = Gate()
    good.open.set()
    assert jobs.start("k", "t", good).wait(SOON).state == "done", "after a failure the same key starts again"


def test_the_queue_has_an_end_and_says_so(jobs: Jobs) -> None:
    work = Gate()
    for i in range(3):
        jobs.start(str(i), f"title {i}", work)
    with pytest.raises(UserError, match=r"3 jobs run or wait already \(title 0, title 1, title 2\).*takes 3"):
        jobs.start("more", "more", work)
    with pytest.raises(UserError, match="takes 1"):
        jobs.start("more", "more", work, limit=1)
    assert jobs.start("1", "title 1", work).title == "title 1", "who joins a job needs no room"
    jobs.active()[-1].cancel()
    jobs.start("more", "more", work)
    work.open.set()
    until(lambda: not jobs.active())


def test_the_worker_ends_with_the_work_and_old_jobs_are_forgotten() -> None:
    jobs, before = Jobs(limit=99, keep=2), threading.active_count()
    work = Gate()
    work.open.set()
    for i in range(6):
        jobs.start(str(i), "t", work).wait(SOON)
    until(lambda: threading.active_count() == before)
    assert jobs.get("0") is None and jobs.get("5") is not None
    jobs.close()
    with pytest.raises(UserError, match="starts no more"):
        jobs.start("x", "x", work)


class Watcher(threading.Thread):
    """As a mo.Thread: its cell can tell it to end. Its viewer is another thread, which lives until it leaves."""

    should_exit = False

    def __init__(self, jobs: Jobs, over: Callable[[View], object] = lambda view: None) -> None:
        self.seen: list[View] = []
        self.leave = threading.Event()
        self.viewer = threading.Thread(target=self.leave.wait)
        self.viewer.start()
        often = {"jobs": jobs, "every": 0.01}
        super().__init__(target=watch, args=("k", self.seen.append, over, self.viewer), kwargs=often)
        self.start()


def test_watch_pushes_every_change_of_whoevers_job(jobs: Jobs) -> None:
    work, ended = Gate(), []
    watcher = Watcher(jobs, ended.append)  # it was there before the job
    jobs.start("k", "t", work)
    until(lambda: any(view.rows for view in watcher.seen))
    assert not ended
    work.open.set()
    until(lambda: bool(ended))
    assert watcher.seen[-1].state == "done" and [row["step"] for row in watcher.seen[-1].rows] == [0, 1]
    assert [view.version for view in watcher.seen] == sorted({view.version for view in watcher.seen})
    again = jobs.start("k", "t", work, again=True)
    until(lambda: len(ended) == 2)
    assert again.view().state == "done" and work.runs == 2
    watcher.leave.set()
    watcher.join(SOON)
    assert not watcher.is_alive()


@pytest.mark.parametrize("how", ["the page is closed", "the cell runs again"])
def test_a_viewer_that_leaves_stops_its_watcher_and_not_the_job(jobs: Jobs, how: str) -> None:
    work = Gate()
    job = jobs.start("k", "t", work)
    watcher = Watcher(jobs)
    until(lambda: bool(watcher.seen))
    if how == "the page is closed":
        watcher.leave.set()
    else:
        watcher.should_exit = True
    watcher.join(SOON)
    watcher.leave.set()
    assert not watcher.is_alive() and job.view().state == "running"
    other = Watcher(jobs)
    work.open.set()
    until(lambda: bool(other.seen) and other.seen[-1].state == "done")
    assert len(other.seen[-1].rows) == 2, "whoever comes back sees all of it"
    other.leave.set()
    other.join(SOON)


def test_the_process_ends_while_a_job_runs() -> None:
    code = (
        "import time\nfrom ws.errors import Cancelled\nfrom ws.app.jobs import JOBS\n"
        "def work(tell, cancel):\n"
        "    if not cancel.wait(60): raise SystemExit('not told')\n"
        "    print('told to stop', flush=True)\n    raise Cancelled('x')\n"
        "JOBS.start('k', 't', work); time.sleep(0.2); print('leaving', flush=True)"
    )
    env = os.environ | {"PYTHONPATH": str(Path(__file__).parents[2] / "src")}
    done = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True, timeout=100)
    assert (done.returncode, done.stdout.split("\n")[:2]) == (0, ["leaving", "told to stop"]), done.stderr


# The model


def direction() -> Direction:
    lm = ending_lm()
    return Direction({1: torch.ones(lm.d_model)}, "mean_diff", lm.fingerprint)


def hooks(lm: Any) -> int:
    return sum(len(m._forward_hooks) + len(m._forward_pre_hooks) for m in lm.model.modules())


def test_two_viewers_see_what_a_direct_call_gives_while_a_job_trains(jobs: Jobs) -> None:
    lm, v = ending_lm(), direction()
    prompts = [f"May I {i}?" for i in range(3)]
    ask: dict[str, Any] = {"prompts": prompts, "direction": v, "max_new_tokens": 8}
    wanted = {(c, seed): generate(lm, c=[0.0, c], seed=seed, **ask) for c, seed in ((0.7, 0), (-1.5, 3))}
    kept = generate(lm, [f"Say {i}?" for i in range(8)], v, [0.5], seed=1, max_new_tokens=8)
    before, weights, wrong = hooks(lm), lm.fingerprint, []

    def work(tell: Tell, cancel: threading.Event) -> None:
        heal(background(lm), kept, HealConfig(min_rows=4, epochs=400, batch=4), on_progress=tell, cancel=cancel)

    job = jobs.start("train", "train", work)
    until(lambda: bool(job.view().rows))

    def viewer(c: float, seed: int) -> None:
        for _ in range(5):
            found = generate(lm, c=[0.0, c], seed=seed, **ask)
            try:
                assert_frame_equal(found, wanted[c, seed])
            except AssertionError as error:
                wrong.append(str(error))

    viewers = [threading.Thread(target=viewer, args=key) for key in wanted]
    for thread in viewers:
        thread.start()
    for thread in viewers:
        thread.join()
    assert job.view().state == "running", "the training must outlast the viewers, or this shows nothing"
    job.cancel()
    assert job.wait(SOON).state == "cancelled"
    assert not wrong
    assert hooks(lm) == before and lm.fingerprint == weights


def test_a_job_gives_way_to_whoever_holds_the_model_and_not_for_ever() -> None:
    lm = ending_lm()
    own = background(lm, patience=0.2)
    ids = torch.tensor([own.prompt_ids("May I?")])
    steps: list[float] = []

    def forward() -> None:
        with torch.inference_mode():
            own.model(input_ids=ids)
        steps.append(time.monotonic())

    thread = threading.Thread(target=forward)
    with lm.lock:
        thread.start()
        time.sleep(0.05)
        assert not steps, "it waits while a viewer works"
        thread.join(SOON)
        assert steps, "but not for ever"
    assert own.lock is not lm.lock and own.fingerprint == lm.fingerprint
    assert own.model.get_input_embeddings().weight.data_ptr() == lm.model.get_input_embeddings().weight.data_ptr()


def test_what_is_remembered_of_one_copy_runs_on_the_other() -> None:
    """The prompts' caches are shared by weights; a hook on one copy must be met by what that copy reads."""
    lm, rows = ending_lm(), [ending_lm().prompt_ids("May I?")]
    forget_prefixes()
    own = background(lm)
    assert prefix(own, rows, pristine=True).lm is own
    found = prefix(lm, rows, pristine=True)
    assert found.lm is lm and found.fork().lm is lm
    forget_prefixes()
