"""What notebooks show, computed once per process: every viewer of a notebook shares the model and these results."""

from __future__ import annotations

import threading
from functools import lru_cache
from typing import Any

import polars as pl

from ws.arms import Arm, arms_of
from ws.axes import Axis, load_axis
from ws.directions import Direction
from ws.evaluation.evaluator import evaluate
from ws.extraction import extract
from ws.filtering import score
from ws.generation import generate
from ws.models import load_model

__all__ = ["dose_response", "ready", "sample"]

_LOCK = threading.RLock()  # two viewers that open at once compute a thing once


@lru_cache(maxsize=8)
def _ready(model: str, axis: str) -> tuple[Axis, Direction]:
    lm = load_model(model)
    loaded = load_axis(axis).on(lm)
    return loaded, extract(lm, loaded)


def ready(model: str, axis: str) -> tuple[Axis, Direction]:
    """The axis in the model's words and its direction, read once per process."""
    with _LOCK:
        return _ready(model, axis)


@lru_cache(maxsize=16)
def _dose_response(model: str, axis: str, doses: tuple[float, ...], texts: int) -> pl.DataFrame:
    lm, (loaded, v) = load_model(model), ready(model, axis)
    settings: dict[str, Any] = {"think": 0, "texts": texts, "capability": False, "split": "select"}
    base = evaluate(lm, loaded, **settings)
    reports = evaluate(lm, loaded, direction=v, c=[c for c in doses if c], **settings)
    arms = [Arm("base", base, split="select")]
    arms += [Arm("steer", report, report.c, "select") for report in reports]
    return arms_of(base, arms, v.fingerprint)


def dose_response(model: str, axis: str, doses: tuple[float, ...], texts: int = 32) -> pl.DataFrame:
    """The arms (ws.gating.frames.ARMS) of base and every dose on the select set, measured once per process."""
    with _LOCK:
        return _dose_response(model, axis, doses, texts)


def sample(model: str, axis: str, prompt: str, c: float, seed: int = 0) -> pl.DataFrame:
    """One scored reply at c = 0 and one at c, same dice: base always stands beside the steered text."""
    loaded, v = ready(model, axis)
    lm = load_model(model)
    return score(lm, generate(lm, prompt, v, list(dict.fromkeys((0.0, c))), seed=seed), loaded)
