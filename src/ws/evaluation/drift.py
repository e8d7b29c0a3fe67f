"""Drift from the base before and after a heal, of kept and of dropped texts. The bet: incoherent drift is large and
erratic, trait drift small and systematic.

    frame = drift_frame(lm, texts, v, adapter, aggregate="rmse", tau=0.3)     # columns ws.gating.schemas.DRIFT

texts: steered completions with scores and `dropped` (ws.reasons). Both stages read the same token ids against the base:
"before" is the steered model that wrote them, "after" the healed model without steering. Intervals (95 %) resample
completions. Readings, each by group (kept, dropped, on_trait: kept, bitten, neither narrating nor refusing):
    kl              mean over tokens of KL(model || base), nats
    worst_share     share of the total KL that lies on the worst 5 % of positions
    kl_at           mean over tokens of KL in the first and in the last quarter of each completion, nats: a drift that
                    grows along the text is one that feeds on itself
    D_mean, D_rmse  mean over completions of D with that aggregate, nats; beside them tau of the barrier
    systematic      per completion the mean shift s of the hidden state; |mean s|^2 / mean |s|^2 over completions:
                    1 = all shift alike, 1 / n = nothing but scatter
    along           mean of the shift's component along the direction, in the sense of the dose, behind the deepest
                    steered block
    orthogonal      mean norm of what is left of the shift there
    left            after / before of the kept texts: along, orthogonal, and gap = along - orthogonal
    barrier_mass    share of the penalty relu(D - tau) that falls on dropped texts, had the barrier met all of them: it
                    stands in for the share of the gradient, which would cost a backward pass for each text
    tokens          share of the tokens that dropped texts hold, to compare that with
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl
import torch
from numpy.typing import NDArray
from torch import Tensor

from ws.gating.schemas import DRIFT
from ws.gating.thresholds import Thresholds
from ws.generation.tracing import trace
from ws.healing.barrier import aggregate as aggregate_positions
from ws.healing.barrier import by_sequence, penalty
from ws.intervals import resamples
from ws.models.adapters.attaching import attached
from ws.models.batching import Ids, pad, starts_of
from ws.models.lm import LM, positions
from ws.steering.coefficients import Steered, as_pairs
from ws.steering.extraction import stopped
from ws.steering.hooks import steered

if TYPE_CHECKING:
    from ws.models.adapters.adapter import Adapter

__all__ = ["block_states", "drift_frame", "sampled"]

ROWS = 96  # completions that are read
WORST = 0.05  # share of the positions
STAGES = ("before", "after")
PLACES: dict[str, Callable[[Any], Any]] = {
    "first quarter": lambda x: x[: max(1, len(x) // 4)],
    "last quarter": lambda x: x[-max(1, len(x) // 4) :],
}
"""Where in a completion the drift is read."""
Array = NDArray[np.float64]


def drift_frame(
    lm: LM,
    texts: pl.DataFrame,
    v: Steered,
    adapter: Adapter,
    *,
    history: Sequence[Adapter] = (),
    aggregate: str = "rmse",
    tau: float = 0.0,
    batch_size: int = 32,
) -> pl.DataFrame:
    """All readings, long form: reading, group, stage, value, low, high, n; each is defined above.

    history: adapters of earlier rounds, on in both stages. aggregate, tau: of the barrier. A group without rows is left
    out; no rows give an empty frame.
    """
    rows = sampled(texts)
    if not rows.height:
        return pl.DataFrame(schema=DRIFT)
    prompts, said = [lm.prompt_ids(user) for user in rows["prompt"]], rows["token_ids"].to_list()
    healed = trace(lm, prompts, said, adapters=[*history, adapter], batch_size=batch_size)
    kl = [[np.array(x, dtype=float) for x in rows["kl_drift"]], [t.kl_drift.astype(float) for t in healed]]
    shifts = [Shifts.of(parts) for parts in zip(*_shifts(lm, rows, v, adapter, history, batch_size), strict=True)]
    found = [*_of_kl(rows, kl, aggregate, tau), *_of_states(rows, shifts)]
    return pl.DataFrame(found, schema=DRIFT, orient="row")


def sampled(texts: pl.DataFrame, n: int = ROWS) -> pl.DataFrame:
    """At most n of the steered completions (c > 0) whose drift was measured, evenly spaced in the frame's order."""
    finite = pl.col("kl_drift").list.eval(pl.element().is_finite()).list.all()
    rows = texts.filter(pl.col("c") > 0, pl.col("kl_drift").list.len() > 0, finite)
    return rows if rows.height <= n else rows[[i * rows.height // n for i in range(n)]]


def block_states(
    lm: LM,
    prompts: Sequence[Ids],
    said: Sequence[Ids],
    layer: int,
    direction: Steered | None = None,
    c: Sequence[float] = (),
    allow_stale: bool = False,
) -> list[Tensor]:
    """Outputs (T, d), float32, of one block, steering included, at the positions that choose a completion's tokens."""
    ids, mask = pad([[*p, *done[:-1]] for p, done in zip(prompts, said, strict=True)], lm.pad_id, lm.device, left=False)
    with torch.inference_mode(), lm.lock, ExitStack() as stack:
        if direction is not None:
            starts = starts_of(lm, prompts)
            stack.enter_context(steered(lm, direction, list(c), starts=starts, allow_stale=allow_stale))
        # entered after the steering, whose hook then runs first
        forward, seen = stack.enter_context(stopped(lm, [layer]))
        forward(input_ids=ids, attention_mask=mask, position_ids=positions(mask), use_cache=False)
        states = seen[layer].float().cpu()
    return [h[len(p) - 1 : len(p) - 1 + len(done)] for h, p, done in zip(states, prompts, said, strict=True)]


@dataclass(frozen=True)
class Shifts:
    """By completion: mean shift of the state (n, d); its component along the direction, norm of the rest (n,)."""

    mean: Array
    along: Array
    orthogonal: Array

    @classmethod
    def of(cls, parts: Sequence[tuple[Array, float, float]]) -> Shifts:
        mean, along, orthogonal = zip(*parts, strict=True)
        return cls(np.stack(mean), np.array(along), np.array(orthogonal))


def _shifts(
    lm: LM, rows: pl.DataFrame, v: Steered, adapter: Adapter, history: Sequence[Adapter], size: int
) -> Iterator[list[tuple[Array, float, float]]]:
    """Per completion the shift of the steered and of the healed model: (mean (d,), along, orthogonal) each."""
    first = as_pairs(v)[0][0]  # of several, what they move is read along the first
    layer = max(first.layers)
    unit = first.layers[layer] / first.layers[layer].norm().clamp(min=1e-12)
    for start in range(0, rows.height, size):
        part = rows.slice(start, size)
        asked = [lm.prompt_ids(user) for user in part["prompt"]], part["token_ids"].to_list(), layer
        with lm.lock:
            base = block_states(lm, *asked)
            with attached(lm, history):
                before = block_states(lm, *asked, v, part["c"].to_list(), allow_stale=bool(history))
            with attached(lm, [*history, adapter]):
                after = block_states(lm, *asked)
        for b, *moved in zip(base, before, after, strict=True):
            yield [_split(h - b, unit) for h in moved]


def _split(shift: Tensor, unit: Tensor) -> tuple[Array, float, float]:
    """Mean of a shift (T, d) over positions, mean component along a unit vector, mean norm of what is left."""
    along = shift @ unit
    rest = (shift - along[:, None] * unit).norm(dim=-1)
    return shift.double().mean(0).numpy(), float(along.mean()), float(rest.mean())


def _groups(rows: pl.DataFrame) -> dict[str, NDArray[np.bool_]]:
    """Which completions belong to each group."""
    kept = rows["dropped"].is_null().to_numpy()
    talks = (rows["narrates"] | rows["refuses"]).fill_null(False).to_numpy()
    # numpy, since polars holds NaN to be larger than every number
    bitten = rows["bite"].fill_null(math.nan).to_numpy() >= Thresholds.bite
    return {"kept": kept, "dropped": ~kept, "on_trait": kept & bitten & ~talks}


Reading = tuple[str, str, str, float, float, float, int]


def _ratio(name: str, group: str, stage: str, top: Array, bottom: Array) -> list[Reading]:
    """sum(top) / sum(bottom) over completions with its interval; nothing where the sum below is 0."""
    if not len(bottom) or not bottom.sum() > 0:
        return []
    weights = resamples(len(bottom))
    with np.errstate(divide="ignore", invalid="ignore"):
        drawn = (weights @ top) / (weights @ bottom)
    return [_reading(name, group, stage, float(top.sum() / bottom.sum()), drawn, len(bottom))]


def _reading(name: str, group: str, stage: str, value: float, drawn: Array, n: int) -> Reading:
    low, high = np.nanquantile(drawn, [0.025, 0.975])
    return name, group, stage, value, float(low), float(high), n


def _of_kl(rows: pl.DataFrame, kl: list[list[Array]], how: str, tau: float) -> Iterator[Reading]:
    """The readings of the KL per position."""
    groups, tokens = _groups(rows), np.array([len(x) for x in kl[0]], dtype=float)
    dropped, kept = groups["dropped"].astype(float), groups["kept"]
    yield from _ratio("tokens", "dropped", "before", tokens * dropped, tokens)
    yield "tau", "barrier", "after", tau, tau, tau, len(tokens)
    for stage, values in zip(STAGES, kl, strict=True):
        total = np.array([x.sum() for x in values])
        worst = np.quantile(np.concatenate(values), 1 - WORST)
        yield from _ratio("worst_share", "all", stage, np.array([x[x >= worst].sum() for x in values]), total)
        for place, cut in PLACES.items():
            parts = [cut(x) for x in values]
            sums, lengths = (np.array([f(x) for x in parts], dtype=float) for f in (np.sum, len))
            yield from _ratio("kl_at", place, stage, sums, lengths)
        for group, chosen in groups.items():
            yield from _ratio("kl", group, stage, total[chosen], tokens[chosen])
        padded, mask = by_sequence(torch.tensor(np.concatenate(values)), [len(x) for x in values])
        for name in ("mean", "rmse"):
            d = aggregate_positions(padded, mask, name).numpy()[kept]
            yield from _ratio(f"D_{name}", "kept", stage, d, np.ones(len(d)))
        mass = penalty(aggregate_positions(padded, mask, how), tau).numpy()
        yield from _ratio("barrier_mass", "dropped", stage, mass * dropped, mass)


def _of_states(rows: pl.DataFrame, shifts: list[Shifts]) -> Iterator[Reading]:
    """The readings of the hidden states."""
    groups = _groups(rows)
    for stage, shift in zip(STAGES, shifts, strict=True):
        for group in ("kept", "dropped"):
            chosen = groups[group]
            one = np.ones(int(chosen.sum()))
            yield from _ratio("along", group, stage, shift.along[chosen], one)
            yield from _ratio("orthogonal", group, stage, shift.orthogonal[chosen], one)
            yield from _systematic(group, stage, shift.mean[chosen])
    yield from _left([(s.along[groups["kept"]], s.orthogonal[groups["kept"]]) for s in shifts])


def _systematic(group: str, stage: str, means: Array) -> list[Reading]:
    """Share of the completions' squared mean shift that they have in common."""
    n = len(means)
    size = np.square(means).sum(1)
    if n < 2 or not size.sum() > 0:
        return []
    weights = resamples(n) / n
    common = np.square(weights @ means).sum(1) / (weights @ size)
    return [_reading("systematic", group, stage, float(np.square(means.mean(0)).sum() / size.mean()), common, n)]


def _left(kept: list[tuple[Array, Array]]) -> list[Reading]:
    """What is left after the heal of the drift along the direction and orthogonal to it; paired over completions."""
    n = len(kept[0][0])
    if not n or not all(x.sum() > 0 for x in kept[0]):
        return []
    weights = resamples(n)
    parts = {}
    for name, before, after in zip(("along", "orthogonal"), *kept, strict=True):
        parts[name] = float(after.sum() / before.sum()), (weights @ after) / (weights @ before)
    parts["gap"] = parts["along"][0] - parts["orthogonal"][0], parts["along"][1] - parts["orthogonal"][1]
    return [_reading("left", name, "after/before", value, drawn, n) for name, (value, drawn) in parts.items()]
