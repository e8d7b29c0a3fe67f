"""Whether axes are alive on a model, before any run: what a prompt and a small dose move on an axis's questions.

    alive(lm, axis)                 # {"verdict": "alive", "steered": .., "persona": .., "random": .., ...}
    alive_table(lm, axes, out)      # one row an axis, stored under out/doctor and found again

A direction from few contexts, questions of the half that chooses doses, all doses and random directions in one batch.
"""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import polars as pl

from ws.axes.axis import Axis
from ws.errors import UserError
from ws.evaluation.readings.dilemmas import read_dilemmas
from ws.experiment.controls import random_directions
from ws.files import digest, read_json, write_json
from ws.gating.alive import alive_verdict
from ws.intervals import paired_mean
from ws.models.lm import LM
from ws.steering.extraction import extract

__all__ = ["TABLE", "alive", "alive_table", "verdicts_of"]

VERSION = 1  # of the check: raise it when its numbers change
ENDS = ("", "_low", "_high")
TABLE: dict[str, Any] = {
    "axis": pl.String, "verdict": pl.String, "base": pl.Float64,
    **{f"{name}{end}": pl.Float64
       for name in ("persona_plus", "persona_minus", "plus", "minus", "steered", "persona") for end in ENDS},
    "random": pl.Float64, "random_most": pl.Float64, "c": pl.Float64, "draws": pl.Int32, "questions": pl.Int32,
    "seconds": pl.Float64,
}  # fmt: skip
"""Columns of a table of axes, nats per token of the answers. base: logratio; persona_plus, persona_minus, plus, minus:
its shift under either persona as a system prompt and at either dose, with 95 % intervals; steered: plus - minus;
persona: persona_plus - persona_minus; random, random_most: twice the |shift| at +c of random directions of equal norm,
mean and largest."""


@dataclasses.dataclass(frozen=True)
class Check:
    """How an axis is checked."""

    c: float = 1.0
    """dose"""
    draws: int = 4
    """random directions"""
    questions: int = 16
    """the personas are read on every second one"""
    contexts: int = 8
    seed: int = 0


def alive(lm: LM, axis: Axis, check: Check | None = None) -> dict[str, Any]:
    """A row of TABLE. UserError for an axis without questions."""
    check, began = check or Check(), time.monotonic()
    axis = axis.on(lm)
    if not axis.questions:
        raise UserError(f"axis {axis.name!r} has no questions to be read by. Write questions into its file.")
    half = axis.half("select")[: check.questions]
    asked = [dataclasses.replace(question, plain=None) for question in half]
    few = dataclasses.replace(axis, contexts=axis.contexts[: check.contexts])
    v = extract(lm, few, pairs=check.contexts)
    draws = random_directions(v, check.draws, check.seed)
    n = 3 + len(draws)  # base, +c, -c, and +c of every random direction
    arms = [(d, [check.c * (k == 3 + i) for k in range(n)]) for i, d in enumerate(draws)]
    arms.append((v, [0.0, check.c, -check.c] + [0.0] * len(draws)))
    how: dict[str, Any] = {"batch_size": 2 * n * len(asked)}
    base, *moved = read_dilemmas(lm, asked, direction=arms, cs=[1.0] * n, **how)
    # a prompt moves more than a small dose, and its tokens are read anew for every question: half of them will do
    prompted = [read_dilemmas(lm, asked[::2], persona=pole[0], **how)[0] for pole in (axis.positive, axis.negative)]
    unprompted = base[::2]
    steered = paired_mean(_of(moved[1]), _of(moved[0]))
    persona = paired_mean(_of(prompted[1]), _of(prompted[0]))
    read = {name: paired_mean(_of(unprompted), _of(frame))
            for name, frame in zip(("persona_plus", "persona_minus"), prompted, strict=True)}  # fmt: skip
    read |= {name: paired_mean(_of(base), _of(frame)) for name, frame in zip(("plus", "minus"), moved[:2], strict=True)}
    # a random direction has no side: what it moves at +c, twice, stands beside + minus -
    randoms = [2 * float((_of(frame) - _of(base)).mean()) for frame in moved[2:]]
    return {
        "axis": axis.name,
        "verdict": alive_verdict(steered, persona, randoms),
        "base": float(_of(base).mean()),
        **{f"{name}{end}": value for name, found in (read | {"steered": steered, "persona": persona}).items()
           for end, value in zip(ENDS, (found.value, found.low, found.high), strict=True)},
        "random": sum(map(abs, randoms)) / len(randoms) if randoms else None,
        "random_most": max(map(abs, randoms), default=None),
        "c": check.c, "draws": len(draws), "questions": len(asked), "seconds": time.monotonic() - began,
    }  # fmt: skip


def _of(frame: pl.DataFrame) -> Any:
    return frame["logratio"].to_numpy()


def alive_table(
    lm: LM, axes: Iterable[Axis], out: Path, check: Check | None = None, tell: Callable[[str], object] = lambda _: None
) -> pl.DataFrame:
    """One row (TABLE) per axis: found under `out`/doctor, or measured now and kept there. tell: the axis in turn."""
    return pl.DataFrame([_stored(lm, axis.on(lm), out, check or Check(), tell) for axis in axes], schema=TABLE)


def _stored(lm: LM, axis: Axis, out: Path, check: Check, tell: Callable[[str], object]) -> dict[str, Any]:
    settings = [VERSION, lm.fingerprint, str(lm.dtype), lm.neutral, str(lm.tok.chat_template), axis.to_dict(),
                dataclasses.asdict(check)]  # fmt: skip
    place = out / "doctor" / f"{digest(settings)}.json"
    try:
        return {name: read_json(place)["row"][name] for name in TABLE}
    except (UserError, KeyError, TypeError):  # not there, or damaged: measured again
        tell(axis.name)
        row = alive(lm, axis, check)
    write_json(place, {"model": lm.name, "fingerprint": lm.fingerprint, "row": row})
    return row


def verdicts_of(model: str, out: Path) -> dict[str, str]:
    """Axis -> its newest stored verdict on the model of that name; what lacks one was not measured."""
    found: dict[str, str] = {}
    for place in sorted((out / "doctor").glob("*.json"), key=lambda path: path.stat().st_mtime_ns):
        try:
            stored = read_json(place)
            if stored["model"] == model:
                found[stored["row"]["axis"]] = stored["row"]["verdict"]
        except (UserError, KeyError, TypeError):  # damaged: as good as not measured
            continue
    return found
