"""`narrates` and `refuses` on texts labelled by hand, in the manner of chat models and of the embedded model.

The part "tune" was read while the phrases were written; "held" was written after them and changed nothing since. On
held (48 texts each) narrates has precision 1.00 and recall 0.33, refuses 0.85 and 0.71. Paraphrase has no end: what a
pattern misses stays in the data, so precision is what is guarded most.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ws.filtering.scores import narrates, refuses

FOLDER = Path(__file__).parents[1] / "labelled"
FLOORS = {
    ("narrates", "tune"): (0.98, 0.98), ("narrates", "held"): (0.95, 0.3),
    ("refuses", "tune"): (0.98, 0.98), ("refuses", "held"): (0.8, 0.65),
}  # fmt: skip


def labelled(name: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (FOLDER / f"{name}.jsonl").read_text(encoding="utf-8").splitlines()]


@pytest.mark.parametrize("name", ["narrates", "refuses"])
def test_the_sets_are_large_and_balanced(name: str) -> None:
    rows = labelled(name)
    assert len(rows) == len({row["text"] for row in rows}) >= 120
    counts = Counter((row["half"], row["label"]) for row in rows)
    assert all(counts[half, True] == counts[half, False] >= 24 for half in ("tune", "held"))


@pytest.mark.parametrize(("name", "half"), FLOORS)
def test_precision_and_recall_stay_above_their_floors(name: str, half: str) -> None:
    judge: Callable[[str], bool] = {"narrates": narrates, "refuses": refuses}[name]
    rows = [row for row in labelled(name) if row["half"] == half]
    found = [row for row in rows if judge(row["text"])]
    right = sum(row["label"] for row in found)
    precision, recall = right / len(found), right / sum(row["label"] for row in rows)
    lowest = FLOORS[name, half]
    assert precision >= lowest[0] and recall >= lowest[1], f"precision {precision:.2f}, recall {recall:.2f}"


def test_what_is_quoted_is_somebody_elses() -> None:
    assert not narrates('He said, "I am someone who never lies."') and not refuses("She read: “I cannot assist.”")
    assert narrates('"I am someone who never lies."'), "the whole reply in quotes is the reply"
