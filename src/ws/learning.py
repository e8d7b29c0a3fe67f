"""What the Learn section shows, as frames: the points of the planes, the three texts, the live curve; and its one verb.

start_training(run, Ask(1.0), settings)           # a job that every viewer shares
points(run, stops)                                # base, steered, healed per beta: where each stands
texts(run, stop, prompt)                          # the same prompt and dice, answered by all three
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import polars as pl

from ws.errors import UserError
from ws.jobs import JOBS, Job, Jobs, Tell, View, background
from ws.models import LM, load_model
from ws.runs import Run
from ws.serving import AppSettings
from ws.stops import PHASES, Ask, Stop, find_stop, own_heal, stop_key, train_stop
from ws.storing import read_frame
from ws.training import CURVE

__all__ = ["ARMS_SHOWN", "curve_of", "job_of", "left", "plane_axes", "points", "prompts_of", "start_training", "texts"]

ARMS_SHOWN = ("base", "steered", "healed")
FIGURES = ("d_target", "coherence", "retain", "capability")


def job_key(run: Run, ask: Ask, round: int = 0) -> str:
    return f"stop-{run.path.name}-{round}-{stop_key(run, ask, round)}"


def job_of(run: Run, ask: Ask, round: int = 0, jobs: Jobs = JOBS) -> Job | None:
    """The job that trains this stop, in whatever state; None where nobody has started one in this process."""
    return jobs.get(job_key(run, ask, round))


def start_training(
    run: Run, ask: Ask, settings: AppSettings, *, round: int = 0, lm: LM | None = None, jobs: Jobs = JOBS
) -> Job:
    """The shared job that trains and stores this stop. UserError: a read-only app, a full queue, settings out of range.

    It trains and reads on a copy of the model's modules, so that sliders go on.
    """
    settings.check_write("Training")
    stored = find_stop(run, ask, round, settings.out) is not None
    shared = lm or run_model(run)

    def work(tell: Tell, cancel: threading.Event) -> None:
        train_stop(run, ask, background(shared), round=round, out=settings.out, tell=tell, cancel=cancel)

    title = f"training at beta {ask.beta:g}"
    return jobs.start(job_key(run, ask, round), title, work, settings.max_jobs, again=not stored)


def run_model(run: Run) -> LM:
    """The model of a run, loaded once per process."""
    config = run.config
    return load_model(config.model, device=config.device, dtype=config.dtype, quantize=config.quantize)


def curve_of(view: View) -> pl.DataFrame:
    """The training curve as far as it has come."""
    return pl.DataFrame([{k: row.get(k) for k in CURVE} for row in view.rows if "step" in row], schema=CURVE)


def left(view: View, whole: float) -> tuple[str, float, float]:
    """(phase, share done, seconds left) of a training that is expected to take `whole` seconds.

    Once steps have been measured, what is left of the training comes from them; report and drift keep their share.
    """
    phase = next((str(row["phase"]) for row in reversed(view.rows) if "phase" in row), "waiting")
    done = [row for row in view.rows if "step" in row]
    if phase == PHASES[0] and done:
        per_step = done[-1]["seconds"] / len(done)
        rest = per_step * (done[-1]["steps"] - len(done)) + max(0.0, whole - per_step * done[-1]["steps"])
    else:
        rest = max(0.0, whole - view.seconds)
    return phase, view.seconds / max(view.seconds + rest, 1e-9), rest


def plane_axes(run: Run) -> tuple[str, str]:
    """The two foundations of the axis's plane: one that should fall, one that should rise; Authority and Care else."""
    intended = dict(run.axis["intended"])
    falls = next((f for f, sign in intended.items() if sign < 0), "Authority")
    rises = next((f for f, sign in intended.items() if sign > 0), "Care")
    return falls, rises


def points(run: Run, stops: Sequence[Stop], round: int = 0) -> pl.DataFrame:
    """One row each for base, the chosen dose and every stop.

    Columns: arm (base, steered, healed), beta (null but for healed), label; d_target, coherence, retain, coh_cost,
    capability, x and y (shifts of `plane_axes`, nats), each with _low and _high, null where not measured.
    """
    arms = run.arms(round)
    steered = arms.filter(pl.col("arm") == "steer", pl.col("chosen"))
    rows = [_point(run, "base", arms.filter(pl.col("arm") == "base")), _point(run, "steered", steered)]
    rows += [_point(run, "healed", stop.arm, stop) for stop in stops]
    return pl.DataFrame([row for row in rows if row], infer_schema_length=None)


def _point(run: Run, arm: str, frame: pl.DataFrame, stop: Stop | None = None) -> dict[str, Any]:
    if not frame.height:
        return {}
    row, ends = frame.row(0, named=True), ("", "_low", "_high")
    x, y = plane_axes(run)
    names = {name: name for name in FIGURES} | {"x": f"d_{x}", "y": f"d_{y}"}
    figures = {f"{name}{end}": _number(row[f"{column}{end}"]) for name, column in names.items() for end in ends}
    cost = (None,) * 3 if stop is None else tuple(_number(value) for value in stop.cost)
    beta = None if stop is None else stop.ask.beta
    label = {"base": "base", "steered": f"steered, c = {row['c']:g}"}.get(arm, f"beta {beta or 0:g}")
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


def texts(run: Run, stop: Stop, prompt: str, round: int = 0) -> pl.DataFrame:
    """What base, the chosen dose and this stop wrote to a prompt, same dice: columns arm, sample, text, tail_ppl, rep.

    UserError for a prompt that was not asked in the report.
    """
    columns = ["arm", "prompt", "sample", "text", "tail_ppl", "rep"]
    healed = stop.text.with_columns(arm=pl.lit("healed"))
    asked = [frame.select(columns).filter(pl.col("prompt") == prompt) for frame in (_written(run, round), healed)]
    found = pl.concat(asked)
    if set(found["arm"]) != set(ARMS_SHOWN):
        raise UserError("That prompt was not asked in the run's report. Choose one of the list.")
    order = pl.col("arm").replace_strict({name: i for i, name in enumerate(ARMS_SHOWN)}, return_dtype=pl.Int8)
    return found.drop("prompt").sort("sample", order)


def _written(run: Run, round: int) -> pl.DataFrame:
    own_heal(run, round)  # says why where there is none
    file = run.path / "rounds" / str(round) / "eval.parquet"
    return _read_written(file, file.stat().st_mtime_ns)


@lru_cache(maxsize=16)
def _read_written(file: Any, stamp: int) -> pl.DataFrame:
    """The stored texts of base and of the chosen dose."""
    chosen = (pl.col("arm") == "base") | ((pl.col("arm") == "steer") & pl.col("chosen"))
    reports = read_frame(file).filter(chosen).select("arm", "text")
    rows = reports.explode("text").unnest("text")
    return rows.with_columns(arm=pl.col("arm").replace({"steer": "steered"}))
