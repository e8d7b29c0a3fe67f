"""Damaged axis and item files and texts of many scripts, seeded: each works or is one line."""

from __future__ import annotations

import json
import os
import random
import tomllib
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from tests.builders.mutations import mutated_bytes, mutated_text, mutated_value, one_of_two, texts_in_scripts
from ws.axes.axis import load_axis
from ws.axes.axis_file import DATA
from ws.axes.words import text_key
from ws.evaluation.items import load_items
from ws.filtering.scores import score

FEW, MANY = 30, int(os.environ.get("WS_DRAWS", "200"))
draws = pytest.mark.parametrize(
    "seeds", [range(FEW), pytest.param(range(FEW, MANY), marks=pytest.mark.slow)], ids=["few", "many"]
)


def small_axis() -> dict[str, Any]:
    """A shipped axis with a few of its texts."""
    raw = tomllib.loads((DATA / "axes" / "cheerful_over_gloomy.toml").read_text(encoding="utf-8"))
    return {key: value[:4] if isinstance(value, list) else value for key, value in raw.items()}


@draws
def test_a_damaged_axis_file(seeds: range, tmp_path: Path) -> None:
    raw, text = small_axis(), (DATA / "axes" / "cheerful_over_gloomy.toml").read_text(encoding="utf-8")
    for seed in seeds:
        dice = random.Random(seed)
        if seed % 3:
            path = tmp_path / "mine.json"
            path.write_text(json.dumps(mutated_value(raw, dice, dice.randint(1, 2))))
        else:
            path = tmp_path / "mine.toml"
            path.write_bytes(mutated_bytes(mutated_text(text, dice).encode("utf-8", "surrogatepass"), dice))
        one_of_two(lambda path=path: load_axis(path).to_dict(), f"draw {seed}: {path.read_bytes()[:1500]!r}")


@draws
def test_a_damaged_item_file(seeds: range, tmp_path: Path) -> None:
    lines = (DATA / "items" / "conflict.jsonl").read_text(encoding="utf-8").splitlines()[:6]
    path = tmp_path / "mine.jsonl"
    for seed in seeds:
        dice = random.Random(seed)
        rows = [json.dumps(mutated_value(json.loads(line), dice)) if dice.random() < 0.3 else line for line in lines]
        data = "\n".join(rows).encode()
        path.write_bytes(mutated_bytes(data, dice) if dice.random() < 0.3 else data)

        def used() -> None:
            items = load_items(path)
            assert items.hash and items.counts is not None
            items.split("select")

        one_of_two(used, f"draw {seed}: {path.read_bytes()[:1500]!r}")


@draws
def test_texts_of_twelve_scripts_are_scored(seeds: range) -> None:
    drawn = [text for seed in seeds for text in texts_in_scripts(1, random.Random(seed))]
    texts = [text.encode("utf-8", "replace").decode() for text in drawn]  # a frame holds whole characters only
    frame = pl.DataFrame(
        {"text": texts, "token_ids": [[1, 2, 3]] * len(texts), "logp_steered": [[-1.0] * 3] * len(texts),
         "logp_base": [[-1.0] * 3] * len(texts)}, schema_overrides={"token_ids": pl.List(pl.Int32)},
    )  # fmt: skip
    scored = score(None, frame)
    assert scored.height == len(texts) and scored["rep"].is_between(0, 1).all()
    assert all(len(text_key(text)) == 16 for text in drawn)
