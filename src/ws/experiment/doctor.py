"""Whether axes are alive on a model, before any run: what a prompt and a small dose move on an axis's questions.

    alive(lm, axis)                 # {"verdict": "alive", "steered": .., "persona": .., "random": .., ...}
    alive_table(lm, axes, out)      # one row an axis, stored under out/doctor and found again

A direction from few contexts, questions of the half that chooses doses. The dose is the same share of the residual
stream's length for every axis.
"""

from __future__ import annotations

import dataclasses
import multiprocessing
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import polars as pl

from ws.axes.axis import Axis
from ws.errors import UserError
from ws.evaluation.readings.dilemmas import read_dilemmas
from ws.experiment.controls import random_directions
from ws.files import digest, read_sealed, sealed, write_json
from ws.gating.alive import alive_verdict
from ws.intervals import paired_mean
from ws.models.lm import LM, load_model, one_thread
from ws.steering.extraction import extract

if TYPE_CHECKING:
    from ws.axes.axis_file import Question
    from ws.steering.direction import Direction

__all__ = ["TABLE", "alive", "alive_table", "verdicts_of"]

VERSION = 3  # of the check: raise it when its numbers change
ENDS = ("", "_low", "_high")
TABLE: dict[str, Any] = {
    "axis": pl.String, "verdict": pl.String, "base": pl.Float64,
    **{f"{name}{end}": pl.Float64
       for name in ("persona_plus", "persona_minus", "plus", "minus", "steered", "persona") for end in ENDS},
    "random": pl.Float64, "random_most": pl.Float64, "c": pl.Float64, "share": pl.Float64, "draws": pl.Int32,
    "questions": pl.Int32,
    "seconds": pl.Float64,
}  # fmt: skip
"""Columns of a table of axes, nats per token of the answers. base: logratio; persona_plus, persona_minus, plus, minus:
its shift under either persona as a system prompt and at either dose, with 95 % intervals; steered: plus - minus;
persona: persona_plus - persona_minus; random, random_most: twice the |shift| at +c of random directions of equal norm,
mean and largest; c: the dose, and share: |c v| / |h| there."""


@dataclasses.dataclass(frozen=True)
class Check:
    """How an axis is checked."""

    share: float = 0.1
    """dose, as |c v| / |h|: directions of different axes are ten times as long as each other"""
    draws: int = 4
    """random directions, each on every second question"""
    questions: int = 12
    """the personas are read on every second one"""
    contexts: int = 6
    seed: int = 0


def alive(lm: LM, axis: Axis, check: Check | None = None) -> dict[str, Any]:
    """A row of TABLE. UserError for an axis without questions."""
    check, began = check or Check(), time.monotonic()
    axis = axis.on(lm)
    if not axis.questions:
        raise UserError(f"axis {axis.name!r} has no questions to be read by. Write questions into its file.")
    few = dataclasses.replace(axis, contexts=axis.contexts[: check.contexts])
    v = extract(lm, few, pairs=check.contexts)
    c = check.share / v.meta["relative"]
    half = [dataclasses.replace(question, plain=None) for question in axis.half("select")[: check.questions]]
    base, plus, minus = _logratios(lm, half, direction=v, cs=[0.0, c, -c])
    prompted = [_logratios(lm, half[::2], persona=pole[0])[0] for pole in (axis.positive, axis.negative)]
    # a random direction has no side: what it moves at +c, twice, stands beside + minus -
    randoms = [2 * float((moved - base[::2]).mean()) for moved in _drawn(lm, half[::2], v, c, check)]
    found = {
        "steered": paired_mean(minus, plus),
        "persona": paired_mean(prompted[1], prompted[0]),
        "persona_plus": paired_mean(base[::2], prompted[0]),
        "persona_minus": paired_mean(base[::2], prompted[1]),
        "plus": paired_mean(base, plus),
        "minus": paired_mean(base, minus),
    }
    return {
        "axis": axis.name,
        "verdict": alive_verdict(found["steered"], found["persona"], randoms),
        "base": float(base.mean()),
        **{f"{name}{end}": value for name, read in found.items()
           for end, value in zip(ENDS, (read.value, read.low, read.high), strict=True)},
        "random": sum(map(abs, randoms)) / len(randoms) if randoms else None,
        "random_most": max(map(abs, randoms), default=None),
        "c": c, "share": check.share, "draws": check.draws, "questions": len(half), "seconds": time.monotonic() - began,
    }  # fmt: skip


def _logratios(lm: LM, asked: Sequence[Question], **how: Any) -> list[Any]:
    """The logratio of every question at every dose, all of them in one batch."""
    rows = 2 * len(asked) * len(how.get("cs", "1"))
    return [frame["logratio"].to_numpy() for frame in read_dilemmas(lm, asked, batch_size=rows, **how)]


def _drawn(lm: LM, asked: Sequence[Question], v: Direction, c: float, check: Check) -> list[Any]:
    """The same under random directions of v's length at +c, side by side."""
    n = check.draws
    arms = [(d, [c * (k == i) for k in range(n)]) for i, d in enumerate(random_directions(v, n, check.seed))]
    return _logratios(lm, asked, direction=arms, cs=[1.0] * n) if n else []


def alive_table(
    lm: LM,
    axes: Iterable[Axis],
    out: Path,
    check: Check | None = None,
    tell: Callable[[str], object] = lambda _: None,
    workers: int = 1,
) -> pl.DataFrame:
    """One row (TABLE) per axis: found under `out`/doctor, or measured now and kept there. tell: the axis in turn.

    workers: processes that share what is to be measured, each with the model of that name.
    """
    check, axes = check or Check(), [axis.on(lm) for axis in axes]
    places = [_place(lm, axis, out, check) for axis in axes]
    rows = [_stored(place) for place in places]
    missing = [i for i, row in enumerate(rows) if row is None]
    for i, row in zip(missing, _measured(lm, [axes[i] for i in missing], check, tell, workers), strict=True):
        rows[i] = row
        write_json(places[i], sealed({"model": lm.name, "fingerprint": lm.fingerprint, "row": row}))
    return pl.DataFrame(rows, schema=TABLE)


def _place(lm: LM, axis: Axis, out: Path, check: Check) -> Path:
    settings = [VERSION, lm.fingerprint, str(lm.dtype), lm.neutral, str(lm.tok.chat_template), axis.to_dict(),
                dataclasses.asdict(check)]  # fmt: skip
    return out / "doctor" / f"{digest(settings)}.json"


def _stored(place: Path) -> dict[str, Any] | None:
    """The row that was kept there; None where there is none, or a damaged one."""
    try:
        return {name: read_sealed(place, "")["row"][name] for name in TABLE}
    except (UserError, KeyError, TypeError):
        return None


def _measured(
    lm: LM, axes: Sequence[Axis], check: Check, tell: Callable[[str], object], workers: int
) -> Iterator[dict[str, Any]]:
    """A row for each of these axes, in their order."""
    if min(workers, len(axes)) < 2:
        for axis in axes:
            tell(axis.name)
            yield alive(lm, axis, check)
        return
    # spawned: polars and torch have threads, which a fork would leave hanging
    with ProcessPoolExecutor(min(workers, len(axes)), multiprocessing.get_context("spawn")) as pool:
        for axis, row in zip(axes, pool.map(partial(_in_worker, lm.name, check), axes), strict=True):
            tell(axis.name)
            yield row


def _in_worker(model: str, check: Check, axis: Axis) -> dict[str, Any]:
    return alive(one_thread(load_model(model)), axis, check)


def verdicts_of(model: str, out: Path) -> dict[str, str]:
    """Axis -> its newest stored verdict on the model of that name; what lacks one was not measured."""
    found: dict[str, str] = {}
    for place in sorted((out / "doctor").glob("*.json"), key=lambda path: path.stat().st_mtime_ns):
        try:
            stored = read_sealed(place, "")
            if stored["model"] == model:
                found[stored["row"]["axis"]] = stored["row"]["verdict"]
        except (UserError, KeyError, TypeError):  # damaged: as good as not measured
            continue
    return found
