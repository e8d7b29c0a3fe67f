"""A second reference for texts that look odd to the base: the base with the persona as its system prompt.

    df = second_look(lm, ws.score(lm, df, axis), axis, limit=12.0)

A text in the trait's style is unlikely under the neutral prompt, like salad. Under a prompt that asks for the style it
is not, and salad stays unlikely: the smaller perplexity counts. Texts below the limit are not read again, since a
smaller one could not change what they are.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import polars as pl

from ws.filtering.scores import worst_nll
from ws.generation.tracing import completion_states, readouts
from ws.models.lm import LM

if TYPE_CHECKING:
    from ws.axes.axis import Axis

__all__ = ["second_look"]


def second_look(
    lm: LM, scored: pl.DataFrame, axis: Axis, limit: float, *, persona: str | None = None, batch_size: int = 128
) -> pl.DataFrame:
    """The scored frame with worst_ppl, of the rows at or above `limit`, the smaller of neutral_ppl and of that under
    base with a persona.

    persona: system prompt; None: the first of the pole that the row's dose moves to, the positive one at 0. Nothing
    of the frame's other columns changes.
    """
    odd = scored.with_row_index("_row").filter(pl.col("neutral_ppl") >= limit, pl.col("neutral_ppl").is_finite())
    if not odd.height:
        return scored
    poles = axis.on(lm)
    asked = [persona or (poles.negative if c < 0 else poles.positive)[0] for c in odd["c"]]
    prompts = [lm.prompt_ids(user, system=system) for user, system in zip(odd["prompt"], asked, strict=True)]
    said = odd["token_ids"].to_list()
    states = completion_states(lm, prompts, said, batch_size=batch_size)
    nll = [worst_nll(read.logp_base.tolist()) for read in readouts(lm, states, None, said)]
    ppl = pl.DataFrame({"_row": odd["_row"], "_ppl": nll}, schema_overrides={"_ppl": pl.Float64})
    found = scored.with_row_index("_row").join(ppl.with_columns(pl.col("_ppl").exp()), on="_row", how="left")
    smaller = pl.min_horizontal("neutral_ppl", "_ppl")
    return found.sort("_row").with_columns(worst_ppl=smaller).drop("_row", "_ppl")
