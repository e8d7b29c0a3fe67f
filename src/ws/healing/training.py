"""Trains an adapter on the completions that were kept: the loop of `ws.heal`, and the curve that it leaves.

    adapter = ws.heal(lm, kept, ws.HealConfig(beta=0.3, tau=1.0))

loss = mean over sequences of `nll + beta_r * relu(D - tau)`, with D the KL to the reference over the completion's
positions and beta_r = beta * (1 + round)^beta_pow, plus `l2` and `spectral` times the update's squared Frobenius norm
and its largest singular value. An `objective` other than nll puts its own in the nll's place (`ws.healing.objectives`);
the curve shows the nll all the same. No second model: the reference is the same weights with adapters off
(`base`) or with the earlier rounds' on (`prev`). The shared model is never touched: training runs on modules of its own
over the same weights, at any size, and the lock is held only while these are made.

The curve has one row per optimiser step; everything but update_norm is measured before the step:
    step, epoch, lr, seconds    since the start
    nll                         nats per token
    D, kl_base, kl_prev         aggregated per sequence, mean over the batch; D is the one that the barrier holds on to
    active, over                1 where a sequence of the batch has D > tau; the share of the batch that has
    pressure                    gradient norm of the barrier's term over that of the nll, every `measure_every` steps
    update_norm                 Frobenius norm of the whole update, after the step
    val_nll                     before the first step and after every epoch
"""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import polars as pl
import torch
from torch import Tensor, nn

from ws.errors import Cancelled, UserError
from ws.healing.config import HealConfig
from ws.healing.dataset import TrainingRow, split, training_rows
from ws.healing.training_step import HealPlan, HealTrainer
from ws.models.adapters.adapter import Adapter, checked
from ws.models.attachments import private_copy
from ws.models.lm import LM
from ws.models.stored_settings import to_dict

if TYPE_CHECKING:
    from ws.axes.axis import Axis
    from ws.models.adapters.adapter import Adapter, Stack
    from ws.models.lm import LM

__all__ = ["CURVE", "HealPlan", "heal", "train"]

CURVE = {
    "step": pl.Int64, "epoch": pl.Int64, "nll": pl.Float64, "val_nll": pl.Float64, "D": pl.Float64,
    "kl_base": pl.Float64, "kl_prev": pl.Float64, "pressure": pl.Float64, "active": pl.Float64, "over": pl.Float64,
    "update_norm": pl.Float64, "lr": pl.Float64, "seconds": pl.Float64,
}  # fmt: skip


def train(
    lm: LM, plan: HealPlan, meta: dict[str, Any], on_progress: Progress | None, cancel: threading.Event | None
) -> Adapter:
    """Run the plan on a private copy of `lm` (shared weights, modules of its own); see ws.heal."""
    # whoever calls may have switched gradients off
    with torch.inference_mode(False), torch.enable_grad():
        return _train(lm, plan, meta, on_progress, cancel)


def _train(
    lm: LM, plan: HealPlan, meta: dict[str, Any], on_progress: Progress | None, cancel: threading.Event | None
) -> Adapter:
    began = time.perf_counter()
    student = HealTrainer(private_copy(lm), plan)
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
    return Adapter(*student.growing.result(), lm.fingerprint, frame, meta | figures, lm.origin)


def _figures(student: HealTrainer, plan: HealPlan, curve: pl.DataFrame, stopped: str) -> dict[str, Any]:
    """What the heal says about itself: settings, counts, and the curve's figures in one number each."""
    return {
        "config": to_dict(plan.config),
        "round": plan.round,
        "history": [[adapter.digest, c] for adapter, c in plan.history],
        "train_rows": len(plan.training),
        "val_rows": len(plan.validation),
        "stopped": stopped,
        "beta": plan.config.slope(plan.round),
        "update_norm": student.growing.norm(),
        "spectral": student.growing.spectral().item(),
        "active": curve["active"].mean(),
        "pressure": curve["pressure"].mean(),
        "seconds": curve["seconds"][-1],
        **({"left_out": student.growing.left_out} if student.growing.left_out else {}),  # of the targets, by PEFT
    }


def _steps(
    student: HealTrainer, plan: HealPlan, cancel: threading.Event | None
) -> Iterator[tuple[dict[str, Any], bool]]:
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


def _batches(rows: Sequence[TrainingRow], size: int, dice: torch.Generator) -> list[list[int]]:
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


Progress = Callable[[dict[str, Any]], None]


def heal(
    lm: LM,
    kept: pl.DataFrame,
    config: HealConfig | None = None,
    *,
    axis: Axis | None = None,
    history: Stack = (),
    round: int = 0,
    on_progress: Progress | None = None,
    cancel: threading.Event | None = None,
) -> Adapter:
    """Train an adapter on `kept`; `lm` is as it was, also after an error, an interrupt or a cancel.

    kept: what ws.generate gave and ws.keep left (prompt, token_ids as generated), or your own frame with the columns
    prompt and completion. history: earlier rounds' adapters, on and frozen underneath. axis: checks that no prompt of
    its other lists is trained on. on_progress gets every row of the curve, with `steps`, the number of them.
    UserError: too few rows, rows longer than the context, a loss that is not finite. Cancelled: `cancel` was set.
    """
    settings = (config or HealConfig()).resolved(lm)
    stack = checked(lm, history)
    if kept.height < settings.min_rows:
        raise UserError(
            f"starvation: {kept.height} rows kept, a heal needs {settings.min_rows}. Loosen the limit that drops most"
            " (`dropped` of ws.reasons names it: tail_ppl, rep, or unfinished, as most texts of a base model are:"
            " finished=False), generate more or at a lower dose, or lower min_rows."
        )
    if axis is not None:
        _check_disjoint(axis, kept)
    rows = training_rows(lm, kept)
    plan = HealPlan(settings, *split(rows, settings.validation, settings.seed), stack, round)
    meta = {"model": lm.name, "axis": None if axis is None else axis.name, "rows": len(rows)}
    return train(lm, plan, meta, on_progress, cancel)


def _check_disjoint(axis: Axis, kept: pl.DataFrame) -> None:
    shared = [(name, text) for name, text in axis.overlap(map(str, kept["prompt"].unique())) if name != "train"]
    if shared:
        name, text = shared[0]
        raise UserError(
            f"{len(shared)} training prompts are in other lists of the axis {axis.name} ({name}: {text[:60]!r})."
            " What trains may not extract, choose or report: train on axis.train, or on prompts of your own."
        )
