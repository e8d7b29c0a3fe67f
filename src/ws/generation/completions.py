"""Generation: prompts x doses x samples in shared batches, as a frame with log-probabilities and drift.

    df = ws.generate(lm, ["May a nurse lie?"], v, c=[0, 0.5, 1], n=2, seed=0)

The same row has the same dice at every dose and in every batch. logp_base and kl_drift compare with the base:
the same weights without steering and adapters, under the neutral prompt (so that a persona's drift is measured
as a dose's is).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Unpack

import numpy as np
import polars as pl
import torch

from ws.errors import UserError
from ws.generation.decoding import Progress, decode, identity
from ws.generation.rollout import Backtrack, Rollout
from ws.generation.settings import Intervention, Sampling, Settings, taken
from ws.generation.tracing import Trace, completion_states, readouts
from ws.models.batching import by_length, starts_of
from ws.models.lm import LM
from ws.steering.coefficients import Coefficient, Steered, as_pairs, rows_of
from ws.steering.direction import Direction

__all__ = ["PER_TOKEN", "SCHEMA", "Backtrack", "Prompt", "decode", "generate", "identity"]

SCHEMA: dict[str, Any] = {
    "prompt_id": pl.String,
    "prompt": pl.String,
    "split": pl.String,
    "c": pl.Float64,
    "sample": pl.Int32,
    "seed": pl.Int64,
    "text": pl.String,
    "token_ids": pl.List(pl.Int32),
    "logp_steered": pl.List(pl.Float32),
    "logp_base": pl.List(pl.Float32),
    "kl_drift": pl.List(pl.Float32),
    "finished": pl.Boolean,
}
PER_TOKEN = ("token_ids", "logp_steered", "logp_base", "kl_drift")
"""Columns that hold a value for each token: most of what a frame of completions weighs."""


@dataclass(frozen=True)
class Prompt:
    """A prompt with a name of its own; id None is the identity of its token ids, system replaces the neutral prompt."""

    user: str
    id: str | None = None
    split: str = ""
    system: str | None = None


@dataclass(frozen=True)
class _Asked:
    """A rendered prompt: ids as the arm reads them, base_ids as the base does, dice: its identity."""

    prompt: Prompt
    ids: list[int]
    base_ids: list[int]
    dice: str
    start: int

    @property
    def arm(self) -> bool:
        """The arm reads another prompt than the base."""
        return self.ids != self.base_ids


def generate(
    lm: LM,
    prompts: str | Prompt | Sequence[str | Prompt],
    direction: Steered | None = None,
    c: float | Sequence[float] | None = None,
    *,
    sampling: Sampling | None = None,
    intervention: Intervention | None = None,
    n: int = 1,
    persona: str | None = None,
    form: str | None = None,
    min_new_tokens: int = 0,
    batch_size: int = 128,
    trace: bool = True,
    on_progress: Progress | None = None,
    **keywords: Unpack[Settings],
) -> pl.DataFrame:
    """n completions of every prompt at every dose, rows in the order prompts, doses, samples; columns: SCHEMA.

    direction, c, and the fields of `Sampling` and `Intervention` may be given as keywords (seed=, temperature=,
    where=, schedule=, adapters=, ...) in place of sampling= and intervention=. c: one dose or several; left out it is
    0, and 1 where `direction` is a list of pairs, whose c_i it multiplies. Never a repetition penalty. persona: system
    prompt of this arm. form: of the template. trace=False leaves logp_base and kl_drift null. With `backtrack` two
    columns tell what it did: scale (the row's c was multiplied by it) and rollbacks. on_progress(rows done, rows).
    UserError: no prompt, a prompt too long, a dose without a direction, settings outside their range or given twice.
    """
    given = {name: value for name, value in (("direction", direction), ("c", c)) if value is not None}
    draws = taken(sampling, Sampling, keywords).on(lm)
    push = taken(intervention, Intervention, {**keywords, **given})
    asked = [_ask(lm, p, persona, form) for p in ([prompts] if isinstance(prompts, str | Prompt) else prompts)]
    doses = _doses(push.direction, push.c)
    if not asked or n < 1 or batch_size < 1:
        numbers = f"{len(asked)} prompts, n = {n}, batch_size = {batch_size}"
        raise UserError(f"there is nothing to generate: {numbers}. Each must be at least 1.")
    cells = [_Cell(a, dose, sample) for a in asked for dose in doses for sample in range(n)]
    pairs = as_pairs(push.direction)
    shares = rows_of(pairs, [cell.c for cell in cells], len(cells))
    for group in by_length([len(cell.asked.ids) for cell in cells], batch_size):
        parts = [(d, [shares[i][k] for i in group]) for k, (d, _) in enumerate(pairs)]
        here = replace(push, direction=parts or None, c=1.0)
        with lm.lock:
            _fill(lm, [cells[i] for i in group], here, draws, min_new_tokens, trace, _counted(on_progress, cells))
    return _frame(lm, cells, draws.seed, push.backtrack is not None)


@dataclass(eq=False)
class _Cell:
    """One row of the frame, filled when its batch is done."""

    asked: _Asked
    c: float
    sample: int
    row: Rollout | None = None
    trace: Trace | None = None


def _fill(
    lm: LM,
    cells: list[_Cell],
    push: Intervention,
    draws: Sampling,
    least: int,
    traced: bool,
    on_progress: Progress | None,
) -> None:
    """Decode one batch of cells; where their states differ from the base's, let the base read what they wrote.

    push: its direction is pairs with one coefficient per cell.
    """
    rows = decode(
        lm,
        [cell.asked.ids for cell in cells],
        [cell.asked.start for cell in cells],
        sampling=draws,
        intervention=push,
        prompts=[cell.asked.dice for cell in cells],
        samples=[cell.sample for cell in cells],
        min_new_tokens=least,
        keep_states=traced,
        batch_size=len(cells),
        on_progress=on_progress,
    )
    for cell, row in zip(cells, rows, strict=True):
        cell.row = row
    if traced:
        steered = [any(row) for row in rows_of(as_pairs(push.direction), 1.0, len(cells))]
        moved = [bool(push.adapters) or s or cell.asked.arm for cell, s in zip(cells, steered, strict=True)]
        _trace(lm, cells, moved)


def _trace(lm: LM, cells: list[_Cell], moved: list[bool]) -> None:
    """Log-probabilities and drift from the states that chose the tokens; a row that nothing moved is its own base."""
    other = [cell for cell, m in zip(cells, moved, strict=True) if m]
    prompts = [cell.asked.base_ids for cell in other]
    said = [cell.row.token_ids for cell in other if cell.row]
    base = completion_states(lm, prompts, said, batch_size=len(cells))
    own = [cell.row.stacked(lm) for cell in other if cell.row]
    traces = dict(zip(other, readouts(lm, own, base, said), strict=True))
    for cell in cells:
        assert cell.row
        cell.trace = traces.get(cell)
        if cell.trace is None:
            logp = np.array(cell.row.logp, dtype=np.float32)
            cell.trace = Trace(logp, logp, np.zeros_like(logp))
        cell.row.states.clear()


def _counted(on_progress: Progress | None, cells: list[_Cell]) -> Progress | None:
    """on_progress over all cells, for a batch that counts its own rows."""
    if on_progress is None:
        return None
    before = sum(cell.row is not None for cell in cells)
    return lambda done, _: on_progress(before + done, len(cells))


def _ask(lm: LM, prompt: str | Prompt, persona: str | None, form: str | None) -> _Asked:
    """Render a prompt for its arm and for the base; its identity is that of the neutral prompt in the default form."""
    prompt = Prompt(prompt) if isinstance(prompt, str) else prompt
    system = prompt.system if persona is None else persona
    neutral = lm.prompt_ids(prompt.user)
    base = neutral if form is None else lm.prompt_ids(prompt.user, form=form)
    ids = base if system is None else lm.prompt_ids(prompt.user, system=system, form=form)
    return _Asked(prompt, ids, base, identity(neutral), starts_of(lm, [ids])[0])


def _doses(direction: Steered | None, c: Coefficient | Sequence[float] | None) -> list[float]:
    """The doses as a list; UserError where there is none, or one without a direction."""
    pairs = as_pairs(direction)
    if c is None:
        return [0.0 if isinstance(direction, Direction) or not pairs else 1.0]
    doses = torch.as_tensor(c, dtype=torch.float64).reshape(-1).tolist()
    if not doses or not all(map(math.isfinite, doses)):
        raise UserError(f"c must be one finite dose or a list of them (got {c}).")
    if not pairs and any(doses):
        raise UserError(f"c = {c} without a direction. Pass direction=, or leave c out.")
    return doses


def _frame(lm: LM, cells: list[_Cell], seed: int, backtracked: bool) -> pl.DataFrame:
    """The cells as a frame, in their order."""
    records = []
    for cell in cells:
        row, prompt = cell.row, cell.asked.prompt
        assert row
        records.append(
            {
                "prompt_id": cell.asked.dice if prompt.id is None else prompt.id,
                "prompt": prompt.user,
                "split": prompt.split,
                "c": cell.c,
                "sample": cell.sample,
                "seed": seed,
                "text": lm.text_of(row.token_ids, row.finished),
                "token_ids": row.token_ids,
                "logp_steered": row.logp,
                "logp_base": None if cell.trace is None else cell.trace.logp_base.tolist(),
                "kl_drift": None if cell.trace is None else cell.trace.kl_drift.tolist(),
                "finished": row.finished,
                "scale": row.scale,
                "rollbacks": row.rollbacks,
            }
        )
    schema = {**SCHEMA, "scale": pl.Float64, "rollbacks": pl.Int32} if backtracked else SCHEMA
    return pl.DataFrame({name: [r[name] for r in records] for name in schema}, schema=schema)
