"""Reads axis files: TOML or JSON to checked values, prompt pools put in. A mistake is a UserError with the way out."""

from __future__ import annotations

import difflib
import json
import tomllib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from ws.axes.words import text_key
from ws.errors import UserError, whole_text

DATA = Path(__file__).parent / "data"


@dataclass(frozen=True)
class Context:
    """A user message under which both poles are read; `assistant_prefix` is how the reply has begun, possibly empty."""

    user: str
    assistant_prefix: str = ""


@dataclass(frozen=True)
class Question:
    """A question with an answer sentence of either pole and, on a foundation axis, one that takes neither side.

    label +1 where `yes` is the positive pole's answer, -1 where `no` is; `plain` is None where there is none. An axis
    file may also name the answers by their poles, { text, positive, negative, plain }: that is yes, no and label 1.
    """

    text: str
    yes: str
    no: str
    label: int
    plain: str | None = None

    def __post_init__(self) -> None:
        if type(self.label) is not int or self.label not in (1, -1):
            raise UserError(
                f"a question's label must be 1 or -1 (got {self.label!r} for {self.text[:60]!r}). "
                "Write 1 where `yes` is the positive pole's answer, -1 where `no` is."
            )
        if text_key(self.yes) == text_key(self.no):
            raise UserError(f"both answers to {self.text[:60]!r} are {self.yes!r}. Write two different answers.")
        if self.plain is not None and text_key(self.plain) in (text_key(self.yes), text_key(self.no)):
            raise UserError(
                f"the plain answer to {self.text[:60]!r} is {self.plain!r}, which takes a side. "
                "Write one that takes none."
            )

    @property
    def positive(self) -> str:
        """The positive pole's answer."""
        return self.yes if self.label > 0 else self.no

    @property
    def negative(self) -> str:
        """The negative pole's answer."""
        return self.no if self.label > 0 else self.yes

    def to_dict(self) -> dict[str, Any]:
        """Plain data; without `plain` where there is none, so that runs stored before it was known keep their keys."""
        table = asdict(self)
        return table if self.plain is not None else {key: value for key, value in table.items() if key != "plain"}


HALVES = ("select", "report")
FEWEST_TO_HALVE = 16


def halves_of(questions: Sequence[Question]) -> dict[str, tuple[int, ...]]:
    """Half ("select": what chooses a dose, "report": what judges) -> indices of its questions, in their order.

    Every second question of either label belongs to a half, so that labels are balanced over both; under 16 questions
    both halves are all of them.
    """
    if len(questions) < FEWEST_TO_HALVE:
        return dict.fromkeys(HALVES, tuple(range(len(questions))))
    alike = [[i for i, question in enumerate(questions) if question.label == label] for label in (1, -1)]
    first, second = alike
    odd = len(first) % 2  # an odd one is the select half's: the second label begins in the other, so that sizes agree
    return {half: tuple(sorted(first[start::2] + second[(start + odd) % 2 :: 2])) for start, half in enumerate(HALVES)}


def shipped_pools() -> list[str]:
    """Names of the prompt lists that an axis file can take in as "pool:NAME", sorted."""
    return sorted(path.stem for path in (DATA / "pools").glob("*.toml"))


@lru_cache(maxsize=1)
def item_keys() -> dict[str, str]:
    """text_key -> "file:id" of every evaluation text in the package."""
    keys: dict[str, str] = {}
    for path in sorted((DATA / "items").glob("*.jsonl")):
        for line in path.read_text(encoding="utf-8").splitlines():
            row = json.loads(line)
            keys |= {text_key(row[c]): f"{path.name}:{row['id']}" for c in ("other_violate", "self_violate")}
    return keys


def read(path: Path) -> dict[str, Any]:
    """The table in a .toml or .json file."""
    if not path.is_file():
        raise UserError(
            f"no such axis file ({path}). Give an existing .toml or .json file, or the name of a shipped axis."
        )
    if path.suffix not in (".toml", ".json"):
        raise UserError(f"an axis file ends in .toml or .json (got {path.suffix!r}). Rename it, or convert it.")
    try:
        text = path.read_text(encoding="utf-8-sig")
        raw = tomllib.loads(text) if path.suffix == ".toml" else json.loads(text)
    except (tomllib.TOMLDecodeError, json.JSONDecodeError, UnicodeDecodeError, RecursionError) as error:
        kind = path.suffix[1:].upper()
        raise UserError(f"the file cannot be read as {kind} ({error}). Mend it at that place.") from None
    if not isinstance(raw, dict):
        raise UserError(
            f"an axis is a table of keys (got a {type(raw).__name__}). Write name = ..., target = ..., and so on."
        )
    return raw


def check_keys(raw: Mapping[str, Any], required: Iterable[str], optional: Iterable[str], what: str) -> None:
    """UserError that names every unknown key (with the nearest known one) or every missing key."""
    required = list(required)
    known = [*required, *optional]
    if unknown := [key for key in raw if key not in known]:
        near = {key: difflib.get_close_matches(key, known, n=1) for key in unknown}
        named = ", ".join(f"{key!r} (did you mean {near[key][0]!r}?)" if near[key] else repr(key) for key in unknown)
        raise UserError(f"unknown key in this {what}: {named}. Known keys: {', '.join(known)}.")
    if missing := [key for key in required if key not in raw]:
        hint = ' For contexts, contexts = "pool:diverse" will do.' if "contexts" in missing else ""
        raise UserError(
            f"this {what} lacks {', '.join(missing)} (found: {', '.join(raw) or 'nothing'}). Add what is missing.{hint}"
        )


def as_text(value: object, key: str) -> str:
    """A text that is not empty, stripped."""
    if not isinstance(value, str) or not value.strip():
        raise UserError(f'{key} must hold texts that are not empty (got {value!r}). Write "..." there.')
    return whole_text(value.strip(), key)


def as_list(value: object, key: str) -> list[Any]:
    """A list of anything."""
    if not isinstance(value, list):
        raise UserError(f'{key} must be a list (got {value!r:.80}). Write {key} = ["...", "..."].')
    return value


def as_texts(value: object, key: str, may_be_empty: bool = False) -> tuple[str, ...]:
    """A list of texts, at least one unless it may be empty."""
    listed = as_list(value, key)
    if not listed and not may_be_empty:
        raise UserError(f"{key} is empty ([]). Put at least one entry into it.")
    return tuple(as_text(entry, key) for entry in listed)


def as_entries(value: object, key: str) -> list[Any]:
    """A prompt list with its pools put in: "pool:NAME" stands for the whole list or for some of its entries."""
    listed = [value] if isinstance(value, str) and value.startswith("pool:") else as_list(value, key)
    entries: list[Any] = []
    for entry in listed:
        is_pool = isinstance(entry, str) and entry.startswith("pool:")
        entries.extend(_pool(entry.removeprefix("pool:").strip()) if is_pool else [entry])
    if not entries:
        raise UserError(f"{key} is empty ([]). Put prompts into it, or a shipped pool: {', '.join(shipped_pools())}.")
    return entries


def _pool(name: str) -> list[Any]:
    if name not in shipped_pools():
        raise UserError(f"no pool is called {name!r}. Shipped pools: {', '.join(shipped_pools())}.")
    return list(tomllib.loads((DATA / "pools" / f"{name}.toml").read_text(encoding="utf-8"))["entries"])


def as_context(entry: object) -> Context:
    """A context from a text or a { user, assistant_prefix } table."""
    if not isinstance(entry, dict):
        return Context(as_text(entry, "contexts"))
    check_keys(entry, ["user"], ["assistant_prefix"], "context")
    prefix = entry.get("assistant_prefix", "")
    if not isinstance(prefix, str):
        raise UserError(
            f'assistant_prefix must be a text (got {prefix!r}). Write assistant_prefix = "...", or leave it out.'
        )
    return Context(as_text(entry["user"], "contexts"), whole_text(prefix, "assistant_prefix"))


def as_question(entry: object) -> Question:
    """A question from its { text, positive, negative, plain } or { text, yes, no, label, plain } table; plain may be
    missing."""
    if not isinstance(entry, dict):
        raise UserError(
            f"a question is a table (got {entry!r:.80}). "
            'Write { text = "...?", positive = "...", negative = "..." }, or yes, no and label.'
        )
    by_pole = "positive" in entry or "negative" in entry
    answers = ("positive", "negative") if by_pole else ("yes", "no")
    check_keys(entry, ["text", *answers, *([] if by_pole else ["label"])], ["plain"], "question")
    text, yes, no = (as_text(entry[key], key) for key in ("text", *answers))
    plain = as_text(entry["plain"], "plain") if "plain" in entry else None
    return Question(text, yes, no, entry.get("label", 1), plain)
