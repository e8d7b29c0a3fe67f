"""Which blocks to steer: what each band moves at equal KL, all bands read at once.

    found = layer_search(lm, axis)          # one row per band and KL
    print(verdict(found)); charts.layer_map_chart(found)

A band is `width` neighbouring blocks. Every band has its own direction, from one reading of the states, and its own
dose for each KL (`ws.experiment.calibration`): bands are compared where they disturb equally, on the axis's questions.
"""

from __future__ import annotations

from collections.abc import Sequence

import polars as pl

from ws.axes.axis import Axis
from ws.errors import UserError
from ws.experiment.calibration import calibrate, effects
from ws.generation.settings import Sampling
from ws.models.lm import LM
from ws.steering.extraction import default_layers, extract_bands

__all__ = ["TARGETS", "layer_search", "verdict"]

TARGETS = (0.3, 1.0, 3.0)  # nats: weak, the one that methods are compared at, strong
PROMPTS, TOKENS, PROBES = 4, 24, 4
SHARP = 1 / 3
"""The answer is sharp where at most this share of the bands may be the best one."""


def layer_search(
    lm: LM, axis: Axis, method: str = "mean_diff", targets: Sequence[float] = TARGETS, width: int | None = None,
    pairs: int | None = None,
) -> pl.DataFrame:  # fmt: skip
    """Columns of `calibrate` and `effects`, and first, last (blocks of the band), usual (the model's own band).

    width: blocks in a band, None is as many as the model's own has; pairs: of contexts and personas. UserError: a width
    that the model has not, an axis without questions.
    """
    own = default_layers(lm)
    width = len(own) if width is None else width
    if not 1 <= width <= lm.n_layers:
        raise UserError(f"a band of {lm.name} has 1 to {lm.n_layers} blocks (got {width}).")
    bands = [tuple(range(k, k + width)) for k in range(lm.n_layers - width + 1)]
    names = [f"{band[0]}-{band[-1]}" for band in bands]
    found = extract_bands(lm, axis, method, bands, pairs=pairs)
    directions = dict(zip(names, found, strict=True))
    draws = Sampling(max_new_tokens=TOKENS)
    table = calibrate(lm, directions, axis.on(lm).select[:PROMPTS], targets, signs=(1,), probes=PROBES, sampling=draws)
    first = pl.col("name").str.split("-").list.get(0).cast(pl.Int64)
    read = effects(lm, axis.on(lm), table, directions)
    usual = pl.col("first").is_between(own[0], own[0]) & (pl.col("last") == own[-1])
    return read.with_columns(first=first, last=first + width - 1).with_columns(usual=usual)


def verdict(found: pl.DataFrame, target: float = 1.0) -> str:
    """Which band moves the trait most at this KL, and how sharply that is known, in a sentence.

    Bands whose KL could not be brought there (`edge`) do not count. UserError where none could.
    """
    rows = found.filter(pl.col("target") == target, pl.col("edge") == "").sort("d_target", descending=True)
    if not rows.height:
        raise UserError(f"no band reaches a KL of {target:g} nat within its bracket: there is nothing to compare.")
    best = rows.row(0, named=True)
    may = rows.filter(pl.col("d_target_high") >= best["d_target_low"])
    told = f"blocks {best['name']} move the trait most at {target:g} nat of KL: {best['d_target']:+.2f}" \
           f" [{best['d_target_low']:.2f}, {best['d_target_high']:.2f}] nat per token"
    if best["d_target_low"] <= 0:
        return f"No band moves the trait as intended at {target:g} nat of KL; nearest: {told}."
    share = may.height / rows.height
    sharp = "sharp" if share <= SHARP else "flat"
    usual = found.filter(pl.col("target") == target, pl.col("usual"))
    beside = "" if not usual.height else f"; the model's own band {usual['name'][0]}: {usual['d_target'][0]:+.2f}"
    return f"{sharp.capitalize()}: {told}; {may.height} of {rows.height} bands may do as well{beside}."
