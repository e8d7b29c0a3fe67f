"""Doses that disturb equally: the c of any direction at which free text drifts from base by a given KL, both signs.

    table = calibrate(lm, {"mean_diff": v, "rotation": w}, axis.select, targets=[1.0])     # one row each, sign, target
    read = effects(lm, axis, table, {"mean_diff": v, "rotation": w})                       # what the trait moves there

c_star: the 95th percentile over positions of KL(steered || base), full vocabulary, on free rollouts, is the target. All
directions, both signs and all probe doses are written in one decode (sample i is one of them, on the same prompts); the
doses in between are read off the line through log KL over log c, made to rise; a second decode measures them, and
up to three more those that missed by over a quarter; the nearest stays. `edge` says that the target lies outside of the
bracket ("low", "high": c is its end) or was not met within a factor of two ("off").
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import polars as pl

from ws.axes.axis import Axis
from ws.errors import UserError
from ws.evaluation.readings.dilemmas import read_dilemmas
from ws.generation.completions import generate
from ws.generation.settings import Sampling
from ws.intervals import paired_mean
from ws.models.lm import LM
from ws.runs.arms import kl_p95
from ws.steering.direction import Direction

__all__ = ["BRACKETS", "COLUMNS", "bracket_of", "calibrate", "effects"]

COLUMNS = {
    "name": pl.String, "method": pl.String, "unit": pl.String, "sign": pl.Int64, "target": pl.Float64, "c": pl.Float64,
    "kl": pl.Float64, "edge": pl.String, "relative": pl.Float64,
}  # fmt: skip
"""sign: of c; target, kl: nats, asked and measured; edge: "", "low", "high", "off"; relative: |c v| / |h|, null in
other units than multiples."""
EFFECTS = {"d_target": pl.Float64, "d_target_low": pl.Float64, "d_target_high": pl.Float64}
BRACKETS = {"multiples": (0.03, 3.0), "degrees": (2.0, 180.0), "shares": (0.03, 3.0)}
"""Weakest and strongest dose by unit; of multiples as |c v| / |h|, which means the same for any direction."""
NEAR = 1e-6
TURNS = 4
FAR = 2.0
MISSED = 1.25
"""A dose whose KL is off by more than this factor is measured once more."""


def bracket_of(v: Direction) -> tuple[float, float]:
    """The weakest and the strongest dose that are looked at, in the direction's own unit."""
    low, high = BRACKETS[v.unit]
    if v.unit != "multiples":
        return low, high
    relative = float(v.meta.get("relative", 0.0))
    if not relative > 0:
        raise UserError(f"{v.title} does not say how long it is beside the states (|v| / |h|). Extract it again.")
    return low / relative, high / relative


def calibrate(
    lm: LM,
    directions: Mapping[str, Direction],
    prompts: Sequence[str],
    targets: Sequence[float] = (1.0,),
    *,
    signs: Sequence[int] = (1, -1),
    probes: int = 6,
    sampling: Sampling | None = None,
    adapters: Sequence[Any] = (),
    batch_size: int = 128,
) -> pl.DataFrame:
    """One row (COLUMNS) per direction, sign and target (nats).

    prompts: rolled out once under each probe; sampling: of the rollouts, None is 48 tokens as the model draws.
    UserError: no direction, no prompt, a target that is not above 0, fewer than two probes.
    """
    if not directions or not prompts or not targets or probes < 2 or not all(0 < t < math.inf for t in targets):
        numbers = f"{len(directions)} directions, {len(prompts)} prompts, targets {list(targets)}, {probes} probes"
        raise UserError(f"calibration needs directions, prompts, targets above 0 nats, two probes or more ({numbers}).")
    draws = Sampling(max_new_tokens=48) if sampling is None else sampling
    how = {"sampling": draws, "adapters": adapters, "batch_size": batch_size, "allow_stale": bool(adapters)}
    arms = [(name, sign) for name in directions for sign in signs]
    grids = {name: np.geomspace(*bracket_of(v), probes) for name, v in directions.items()}
    asked = [(name, sign * c) for name, sign in arms for c in grids[name]]
    found = np.array(_kl(lm, directions, asked, prompts, how)).reshape(len(arms), probes)
    cells = [_Cell(name, sign, target, grids[name], kl) for (name, sign), kl in zip(arms, found, strict=True)
             for target in targets]  # fmt: skip
    for turn in range(TURNS):
        todo = [cell for cell in cells if cell.missed and not (turn and cell.edge)]
        measured = _kl(lm, directions, [(cell.name, cell.sign * cell.c) for cell in todo], prompts, how)
        for cell, kl in zip(todo, measured, strict=True):
            cell.learn(kl)
    return pl.DataFrame([cell.row(directions[cell.name]) for cell in cells], schema=COLUMNS, orient="row")


class _Cell:
    """One direction, sign and target, and what is known of it."""

    def __init__(self, name: str, sign: int, target: float, grid: Any, kl: Any) -> None:
        self.name, self.sign, self.target = name, sign, target
        self.known = dict(zip(grid.tolist(), kl.tolist(), strict=True))
        self.ends = min(self.known), max(self.known)
        self.measured: tuple[float, float] | None = None
        self.c = self._crossing()

    @property
    def edge(self) -> str:
        """Whether the target lies outside of the bracket."""
        low, high = self.ends
        return "low" if self.c <= low * (1 + NEAR) else "high" if self.c >= high * (1 - NEAR) else ""

    @property
    def missed(self) -> bool:
        """Whether nothing near the target was measured yet."""
        return self.measured is None or self._off(self.measured[1]) > math.log(MISSED)

    def _off(self, kl: float) -> float:
        """How far a KL is from the target: |log ratio|."""
        return abs(math.log(max(kl, 1e-12) / self.target))

    def learn(self, kl: float) -> None:
        """What the chosen dose gave; where that is nearer than the one before, it is kept."""
        if self.measured is None or self._off(kl) < self._off(self.measured[1]):
            self.measured = self.c, kl
        self.known[self.c] = kl
        self.c = self._crossing()

    def _crossing(self) -> float:
        """Where the line through log KL over log c passes the target; the bracket's end beyond it."""
        c = np.array(sorted(self.known))
        kl = np.maximum.accumulate(np.maximum([self.known[x] for x in c], 1e-12))
        log = np.log(kl) + 1e-9 * np.arange(len(kl))  # rises, where it was flat
        return float(np.exp(np.interp(math.log(self.target), log, np.log(c))))

    def row(self, v: Direction) -> tuple[Any, ...]:
        assert self.measured is not None
        (c, kl), edge = self.measured, self.edge
        edge = edge if edge or self._off(kl) <= math.log(FAR) else "off"
        relative = c * float(v.meta["relative"]) if v.unit == "multiples" else None
        return self.name, v.title, v.unit, self.sign, self.target, self.sign * c, kl, edge, relative


def _kl(
    lm: LM, directions: Mapping[str, Direction], asked: Sequence[tuple[str, float]], prompts: Sequence[str],
    how: dict[str, Any],
) -> list[float]:  # fmt: skip
    """KL of each (direction, dose) on free rollouts: one decode, sample i under the i-th of them."""
    n = len(asked)
    if not n:
        return []
    pairs = [
        (v, [asked[k % n][1] if asked[k % n][0] == name else 0.0 for k in range(n * len(prompts))])
        for name, v in directions.items()
    ]
    texts = generate(lm, list(prompts), pairs, 1.0, n=n, **how)
    return [kl_p95(texts.filter(pl.col("sample") == i)) for i in range(n)]


def effects(
    lm: LM, axis: Axis, table: pl.DataFrame, directions: Mapping[str, Direction], batch_size: int = 256
) -> pl.DataFrame:
    """The table with what the axis's questions move at each of its doses: d_target, the mean shift of the logratio
    against base, nats per token, positive as intended, with its paired 95 % interval.

    Of the half that chooses doses, all rows side by side. UserError for an axis without questions.
    """
    asked = axis.half("select")
    if not asked:
        raise UserError(f"axis {axis.name!r} has no questions to be read by. Write questions into its file.")
    rows = table.select("name", "c").rows()
    pairs = [(v, [0.0, *(c if name == own else 0.0 for own, c in rows)]) for name, v in directions.items()]
    frames = read_dilemmas(lm, asked, direction=pairs, cs=[1.0] * (1 + len(rows)), batch_size=batch_size)
    base, *moved = (frame["logratio"].to_numpy() for frame in frames)
    read = [paired_mean(base, values) for values in moved]
    found = {"d_target": [r.value for r in read], "d_target_low": [r.low for r in read],
             "d_target_high": [r.high for r in read]}  # fmt: skip
    return table.with_columns(pl.DataFrame(found, schema=EFFECTS))
