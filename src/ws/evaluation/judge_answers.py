"""What a judge said, read tolerantly, and kept as it comes: a killed or refused judge loses no answer.

    read_choice("Reply 1 is better.")        # "1"; "2", "tie", or None where it cannot be told
    with Kept(folder / "judge-1234.jsonl") as kept: ...

Nothing is guessed: an answer that names both, or neither, is None. The raw text is what is kept, so that it can be
read again.
"""

from __future__ import annotations

import json
import os
import re
from pathlib import Path
from types import TracebackType
from typing import Any, TextIO

from ws.files import writing

__all__ = ["Kept", "read_choice"]

NOUN = r"(?:the\s+)?(?:reply|response|answer|option|choice|text|number)[\s_#]*"
ORDINALS = {"one": "1", "first": "1", "two": "2", "second": "2", "draw": "tie", "equal": "tie"}
CHOICE = rf"(?:(?:{NOUN})?(?P<number>1|2|one|two|tie|draw|equal)|the\s+(?P<place>first|second)(?:\s+(?:one|{NOUN}))?)\b"
OTHER = r"(?!\s*(?:[,/]|or\b|and\b)\s*(?:or\s+)?(?:reply\s*)?(?:1|2|tie)\b)"  # "1, 2 or tie" is the question again
LABEL = (
    r"(?:answer|verdict|choice|winner|decision|conclusion|result|boxed"
    r"|(?:better|best)(?:\s+(?:reply|response|one|fit|match))?)"
)
WHOLE = re.compile(rf"\W*(?:it(?:'s| is)\s+)?(?:a\s+)?{CHOICE}\W*")
LABELLED = re.compile(rf"\b{LABEL}\s*(?:is\s*:?|[:={{])\s*(?:a\s+)?{CHOICE}{OTHER}")
LEADING = re.compile(rf"\W*{CHOICE}{OTHER}\s*(?:[,:;–—-]|because\b|since\b|as\b)")
STATED = re.compile(
    rf"\b{CHOICE}.*?\b(?:better|best|closer|closest|wins|more\s+closely)\b"
    rf"|\b(?:prefer|choose|pick|select)\s+(?P<picked>{NOUN}(?:1|2|one|two)|the\s+(?:first|second))\b"
)
OPEN = re.compile(r"\b(?:not|no|neither|nor|worse|less|hardly|far|if|whether|would|could|might|both|cannot)\b|n't\b")
CLAUSES = re.compile(r"[.!?;\n]+\s*|,\s*(?:but|while|whereas|although|though|however)\b|\b(?:but|while|whereas)\b")
KEYS = ("verdict", "answer", "winner", "choice", "better", "preferred", "result", "reply")


def read_choice(answer: str) -> str | None:
    """ "1", "2" or "tie" of a raw answer; None where it cannot be told. Thinking and markdown are left out."""
    if "<think>" in answer.rsplit("</think>", 1)[-1]:  # cut off while it thought
        return None
    spoken = answer.rsplit("</think>", 1)[-1].strip()
    if (told := _of_json(spoken)) is not None:
        return told or None
    plain = re.sub(r"[*_`#>\"“”$\\]+", " ", spoken).casefold().replace("’", "'").strip()
    return _of_text(re.sub(r"[ \t]+", " ", plain))


def _of_json(spoken: str) -> str | None:
    """The choice under KEYS of the JSON object that an answer holds; "" where they name none or several, None where
    there is no such object."""
    start, end = spoken.find("{"), spoken.rfind("}")
    try:
        told = json.loads(spoken[start : end + 1])
    except ValueError:
        return None
    if not isinstance(told, dict):
        return None
    values = {str(key).casefold(): value for key, value in told.items()}
    known = [str(values[key]).casefold() for key in KEYS if key in values]
    if not known:
        return None
    found = {_choice(match) if match else "" for match in map(WHOLE.fullmatch, known)}
    return found.pop() if len(found) == 1 else ""


def _of_text(plain: str) -> str | None:
    """The choice of prose, the plainest way of saying it first."""
    lines = [line for line in plain.splitlines() if line.strip()]
    ends = {_choice(match) for line in (lines[:1] + lines[-1:]) if (match := WHOLE.fullmatch(line))}
    if ends:
        return ends.pop() if len(ends) == 1 else None
    if labelled := list(LABELLED.finditer(plain)):
        return _choice(labelled[-1])
    if leading := LEADING.match(plain):
        return _choice(leading)
    clauses = [clause for clause in CLAUSES.split(plain) if clause and not OPEN.search(clause)]
    stated = {_choice(match) for clause in clauses if (match := STATED.search(clause))}
    return stated.pop() if len(stated) == 1 else None


def _choice(match: re.Match[str]) -> str:
    groups = match.groupdict()
    word = groups["number"] or groups["place"] or re.split(r"[\s_#]+", str(groups["picked"]))[-1]
    return ORDINALS.get(word, word)


class Kept:
    """A judge's answers in one file, a JSON line each, on disk before the next question is asked.

    `found` holds what earlier calls left, by the question's digest; a line that a kill cut off is as good as not
    asked. Opening it shows whether the folder can be written. path None keeps them in memory alone. UserError where it
    cannot be written.
    """

    def __init__(self, path: Path | None) -> None:
        self.path = path
        self.found: dict[str, dict[str, Any]] = {}
        self._file: TextIO | None = None

    def __enter__(self) -> Kept:
        if self.path is None:
            return self
        with writing(self.path):
            self._file = self.path.open("a+", encoding="utf-8")
            self._file.seek(0)
            lines = self._file.read()
            if lines and not lines.endswith("\n"):
                self._file.write("\n")
        self.found = {record["asked"]: record for record in map(_record, lines.splitlines()) if record}
        return self

    def add(self, record: dict[str, Any]) -> None:
        """Keep one answer, for good. UserError where it cannot be written."""
        if self._file is not None:
            with writing(Path(self._file.name)):
                self._file.write(json.dumps(record, ensure_ascii=True, sort_keys=True) + "\n")
                self._file.flush()
                os.fsync(self._file.fileno())
        self.found[record["asked"]] = record

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        if self._file is not None and self.path is not None:
            with writing(self.path):
                self._file.close()
                if not self.path.stat().st_size:
                    self.path.unlink()


def _record(line: str) -> dict[str, Any] | None:
    try:
        record = json.loads(line)
    except ValueError:
        return None
    whole = isinstance(record, dict) and isinstance(record.get("asked"), str) and isinstance(record.get("answer"), str)
    return record if whole else None
