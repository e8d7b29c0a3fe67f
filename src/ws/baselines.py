"""Controls of a heal: what plain training does, with the same data and with text that nothing has steered.

sft: the heal's own rows without a barrier. sft_base: as many rows that the unsteered model wrote to the train prompts,
not filtered; in later rounds the adapters of the rounds before are on, so that nothing is new but the training.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import polars as pl

from ws.arm_table import SFT, SFT_BASE
from ws.generation import Prompt, generate

if TYPE_CHECKING:
    from ws.rounds import Round

__all__ = ["BASELINES", "baselines_of", "plain_rows"]

BASELINES = (SFT, SFT_BASE)


def baselines_of(round: Round) -> list[str]:
    """The healed controls that the configuration asks for; a heal without a barrier is its own sft."""
    controls = round.config.controls
    barrier = round.config.heal.resolved(round.lm).slope(round.number) > 0
    asked = {SFT: controls.sft and barrier, SFT_BASE: controls.sft_base}
    return [name for name in BASELINES if asked[name]]


def plain_rows(round: Round, name: str, chosen: pl.DataFrame) -> pl.DataFrame:
    """The training rows of a control: those of the heal, or as many at c = 0, spread over the same prompts."""
    if name == SFT:
        return chosen
    config = round.config
    users = chosen["prompt"].unique(maintain_order=True).to_list()
    texts = generate(
        round.lm,
        [Prompt(text, split="train") for text in users],
        n=math.ceil(chosen.height / len(users)),
        seed=config.seeds[0],
        max_new_tokens=config.max_new_tokens,
        adapters=round.history,
        batch_size=config.batch_size,
        trace=False,
    )
    return texts.sort("sample", maintain_order=True).head(chosen.height)
