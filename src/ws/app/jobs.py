"""Process-wide jobs: long work that every viewer shares, that outlives a page and never blocks a slider.

    job = JOBS.start(key, "heal at beta 1", work)     # the same key is the same job, whoever asks
    job.view()                                        # state, rows of progress, message: a snapshot
    watch(key, set_view, set_over, viewer)            # target of a mo.Thread: pushes snapshots while the viewer looks

work(tell, cancel): tell(row) reports progress, cancel is an Event that it obeys by raising ws.errors.Cancelled. It
stores its own result, atomically; a job only knows that it is done. One job runs at a time, the others wait in a queue
with an end. The worker thread lives as long as there is work.
"""

from __future__ import annotations

import atexit
import contextlib
import os
import sys
import threading
import time
import traceback
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

from ws.errors import Cancelled, UserError
from ws.models.attachments import private_copy
from ws.models.lm import LM

__all__ = ["JOBS", "Job", "Jobs", "Push", "View", "background", "watch"]

State = Literal["queued", "running", "done", "failed", "cancelled"]
Tell = Callable[[dict[str, Any]], None]
Work = Callable[[Tell, threading.Event], Any]

PATIENCE = 0.25  # seconds that a job's forward waits for whoever works on the shared model
NICER = 5  # by how much the worker thread steps back from the threads that serve viewers


@dataclass(frozen=True)
class View:
    """A job at one moment. rows: what `tell` was given; message: why it failed; seconds: since it began to run."""

    key: str
    title: str
    state: State
    stopping: bool
    rows: tuple[dict[str, Any], ...]
    message: str
    seconds: float
    version: int

    @property
    def over(self) -> bool:
        """Whether nothing more will come."""
        return self.state in ("done", "failed", "cancelled")


Push = Callable[[View], object]


class Job:
    """One piece of work under its key. Made by `Jobs.start`."""

    def __init__(self, key: str, title: str, work: Work) -> None:
        self.key, self.title, self._work = key, title, work
        self.cancelled = threading.Event()
        self._changed = threading.Condition()
        self._state: State = "queued"
        self._rows: list[dict[str, Any]] = []
        self._message, self._version = "", 0
        self._began = self._ended = 0.0

    def view(self) -> View:
        with self._changed:
            seconds = (self._ended or time.monotonic()) - self._began if self._began else 0.0
            stopping = self.cancelled.is_set() and self._state in ("queued", "running")
            return View(self.key, self.title, self._state, stopping, tuple(self._rows), self._message, seconds,
                        self._version)  # fmt: skip

    def wait(self, seconds: float, seen: int | None = None) -> View:
        """The view as soon as the job is over, or has another version than `seen`; at the latest after `seconds`."""
        with self._changed:
            self._changed.wait_for(lambda: self.view().over or seen not in (None, self._version), seconds)
        return self.view()

    def cancel(self) -> None:
        """Ask the work to stop; a job that still waits is over at once."""
        self.cancelled.set()
        with self._changed:
            if self._state == "queued":
                self._enter("cancelled", "")
            else:
                self._tick()

    def tell(self, row: dict[str, Any]) -> None:
        with self._changed:
            self._rows.append(row)
            self._tick()

    def run(self) -> None:
        """Do the work in this thread. Whatever it raises is the job's end and not the worker's."""
        with self._changed:
            if self._state != "queued":
                return
            self._began = time.monotonic()
            self._enter("running", "")
        state, message = self._outcome()
        with self._changed:
            self._ended = time.monotonic()
            self._enter(state, message)

    def _outcome(self) -> tuple[State, str]:
        try:
            self._work(self.tell, self.cancelled)
        except Cancelled:
            return "cancelled", ""
        except UserError as error:
            return "failed", str(error)
        except Exception as error:  # noqa: BLE001  a bug in the work must not end the worker; it is shown and printed
            traceback.print_exc()
            return "failed", f"{type(error).__name__}: {error}"
        return "done", ""

    def _enter(self, state: State, message: str) -> None:
        self._state, self._message = state, message
        if state not in ("queued", "running"):
            self._work = _nothing  # it holds models and frames
        self._tick()

    def _tick(self) -> None:
        self._version += 1
        self._changed.notify_all()


def _nothing(tell: Tell, cancel: threading.Event) -> None:
    """The work of a job that is over."""


class Jobs:
    """The jobs of a process. limit: how many may run or wait; keep: how many finished ones are remembered."""

    def __init__(self, limit: int = 4, keep: int = 64) -> None:
        self.limit, self.keep = limit, keep
        self._lock = threading.Lock()
        self._jobs: dict[str, Job] = {}
        self._queue: deque[Job] = deque()
        self._worker: threading.Thread | None = None
        self._closed = False

    def start(self, key: str, title: str, work: Work, limit: int | None = None, again: bool = False) -> Job:
        """The job of this key: the one that waits, runs or is done, else a new one. UserError when the queue is full.

        limit: overrides the queue's own, for an app whose command line sets it. again: what is done is done anew, for
        a result that is no longer on disk.
        """
        with self._lock:
            known = self._jobs.get(key)
            if known is not None and known.view().state in ("queued", "running", *(() if again else ("done",))):
                return known
            self._check_room(self.limit if limit is None else limit)
            job = self._jobs[key] = Job(key, title, work)
            self._queue.append(job)
            self._forget()
            if self._worker is None:
                self._worker = threading.Thread(target=self._work_off, name="ws-jobs", daemon=True)
                self._worker.start()
        return job

    def get(self, key: str) -> Job | None:
        with self._lock:
            return self._jobs.get(key)

    def cancel(self, key: str) -> None:
        """Ask the job of this key to stop; nothing happens where there is none."""
        job = self.get(key)
        if job is not None:
            job.cancel()

    def active(self) -> list[Job]:
        """Jobs that run or wait, in order."""
        with self._lock:
            return self._active()

    def close(self, seconds: float = 10.0) -> None:
        """Cancel everything and wait for the worker to end; nothing starts afterwards."""
        with self._lock:
            self._closed = True
            worker, active = self._worker, self._active()
        for job in active:
            job.cancel()
        if worker is not None and worker is not threading.current_thread():
            worker.join(seconds)

    def _active(self) -> list[Job]:
        return [job for job in self._jobs.values() if not job.view().over]

    def _check_room(self, limit: int) -> None:
        if self._closed:
            raise UserError("This process is ending and starts no more jobs. Start the app again.")
        busy = self._active()
        if len(busy) >= limit:
            titles = ", ".join(job.title for job in busy)
            raise UserError(f"{len(busy)} jobs run or wait already ({titles}), and this app takes {limit} at a time. "
                            "Wait for one of them, or cancel one.")  # fmt: skip

    def _forget(self) -> None:
        """Drop the oldest finished jobs beyond `keep`; what they made is on disk."""
        over = [key for key, job in self._jobs.items() if job.view().over]
        for key in over[: max(0, len(over) - self.keep)]:
            del self._jobs[key]

    def _work_off(self) -> None:
        _step_back()
        while True:
            with self._lock:
                if not self._queue:
                    self._worker = None
                    return
                job = self._queue.popleft()
            job.run()
            del job


def _step_back() -> None:
    """Lower this thread's priority, so that sliders come first; on Linux a thread has one of its own."""
    if sys.platform == "linux":
        with contextlib.suppress(OSError):
            os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), NICER)


JOBS = Jobs()
atexit.register(JOBS.close)


def watch(key: str, push: Push, over: Push, viewer: threading.Thread, *, jobs: Jobs = JOBS, every: float = 0.3) -> None:
    """Push the views of the jobs of a key, whoever starts them, at most every `every` seconds, while a viewer looks.

    The target of a page's mo.Thread. It ends when the cell that made it runs again (`should_exit`), and when `viewer`,
    the thread that this viewer's cells run in, has ended: a page that is closed does not set should_exit. over: called
    once for each job that ends while it is watched.
    """
    thread, seen = threading.current_thread(), None
    while viewer.is_alive() and not getattr(thread, "should_exit", False):
        job = jobs.get(key)
        view = None if job is None else job.view()
        if job is not None and view is not None and (id(job), view.version) != seen:
            push(view)
            if view.over and seen is not None:
                over(view)
            seen = id(job), view.version
        time.sleep(every)


def background(lm: LM, patience: float = PATIENCE) -> LM:
    """A private copy of `lm` for a job: the same weights, modules and a lock of its own.

    Before each forward it lets whoever holds the lock of `lm` finish, for at most `patience` seconds: a slider meets
    at most the rest of one forward of the job.
    """
    own, shared = private_copy(lm), lm.lock

    def give_way(*_: object) -> None:
        if shared.acquire(timeout=patience):
            shared.release()

    own.blocks[0].register_forward_pre_hook(give_way)
    return own
