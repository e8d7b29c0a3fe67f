"""Whether text keeps to what was asked: how much likelier its own prompt makes it than another prompt does.

    tie(ties(lm, report.text))        # Interval: nats per token

tie = mean over texts of the mean over their first tokens of log p(token | own prompt, before) - log p(token | another
prompt, before), of base under the neutral system prompt, steering and adapters off. The other prompt is the one half of
the list away. About 0: the text would do as well anywhere, however fluent it is. Perplexity does not see that: a reply
that leaves its question is as likely as one that keeps to it. The measure is the mutual information of prompt and text
(Li et al. 2016, a diversity-promoting objective for dialogue), with another prompt in place of the sum over all.
"""

from __future__ import annotations

import numpy as np
import polars as pl
from numpy.typing import NDArray

from ws.generation.tracing import completion_states, readouts
from ws.intervals import Interval, paired_mean
from ws.models.lm import LM

__all__ = ["TEXTS", "TOKENS", "tie", "ties"]

Array = NDArray[np.float64]

TEXTS = 40
"""texts of an arm that are read, first samples first"""
TOKENS = 24
"""first tokens of a text: what ties it to its prompt stands there, and a prompt is forgotten as a text goes on"""


def tie(found: Array) -> Interval:
    """Their mean, nats per token, with its 95 % interval; NaN for none, and where one is not finite."""
    return paired_mean(np.zeros_like(found), found)


def ties(lm: LM, texts: pl.DataFrame, batch_size: int = 64) -> Array:
    """(n,) nats per token by which each text (columns of `Report.text`) is tied to its own prompt; none with fewer than
    two prompts."""
    rows = texts.filter(pl.col("token_ids").list.len() > 0).sort("sample", maintain_order=True).head(TEXTS)
    prompts = rows["prompt"].unique(maintain_order=True).to_list()
    if len(prompts) < 2:
        return np.zeros(0)
    other = dict(zip(prompts, prompts[len(prompts) // 2 :] + prompts[: len(prompts) // 2], strict=True))
    said = [ids[:TOKENS] for ids in rows["token_ids"].to_list()]
    asked = [lm.prompt_ids(other[prompt]) for prompt in rows["prompt"]]
    states = completion_states(lm, asked, said, batch_size=batch_size)
    elsewhere = np.array([read.logp_base.mean() for read in readouts(lm, states, None, said)])
    own = np.array([np.mean(logps[:TOKENS]) for logps in rows["logp_base"].to_list()])
    return own - elsewhere
