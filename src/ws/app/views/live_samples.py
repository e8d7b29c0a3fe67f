"""Live samples: base, +c and -c on the same dice. The model, directions and samples are shared by all viewers."""

from __future__ import annotations

import dataclasses
import threading
from contextlib import suppress
from functools import lru_cache

import polars as pl
import torch

from ws.app.views.page_settings import PageSettings
from ws.axes.axis import Axis
from ws.errors import UserError
from ws.filtering.scores import SCORES, score
from ws.gating.arm_table import BASE, STEER
from ws.generation.completions import SCHEMA, generate
from ws.models.lm import load_model
from ws.runs.config import SamplingConfig
from ws.runs.reader import Run
from ws.steering.direction import Direction
from ws.steering.extraction import extract

__all__ = ["near_sample", "ready", "sample", "stored_sample", "warm"]

_LOCK = threading.Lock()  # two viewers that ask at once read a direction once


@lru_cache(maxsize=32)
def _ready(subject: PageSettings) -> tuple[Axis, Direction]:
    lm = load_model(subject.model)
    if lm.recipe.one_thread:
        torch.set_num_threads(1)  # two are slower as soon as a browser runs beside them
    axis = subject.resolved(lm)
    return axis, extract(lm, axis, subject.method, subject.layers)


def ready(subject: PageSettings) -> tuple[Axis, Direction]:
    """The axis in the model's words and its direction, read once per process. UserError: a pair without two poles."""
    with _LOCK:
        return _ready(dataclasses.replace(subject, sampling=SamplingConfig()))  # no direction depends on it


def warm(subject: PageSettings) -> threading.Thread:
    """Load the model and read the direction in the background, so that the first move of a slider finds them."""
    thread = threading.Thread(target=_quietly, args=(subject,), name="ws-warm", daemon=True)
    thread.start()
    return thread


def _quietly(subject: PageSettings) -> None:
    with suppress(UserError):  # the page says it where it needs the direction
        ready(subject)


@lru_cache(maxsize=256)
def _sample(subject: PageSettings, prompt: str, c: float, seed: int, tokens: int | None) -> pl.DataFrame:
    lm, (axis, v) = load_model(subject.model), ready(subject)
    doses = list(dict.fromkeys((0.0, c, -c))) if c else [0.0]
    draws = subject.sampling.draws(seed, tokens)
    return score(lm, generate(lm, prompt, v, doses, sampling=draws), axis)


def sample(
    subject: PageSettings, prompt: str, c: float, seed: int = 0, run: Run | None = None, tokens: int | None = None
) -> pl.DataFrame:
    """One scored reply at 0, +c and -c (one row at c = 0), same dice, with `source`: "stored" or "live".

    A run of the same settings is read where it holds these rows: they are what a live call gives. tokens: at most so
    many new ones, None takes the settings'.
    """
    found = stored_sample(run, prompt, c, seed) if run is not None and tokens is None else None
    if found is not None:
        return found.with_columns(source=pl.lit("stored"))
    return _sample(subject, prompt, float(c), seed, tokens).with_columns(source=pl.lit("live"))


def stored_sample(run: Run, prompt: str, c: float, seed: int, round: int = 0) -> pl.DataFrame | None:
    """The report's rows of a prompt at 0, +c and -c; None unless all of them are stored."""
    if not run.has("eval.parquet", round) or run.rounds != 1:
        return None
    texts = _report_texts(run.whole(f"rounds/{round}/eval.parquet"))
    here = texts.filter(pl.col("prompt") == prompt, pl.col("seed") == seed, pl.col("sample") == 0)
    doses = list(dict.fromkeys((0.0, float(c), -float(c)))) if c else [0.0]
    rows = [here.filter(pl.col("c") == dose).head(1) for dose in doses]
    return pl.concat(rows) if all(row.height for row in rows) else None


def near_sample(run: Run | None, prompt: str, c: float, seed: int) -> pl.DataFrame | None:
    """The stored rows at the dose nearest to c that was read in both signs, to look at while a slow model writes; None
    where none is stored."""
    if run is None or not run.has("eval.parquet"):
        return None
    doses = _report_texts(run.whole("rounds/0/eval.parquet")).filter(pl.col("c") > 0)["c"].unique().to_list()
    rows = (stored_sample(run, prompt, dose, seed) for dose in sorted(doses, key=lambda dose: abs(dose - c)))
    found = next((sample for sample in rows if sample is not None), None)
    return found if found is None else found.with_columns(source=pl.lit("stored at another dose, writing ..."))


@lru_cache(maxsize=8)
def _report_texts(path: object) -> pl.DataFrame:
    """Free text of base and of the steered arms, in the columns of scored completions."""
    reports = pl.read_parquet(str(path), columns=["arm", "text"]).filter(pl.col("arm").is_in([BASE, STEER]))
    rows = reports.explode("text").select("text").unnest("text")
    wanted = {**SCHEMA, **SCORES}  # a run of an earlier version has fewer scores
    return rows.select((pl.col(n) if n in rows.columns else pl.lit(None)).cast(k).alias(n) for n, k in wanted.items())
