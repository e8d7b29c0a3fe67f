"""A process that does one thing that `ws` does and is killed (signal 9) in the middle, at a moment that is drawn.

    ticks, _ = whole("journal", out)                       # how much it does to files under `out`, and steps it tells
    killed("journal", out, at=7, delay=0.01)               # the same, killed 10 ms after its seventh tick

A tick is an opened, renamed or removed file, or a step of a run. Processes come from a server that has imported all
there is to import: a kill costs what it interrupts.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import torch

from tests.builders.small_runs import ending_lm, small_config
from ws.app.access import AppSettings
from ws.app.jobs import Jobs
from ws.app.views.heal import start_training
from ws.experiment.loop import run
from ws.experiment.progress import Event
from ws.healing.config import HealConfig
from ws.models.lm import LM, load_model
from ws.reporting.journal import write_journal
from ws.runs.config import ControlConfig, DataConfig, DoseConfig, EvalConfig, RunConfig, SamplingConfig
from ws.runs.heal_variants import VariantSettings
from ws.runs.reader import newest_run, open_run

CONFIG = RunConfig(
    dose=DoseConfig(grid=(0.5,), bisect=0, texts=8, per_foundation=1, random_draws=0, coherence=0.01, topic=0.0),
    data=DataConfig(doses=(1.0,), prompts=12, keep=8, finished=False, tail_ppl=1e9, worst_ppl=1e9, rep=1.1, loop=1.1),
    heal=HealConfig(min_rows=4, epochs=1),
    evaluation=EvalConfig(texts=8, per_foundation=1, think=0, capability=False, readings=(), self_violate=False),
    controls=ControlConfig(sft=False, sft_base=False, unfiltered=False, prompted=False, engineered=False),
    seeds=(0,),
    sampling=SamplingConfig(max_new_tokens=12),
    rounds=3,
    threads=1,
)
"""Three rounds of the embedded model, as cheap as they go."""
MODEL = os.environ.get("WS_KILL_MODEL", "tiny")
"""What is run: "tiny", random weights at stub size, or "mini", the embedded model."""
MARKS = {"open", "os.rename", "os.remove", "os.mkdir", "os.rmdir", "os.truncate"}
PATIENCE = 600.0  # seconds

Task = Callable[[Path, Callable[[int], None]], None]
"""What a process does with everything under a folder; it tells each step with its round."""


def a_run(out: Path, step: Callable[[int], None]) -> None:
    def listen(event: Event) -> None:
        step(event.round)

    config = CONFIG if MODEL == "mini" else small_config(_inputs(out), rounds=3)
    run(config, listen, out=out, lm=_model())


def _inputs(out: Path) -> Path:
    folder = out / "inputs"
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def _model(name: str = MODEL, **_: object) -> LM:
    return load_model("mini", device="cpu") if MODEL == "mini" else ending_lm()


def a_journal(out: Path, step: Callable[[int], None]) -> None:
    write_journal(open_run(newest_run(out)), out / "journal", out / "JOURNAL.md")


def a_variant(out: Path, step: Callable[[int], None]) -> None:
    """As the app trains it: in a job, on a copy of the model."""
    run, access = open_run(newest_run(out)), AppSettings(out=out)
    job = start_training(run, VariantSettings(1.0), access, lm=_model(), jobs=Jobs())
    until = time.monotonic() + PATIENCE
    while not job.view().over and time.monotonic() < until:
        job.wait(1.0)
    assert job.view().state == "done", job.view()


TASKS: dict[str, Task] = {"run": a_run, "journal": a_journal, "variant": a_variant}


class Clock:
    """Counts ticks from the round `begin` on, and ends the process `delay` seconds after number `at`."""

    def __init__(self, root: Path, begin: int, at: int | None, delay: float) -> None:
        self.root, self.begin, self.at, self.delay = str(root), begin, at, delay
        self.all, self.ticks, self.begun = 0, 0, begin == 0

    def seen(self, event: str, args: tuple[Any, ...]) -> None:
        if event in MARKS and str(args[0]).startswith(self.root):
            self.tick()

    def step(self, round: int) -> None:
        self.begun |= round >= self.begin
        self.tick()

    def tick(self) -> None:
        self.all += 1
        self.ticks += self.begun
        if self.begun and self.ticks == self.at:
            threading.Thread(target=self.end).start() if self.delay else self.end()

    def end(self) -> None:
        time.sleep(self.delay)
        os.kill(os.getpid(), signal.SIGKILL)


def _child(name: str, out: Path, clock: Clock, said: Connection) -> None:
    torch.set_num_threads(1)
    sys.stdout = sys.stderr = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115
    sys.addaudithook(clock.seen)
    TASKS[name](out, clock.step)
    said.send((clock.all, clock.ticks))


def _process(name: str, out: Path, clock: Clock) -> tuple[int, tuple[int, int] | None]:
    """Exit code and ticks of a task in a process of its own; no ticks where it did not end by itself."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["tests.builders.killing"])
    here, there = context.Pipe(duplex=False)
    process = context.Process(target=_child, args=(name, out, clock, there))
    process.start()
    there.close()
    process.join(PATIENCE)
    code = process.exitcode
    assert code is not None, f"{name} took longer than {PATIENCE:.0f} s"
    try:
        return code, here.recv()
    except EOFError:
        return code, None


def whole(name: str, out: Path, begin: int = 0) -> tuple[int, int]:
    """Let a task end; its ticks, and those from the round `begin` on."""
    code, ticks = _process(name, out, Clock(out, begin, None, 0.0))
    assert code == 0 and ticks is not None, f"{name} ended with {code}"
    return ticks


def killed(name: str, out: Path, at: int, delay: float, begin: int = 0) -> bool:
    """Kill a task at a tick; False where it had ended before."""
    code, _ = _process(name, out, Clock(out, begin, at, delay))
    assert code in (0, -signal.SIGKILL), f"{name} ended with {code}"
    return code == -signal.SIGKILL


