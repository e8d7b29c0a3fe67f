"""Free text: coherence that a forced readout cannot see, from completions under the neutral system prompt.

coh_text = share of completions that are readable: tail_ppl below the base's 99th percentile, rep < 0.3, ended by
themselves. The percentile (`ws.filtering.limits.tail_limit`) comes from another sample of the base than the one that
coherence is relative to.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import polars as pl

from ws.filtering.limits import tail_limit
from ws.filtering.scores import SCORES, score
from ws.generation.completions import SCHEMA, generate
from ws.generation.settings import Sampling
from ws.models.lm import LM

if TYPE_CHECKING:
    from ws.axes.axis import Axis

__all__ = ["LIMIT_SEED", "REP", "TEXTS", "beside_base", "free_text", "limit_of", "mark_readable", "spread"]

LIMIT_SEED = 7919  # added to the seed for the sample that gives the limit
REP = 0.3
QUANTILE = 0.99
TEXTS: dict[str, Any] = {
    **SCHEMA,
    **SCORES,
    "readable": pl.Boolean,
    "base_readable": pl.Boolean,
    "protects": pl.Boolean,
    "grammatical": pl.Float64,
    "slots": pl.Float64,
}
"""Columns of a report's free-text frame: completions, scores, whether this row and the base's row of the same dice
are readable, and the reading of behaviour (null where it was not measured)."""


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
) -> list[pl.DataFrame]:
    """One scored completions frame per dose: n completions of every prompt, all doses decoded together."""
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
    )
    scored = score(lm, texts, axis)
    return [scored.filter(pl.col("c") == c) for c in cs]


def mark_readable(texts: pl.DataFrame, limit: float) -> pl.DataFrame:
    """Adds `readable`: tail_ppl finite and < limit, rep < 0.3, finished; null where the limit is NaN."""
    if math.isnan(limit):  # polars holds NaN to be larger than every number
        return texts.with_columns(readable=pl.lit(None, dtype=pl.Boolean))
    calm = pl.col("tail_ppl").is_finite() & (pl.col("tail_ppl") < limit)
    return texts.with_columns(readable=calm & (pl.col("rep") < REP) & pl.col("finished"))


def limit_of(base: pl.DataFrame) -> float:
    """The 99th percentile of the base's tail_ppl, from a scored sample."""
    return tail_limit(base, QUANTILE)


def beside_base(texts: pl.DataFrame, base: pl.DataFrame) -> pl.DataFrame:
    """Adds `base_readable`, of the base's row with the same prompt and sample; columns TEXTS, rows in their order."""
    readable = base.select("prompt_id", "sample", base_readable="readable")
    joined = texts.join(readable, on=["prompt_id", "sample"], how="left", maintain_order="left")
    missing = [pl.lit(None, dtype=kind).alias(name) for name, kind in TEXTS.items() if name not in joined.columns]
    return joined.with_columns(missing).select(list(TEXTS))
