"""The filter's limits: which scored completions are kept, and for what reason the others are dropped.

    kept = ws.keep(df, worst_ppl=20, rep=0.3)
    ws.reasons(df, worst_ppl=20).group_by("c", "dropped").len()
    ws.borderline(df, k=5, worst_ppl=20)

df: completions with the columns of `ws.score`. Thresholds are views: nothing is ever removed from the frame. Here too:
the limit that a sample of the model's own text sets (`tail_limit`), and how well a score separates hand labels
(`separation`).
"""

from __future__ import annotations

import math
from numbers import Real
from typing import Any, TypedDict, Unpack

import numpy as np
import polars as pl

from ws.errors import UserError
from ws.filtering.scores import _need
from ws.intervals import auc

__all__ = ["LOOP", "Limits", "borderline", "keep", "reasons", "separation", "tail_limit", "tally"]

KEY = ("prompt_id", "c", "sample", "seed")
NUMERIC = ("worst_ppl", "tail_ppl", "rep", "loop", "distinct3")
LOOP = 0.3
"""The limit of `loop` where nothing else is asked, chosen on labelled texts (docs/filter.md)."""
MIN_LABELS = 20


class Limits(TypedDict, total=False):
    """What a completion must meet to be kept."""

    tail_ppl: float | None
    """kept below; None (default) = no limit"""
    worst_ppl: float | None
    """kept below; None (default) = no limit"""
    rep: float | None
    """kept below; default 0.3"""
    loop: float | None
    """kept below; None (default) = no limit"""
    narrates: bool
    """True lets narrating rows pass; default False"""
    refuses: bool
    """True lets refusals pass; default False"""
    finished: bool
    """True drops rows that the token limit cut off; default False"""
    distinct3: float | None
    """kept at or above: loops longer than four words; default None"""
    bite: float | None
    """kept at or above, nats per token: base-like text at a high dose; default None"""


def _check(limits: Limits) -> None:
    """UserError for a limit of another name, or that is no number, or NaN: it would keep every row, or none."""
    unknown = sorted(set(limits) - set(Limits.__annotations__))
    if unknown:
        raise UserError(f"unknown limit {unknown[0]!r}. Limits: {', '.join(Limits.__annotations__)}.")
    for name, value in limits.items():
        if name in ("narrates", "refuses", "finished"):
            if not isinstance(value, bool | np.bool_):
                raise UserError(f"{name} must be True or False (got {value!r}).")
        elif value is not None and (not isinstance(value, Real) or isinstance(value, bool) or math.isnan(value)):
            raise UserError(f"{name} must be a number, or None for no limit (got {value!r}).")


def _numeric(limits: Limits) -> dict[str, float]:
    """The limits on numbers that are in force, by score; rep has a default. UserErrors of `_check`."""
    _check(limits)
    given = {"rep": 0.3} | {name: limits[name] for name in NUMERIC if name in limits}  # type: ignore[literal-required]
    return {name: float(given[name]) for name in NUMERIC if given.get(name) is not None}


def _rules(limits: Limits) -> dict[str, pl.Expr]:
    """Reason -> expression that is true for the rows it drops; the order says which reason is named first."""
    numeric, bite = _numeric(limits), limits.get("bite")
    perplexities = [name for name in ("worst_ppl", "tail_ppl") if name in numeric]
    finite = [pl.col(name).is_not_null() & pl.col(name).is_finite() for name in perplexities]
    return {
        **({"not finite": ~pl.all_horizontal(finite)} if finite else {}),
        **{name: pl.col(name) >= numeric[name] for name in perplexities},
        **{name: ~(pl.col(name) < numeric[name]) for name in ("rep", "loop") if name in numeric},
        **({"distinct3": ~(pl.col("distinct3") >= numeric["distinct3"])} if "distinct3" in numeric else {}),
        **({} if limits.get("narrates", False) else {"narrates": pl.col("narrates")}),
        **({} if limits.get("refuses", False) else {"refuses": pl.col("refuses")}),
        **({"unfinished": ~pl.col("finished")} if limits.get("finished", False) else {}),
        **({"bite": pl.col("bite").is_nan() | (pl.col("bite") < bite)} if bite is not None else {}),
    }


def reasons(df: pl.DataFrame, **limits: Unpack[Limits]) -> pl.DataFrame:
    """The frame with `dropped`: null where a row is kept, else the first reason.

    In this order: not finite, worst_ppl, tail_ppl, rep, loop, distinct3, narrates, refuses, unfinished, bite. Limits:
    see `Limits`.
    """
    _need(df, ("tail_ppl", "rep", "narrates", "refuses", *_numeric(limits)))
    nothing = pl.lit(None, dtype=pl.String)
    named = [pl.when(rule).then(pl.lit(name)) for name, rule in _rules(limits).items()]
    return df.with_columns(dropped=pl.coalesce([*named, nothing]))


def keep(
    df: pl.DataFrame,
    tail_ppl: float | None = None,
    rep: float | None = 0.3,
    narrates: bool = False,
    refuses: bool = False,
    finished: bool = False,
    min_keep: int | None = None,
    *,
    worst_ppl: float | None = None,
    loop: float | None = None,
    distinct3: float | None = None,
    bite: float | None = None,
) -> pl.DataFrame:
    """The rows that meet the limits (see `Limits`), columns unchanged. UserError where fewer than min_keep are left."""
    limits: Limits = {
        "tail_ppl": tail_ppl,
        "worst_ppl": worst_ppl,
        "rep": rep,
        "loop": loop,
        "narrates": narrates,
        "refuses": refuses,
        "finished": finished,
        "distinct3": distinct3,
        "bite": bite,
    }
    dropped = reasons(df, **limits)["dropped"]
    kept = df.filter(dropped.is_null())
    if min_keep is not None and kept.height < min_keep:
        counts = ", ".join(f"{n} {name}" for name, n in dropped.drop_nulls().value_counts(sort=True).rows()) or "none"
        raise UserError(
            f"{kept.height} of {df.height} completions pass, {min_keep} are needed (dropped: {counts})."
            " Lower the dose, generate more samples, or loosen the limit that drops most."
        )
    return kept


def borderline(df: pl.DataFrame, k: int = 5, **limits: Unpack[Limits]) -> pl.DataFrame:
    """The k rows on each side of the numeric limits, nearest first: adds `side` ("kept", "dropped"), `margin`,
    `dropped`.

    margin: the smallest slack among the numeric limits, each relative to its limit (log ratio for perplexities);
    negative = dropped. Rows that another reason drops are at no border.
    """
    numeric = _numeric(limits)
    slack = [_slack(name, limit) for name, limit in numeric.items() if limit]
    margin = pl.min_horizontal(slack) if slack else pl.lit(math.nan)
    near = reasons(df, **limits).with_columns(margin=margin.cast(pl.Float64)).filter(pl.col("margin").is_finite())
    kept = near.filter(pl.col("dropped").is_null()).sort("margin", maintain_order=True)
    dropped = near.filter(pl.col("dropped").is_in(NUMERIC)).sort("margin", descending=True, maintain_order=True)
    sides = [side.head(k).with_columns(side=pl.lit(name)) for name, side in (("kept", kept), ("dropped", dropped))]
    return pl.concat(sides)


def _slack(name: str, limit: float) -> pl.Expr:
    """How far a score is within its limit, relative to it; a perplexity as a log ratio."""
    if name in ("worst_ppl", "tail_ppl"):
        return (pl.lit(limit) / pl.col(name)).log()
    return pl.col(name) / limit - 1 if name == "distinct3" else 1 - pl.col(name) / limit


def tally(marked: pl.DataFrame) -> pl.DataFrame:
    """Per dose, how many rows of a frame with `dropped` are kept and how many each first reason dropped: columns c,
    kept and one for each reason that is there."""
    named = sorted(marked["dropped"].drop_nulls().unique())
    counts = {"kept": pl.col("dropped").is_null().sum()} | {name: (pl.col("dropped") == name).sum() for name in named}
    return marked.group_by("c").agg(**counts).sort("c")


def tail_limit(df: pl.DataFrame, quantile: float = 0.99, score: str = "tail_ppl") -> float:
    """The quantile of a perplexity in a scored frame, usually the base's; NaN where a row has none.

    The smaller of the sample's own quantile and that of a Pareto tail fitted to its upper half (Hill 1975, Weissman
    1978): among a hundred texts the 99th percentile is nearly the largest, one odd text of the base.
    """
    _need(df, (score,))
    value = df[score].fill_null(math.nan)
    if not len(value) or value.is_nan().any():
        return math.nan
    own, median = (float(value.quantile(q, "linear") or 0.0) for q in (quantile, 0.5))
    excess = (value.filter(value > median) / median).log().mean()
    if quantile <= 0.5 or excess is None:  # None: no row lies above the median
        return own
    return min(own, median * (0.5 / (1 - quantile)) ** float(excess))  # type: ignore[arg-type]


def separation(df: pl.DataFrame, labels: pl.DataFrame, label: str = "coherent") -> pl.DataFrame:
    """How well each score tells good rows from bad ones: columns score, n, n_good, auc, threshold, precision,
    recall, f1.

    labels: the frame's key (prompt_id, c, sample, seed) and a boolean column `label`; null = not labelled.
    threshold: the limit with the best F1 for keeping good rows (at or below it; distinct3 at or above). UserError
    below 20 labels.
    """
    _need(labels, (*KEY, label))
    joined = df.join(labels.select(*KEY, _good=label).drop_nulls(), on=list(KEY), how="inner")
    if joined.height < MIN_LABELS:
        raise UserError(f"{joined.height} labelled rows, {MIN_LABELS} are needed. Label more of the borderline cases.")
    signs = {"worst_ppl": -1, "tail_ppl": -1, "rep": -1, "loop": -1, "distinct3": 1}
    there = {name: sign for name, sign in signs.items() if name in joined and joined[name].count()}
    return pl.DataFrame([_separate(joined[name], joined["_good"], sign) for name, sign in there.items()])


def _separate(value: pl.Series, truth: pl.Series, sign: int) -> dict[str, Any]:
    """AUC and the best limit of one score; sign: 1 where more is better. A value that is not finite counts as worst."""
    signed, good = (sign * value).fill_null(-math.inf).fill_nan(-math.inf).to_numpy(), truth.to_numpy()
    best: tuple[float, ...] = (0.0, math.nan, math.nan, math.nan)
    for limit in sorted(set(signed)):
        chosen = signed >= limit
        hits = int((chosen & good).sum())
        precision, recall = hits / chosen.sum(), hits / max(1, good.sum())
        f1 = 2 * precision * recall / (precision + recall) if hits else 0.0
        best = max(best, (f1, sign * limit, precision, recall), key=lambda b: b[0])
    named = dict(zip(("f1", "threshold", "precision", "recall"), map(float, best), strict=True))
    return {"score": value.name, "n": len(good), "n_good": int(good.sum()), "auc": auc(signed, good), **named}
