"""What the Learn section shows: where base, steered and healed stand, their texts, the live curve; and its trainings.

start_training(run, VariantSettings(1.0), access) # a job that every viewer shares
points(run, variants)                             # base, steered, healed per beta: where each stands
three_texts(run, variant, prompt)                 # the same prompt and dice, answered by all three
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import polars as pl

from ws.app.access import AppSettings
from ws.app.jobs import JOBS, Job, Jobs, Tell, View, background
from ws.app.views.stored_runs import home_of
from ws.errors import UserError
from ws.experiment.identity import load_configured
from ws.experiment.train_variant import make_variant
from ws.files import digest, read_frame
from ws.gating.arm_table import BASE, HEALED, SFT_BASE, STEER, STEERED, STEPS, UNSTEERED_TEXT
from ws.healing.training import CURVE
from ws.models.lm import LM
from ws.runs.heal_variants import (
    BETAS,
    HealVariant,
    VariantSettings,
    find_variant,
    own_heal,
    variant_gate,
    variant_key,
    variants_of,
)
from ws.runs.reader import Run
from ws.runs.round_tables import plane_of

__all__ = [
    "VariantSettings",
    "beta_steps",
    "cancel_training",
    "find_variant",
    "job_key",
    "key_of",
    "live_curve",
    "plane_of",
    "points",
    "prompts_of",
    "start_training",
    "steps_of",
    "tau_of",
    "three_texts",
    "usual_beta",
    "variant_gate",
    "variants_of",
]  # fmt: skip

FIGURES = ("d_target", "coherence", "retain", "capability")


def job_key(run: Run, settings: VariantSettings, round: int = 0) -> str:
    """One key for a variant, whether the example is read from the package or from the viewer's copy of it."""
    return digest([run.status.get("started"), round, variant_key(run, settings, round)])


def start_training(
    run: Run, settings: VariantSettings, access: AppSettings, *, round: int = 0, lm: LM | None = None, jobs: Jobs = JOBS
) -> Job:
    """The job that trains and stores this variant, shared. UserError: a read-only app, a full queue, a bad beta.

    It trains and reads on a copy of the model's modules, so that sliders go on.
    """
    access.check_write("Training")
    stored = find_variant(home_of(run, access.out), settings, round) is not None

    def work(tell: Tell, cancel: threading.Event) -> None:
        home = home_of(run, access.out, create=True)
        own = background(lm or load_configured(run.config))
        make_variant(home, settings, own, round=round, tell=tell, cancel=cancel)

    title = f"training at beta {settings.beta:g}"
    return jobs.start(job_key(run, settings, round), title, work, access.max_jobs, again=not stored)


def cancel_training(
    run: Run, settings: VariantSettings, access: AppSettings, round: int = 0, jobs: Jobs = JOBS
) -> None:
    """Stop the training of this variant, for every viewer; nothing of it is stored. UserError: a read-only app."""
    access.check_write("Cancelling a training")
    jobs.cancel(job_key(run, settings, round))


def live_curve(view: View | None) -> pl.DataFrame:
    """The training curve as far as it has come; empty when nothing trains any more."""
    rows = () if view is None or view.over else view.rows
    return pl.DataFrame([{k: row.get(k) for k in CURVE} for row in rows if "step" in row], schema=CURVE)


def steps_of(view: View | None) -> int | None:
    """How many optimiser steps a running training will take; None before its first."""
    rows = () if view is None else view.rows
    return next((int(row["steps"]) for row in rows if "steps" in row), None)


def tau_of(run: Run, round: int = 0) -> float | None:
    """The barrier's tau, nats."""
    return own_heal(run, round).tau


def beta_steps(run: Run | None) -> list[float]:
    """Steps of the beta slider: the grid, and the run's own beta."""
    own = _own_beta(run)
    return sorted({*BETAS, *([float(own)] if own is not None else [])})


def usual_beta(run: Run | None, steps: Sequence[float]) -> float:
    """Where the slider starts: the run's own beta."""
    own = _own_beta(run)
    return min(steps, key=lambda step: abs(step - (0.3 if own is None else own)))


def _own_beta(run: Run | None) -> float | None:
    """The beta that the run healed with; None where it did not come to that."""
    return own_heal(run, 0).beta if run is not None and run.has("heal.json") else None


def key_of(run: Run, *variants: HealVariant) -> tuple[str, ...]:
    """What a picture of these variants depends on: a folder is named by its content, the run's own heal by its time."""
    return (str(run.path), str(run.status.get("updated")), *(str(variant.path) for variant in variants))


def points(run: Run, variants: Sequence[HealVariant], round: int = 0) -> pl.DataFrame:
    """One row each for base, the chosen dose, training on text that nothing steered (where measured), every variant.

    Columns: arm (base, steered, unsteered text, healed), beta (null but for healed), label; d_target, coherence,
    retain, coh_cost, capability, x and y (shifts of `plane_of`, nats), each with _low and _high, null where not
    measured.
    """
    arms = run.arms(round)
    steered = arms.filter(pl.col("arm") == STEER, pl.col("chosen"))
    rows = [_point(run, BASE, arms.filter(pl.col("arm") == BASE)), _point(run, STEERED, steered)]
    rows.append(_point(run, UNSTEERED_TEXT, arms.filter(pl.col("arm") == SFT_BASE)))
    rows += [_point(run, HEALED, variant.arm, variant) for variant in variants]
    return pl.DataFrame([row for row in rows if row], infer_schema_length=None)


def _point(run: Run, arm: str, frame: pl.DataFrame, variant: HealVariant | None = None) -> dict[str, Any]:
    if not frame.height:
        return {}
    row, ends = frame.row(0, named=True), ("", "_low", "_high")
    x, y = plane_of(run)
    names = {name: name for name in FIGURES} | {"x": f"d_{x}", "y": f"d_{y}"}
    figures = {f"{name}{end}": _number(row[f"{column}{end}"]) for name, column in names.items() for end in ends}
    cost = (None,) * 3 if variant is None else tuple(_number(value) for value in variant.cost)
    beta = None if variant is None else variant.settings.beta
    label = f"beta {beta:g}" if beta is not None else f"steered, c = {row['c']:g}" if arm == STEERED else arm
    costs = dict(zip((f"coh_cost{end}" for end in ends), cost, strict=True))
    return {"arm": arm, "beta": beta, "label": label} | figures | costs


def _number(value: float | None) -> float | None:
    return None if value is None or value != value else float(value)


def prompts_of(run: Run, round: int = 0) -> list[str]:
    """The probe prompts that base, steered and healed have all answered, in the axis's order."""
    written = _written(run, round)
    asked = [set(part["prompt"]) for _, part in written.group_by("arm")]
    shared = set.intersection(*asked) if asked else set()
    return [prompt for prompt in dict.fromkeys(written["prompt"].to_list()) if prompt in shared]


def three_texts(run: Run, variant: HealVariant, prompt: str, round: int = 0) -> pl.DataFrame:
    """What base, the chosen dose and this variant wrote to a prompt, same dice: arm, sample, text, tail_ppl, rep.

    UserError for a prompt that was not asked in the report.
    """
    columns = ["arm", "prompt", "sample", "text", "tail_ppl", "rep"]
    healed = variant.text.with_columns(arm=pl.lit(HEALED))
    asked = [frame.select(columns).filter(pl.col("prompt") == prompt) for frame in (_written(run, round), healed)]
    found = pl.concat(asked)
    if set(found["arm"]) != set(STEPS):
        raise UserError("That prompt was not asked in the run's report. Choose one of the list.")
    order = pl.col("arm").replace_strict({name: i for i, name in enumerate(STEPS)}, return_dtype=pl.Int8)
    return found.drop("prompt").sort("sample", order)


def _written(run: Run, round: int) -> pl.DataFrame:
    own_heal(run, round)  # says why where there is none
    file = run.whole(f"rounds/{round}/eval.parquet")
    return _read_written(file, file.stat().st_mtime_ns)


@lru_cache(maxsize=16)
def _read_written(file: Any, stamp: int) -> pl.DataFrame:
    """The stored texts of base and of the chosen dose."""
    chosen = (pl.col("arm") == BASE) | ((pl.col("arm") == STEER) & pl.col("chosen"))
    reports = read_frame(file).filter(chosen).select("arm", "text")
    rows = reports.explode("text").unnest("text")
    return rows.with_columns(arm=pl.col("arm").replace({STEER: STEERED}))


# What a page says in words; figures only, or escaped
