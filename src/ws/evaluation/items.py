"""Evaluation items: vignettes that violate one foundation (standard) or set two against each other (conflict).

One JSON object per line:
    {"id": "care_01", "foundation": "Care", "other_violate": "You see ...", "self_violate": "You ..."}
Conflict items carry "cues": ["Care", "Authority"] as well. Other columns (label_source, human labels) are not read.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ws.axes.axis_file import DATA
from ws.errors import UserError, near, whole_text
from ws.gating.foundations import FOUNDATIONS
from ws.models.recipe import OTHER, ModelRecipe

__all__ = [
    "CONDITIONS", "SPLITS", "Item", "ItemSet", "check_items", "is_items_path", "load_items", "shipped_items",
]  # fmt: skip

CONDITIONS = ("other_violate", "self_violate")
SPLITS = ("all", "select", "report")
ITEMS = DATA / "items"


@dataclass(frozen=True)
class Item:
    """One vignette: the text of each condition, its foundation, and the foundations it has a cue of."""

    id: str
    foundation: str
    texts: dict[str, str]
    cues: tuple[str, ...]


@dataclass(frozen=True)
class ItemSet:
    """Items in the order of their file, with the name that goes into a report's identity."""

    name: str
    items: tuple[Item, ...]

    @property
    def hash(self) -> str:
        """16 hex characters over ids, labels and texts; the order of the rows does not matter."""
        rows = sorted([i.id, i.foundation, list(i.cues), sorted(i.texts.items())] for i in self.items)
        return hashlib.sha256(json.dumps(rows, ensure_ascii=False).encode()).hexdigest()[:16]

    @property
    def counts(self) -> dict[str, int]:
        """Rows per foundation, in the order of FOUNDATIONS."""
        found = Counter(item.foundation for item in self.items)
        return {f: found[f] for f in FOUNDATIONS if found[f]}

    def has(self, condition: str) -> bool:
        """Whether every item has a text for the condition."""
        return all(condition in item.texts for item in self.items)

    def refuse_gaps(self) -> None:
        """UserError where a plain set (no conflict cues) has no item of a foundation: its profile would be lopsided."""
        missing = [f for f in FOUNDATIONS if f not in self.counts]
        if missing and all(item.cues == (item.foundation,) for item in self.items):
            raise UserError(
                f"item set {self.name!r} has no item of {', '.join(missing)} ({len(self.items)} items)."
                " Add some of each foundation, or give conflict items their cues."
            )

    def subset(self, per_foundation: int | None) -> ItemSet:
        """The same number of items of every foundation, chosen by the hash of their ids: never a head slice.

        UserError where a foundation has fewer.
        """
        if per_foundation is None:
            return self
        if per_foundation < 1:
            raise UserError(f"per_foundation must be at least 1 (got {per_foundation}).")
        short = [f"{f} has {n}" for f, n in self.counts.items() if n < per_foundation]
        if short:
            raise UserError(
                f"item set {self.name!r} has too few items for per_foundation={per_foundation}:"
                f" {', '.join(short)}. Use at most {min(self.counts.values())}, or None for all."
            )
        return self._chosen(lambda ranked: ranked[:per_foundation], f"{self.name}/{per_foundation}")

    def split(self, split: str) -> ItemSet:
        """Half of every foundation's items ("select", for choosing doses), the other half ("report"), or "all"."""
        if split not in SPLITS:
            raise UserError(f"unknown split {split!r}. Use one of: {', '.join(SPLITS)}.")
        if split == "all":
            return self
        part = slice(1, None, 2) if split == "report" else slice(0, None, 2)
        return self._chosen(lambda ranked: ranked[part], f"{self.name}:{split}")

    def _chosen(self, choose: Callable[[list[Item]], list[Item]], name: str) -> ItemSet:
        """What `choose` takes from every foundation's items, ranked by the hash of their ids."""
        ranked = sorted(self.items, key=lambda i: hashlib.sha256(i.id.encode()).digest())
        strata = [[i for i in ranked if i.foundation == f] for f in FOUNDATIONS]
        taken = {i.id for stratum in strata for i in choose(stratum)}
        if not taken:
            raise UserError(f"item set {self.name!r} is too small to be split ({len(self.items)} items).")
        return ItemSet(name, tuple(i for i in self.items if i.id in taken))


def load_items(
    source: str | Path | ItemSet | Iterable[dict[str, Any]] = "default", recipe: ModelRecipe = OTHER
) -> ItemSet:
    """Items by name ("default", "standard", "conflict"), by the path of a JSONL file, or as rows.

    recipe: of the model that is asked: whose words, and which set "default" is. UserError for an unknown name and,
    with its line number, for a malformed row.
    """
    if isinstance(source, ItemSet):
        return source
    if isinstance(source, Path) or (isinstance(source, str) and is_items_path(source)):
        return _read(Path(source), Path(source).stem)
    if not isinstance(source, str):
        return _build([(f"row {n}", row) for n, row in enumerate(source, 1)], "rows")
    name = recipe.items if source == "default" else source
    check_items(name, recipe)
    path = ITEMS / f"{_prefix(recipe.words)}{name}.jsonl"
    return _read(path, path.stem)


def is_items_path(source: str | Path) -> bool:
    """Whether an item set is named by a path; else it is a name of the package."""
    return isinstance(source, Path) or source.endswith(".jsonl") or "/" in source


def check_items(source: str | Path, recipe: ModelRecipe = OTHER) -> None:
    """UserError for a name that no shipped set of this model has. A path is not looked at: its file may have moved."""
    known = shipped_items(recipe.words)
    if not is_items_path(source) and source not in ("default", *known):
        raise UserError(
            f"no item set is called {source!r} for this model.{near(str(source), known)}"
            f" Shipped: {', '.join(known) or 'none'}; or give the path of a .jsonl file."
        )


def shipped_items(words: str = "any") -> list[str]:
    """Names of the item sets in the package that are written for such models ("any", "mini"), sorted."""
    stems = [path.stem for path in ITEMS.glob("*.jsonl")]
    mine = [stem.split(".") for stem in stems if stem.startswith(_prefix(words))]
    return sorted(parts[-1] for parts in mine if len(parts) == (1 if words == "any" else 2))


def _prefix(words: str) -> str:
    return "" if words == "any" else f"{words}."


def _read(path: Path, name: str) -> ItemSet:
    if not path.is_file():
        raise UserError(f"no such item file ({path}). Give an existing .jsonl file, or the name of a shipped set.")
    rows = []
    for n, line in enumerate(_lines(path), 1):
        if line.strip():
            try:
                rows.append((f"{path.name}, line {n}", json.loads(line)))
            except (json.JSONDecodeError, RecursionError) as error:
                raise UserError(f"{path.name}, line {n} is no JSON ({error}). Write one object per line.") from None
    return _build(rows, name)


def _lines(path: Path) -> list[str]:
    """Of a UTF-8 file; a text may hold line separators of its own, which JSON lets stand."""
    try:
        return path.read_text(encoding="utf-8-sig").split("\n")
    except UnicodeDecodeError as error:
        raise UserError(f"{path.name} is no UTF-8 text ({error}). Save it as UTF-8.") from None


def _build(rows: Sequence[tuple[str, Any]], name: str) -> ItemSet:
    items: list[Item] = []
    seen: dict[str, str] = {}
    for where, row in rows:
        item = _item(row, where)
        if item.id in seen:
            raise UserError(f"{where}: id {item.id!r} was used before ({seen[item.id]}). Ids must be unique.")
        seen[item.id] = where
        items.append(item)
    if not items:
        raise UserError(f"item set {name!r} holds no items. Write one JSON object per line.")
    return ItemSet(name, tuple(items))


def _item(row: object, where: str) -> Item:
    if not isinstance(row, dict):
        raise UserError(f'{where}: a row is an object (got {str(row)[:60]!r}). Write {{"id": ..., ...}}.')
    for key in ("id", "foundation"):
        if not isinstance(row.get(key), str) or not row[key].strip():
            raise UserError(f"{where}: {key} must be a text (got {row.get(key)!r}).")
    cues = row.get("cues", [row["foundation"]])
    if not isinstance(cues, list) or not cues or not all(isinstance(cue, str) for cue in cues):
        raise UserError(f"{where}: cues must be a list of foundations (got {cues!r}).")
    for foundation in (row["foundation"], *cues):
        if foundation not in FOUNDATIONS:
            raise UserError(f"{where}: unknown foundation {foundation!r}. Foundations: {', '.join(FOUNDATIONS)}.")
    texts = {c: row[c] for c in CONDITIONS if row.get(c) is not None}
    bad = [c for c, text in texts.items() if not isinstance(text, str) or not text.strip()]
    if bad or not texts:
        raise UserError(
            f"{where}: {(bad or ['other_violate'])[0]} must be a text that is not empty"
            f" (got {texts.get(bad[0]) if bad else None!r})."
        )
    for text in (row["id"], *texts.values()):
        whole_text(text, where)
    return Item(row["id"], row["foundation"], texts, tuple(cues))
