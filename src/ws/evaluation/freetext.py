"""Free text: coherence that a forced readout cannot see, from completions under the neutral system prompt.

coh_text = share of completions that are readable: worst_ppl below the limit, loop < 0.3, rep < 0.3, ended by
themselves where base ends by itself. worst_ppl is the smaller of two references, base and base with the persona as
system prompt (`ws.generation.second_look`): text in the trait's style is no salad. The limit is the 99th percentile
(`ws.filtering.limits.tail_limit`) of another sample of the base than the one that coherence is relative to; in nats it
is divided by the sampling's temperature where that is under 1, since text drawn at a low temperature is that much less
surprising to the model than what the model means. The reading before it (tail_ppl below base's 99th percentile, rep,
ended by themselves) stands beside it as `readable_tail`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import polars as pl

from ws.filtering.limits import LOOP, tail_limit
from ws.filtering.scores import SCORES, STRETCH, score
from ws.generation.completions import SCHEMA, generate
from ws.generation.rollout import Backtrack
from ws.generation.second_look import second_look
from ws.generation.settings import Sampling
from ws.models.lm import LM

if TYPE_CHECKING:
    from ws.axes.axis import Axis

__all__ = [
    "COOLEST", "LIMIT_SEED", "READING", "REP", "TEXTS", "TextLimits", "beside_base", "free_text", "limits_of",
    "mark_readable", "spread",
]  # fmt: skip

COOLEST = 0.5  # the limit's rule was measured from there on (docs/filter.md); nearly greedy text has no spread
LIMIT_SEED = 7919  # added to the seed for the sample that gives the limit
REP = 0.3
QUANTILE = 0.99
ENDS = 0.5  # share of base's texts that end by themselves: below it that is no sign of coherence
READING: dict[str, Any] = {"stretch": STRETCH, "loop": LOOP, "references": "neutral, persona", "limit": "base, 1/T"}
"""What makes a text readable, for a report's identity."""
TEXTS: dict[str, Any] = {
    **SCHEMA,
    **SCORES,
    "readable": pl.Boolean,
    "base_readable": pl.Boolean,
    "protects": pl.Boolean,
    "grammatical": pl.Float64,
    "slots": pl.Float64,
    "readable_tail": pl.Boolean,
}
"""Columns of a report's free-text frame: completions, scores, whether this row and the base's row of the same dice
are readable, the reading of behaviour (null where it was not measured), and whether this row is readable by its tail
(null in reports of earlier versions, whose `readable` is that)."""


@dataclass(frozen=True)
class TextLimits:
    """What a readable text must meet. NaN where the sample has a text without a finite score: nothing is known then."""

    worst_ppl: float
    """kept below"""
    tail_ppl: float
    """kept below, of the reading by the tail"""
    finished: bool
    """whether it must end by itself"""


def spread(prompts: Sequence[str], texts: int) -> tuple[list[str], int]:
    """(prompts, n) that give at least `texts` completions; with more prompts than texts, evenly spaced ones, once
    each."""
    if texts < len(prompts):
        return [prompts[i * len(prompts) // texts] for i in range(texts)], 1
    return list(prompts), math.ceil(texts / len(prompts))


def free_text(
    lm: LM,
    axis: Axis,
    prompts: Sequence[str],
    n: int,
    *,
    direction: Any = None,
    cs: Sequence[float] = (0.0,),
    adapters: Sequence[Any] = (),
    persona: str | None = None,
    sampling: Sampling | None = None,
    batch_size: int = 128,
    limit: float | None = None,
    backtrack: Backtrack | None = None,
) -> list[pl.DataFrame]:
    """One scored completions frame per dose: n completions of every prompt, all doses decoded together.

    limit: of worst_ppl, above which texts get a second look (ws.generation.second_look); None: none does.
    """
    texts = generate(
        lm,
        list(prompts),
        direction,
        list(cs),
        n=n,
        sampling=sampling,
        persona=persona,
        adapters=adapters,
        batch_size=batch_size,
        allow_stale=bool(adapters),
        backtrack=backtrack,
    )
    scored = score(lm, texts.drop("scale", "rollbacks", strict=False), axis)
    if limit is not None:
        scored = second_look(lm, scored, axis, limit, persona=persona, batch_size=batch_size)
    return [scored.filter(pl.col("c") == c) for c in cs]


def mark_readable(texts: pl.DataFrame, limits: TextLimits) -> pl.DataFrame:
    """Adds `readable`: worst_ppl finite and below its limit, loop and rep < 0.3, finished where that is asked; and
    `readable_tail`: tail_ppl finite and below its limit, rep < 0.3, finished. Each null where its limit is NaN."""
    whole = (pl.col("rep") < REP) & pl.col("finished")
    ended = pl.col("finished") if limits.finished else pl.lit(True)
    return texts.with_columns(
        readable=_below("worst_ppl", limits.worst_ppl) & (pl.col("loop") < LOOP) & (pl.col("rep") < REP) & ended,
        readable_tail=_below("tail_ppl", limits.tail_ppl) & whole,
    ).with_columns(
        pl.when(pl.lit(not math.isnan(limit))).then(pl.col(name)).alias(name)
        for name, limit in (("readable", limits.worst_ppl), ("readable_tail", limits.tail_ppl))
    )


def _below(score: str, limit: float) -> pl.Expr:
    return pl.col(score).is_finite() & (pl.col(score) < limit)


def limits_of(base: pl.DataFrame, temperature: float = 1.0) -> TextLimits:
    """The limits that a scored sample of the base sets, drawn at that temperature; NaN where one has no finite score.

    worst_ppl: the 99th percentile, to the power 1/temperature below 1. Energy grows in proportion to temperature:
    a text drawn at T = 0.5 has about half the NLL of one drawn at 1, which the limit is to let pass.
    """
    own, heat = tail_limit(base, QUANTILE, "worst_ppl"), min(1.0, temperature)
    ended = int(base["finished"].sum())
    return TextLimits(own ** (1 / heat), tail_limit(base, QUANTILE), ended >= ENDS * base.height)


def beside_base(texts: pl.DataFrame, base: pl.DataFrame) -> pl.DataFrame:
    """Adds `base_readable`, of the base's row with the same prompt and sample; columns TEXTS, rows in their order."""
    readable = base.select("prompt_id", "sample", base_readable="readable")
    joined = texts.join(readable, on=["prompt_id", "sample"], how="left", maintain_order="left")
    missing = [pl.lit(None, dtype=kind).alias(name) for name, kind in TEXTS.items() if name not in joined.columns]
    return joined.with_columns(missing).select(list(TEXTS))
