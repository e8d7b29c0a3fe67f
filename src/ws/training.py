"""The training loop of a heal: batches, one row of the curve per optimiser step, validation, early stop, cancel."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import polars as pl
import torch
from torch import Tensor, nn

from ws.adapters import Adapter
from ws.attaching import private_copy
from ws.errors import Cancelled
from ws.healing import Progress
from ws.lessons import Lesson
from ws.models import LM
from ws.student import Plan, Student

__all__ = ["CURVE", "Plan", "train"]

CURVE = {
    "step": pl.Int64, "epoch": pl.Int64, "nll": pl.Float64, "val_nll": pl.Float64, "D": pl.Float64,
    "kl_base": pl.Float64, "kl_prev": pl.Float64, "pressure": pl.Float64, "active": pl.Float64, "over": pl.Float64,
    "update_norm": pl.Float64, "lr": pl.Float64, "seconds": pl.Float64,
}  # fmt: skip


def train(
    lm: LM, plan: Plan, meta: dict[str, Any], on_progress: Progress | None, cancel: threading.Event | None
) -> Adapter:
    """Run the plan on a private copy of `lm` (shared weights, modules of its own); see ws.heal."""
    # whoever calls may have switched gradients off
    with torch.inference_mode(False), torch.enable_grad():
        return _train(lm, plan, meta, on_progress, cancel)


def _train(
    lm: LM, plan: Plan, meta: dict[str, Any], on_progress: Progress | None, cancel: threading.Event | None
) -> Adapter:
    began = time.perf_counter()
    student = Student(private_copy(lm), plan)
    best, curve, stopped = _Best(plan.config.patience), [], "end"
    for row, ends in _steps(student, plan, cancel):
        row["seconds"] = time.perf_counter() - began
        curve.append(row)
        if on_progress is not None:
            on_progress({**row, "steps": plan.steps})
        if ends and row["val_nll"] is not None and best.enough(row["val_nll"], student.trained):
            stopped = "patience"
            break
    best.restore(student.trained)
    frame = pl.DataFrame(curve, schema=CURVE)
    figures = _figures(student, plan, frame, stopped)
    return Adapter(*student.growing.result(), lm.fingerprint, frame, meta | figures)


def _figures(student: Student, plan: Plan, curve: pl.DataFrame, stopped: str) -> dict[str, Any]:
    """What the heal says about itself: settings, counts, and the curve's figures in one number each."""
    return {
        "config": asdict(plan.config),
        "round": plan.round,
        "history": [[adapter.digest, c] for adapter, c in plan.history],
        "train_rows": len(plan.training),
        "val_rows": len(plan.validation),
        "stopped": stopped,
        "beta": plan.config.slope(plan.round),
        "update_norm": student.growing.norm(),
        "spectral": student.growing.spectral(),
        "active": curve["active"].mean(),
        "pressure": curve["pressure"].mean(),
        "seconds": curve["seconds"][-1],
    }


def _steps(student: Student, plan: Plan, cancel: threading.Event | None) -> Iterator[tuple[dict[str, Any], bool]]:
    """One row of the curve per optimiser step, and whether an epoch ends with it."""
    step, dice = 0, torch.Generator().manual_seed(plan.config.seed)
    first = student.validation_loss()
    for epoch in range(plan.config.epochs):
        batches = _batches(plan.training, plan.config.batch or 1, dice)
        for i, batch in enumerate(batches):
            if cancel is not None and cancel.is_set():
                raise Cancelled(f"heal stopped at step {step} of {plan.steps}")
            ends = i == len(batches) - 1
            row: dict[str, Any] = {"step": step, "epoch": epoch, **student.step(step, batch)}
            row["val_nll"] = student.validation_loss() if ends else first if step == 0 else None
            yield row, ends
            step += 1


def _batches(rows: Sequence[Lesson], size: int, dice: torch.Generator) -> list[list[int]]:
    """Indices in batches of rows of like length (little padding), other ones every epoch, in random order."""
    jitter = torch.rand(len(rows), generator=dice).tolist()
    order = sorted(range(len(rows)), key=lambda i: len(rows[i].ids) * (0.9 + 0.2 * jitter[i]))
    batches = [order[i : i + size] for i in range(0, len(order), size)]
    return [batches[i] for i in torch.randperm(len(batches), generator=dice).tolist()]


@dataclass
class _Best:
    """Early stopping: the best validation loss and the adapter that gave it."""

    patience: int | None
    loss: float = math.inf
    waited: int = 0
    state: list[Tensor] = field(default_factory=list)

    def enough(self, loss: float, trained: list[nn.Parameter]) -> bool:
        if self.patience is None:
            return False
        if loss < self.loss:
            self.loss, self.waited = loss, 0
            self.state = [p.detach().clone() for p in trained]
            return False
        self.waited += 1
        return self.waited >= self.patience

    def restore(self, trained: list[nn.Parameter]) -> None:
        with torch.no_grad():
            for parameter, value in zip(trained, self.state, strict=False):
                parameter.copy_(value)
