"""Progress of a run: one event type, and the bars that show it on standard error."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn, TimeRemainingColumn

__all__ = ["Event", "Listener", "Reporter", "bars"]


@dataclass(frozen=True)
class Event:
    """One step of a stage: done of total; a total of 0 is a message only. arm: of a sweep, whose run this is."""

    round: int
    stage: str
    done: float
    total: float
    note: str = ""
    arm: str = ""


Listener = Callable[[Event], object]


class Reporter:
    """Hands events of one stage to a listener, at most every `every` seconds, always the first and the last."""

    def __init__(self, listen: Listener | None, round: int, stage: str, every: float = 0.1) -> None:
        self.listen, self.round, self.stage, self.every = listen, round, stage, every
        self.last = 0.0

    def __call__(self, done: float, total: float, note: str = "") -> None:
        now = time.monotonic()
        if self.listen is not None and (done >= total or not done or now - self.last >= self.every):
            self.last = now
            self.listen(Event(self.round, self.stage, done, total, note))


def say(listen: Listener | None, message: str, round: int = 0) -> None:
    """A line of its own: something was reused, damaged or stopped."""
    if listen is not None:
        listen(Event(round, "", 0, 0, message))


@contextmanager
def bars(console: Console) -> Iterator[Listener]:
    """A bar per stage with elapsed and remaining time; off a terminal, one line per finished stage."""
    if not console.is_terminal:
        yield _Lines(console)
        return
    columns = (
        TextColumn("{task.description}"), BarColumn(bar_width=28), TextColumn("{task.percentage:>3.0f}%"),
        TimeElapsedColumn(), TextColumn("left"), TimeRemainingColumn(), TextColumn("{task.fields[note]}", style="dim"),
    )  # fmt: skip
    with Progress(*columns, console=console) as progress:
        yield _Bars(progress)


class _Bars:
    def __init__(self, progress: Progress) -> None:
        self.progress = progress
        self.tasks: dict[tuple[int, str], TaskID] = {}
        self.arm = ""

    def __call__(self, event: Event) -> None:
        if event.arm != self.arm:  # the bars of one arm at a time
            for task in self.tasks.values():
                self.progress.remove_task(task)
            self.tasks, self.arm = {}, event.arm
        if not event.total:
            self.progress.console.print(event.note, markup=False, highlight=False)
            return
        key = (event.round, event.stage)
        if key not in self.tasks:
            name = f"round {event.round}  {event.stage:<12}"
            self.tasks[key] = self.progress.add_task(name, total=event.total, note="")
        self.progress.update(self.tasks[key], completed=event.done, total=event.total, note=event.note)


class _Lines:
    def __init__(self, console: Console) -> None:
        self.console = console
        self.began: dict[tuple[str, int, str], float] = {}

    def __call__(self, event: Event) -> None:
        if not event.total:
            self.console.print(event.note, markup=False, highlight=False, soft_wrap=True)
            return
        key = (event.arm, event.round, event.stage)
        began = self.began.setdefault(key, time.monotonic())
        if event.done >= event.total and began >= 0:
            seconds = time.monotonic() - began
            self.console.print(f"round {event.round}  {event.stage:<12} done in {seconds:.1f} s", highlight=False)
            self.began[key] = -1.0
