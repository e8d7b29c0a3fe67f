"""Whether a model, its tokenizer, its chat template and its generation config agree: each says the same things again.

    for line in findings(lm): ...       # nothing where they agree

What would make numbers wrong or crash is refused when a model is loaded; here is what works, and what one should know.
"""

from __future__ import annotations

from collections.abc import Callable

from ws.models.lm import LM

__all__ = ["findings"]

LARGEST = 10**9  # tokenizers say 10**30 for "no limit"


def findings(lm: LM) -> list[str]:
    """Lines in words, in a fixed order."""
    return [line for check in CHECKS if (line := check(lm)) is not None]


def _vocabulary(lm: LM) -> str | None:
    names = lm.tok.get_vocab()
    beyond = sorted((i, name) for name, i in names.items() if i >= lm.rows)
    if not beyond:
        return None
    return (
        f"the tokenizer has {len(names)} tokens and the embedding {lm.rows} rows: {len(beyond)} tokens"
        f" (the first: {beyond[0][1]!r}) cannot be read, and a text that holds one is refused"
    )


def _end(lm: LM) -> str | None:
    if not lm.has_chat:
        return None
    if lm.chat.end is None:
        return "the chat template writes no token of its own behind a reply: how replies end is left to the model"
    if lm.chat.end in lm.named_ends:
        return None
    token = lm.tok.convert_ids_to_tokens(lm.chat.end)
    return (
        f"the chat template ends a reply with {token!r}, which neither the generation"
        " config nor the tokenizer names as an end: here it is one, other programs may write on behind it"
    )


def _system(lm: LM) -> str | None:
    own = lm.chat.own_system
    return f"the chat template puts in a system prompt where none is given: {own[:80]!r}" if own else None


def _padding(lm: LM) -> str | None:
    pad = lm.tok.pad_token_id
    if pad is None or 0 <= pad < lm.rows:
        return None
    return f"the padding token's id is {pad} and the embedding has {lm.rows} rows: rows are padded with {lm.pad_id}"


def _length(lm: LM) -> str | None:
    told = lm.tok.model_max_length
    if lm.max_context is None or not isinstance(told, int) or told > LARGEST or told == lm.max_context:
        return None
    return f"the tokenizer says {told} tokens at most, the model's config {lm.max_context}: the config's is kept to"


CHECKS: tuple[Callable[[LM], str | None], ...] = (_vocabulary, _end, _system, _padding, _length)
