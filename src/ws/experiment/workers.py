"""Worker processes that share the stages of one run, each with the same model in memory.

    with WorkerPool(2, config, folder.path) as pool:   # they begin to load the model
        pool.play(round)                  # every stage of the round; the numbers are those of one process

A worker reads and writes the files of its stage. The record is written by the process that holds the run's lock, which
only hands out stages and listens. Workers end with that process, however it ends: they wait for the end of a pipe that
it alone can write to.
"""

from __future__ import annotations

import functools
import multiprocessing
import os
import shutil
import signal
import threading
from collections.abc import Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import torch

from ws.axes.axis import Axis, load_axis
from ws.errors import UserError
from ws.evaluation.base_cache import share_bases
from ws.evaluation.instrument import instrument_from
from ws.experiment.context import RunContext
from ws.experiment.identity import identity_of, load_configured
from ws.experiment.progress import Event, Listener
from ws.experiment.rounds import Call, Round
from ws.files import temporary_of, writing
from ws.models.lm import LM
from ws.models.recipe import recipe_of
from ws.runs.artifacts import load
from ws.runs.config import RunConfig
from ws.runs.writer import RunFolder

__all__ = ["WorkerPool", "workers_for", "workers_on"]

MOST = 4  # of the stages of a round with one seed, no more than four can run side by side
Done = tuple[dict[str, Any], UserError | None]
"""What a worker comes home with: the records of the stages that it finished, and what ended it before its last."""
TICK = 0.1  # seconds between two looks at progress and at the wish to stop


def workers_for(config: RunConfig) -> int:
    """How many processes suit: one per core where a small model runs on the CPU with one thread, else one."""
    on_cpu = config.device == "cpu" or (config.device is None and not torch.cuda.is_available())
    small = recipe_of(config.model).one_thread and config.threads == 1
    return min(MOST, _cores()) if on_cpu and small else 1


def workers_on(lm: LM) -> int:
    """How many processes suit work beside a model that is loaded here, each with its own copy."""
    return min(MOST, _cores()) if lm.recipe.one_thread and lm.device.type == "cpu" else 1


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


class WorkerPool:
    """The workers of a run. They start to load the model when they are made. folder: the run's, under its lock."""

    def __init__(self, workers: int, config: RunConfig, folder: Path) -> None:
        context = multiprocessing.get_context("spawn")  # polars and torch have threads: a fork would hang
        self.workers = workers
        self.events = context.SimpleQueue()
        end, self.hold = context.Pipe(duplex=False)
        # what one worker measured of the base serves the others; of a run that is killed the next start sweeps it
        self.bases = temporary_of(folder / "bases")
        with writing(self.bases):
            self.bases.mkdir()
        given = config, self.events, end, self.bases
        self.pool = ProcessPoolExecutor(workers, context, _begin, given)
        with _ignoring_sigint():
            for _ in range(workers):
                self.pool.submit(_load)  # what goes wrong in there goes wrong again in the first stage, which says it
        end.close()

    def __enter__(self) -> WorkerPool:
        return self

    def __exit__(self, *_: object) -> None:
        """End the workers at once; what they had not finished leaves nothing that a reader would see."""
        self.hold.close()
        self.pool.shutdown(wait=True, cancel_futures=True)
        shutil.rmtree(self.bases, ignore_errors=True)

    def play(self, round: Round) -> None:
        """All stages of the round up to its table, each as soon as those that it reads are there.

        A UserError lets the stages that run beside it end before it is raised.
        """
        waiting, running, failed = round.calls(), dict[Future[Done], str](), None
        with _worker_death_as_error():
            while waiting or running:
                self._hand_out(round, waiting, running)
                for done in self._next(running, round.context):
                    del running[done]
                    error = _taken(done, round.context)
                    failed = failed or error
                    if failed is not None:
                        waiting.clear()
        if failed is not None:
            raise failed

    def _hand_out(self, round: Round, waiting: dict[str, Call], running: dict[Future[Done], str]) -> None:
        """Give idle workers the first stages that wait for no other."""
        context, folder, busy = round.context, round.context.folder, {*waiting, *running.values()}
        ready = [name for name in waiting if not busy & set(round.after(name))]
        for name in ready[: self.workers - len(running)]:
            given = context.identity, folder.path, folder.status, folder.reuse_from, round.number, waiting.pop(name)
            with _ignoring_sigint():
                running[self.pool.submit(_perform, *given)] = name
        names = ", ".join(f"{round.number}/{name}" for name in running.values())
        folder.write_status(state="running", stage=names)

    def _next(self, running: dict[Future[Done], str], context: RunContext) -> list[Future[Done]]:
        """The stages that end next; until then events are passed on. Cancelled when the run was told to stop."""
        while True:
            ended = wait(running, TICK, FIRST_COMPLETED).done
            while not self.events.empty():
                _tell(context.listen, self.events.get())
            context.check()
            if ended:
                return list(ended)


def _taken(done: Future[Done], context: RunContext) -> UserError | None:
    """Record what a worker finished; the error that it came home with."""
    try:
        records, error = done.result()
    except UserError as failed:  # before its first stage
        return failed
    context.folder.take(records)
    return error


def _tell(listen: Listener | None, event: Event) -> None:
    if listen is not None:
        listen(event)


@contextmanager
def _worker_death_as_error() -> Iterator[None]:
    """A worker that is gone, as an error that says what to do."""
    try:
        yield
    except BrokenProcessPool as error:
        raise UserError(
            "A worker process ended in the middle of a stage (out of memory, or killed). What was finished is kept: "
            "run the same command again, with --workers 1 if memory is short."
        ) from error


@contextmanager
def _ignoring_sigint() -> Iterator[None]:
    """Processes that are started in here do not hear Ctrl-C, also not while they start: their end is the pipe's."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


# In a worker

_GIVEN: tuple[RunConfig, Any]


def _begin(config: RunConfig, events: Any, end: Any, bases: Path) -> None:
    """Remember what the run is, and end when the process that started this one does."""
    global _GIVEN
    _GIVEN = config, events
    share_bases(bases)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with, args=(end, bases), daemon=True).start()


def _end_with(end: Any, bases: Path) -> None:
    with suppress(EOFError, OSError):
        end.recv()
    shutil.rmtree(bases, ignore_errors=True)  # a parent that was killed cannot
    os._exit(1)


@functools.cache
def _held() -> tuple[LM, Axis]:
    """The model and the axis of this worker."""
    config, _ = _GIVEN
    lm = load_configured(config)
    return lm, load_axis(config.axis).on(lm)


def _load() -> None:
    _held()


def _check(found: dict[str, Any], wanted: dict[str, Any]) -> None:
    """UserError where a worker's model or axis is not the run's."""
    wrong = [name for name in wanted if found[name] != wanted[name]]
    if wrong:
        raise UserError(
            f"A worker process finds another {wrong[0]} ({found[wrong[0]]}) than the run has ({wanted[wrong[0]]}). "
            "Use one worker where the model or the axis is not what its name loads."
        )


class _WorkerFolder(RunFolder):
    """A worker's side of the run's folder: files are written, the record only in memory."""

    def write_status(self, **changes: Any) -> None:
        self.status |= changes


def _perform(
    identity: dict[str, Any], path: Path, status: dict[str, Any], others: list[Path], number: int, call: Call
) -> Done:
    """Compute the stages behind one call; the records of those that were not there before, and what ended it early."""

    (lm, axis), (config, events) = _held(), _GIVEN
    torch.set_num_threads(identity["threads"])
    _check(identity_of(lm, axis, config, instrument_from(identity.get("instrument"))), identity)
    before = dict(status["stages"])
    folder = _WorkerFolder(path, status, lambda message: events.put(Event(number, "", 0, 0, message)))
    folder.reuse_from = others
    history = [load(path / "rounds" / str(k) / "adapter") for k in range(number)]
    keys = [folder.key(f"{k}/heal") for k in range(number)]
    context = RunContext(lm, axis, config, identity, folder, events.put, None, history=history, keys=keys)
    method, *arguments = call
    error = None
    try:
        getattr(Round(context, number), method)(*arguments)
    except UserError as failed:  # a search without a coherent dose is finished, and stored
        error = failed
    return {name: record for name, record in folder.status["stages"].items() if before.get(name) != record}, error
