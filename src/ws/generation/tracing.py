"""What a completion cost in probability: teacher-forced log-probabilities, steered and base, and their KL per
position.

base = the same weights with adapters and steering off. Only the completion's positions meet the LM head, a
slice at a time.
    for t in trace(lm, prompt_ids, completion_ids, v, c=0.5): t.logp_steered, t.logp_base, t.kl_drift     # each (T,)
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from typing import Any, NamedTuple, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ws.errors import UserError
from ws.models.adapters.attaching import attached
from ws.models.attachments import refuse_steered
from ws.models.batching import Ids, by_length, by_tokens, pad, share, starts_of
from ws.models.lm import LM, check_length, positions
from ws.steering.coefficients import Coefficient, Steered, as_pairs, rows_of, spares_prompt
from ws.steering.direction import Direction
from ws.steering.hooks import steered
from ws.steering.schedules import CosineGate, Schedule

__all__ = ["Trace", "completion_states", "readout", "readouts", "trace"]

LOGITS = 1 << 24  # logits held at once: 64 MB of float32
TOKENS = {"cpu": 1 << 10}  # read at once, padding included: what stays in a processor's own cache is read twice as fast
MANY = 1 << 13  # elsewhere


class Trace(NamedTuple):
    """Per completion token, float32 (T,): log p_steered, log p_base, full-vocabulary KL(steered || base)."""

    logp_steered: NDArray[np.float32]
    logp_base: NDArray[np.float32]
    kl_drift: NDArray[np.float32]


def trace(
    lm: LM,
    prompt_ids: Sequence[Ids],
    completion_ids: Sequence[Ids],
    direction: Steered | None = None,
    c: Coefficient = 1.0,
    adapters: Sequence[Any] = (),
    *,
    starts: Sequence[int] | None = None,
    base_prompt_ids: Sequence[Ids] | None = None,
    where: str = "assistant",
    schedule: Schedule | str | None = None,
    gate: CosineGate | None = None,
    batch_size: int = 64,
    allow_stale: bool = False,
) -> list[Trace]:
    """Teacher-force each completion behind its prompt, once as given and once by the base; one Trace per row.

    c: a float or one per row. starts: index of the assistant tag in each prompt. base_prompt_ids: what the base reads
    instead (the neutral prompt where the arm's prompt holds a persona). UserError: too long, [B] that does not match.
    """
    neutral = prompt_ids if base_prompt_ids is None else base_prompt_ids
    same = neutral is prompt_ids and not adapters
    steering = {"starts": starts, "where": where, "schedule": schedule, "gate": gate, "allow_stale": allow_stale}
    moved = [not same or any(row) for row in rows_of(as_pairs(direction), c, len(prompt_ids))]
    with lm.lock:
        with attached(lm, adapters):
            own = completion_states(
                lm,
                prompt_ids,
                completion_ids,
                direction,
                c,
                batch_size=batch_size,
                **steering,  # type: ignore[arg-type]
            )
        rows = [i for i, m in enumerate(moved) if m]
        said = [completion_ids[i] for i in rows]
        base = completion_states(lm, [neutral[i] for i in rows], said, batch_size=batch_size)
        still = [i for i, m in enumerate(moved) if not m]
        traces = dict(zip(rows, readouts(lm, [own[i] for i in rows], base, said), strict=True))
        alike = readouts(lm, [own[i] for i in still], None, [completion_ids[i] for i in still])
        traces |= zip(still, alike, strict=True)
        return [traces[i] for i in range(len(completion_ids))]


def readouts(
    lm: LM, own: Sequence[Tensor], base: Sequence[Tensor] | None, tokens: Sequence[Ids]
) -> list[Trace]:
    """`readout` of several rows. The LM head reads them together: on a CPU it is half again as fast on 300 positions
    as on the 50 of one row."""
    if not tokens:
        return []
    flat = [token for ids in tokens for token in ids]
    whole = readout(lm, torch.cat(list(own)), None if base is None else torch.cat(list(base)), flat)
    ends = np.cumsum([len(ids) for ids in tokens])[:-1]
    return [Trace(*parts) for parts in zip(*(np.split(column, ends) for column in whole), strict=True)]


def readout(lm: LM, own: Tensor, base: Tensor | None, tokens: Ids) -> Trace:
    """Final hidden states (T, d) that chose the tokens -> Trace; base None: the base's states are the same."""
    parts: list[tuple[Tensor, Tensor, Tensor]] = []
    wanted = torch.tensor(tokens, dtype=torch.long, device=own.device)[:, None]
    size = max(1, LOGITS // lm.vocab_size)
    with torch.inference_mode():
        for low in range(0, len(tokens), size):
            at = slice(low, low + size)
            steered_logp = lm.head(own[at]).float().log_softmax(-1)  # (n, V)
            base_logp = steered_logp if base is None else lm.head(base[at]).float().log_softmax(-1)
            kl = (steered_logp.exp() * (steered_logp - base_logp)).sum(-1)
            picked = [logp.gather(1, wanted[at])[:, 0] for logp in (steered_logp, base_logp)]
            parts.append((picked[0], picked[1], kl))
    columns = zip(*parts, strict=True) if parts else [[torch.zeros(0)]] * 3
    return Trace(*(torch.cat(list(column)).cpu().numpy() for column in columns))


def completion_states(
    lm: LM,
    prompt_ids: Sequence[Ids],
    completion_ids: Sequence[Ids],
    direction: Steered | None = None,
    c: Coefficient = 1.0,
    *,
    starts: Sequence[int] | None = None,
    where: str = "assistant",
    schedule: Schedule | str | None = None,
    gate: CosineGate | None = None,
    batch_size: int = 64,
    allow_stale: bool = False,
) -> list[Tensor]:
    """Per row the final hidden states (T, d) that choose its completion tokens; nothing goes through the LM head."""
    if len(prompt_ids) != len(completion_ids):
        raise UserError(f"{len(prompt_ids)} prompts and {len(completion_ids)} completions. Give one per prompt.")
    for prompt, completion in zip(prompt_ids, completion_ids, strict=True):
        check_length(lm, prompt, len(completion))
        if not len(prompt):
            raise UserError("a completion needs at least one token of prompt in front of it. Give it the BOS.")
    pairs = as_pairs(direction)
    shares = rows_of(pairs, c, len(prompt_ids))
    if starts is None:
        # without steering the start is only where sharing ends
        starts = starts_of(lm, prompt_ids) if pairs else [len(prompt) - 1 for prompt in prompt_ids]
    out = [torch.zeros(0, lm.d_model, device=lm.device) for _ in prompt_ids]
    full = [i for i, ids in enumerate(completion_ids) if len(ids)]
    with torch.inference_mode(), lm.lock:
        refuse_steered(lm, "trace")
        for group in by_length([len(prompt_ids[i]) + len(completion_ids[i]) for i in full], batch_size):
            rows = [full[i] for i in group]
            here = [(d, [shares[i][k] for i in rows]) for k, (d, _) in enumerate(pairs)]
            batch = [(prompt_ids[i], completion_ids[i], starts[i]) for i in rows]
            states = _forced(lm, batch, here, where, schedule=schedule, gate=gate, allow_stale=allow_stale)
            for i, found in zip(rows, states, strict=True):
                out[i] = found
    return out


def _forced(
    lm: LM, batch: list[tuple[Ids, Ids, int]], pairs: list[tuple[Direction, list[float]]], where: str, **steering: Any
) -> list[Tensor]:
    """completion_states of one batch of (prompt, completion, start); what precedes the tag is shared if it may be."""
    active = any(any(c) for _, c in pairs)
    spared = spares_prompt((d for d, _ in pairs), where)
    split = (not active or spared) and all(start > 0 for *_, start in batch)
    cuts = [start if split else 0 for *_, start in batch]
    heads = share(lm, [prompt[:cut] for (prompt, *_), cut in zip(batch, cuts, strict=True)]) if split else None
    tails = [[*p[cut:], *done[:-1]] for (p, done, _), cut in zip(batch, cuts, strict=True)]
    states: dict[int, Tensor] = {}
    for rows in by_tokens([len(tail) for tail in tails], TOKENS.get(lm.device.type, MANY)):
        cache, past = None, torch.zeros(len(rows), 0, dtype=torch.long, device=lm.device)
        if heads is not None:
            cache, past = heads.rows(rows)
        columns = [past.shape[1] + batch[i][2] - cuts[i] for i in rows]
        with ExitStack() as stack:
            if active:
                here = [(d, [c[i] for i in rows]) for d, c in pairs]
                stack.enter_context(steered(lm, here, where=where, starts=columns, **steering))
            hidden = _read(lm, [tails[i] for i in rows], cache, past)
        for i, h in zip(rows, hidden, strict=True):
            first = len(batch[i][0]) - 1 - cuts[i]
            states[i] = h[first : first + len(batch[i][1])].clone()
    return [states[i] for i in range(len(batch))]


def _read(lm: LM, tails: list[list[int]], cache: Any, past: Tensor) -> Tensor:
    """Final hidden states (B, S, d) of rows of tokens behind a cache with the mask `past` (B, P); None: no cache."""
    ids, kept = pad(tails, lm.pad_id, lm.device, left=False)
    mask = torch.cat([past, kept], 1)
    place = positions(mask)[:, past.shape[1] :]
    kw = {"use_cache": False} if cache is None else {"past_key_values": cache, "use_cache": True}
    return cast(Tensor, lm.body(input_ids=ids, attention_mask=mask, position_ids=place, **kw).last_hidden_state)
