"""Trains a stored run's kept texts at another beta or threshold, and stores the result beside the run.

    make_variant(run, VariantSettings(beta=1.0), lm)    # trains, reports, reads the drift, stores; or finds it stored
    make_variants(run, (0, 0.1, 1, 3))                  # several, for example for a run that is shipped

What is stored, and how it is found again: `ws.runs.heal_variants`.
"""

from __future__ import annotations

import dataclasses
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import polars as pl

from ws.axes.axis import load_axis
from ws.errors import Cancelled
from ws.evaluation.comparison import coh_cost
from ws.experiment.identity import load_configured
from ws.experiment.pipeline import HealPipeline, pushed_by, topic_of
from ws.files import check_writable, folder_lock, sweep_temporaries, write_atomic
from ws.gating.arm_table import BASE, HEALED, STEER
from ws.models.lm import LM
from ws.runs.arms import Arm, arms_of, reports_frame, reports_of, with_retain, with_topic
from ws.runs.artifacts import save
from ws.runs.heal_variants import (
    HEAD,
    PHASES,
    SHIPPED,
    HealVariant,
    VariantSettings,
    _read,
    _stamp,
    find_variant,
    folder_of,
    limits_of,
    own_heal,
    variant_key,
)
from ws.runs.reader import Run
from ws.runs.whole import seal_folder

__all__ = ["make_variant", "make_variants"]


Tell = Callable[[dict[str, Any]], None]


Values = dict[str, Any]  # what a variant's files hold, by name


def make_variant(
    run: Run,
    settings: VariantSettings,
    lm: LM | None = None,
    *,
    round: int = 0,
    tell: Tell = lambda row: None,
    cancel: threading.Event | None = None,
) -> HealVariant:
    """The variant of these settings: found, or trained, reported and stored now.

    tell gets the curve's rows, and {"phase": ...} before each part. UserError: a folder that cannot be written (before
    anything is trained), starvation, another model. Cancelled: between two steps, nothing is stored.
    """
    found = find_variant(run, settings, round)
    if found is not None:
        return found
    check_writable(folder_of(run, round))
    began, path = time.perf_counter(), folder_of(run, round) / variant_key(run, settings, round)
    values = _compute(_pipeline(run, settings, lm, round, cancel), run, settings, round, tell)
    _check(cancel)
    values[HEAD] |= {"stop": dataclasses.asdict(settings), "seconds": time.perf_counter() - began}
    with folder_lock(run.path, wait=True):
        sweep_temporaries(path.parent)
        write_atomic(path, lambda folder: _write(folder, values))
    return _read(path, _stamp(path / HEAD))


def make_variants(
    run: Run, betas: Sequence[float] = SHIPPED, lm: LM | None = None, *, round: int = 0, tell: Tell = lambda row: None
) -> list[HealVariant]:
    """The variants of these betas beside the run, trained where they are not stored; the example command's part."""
    return [make_variant(run, VariantSettings(float(beta)), lm, round=round, tell=tell) for beta in betas]


def _pipeline(
    run: Run, settings: VariantSettings, lm: LM | None, round: int, cancel: threading.Event | None
) -> HealPipeline:
    """The pipeline of the run's round with this beta; the adapters of the rounds before are on underneath."""
    config = run.config
    lm = lm or load_configured(config)
    heal = dataclasses.replace(own_heal(run, round), beta=float(settings.beta))
    axis = load_axis(run.whole("axis.json")).on(lm)
    history = [run.get("adapter", i) for i in range(round)]
    return HealPipeline(lm, axis, dataclasses.replace(config, heal=heal), round, history, cancel,
                        run.instrument)  # fmt: skip


def _compute(pipeline: HealPipeline, run: Run, settings: VariantSettings, round: int, tell: Tell) -> Values:
    """Train, report, read the drift: the values of a variant's files by name."""
    limits = limits_of(run, settings, round)
    _phase(pipeline, tell, 0)
    trained = pipeline.healing(run.frame("completions", round), limits, pipeline.config.heal, tell)
    adapter, curve, facts = trained
    _phase(pipeline, tell, 1)
    arm = pipeline.healed(adapter)
    table, cost = _row(run, round, arm, facts["doses"])
    table = with_topic(table, topic_of(pipeline.lm, [arm]))
    _phase(pipeline, tell, 2)
    pushed = pushed_by(run.config, lambda name: run.get(name, round))
    drift = pipeline.drifting(run.marked(round, **limits), pushed, adapter)
    files = {"adapter": adapter, "heal.parquet": curve, HEAD: facts | {"coh_cost": cost}}
    return files | {"healed.parquet": reports_frame([arm]), "drift.parquet": drift, "arms.parquet": table}


def _phase(pipeline: HealPipeline, tell: Tell, i: int) -> None:
    _check(pipeline.cancel)
    tell({"phase": PHASES[i]})


def _check(cancel: threading.Event | None) -> None:
    if cancel is not None and cancel.is_set():
        raise Cancelled("the training was stopped; nothing of it is stored")


def _row(run: Run, round: int, healed: Arm, doses: Sequence[float]) -> tuple[pl.DataFrame, list[float]]:
    """The healed model's row of the table against the run's own base and steered arms, and its cost."""
    rows = run.frame("eval", round).filter(pl.col("arm").is_in([BASE, STEER]))
    arms = [*reports_of(rows), healed]
    base = next(arm.report for arm in arms if arm.arm == BASE)
    table = with_retain(arms_of(base, arms, run.get("direction.safetensors", round).fingerprint), arms, doses)
    cost = coh_cost(base, healed.report)
    return table.filter(pl.col("arm") == HEALED), [cost.value, cost.low, cost.high]


def _write(folder: Path, values: Values) -> None:
    for name, value in values.items():
        save(folder / name, value)
    seal_folder(folder / HEAD)
