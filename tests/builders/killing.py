"""A process that does one thing that `ws` does and is killed (signal 9) in the middle, at a moment that is drawn.

    ticks, _ = whole("journal", out)                       # how much it does to files under `out`, and steps it tells
    killed("journal", out, at=7, delay=0.01)               # the same, killed 10 ms after its seventh tick

A tick is an opened, renamed or removed file, or a step of a run. The model is a folder that lies beside `out`, or
further up (`write_model`). Processes come from a server that has imported all there is to import: a kill costs what
it interrupts.
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

from tests.builders.small_runs import as_base, bare_config, small_config
from tests.builders.tiny_models import tiny_model, tiny_tokenizer
from ws.app.access import AppSettings
from ws.app.cli import main
from ws.app.jobs import Jobs
from ws.app.views.heal import start_training
from ws.experiment.loop import run
from ws.experiment.progress import Event
from ws.experiment.sweep_loop import sweep
from ws.healing.config import HealConfig
from ws.models.lm import load_model
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


def write_model(place: Path) -> None:
    """A Phi with random weights at stub size whose head favours the end of a turn, in the folder `place`/model."""
    model, tok = tiny_model("phi", max_position_embeddings=1024), tiny_tokenizer()
    model.generation_config.eos_token_id, model.generation_config.pad_token_id = tok.eos_token_id, tok.pad_token_id
    with torch.no_grad():
        model.lm_head.bias[tok.eos_token_id] += 2.5
    for part in (model, tok):
        part.save_pretrained(place / "model")


def _model(out: Path) -> str:
    """What is named as the model of a run."""
    if MODEL == "mini":
        return MODEL
    return str(next(place / "model" for place in out.parents if (place / "model").is_dir()))


def a_run(out: Path, step: Callable[[int], None]) -> None:
    def listen(event: Event) -> None:
        step(event.round)

    (out / "inputs").mkdir(parents=True, exist_ok=True)
    small = small_config(out / "inputs", rounds=3, model=_model(out))
    run(CONFIG if MODEL == "mini" else small, listen, out=out)


def a_journal(out: Path, step: Callable[[int], None]) -> None:
    write_journal(open_run(newest_run(out)), out / "journal", out / "JOURNAL.md")


def a_bake(out: Path, step: Callable[[int], None]) -> None:
    assert main(["bake", "--out", str(out)]) == 0


def an_export(out: Path, step: Callable[[int], None]) -> None:
    for what in ("model", "adapter", "direction"):
        if what == "model" or not (out / what).exists():  # a second export refuses what is whole
            assert main(["export", str(newest_run(out)), str(out / what), "--what", what]) == 0


def a_variant(out: Path, step: Callable[[int], None]) -> None:
    """As the app trains it: in a job, on a copy of the model."""
    run, access = open_run(newest_run(out)), AppSettings(out=out)
    job = start_training(run, VariantSettings(1.0), access, lm=load_model(_model(out)), jobs=Jobs())
    until = time.monotonic() + PATIENCE
    while not job.view().over and time.monotonic() < until:
        job.wait(1.0)
    assert job.view().state == "done", job.view()


def a_sweep(out: Path, step: Callable[[int], None]) -> None:
    """Three arms that differ in the heal."""
    (out / "inputs").mkdir(parents=True, exist_ok=True)
    base = as_base(bare_config(out / "inputs", model=_model(out)))
    sweep({"base": base, "grid": {"heal.beta": [0.0, 0.3, 3.0]}}, lambda event: step(event.round), out=out)


TASKS: dict[str, Task] = {
    "run": a_run, "sweep": a_sweep, "journal": a_journal, "bake": a_bake, "export": an_export, "variant": a_variant,
}  # fmt: skip


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


def _log(out: Path) -> Path:
    """What a process printed."""
    return out.with_name(f"{out.name}.log")


def _child(name: str, out: Path, clock: Clock, said: Connection) -> None:
    torch.set_num_threads(1)
    sys.stdout = sys.stderr = open(_log(out), "w", encoding="utf-8")  # noqa: SIM115
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
    assert code == 0 and ticks is not None, f"{name} ended with {code}: {_log(out).read_text()[-2000:]}"
    return ticks


def killed(name: str, out: Path, at: int, delay: float, begin: int = 0) -> bool:
    """Kill a task at a tick; False where it had ended before."""
    code, _ = _process(name, out, Clock(out, begin, at, delay))
    assert code in (0, -signal.SIGKILL), f"{name} ended with {code}: {_log(out).read_text()[-2000:]}"
    return code == -signal.SIGKILL


