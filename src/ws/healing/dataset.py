"""Training rows of a heal: from a frame of prompts and completions to token ids, and the split by prompt."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import polars as pl

from ws.errors import UserError
from ws.models.lm import LM

__all__ = ["TrainingRow", "encoded", "split", "training_rows"]


@dataclass(frozen=True)
class TrainingRow:
    """One training row: prompt ids then completion ids (from `start` on), and the prompt that it belongs to."""

    ids: tuple[int, ...]
    start: int
    prompt: str


def training_rows(lm: LM, frame: pl.DataFrame) -> list[TrainingRow]:
    """Prompt ids under the neutral system prompt, completion ids as generated, or encoded where a text is all there is.

    UserError: missing columns, an empty completion, a row longer than the model's context.
    """
    text = next((name for name in ("completion", "text") if name in frame.columns), None)
    if "prompt" not in frame.columns or (text is None and "token_ids" not in frame.columns):
        raise UserError(
            f"a frame to heal on needs the columns prompt and token_ids, or prompt and completion; this one has"
            f" {', '.join(frame.columns) or 'none'}."
        )
    prompts: dict[str, list[int]] = {}
    rows = []
    for row in frame.iter_rows(named=True):
        key = str(row["prompt"])
        start = prompts.setdefault(key, []) or prompts[key]
        if not start:
            start += lm.prompt_ids(_user(row["prompt"]))
        ids = row["token_ids"] if "token_ids" in row else encoded(lm, row[text or "completion"])
        rows.append(_training_row(lm, start, ids, key))
    return rows


def _training_row(lm: LM, start: list[int], ids: Sequence[int] | None, prompt: str) -> TrainingRow:
    if not ids:
        raise UserError(
            f"the completion of {prompt[:60]!r} is empty. Drop such rows: kept.filter(pl.col('text') != '')."
        )
    if lm.max_context is not None and len(start) + len(ids) > lm.max_context:
        raise UserError(
            f"a row of {len(start)} + {len(ids)} tokens ({prompt[:60]!r}) exceeds the context of {lm.name},"
            f" {lm.max_context} tokens. Drop or shorten it."
        )
    return TrainingRow((*start, *ids), len(start), prompt)


def _user(prompt: Any) -> Any:
    """A user text or turns; a system turn of their own is refused, since no persona may enter training."""
    if not isinstance(prompt, str) and any(turn["role"] == "system" for turn in prompt):
        raise UserError("training prompts carry the neutral system prompt only. Drop the system turns.")
    return prompt


def encoded(lm: LM, text: str | None) -> list[int]:
    """Ids of a text with the token that ends a turn behind it."""
    if not text:
        return []
    ids = lm.encode(text)
    return ids if ids and ids[-1] in lm.eos_ids else [*ids, *_ending(lm)]


def _ending(lm: LM) -> list[int]:
    """What ends a reply: the form's stop text, the token that the template writes, the tokenizer's end of text."""
    if lm.chat.stop:
        return lm.encode(lm.chat.stop)
    end = lm.tok.eos_token_id if lm.chat.end is None else lm.chat.end
    return [] if end is None else [int(end)]


def split(rows: Sequence[TrainingRow], share: float, seed: int) -> tuple[list[TrainingRow], list[TrainingRow]]:
    """Training and validation rows, no prompt in both; no validation where share is 0 or all rows share one prompt."""
    prompts = sorted({row.prompt for row in rows}, key=lambda p: hashlib.sha256(f"{seed} {p}".encode()).digest())
    n = max(1, round(share * len(prompts))) if share > 0 and len(prompts) > 1 else 0
    held = set(prompts[:n])
    return [r for r in rows if r.prompt not in held], [r for r in rows if r.prompt in held]
