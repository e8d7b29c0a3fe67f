"""Choices: simple questions with one right answer and three wrong ones, read by log-probability and never generated.

A model too small to give an exact answer when asked may still know it. Of each answer, behind the reply's first words
(`stem`), the mean log-probability per token is read; the answer with the highest is the model's. No letters are
offered, so no position can be liked. Chance is 0.25. What an answer is worth without the question is not taken off: on
SmolLM2-135M that leaves 67 of 96 right either way, and those priors alone get 26, which is chance.

A kind of question on which the base is not above chance (the low end of Wilson's 95 % interval is at or under 0.25) is
left out of the figures in every arm, and all are where fewer than three kinds remain: what base cannot do says nothing
of what was lost. Kinds are chosen on the items that are read, so that base's own share is slightly high.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import replace
from functools import cache
from typing import Any

import numpy as np
import polars as pl
import torch
from torch import Tensor

from ws.axes.axis_file import DATA
from ws.evaluation.base_cache import remembered
from ws.evaluation.prompt_cache import Cached, log_softmax, steered_rows, token_logps
from ws.evaluation.readings import Request, exam
from ws.files import digest
from ws.intervals import wilson, with_interval
from ws.models.adapters.attaching import attached
from ws.models.batching import by_length
from ws.models.kv_cache import new_cache, skips_gaps
from ws.models.lm import LM

__all__ = ["CHANCE", "COLUMNS", "FLOORS", "asks", "figures", "read", "said"]

COLUMNS: dict[str, Any] = exam.COLUMNS | {"margin": pl.Float64, "readable": pl.Boolean}
"""text: the answer that is likeliest; margin: log p per token of the right answer minus that of the best wrong one,
nats; readable: base is above chance on this kind."""
FLOORS = ("capability",)
CHANCE = 0.25
KINDS = 3  # fewer readable kinds are no capability


def asks(request: Request) -> list[dict[str, Any]]:
    """The items, kinds in turn, at most request.exam of them."""
    return list(_items()[: request.exam])


@cache
def _items() -> tuple[dict[str, Any], ...]:
    """Every shipped item, the first of each kind before the second ones."""
    rows = [json.loads(line) for line in (DATA / "choices.jsonl").read_text("utf-8").splitlines()]
    seen: dict[str, int] = {}
    for row in rows:
        row["turn"] = seen[row["kind"]] = seen.get(row["kind"], -1) + 1
    return tuple({k: v for k, v in row.items() if k != "turn"} for row in sorted(rows, key=lambda row: row["turn"]))


def read(request: Request, asked: Sequence[dict[str, Any]]) -> list[pl.DataFrame]:
    """The choices at every dose; which kinds are readable is base's, which is read once per process."""
    plain = replace(request, direction=None, cs=(0.0,), adapters=(), persona=None)
    settings = ["choices of base", digest(list(asked)), request.batch_size]
    base = remembered(request.lm, settings, lambda: _choose(plain, asked)[0])
    frames = [base] if request == plain else _choose(request, asked)
    above = _above_chance(base)
    return [frame.with_columns(readable=pl.col("kind").is_in(above)).select(list(COLUMNS)) for frame in frames]


def figures(frame: pl.DataFrame) -> dict[str, float]:
    """capability, the share of right choices with Wilson's 95 % interval, and choice_margin, the mean margin in nats,
    over the readable kinds; NaN where fewer than three are readable."""
    kinds = _readable(frame)
    rows = frame.filter(pl.col("kind").is_in(kinds)) if len(kinds) >= KINDS else frame.clear()
    low, high = wilson(float(rows["correct"].sum()), rows.height)
    share, margin = rows["correct"].mean(), rows["margin"].mean()
    found = {"capability": share, "capability_low": low, "capability_high": high, "choice_margin": margin}
    return {name: math.nan if value is None else float(value) for name, value in found.items()}  # type: ignore[arg-type]


def said(frame: pl.DataFrame) -> str:
    """What base can and cannot do, in a line: "choices .81 [.71, .88], chance .25; not readable on this model: ..."."""
    found, kinds = figures(frame), _readable(frame)
    shares = {kind: (float(part["correct"].sum()), part.height) for (kind,), part in frame.group_by("kind")}
    told = [f"{k} {with_interval(n / m, *wilson(n, m))}" for k, (n, m) in sorted(shares.items()) if k not in kinds]
    share = with_interval(found["capability"], found["capability_low"], found["capability_high"])
    able = f"{share} of the choices right, chance {CHANCE}" if len(kinds) >= KINDS else "not readable on this model"
    return able + (f"; base is not above chance, so left out: {', '.join(told)}" if told else "")


def _readable(frame: pl.DataFrame) -> list[str]:
    return frame.filter("readable")["kind"].unique(maintain_order=True).to_list()


def _above_chance(base: pl.DataFrame) -> list[str]:
    """Kinds on which the low end of base's interval is above chance."""
    kinds = base.group_by("kind", maintain_order=True).agg(right=pl.col("correct").sum(), n=pl.len())
    return [kind for kind, right, n in kinds.rows() if wilson(float(right), n)[0] > CHANCE]


def _choose(request: Request, asked: Sequence[dict[str, Any]]) -> list[pl.DataFrame]:
    """One frame (COLUMNS without `readable`) per dose, rows in the items' order."""
    lm, cs = request.lm, request.cs
    prompts = [lm.prompt_ids(item["user"], system=request.persona) for item in asked]
    replies = [_split([lm.encode(f"{item['stem']} {word}") for word in _answers(item)]) for item in asked]
    found = torch.full((len(asked), len(cs), 4), torch.nan)
    with lm.lock, attached(lm, request.adapters), torch.inference_mode():
        for chosen in _batches(lm, prompts, [len(stem) for stem, _ in replies], max(1, request.batch_size // len(cs))):
            batch = [prompts[i] for i in chosen], [replies[i] for i in chosen]
            found[chosen] = _batch(lm, *batch, request.direction, cs, bool(request.adapters)).cpu()
    return [_frame(asked, found[:, k].double().numpy()) for k in range(len(cs))]


def _batches(lm: LM, prompts: Sequence[list[int]], stems: Sequence[int], size: int) -> list[list[int]]:
    """Indices in batches; of one stem's length each where padding behind it would be felt by the answers."""
    lengths = {0} if lm.gaps and skips_gaps(new_cache(lm)) else set(stems)
    batches: list[list[int]] = []
    for length in sorted(lengths):
        alike = [i for i, stem in enumerate(stems) if length in (0, stem)]
        batches += [[alike[i] for i in group] for group in by_length([len(prompts[i]) for i in alike], size)]
    return batches


def _answers(item: dict[str, Any]) -> list[str]:
    """The right one first."""
    return [item["right"], *item["wrong"]]


def _split(replies: Sequence[list[int]]) -> tuple[list[int], list[list[int]]]:
    """The tokens with which all of these begin, and what follows in each, at least one token."""
    shared = 0
    while len({tuple(ids[: shared + 1]) for ids in replies}) == 1 and all(len(ids) > shared + 1 for ids in replies):
        shared += 1
    return replies[0][:shared], [ids[shared:] for ids in replies]


def _batch(
    lm: LM,
    prompts: Sequence[list[int]],
    replies: Sequence[tuple[list[int], list[list[int]]]],
    direction: Any,
    cs: Sequence[float],
    stale: bool,
) -> Tensor:
    """(prompts, doses, 4): mean log p per token of the answers behind the shared words, which are read once."""
    width = max(len(ids) for _, words in replies for ids in words)
    stems = [[ids[-1], *stem] for ids, (stem, _) in zip(prompts, replies, strict=True)]
    most = max(map(len, stems))
    rows = Cached(lm, [ids[:-1] for ids in prompts], most + width)
    start, doses = rows.columns, torch.tensor(list(cs) * len(prompts), dtype=torch.float32)
    rows.repeat(len(cs))
    lengths = torch.tensor([len(ids) for ids in stems], device=lm.device).repeat_interleave(len(cs))
    padded = torch.tensor([ids + ids[-1:] * (most - len(ids)) for ids in stems], device=lm.device)
    there = (torch.arange(most, device=lm.device) < lengths[:, None]).long()
    answers = torch.tensor(
        [ids + [-1] * (width - len(ids)) for _, words in replies for _ in cs for ids in words], device=lm.device
    )
    with steered_rows(lm, direction, doses, start, stale):
        hidden = rows.block(padded.repeat_interleave(len(cs), 0), there)
        last = hidden[torch.arange(len(lengths)), lengths - 1]
        first = log_softmax(lm, last).gather(1, answers[:, 0].reshape(len(lengths), 4))
    if width == 1:
        return first.reshape(len(prompts), len(cs), 4)
    rows.repeat(4)
    with steered_rows(lm, direction, doses.repeat_interleave(4), start, stale):
        hidden = rows.block(answers[:, :-1].clamp(min=0))
        rest = token_logps(lm, hidden, answers[:, 1:])
    means = (first.reshape(-1) + rest.sum(1)) / (answers >= 0).sum(1)
    return means.reshape(len(prompts), len(cs), 4)


def _frame(asked: Sequence[dict[str, Any]], logps: np.ndarray[Any, Any]) -> pl.DataFrame:
    """logps (items, 4), the right answer's first; a tie is not right, NaN is wrong and has a margin of NaN."""
    margin = logps[:, 0] - logps[:, 1:].max(1)
    best = [_answers(item)[int(row.argmax())] for item, row in zip(asked, logps, strict=True)]
    return pl.DataFrame(
        {
            "kind": [item["kind"] for item in asked],
            "user": [item["user"] for item in asked],
            "answer": [item["right"] for item in asked],
            "text": best,
            "correct": margin > 0,
            "margin": margin,
        },
        schema={name: kind for name, kind in COLUMNS.items() if name != "readable"},
    )
