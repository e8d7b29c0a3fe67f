"""How far text keeps to its prompt: against log-probabilities summed by hand, and the sign of a planted case."""

from __future__ import annotations

import math

import numpy as np
import polars as pl
import pytest
import torch

from ws.evaluation.freetext import free_text
from ws.evaluation.topic import TOKENS, tie, ties
from ws.models.lm import LM

PROMPTS = ["May I lie to a friend?", "Should we obey the captain?", "Is it fair to skip a line?"]


@pytest.fixture(scope="module")
def texts(mini: LM) -> pl.DataFrame:
    import ws

    return free_text(mini, ws.load_axis("care_over_authority").on(mini), PROMPTS, 2)[0]


def by_hand(lm: LM, prompt: str, ids: list[int]) -> float:
    """Mean log p of the tokens behind a prompt, from one plain forward pass."""
    whole = [*lm.prompt_ids(prompt), *ids]
    with torch.inference_mode():
        logp = lm.model(torch.tensor([whole])).logits[0].log_softmax(-1)
    first = len(whole) - len(ids)
    return float(np.mean([logp[first + i - 1, token] for i, token in enumerate(ids)]))


def test_it_is_the_difference_of_two_plain_readings(mini: LM, texts: pl.DataFrame) -> None:
    found = tie(ties(mini, texts))
    moved = dict(zip(PROMPTS, PROMPTS[1:] + PROMPTS[:1], strict=True))
    rows = [(row["prompt"], row["token_ids"][:TOKENS]) for row in texts.iter_rows(named=True)]
    wanted = np.mean([by_hand(mini, user, ids) - by_hand(mini, moved[user], ids) for user, ids in rows])
    assert found.n == 6 and math.isclose(found.value, wanted, abs_tol=2e-4)
    assert found.low < found.value < found.high


def test_replies_to_other_questions_are_not_tied(mini: LM, texts: pl.DataFrame) -> None:
    """The planted case: each text stands under the next prompt, its own log-probability read there."""
    turned = texts.with_columns(prompt=pl.col("prompt").replace_strict(PROMPTS, PROMPTS[1:] + PROMPTS[:1]))
    logp = [np.full(len(row["token_ids"]), by_hand(mini, row["prompt"], row["token_ids"][:TOKENS]))
            for row in turned.iter_rows(named=True)]  # fmt: skip
    kept, left = tie(ties(mini, texts)).value, tie(ties(mini, turned.with_columns(logp_base=pl.Series(logp)))).value
    assert kept > 0.3 and left < 0.5 * kept


def test_one_prompt_says_nothing(mini: LM, texts: pl.DataFrame) -> None:
    assert math.isnan(tie(ties(mini, texts.filter(pl.col("prompt") == PROMPTS[0]))).value)
    assert math.isnan(tie(ties(mini, texts.clear())).value)
