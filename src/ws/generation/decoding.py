"""The decode loop on rows of token ids: one coefficient per row, same dice at every dose.

done = decode(lm, rows, direction=v, c=[0.0, 0.5, 1.0], max_new_tokens=80)
done = decode(lm, rows, max_new_tokens=20, min_new_tokens=20, suppress=ids, suffix=prefill)   # think, then a slot
logits = lm.head(torch.stack([row.suffix_states[-1] for row in done]))
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from typing import Any, Unpack, cast

import torch

from ws.errors import UserError
from ws.generation.decode_batch import run
from ws.generation.rollout import Backtrack, DecodePlan, Rollout
from ws.generation.settings import Intervention, Keywords, Sampling, taken
from ws.models.adapters.attaching import attached
from ws.models.attachments import refuse_steered
from ws.models.batching import Ids, starts_of
from ws.models.lm import LM, check_length
from ws.steering.coefficients import as_pairs, rows_of
from ws.steering.schedules import check_where, parse_gate, parse_schedule

__all__ = ["Backtrack", "Progress", "Rollout", "decode", "identity"]

Progress = Callable[[int, int], object]
PLAIN = Sampling(temperature=1.0, top_p=1.0, top_k=0, max_new_tokens=80)


def identity(ids: Ids) -> str:
    """A prompt's identity: 16 hex characters of sha256 over its token ids."""
    return hashlib.sha256(",".join(map(str, ids)).encode()).hexdigest()[:16]


def decode(
    lm: LM,
    rows: Sequence[Ids],
    starts: Sequence[int] | None = None,
    *,
    sampling: Sampling | None = None,
    intervention: Intervention | None = None,
    prompts: Sequence[str] | None = None,
    samples: Sequence[int] | None = None,
    min_new_tokens: int = 0,
    suppress: Sequence[int] = (),
    forced: Sequence[Ids] | None = None,
    suffix: Ids | Sequence[Ids] | None = None,
    keep_states: bool = False,
    batch_size: int = 128,
    on_progress: Progress | None = None,
    **keywords: Unpack[Keywords],
) -> list[Rollout]:
    """Continue each row of token ids until EOS, `max_new_tokens` or the context's end; results in the rows' order.

    starts: index of the assistant tag in each row. Fields of `Sampling` and `Intervention` may be given as keywords;
    what is left out is 80 tokens at temperature 1 without truncation, and c = 1. c: a float or one per row. prompts:
    identities (`identity`), samples: sample numbers; the dice depend on these, on the seed and on the step. suppress:
    ids that are never drawn. forced: per row, ids in place of the first draws. suffix: ids, for all rows or per row,
    that are read behind exactly max_new_tokens tokens (EOS is not drawn); their states come back. on_progress(rows
    done, rows). UserError: a prompt too long, a [B] that does not match, settings out of range or given twice.
    """
    draws = taken(sampling, Sampling, keywords).over(PLAIN)
    push = taken(intervention, Intervention, keywords)
    plan, new = _plan(draws, push, suffix is not None, min_new_tokens, suppress, keep_states), draws.max_new_tokens
    suffixes = _suffixes(suffix, len(rows), push.backtrack)
    _check_suppressed(lm, suppress, plan.min_new)
    shares = rows_of(as_pairs(push.direction), 1.0 if push.c is None else push.c, len(rows))
    given = {"starts": starts, "prompts": prompts, "samples": samples, "forced": forced}
    assert new is not None
    work = _work(lm, rows, shares, given, suffixes, new, plan.exact is not None)
    with torch.inference_mode(), attached(lm, push.adapters), lm.lock:
        refuse_steered(lm, "decode")
        _play(lm, plan, work, batch_size, on_progress)
    return work


def _plan(
    draws: Sampling, push: Intervention, exact: bool, least: int, suppress: Sequence[int], keep_states: bool
) -> DecodePlan:
    """What all rows have in common. UserError for positions and schedules that are not there."""
    temperature, top_k, top_p = draws.temperature, draws.top_k, draws.top_p
    assert temperature is not None and top_k is not None and top_p is not None
    check_where(push.where)
    schedule = parse_schedule(push.schedule) if isinstance(push.schedule, str) else push.schedule
    return DecodePlan(
        directions=tuple(d for d, _ in as_pairs(push.direction)),
        where=push.where,
        schedule=schedule,
        gate=parse_gate(push.gate) if isinstance(push.gate, str) else push.gate,
        allow_stale=push.allow_stale,
        seed=draws.seed,
        min_new=draws.max_new_tokens or 0 if exact else least,
        sampler=(temperature, top_k, top_p),
        suppress=tuple(suppress),
        exact=draws.max_new_tokens if exact else None,
        backtrack=push.backtrack,
        keep_states=keep_states,
    )


def _work(
    lm: LM,
    rows: Sequence[Ids],
    shares: list[list[float]],
    given: dict[str, Any],
    suffixes: list[list[int]],
    new: int,
    exact: bool,
) -> list[Rollout]:
    """The rows as they start; what was not given is the row's own tag and identity, sample 0, nothing forced."""
    for name, values in given.items():
        if values is not None and len(values) != len(rows):
            raise UserError(f"{name} has {len(values)} entries for {len(rows)} rows. Give one per row.")
    if not all(map(len, rows)):
        raise UserError("a row without tokens cannot be continued. Give every row at least one token id.")
    limits = [_room(lm, row, new, len(suffix), exact) for row, suffix in zip(rows, suffixes, strict=True)]
    starts = starts_of(lm, rows) if given["starts"] is None else given["starts"]
    prompts = map(identity, rows) if given["prompts"] is None else given["prompts"]
    samples = [0] * len(rows) if given["samples"] is None else given["samples"]
    forced: Any = [[]] * len(rows) if given["forced"] is None else given["forced"]
    columns = zip(rows, starts, prompts, samples, limits, shares, forced, suffixes, strict=True)
    return [
        Rollout(list(ids), int(start), int(prompt, 16), int(sample), limit, share, list(said), suffix)
        for ids, start, prompt, sample, limit, share, said, suffix in columns
    ]


def _play(lm: LM, plan: DecodePlan, work: list[Rollout], size: int, on_progress: Progress | None) -> None:
    """Run the rows that have something to do and count those that have ended."""
    done = 0

    def notify(rows: int) -> None:
        nonlocal done
        done += rows
        if rows and on_progress is not None:
            on_progress(done, len(work))

    todo = [row for row in work if row.limit or plan.exact is not None]
    notify(len(work) - len(todo))
    run(lm, plan, todo, size, notify)


def _room(lm: LM, ids: Ids, new: int, suffix: int, exact: bool) -> int:
    """How many tokens may follow: `new`, or what the context leaves; UserError for no room, or too little if exact."""
    check_length(lm, ids, new + suffix if exact else min(new, 1))
    return new if exact or lm.max_context is None else min(new, lm.max_context - len(ids))


def _suffixes(suffix: Ids | Sequence[Ids] | None, rows: int, backtrack: Backtrack | None) -> list[list[int]]:
    """One suffix per row, from one for all or one each."""
    if suffix is None:
        return [[] for _ in range(rows)]
    if backtrack is not None:
        raise UserError("a suffix is read behind rows of one length, which backtracking ends. Leave one of them out.")
    if not suffix or isinstance(suffix[0], int):
        return [list(cast(Ids, suffix)) for _ in range(rows)]
    if len(suffix) != rows:
        raise UserError(f"suffix has {len(suffix)} entries for {rows} rows. Give one list of ids, or one per row.")
    return [list(ids) for ids in cast(Sequence[Ids], suffix)]


def _check_suppressed(lm: LM, suppress: Sequence[int], min_new: int) -> None:
    """UserError for ids outside the vocabulary, or where nothing is left to draw."""
    outside = [i for i in suppress if not 0 <= i < lm.vocab_size]
    if outside:
        raise UserError(f"suppress holds the id {outside[0]}; {lm.name} has ids 0 to {lm.vocab_size - 1}.")
    if len({*suppress, *(lm.eos_ids if min_new else ())}) >= lm.vocab_size:
        raise UserError("suppress leaves no token to draw. Take some ids out of it.")
