"""A user's own conversations: read from JSONL, every bad row told by its line, and whose voice each reply is in.

    rows = read_conversations(Path("data.jsonl"))      # line, prompt (turns), completion: one row per assistant turn
    spoken = wrong_voices(rows)                        # line, why; of the rows in which the wrong role speaks

A line is `{"messages": [{"role": "user", "content": ...}, {"role": "assistant", ...}, ...]}`, user and assistant in
turn, or `{"prompt": ..., "completion": ...}`. System turns are refused: what is trained answers the neutral prompt.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import polars as pl

from ws.errors import UserError

__all__ = ["ROWS", "as_turns", "bad_rows", "read_conversations", "wrong_voice", "wrong_voices"]

TURNS = pl.List(pl.Struct({"role": pl.String, "content": pl.String}))
ROWS: dict[str, Any] = {"line": pl.Int64, "prompt": TURNS, "completion": pl.String}
SHOWN = 5

MARKER = re.compile(
    r"<\|\w+\|>|<(?:start|end)_of_turn>|\[/?INST\]|<</?SYS>>|^\s*(?:#+\s*)?(?:user|human|assistant|system|instruction)\s*:",
    re.IGNORECASE | re.MULTILINE,
)
"""Tokens of chat templates, and a role's name with a colon where a line begins."""
ASSISTANT = re.compile(
    r"\bas an ai\b|\bas a (?:large )?language model\b|\bi(?:'m| am) an? (?:ai|language model|virtual assistant)\b"
    r"|\bhow (?:can|may) i (?:help|assist) you\b",
    re.IGNORECASE,
)
"""What an assistant says of itself, and no user."""


def read_conversations(path: Path) -> pl.DataFrame:
    """One row per assistant turn, columns ROWS. UserError: no such file, no row in it, bad rows, by their lines."""
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except UnicodeDecodeError as error:
        raise UserError(f"{path} is no UTF-8 text ({error.reason} at byte {error.start}). Save it as UTF-8.") from error
    except OSError as error:
        said = f"{path} cannot be read: {error.strerror}. Name a JSONL file, a conversation a line."
        raise UserError(said) from error
    rows, bad = [], dict[int, str]()
    for number, line in enumerate(lines, 1):
        if line.strip():
            try:
                rows += [{"line": number, "prompt": turns, "completion": said} for turns, said in _replies(line)]
            except ValueError as error:
                bad[number] = str(error)
    if bad:
        raise bad_rows(path, bad)
    if not rows:
        raise UserError(f"{path} holds no conversation. Write one a line, as ws heal --help says.")
    return pl.DataFrame(rows, schema=ROWS)


def bad_rows(path: Path, bad: dict[int, str]) -> UserError:
    """The refusal of lines, by number and reason; the first few of them."""
    told = "".join(f"\n  line {number}: {why}" for number, why in list(bad.items())[:SHOWN])
    more = f"\n  and {len(bad) - SHOWN} more" if len(bad) > SHOWN else ""
    return UserError(f"{path}: {len(bad)} of its lines cannot be used. Mend or drop them.{told}{more}")


def as_turns(prompt: str) -> list[dict[str, str]]:
    """A user's text as turns."""
    return [{"role": "user", "content": prompt}]


def _replies(line: str) -> Iterator[tuple[list[dict[str, str]], str]]:
    """(turns before, reply) of every assistant turn. ValueError says what is wrong."""
    try:
        row = json.loads(line)
    except json.JSONDecodeError as error:
        raise ValueError(f"no JSON ({error.msg} at column {error.colno})") from error
    turns = _turns(row)
    for i, turn in enumerate(turns):
        wanted = ("user", "assistant")[i % 2]
        if turn["role"] != wanted:
            if turn["role"] == "system":
                raise ValueError("it has a system turn, and training is under the neutral system prompt: take it out")
            raise ValueError(f"turn {i + 1} has role {turn['role']!r} where {wanted} speaks: in turn, the user first")
    if len(turns) % 2 or not turns:
        raise ValueError("it ends without a reply of the assistant" if turns else "it holds no turn")
    return ((turns[:i], turns[i]["content"]) for i in range(1, len(turns), 2))


def _turns(row: Any) -> list[dict[str, str]]:
    """The turns of either form, texts checked. ValueError says what is wrong."""
    if not isinstance(row, dict):
        raise ValueError(f"a {type(row).__name__} and no object")
    if "messages" in row:
        turns = row["messages"]
        whole = isinstance(turns, list) and all(isinstance(t, dict) and {"role", "content"} <= t.keys() for t in turns)
        if not whole:
            raise ValueError('"messages" is no list of {"role", "content"}')
    elif {"prompt", "completion"} <= row.keys():
        turns = [{"role": "user", "content": row["prompt"]}, {"role": "assistant", "content": row["completion"]}]
    else:
        raise ValueError(f'neither "messages" nor "prompt" and "completion" (it has {", ".join(row) or "nothing"})')
    for i, turn in enumerate(turns, 1):
        if not isinstance(turn["content"], str) or not turn["content"].strip():
            raise ValueError(f"the text of turn {i} is {'empty' if turn['content'] in ('', None) else 'no text'}")
    return [{"role": str(turn["role"]), "content": turn["content"]} for turn in turns]


def wrong_voice(reply: str, asked: Sequence[str] = (), specials: Sequence[str] = ()) -> str | None:
    """Why a reply is not the assistant's own: it plays another turn, or gives the user's words back; None: it is.

    asked: the user's texts before it; specials: the tokenizer's own special tokens.
    """
    if (found := MARKER.search(reply)) is not None:
        return f"the reply plays a turn ({found.group().strip()!r})"
    if (token := next((token for token in specials if token and token in reply), None)) is not None:
        return f"the reply holds {token!r}"
    if any(reply.strip() == text.strip() for text in asked):
        return "the reply is the user's own text"
    spoken = next((match for text in asked if (match := ASSISTANT.search(text))), None)
    return None if spoken is None else f"the user speaks as an assistant ({spoken.group()!r})"


def wrong_voices(rows: pl.DataFrame, specials: Sequence[str] = ()) -> pl.DataFrame:
    """line, why: of every row in which the wrong role speaks."""
    found = []
    for line, turns, reply in rows.select("line", "prompt", "completion").iter_rows():
        asked = [turn["content"] for turn in turns if turn["role"] == "user"]
        if (why := wrong_voice(reply, asked, specials)) is not None:
            found.append((line, why))
    return pl.DataFrame(found, schema={"line": pl.Int64, "why": pl.String}, orient="row")
