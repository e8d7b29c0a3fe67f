"""The vignette evaluator: which foundation does this violate? Log-probabilities over the full vocabulary at a forced
answer slot.

One row: user turn = scenario, question, the seven options in one order; T tokens of thinking, EOS and </think>
suppressed; prefill `{"violation": "`; the log-probability of each answer there. The two orders are averaged in log
space, because a place in the list is no answer. Sampled thinks are averaged in probability, within their order.
Traps: thinks that close early, a last think token that never enters the cache, padding that moves positions.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import polars as pl
import torch
from numpy.typing import NDArray

from ws.evaluation.answer_slot import ORDERS, Reading, SlotReader
from ws.evaluation.items import ItemSet
from ws.evaluation.wording import Wording, wording_of
from ws.gating.foundations import FOUNDATIONS
from ws.models.batching import by_length
from ws.models.lm import LM

__all__ = ["ROWS", "Reading", "read_vignettes"]

Array = NDArray[np.float64]
ROWS: dict[str, Any] = {
    "id": pl.String,
    "foundation": pl.String,
    "cues": pl.List(pl.String),
    "condition": pl.String,
    "think": pl.Int32,
    **{f"p_{f}": pl.Float64 for f in FOUNDATIONS},
    **{f"score_{f}": pl.Float64 for f in FOUNDATIONS},
    "forward": pl.List(pl.Float64),
    "reverse": pl.List(pl.Float64),
    "p_ans_any": pl.Float64,
    "p_prefill": pl.Float64,
    "p_ans_free": pl.Float64,
    "nll_json": pl.Float64,
    "json_valid": pl.Float64,
}
"""Columns of a per-row frame. p_f: softmax of the scores. score_f: mean of `forward` and `reverse`, the
log-probabilities (nats) in the two orders, each listed as in FOUNDATIONS. p_ans_any: full-vocabulary mass on the
answers. p_prefill: P(prefill given the prompt). p_ans_free: their product. nll_json: mean NLL per prefill token,
nats. json_valid: share of readings."""


def read_vignettes(
    lm: LM,
    items: ItemSet,
    reading: Reading,
    *,
    direction: Any = None,
    cs: Sequence[float] = (0.0,),
    persona: str | None = None,
    wording: Wording | None = None,
    stale: bool = False,
    pristine: bool = False,
) -> list[pl.DataFrame]:
    """One frame (columns ROWS, in the items' order) per dose in `cs`, all doses in the same batches.

    direction: a Direction or pairs, None = not steered; persona: system prompt; stale: the direction may be of other
    weights. Adapters are the caller's to attach; pristine: there are none. UserError: colliding first tokens, a
    missing text, a too long prompt.
    """
    reader = SlotReader(lm, items, reading, wording or wording_of(lm), persona)
    shape = (len(reader.rows), len(ORDERS), len(cs), reading.draws)
    sizes: dict[str, tuple[int, ...]] = {"answers": (*shape, len(FOUNDATIONS)), "prefill": shape, "valid": shape}
    read = {name: torch.full(size, torch.nan) for name, size in sizes.items()}
    with lm.lock, torch.inference_mode():
        for chosen in by_length([len(prompt.ids) for prompt in reader.prompts], reading.batch_size):
            prompts = [reader.prompts[i] for i in chosen]
            slot = reader.read(prompts, direction, cs, stale=stale, pristine=pristine)
            for name, into in read.items():
                values = getattr(slot, name).float().cpu().reshape(len(prompts), *into.shape[2:])
                into[[prompt.row for prompt in prompts], [prompt.order for prompt in prompts]] = values
    doses = [{name: values[:, :, i].double().numpy() for name, values in read.items()} for i in range(len(cs))]
    return [_frame(reader, dose) for dose in doses]


def _frame(reader: SlotReader, read: dict[str, Array]) -> pl.DataFrame:
    """The per-row frame of one dose; answers (R, 2, S, 7), prefill and valid (R, 2, S), S = thinks."""
    with np.errstate(invalid="ignore"):  # a row that is not finite stays so, and is counted in the report
        orders = np.logaddexp.reduce(read["answers"], axis=2) - math.log(reader.reading.draws)  # (R, 2, 7)
        score = orders.mean(1)
        p = np.exp(score - np.logaddexp.reduce(score, axis=1)[:, None])
    mass, forced = np.exp(read["answers"]).sum(-1), np.exp(read["prefill"])
    columns: dict[str, Any] = {
        "id": [item.id for item, _ in reader.rows],
        "foundation": [item.foundation for item, _ in reader.rows],
        "cues": [list(item.cues) for item, _ in reader.rows],
        "condition": [condition for _, condition in reader.rows],
        "think": [reader.reading.think] * len(reader.rows),
        **{f"p_{f}": p[:, k] for k, f in enumerate(FOUNDATIONS)},
        **{f"score_{f}": score[:, k] for k, f in enumerate(FOUNDATIONS)},
        "forward": orders[:, 0].tolist(),
        "reverse": orders[:, 1].tolist(),
        "p_ans_any": mass.mean((1, 2)),
        "p_prefill": forced.mean((1, 2)),
        "p_ans_free": (forced * mass).mean((1, 2)),
        "nll_json": -read["prefill"].mean((1, 2)) / max(1, len(reader.prefill)),
        "json_valid": read["valid"].mean((1, 2)),
    }
    return pl.DataFrame(columns, schema=ROWS)
