"""The vignette evaluator against itself at batch 8 in separate calls, alternating: python bench/evaluator.py

132 items, both option orders, one sampled think of 64 tokens, on the embedded model; --random N takes a random Qwen3 of
the tests instead (bytes for tokens), N items. Prints seconds and their ratio run by run, with the machine's load, and
the largest difference between the two readings in nats. Not a test: times say nothing on a busy machine.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

sys.path.insert(0, str(Path(__file__).parent.parent))

from ws.evaluation.answer_slot import Reading
from ws.evaluation.items import ItemSet, load_items
from ws.evaluation.vignettes import read_vignettes
from ws.gating.foundations import FOUNDATIONS
from ws.models.lm import LM, load_model
from ws.models.recipe import recipe_of


def together(lm: LM, items: ItemSet, reading: Reading) -> pl.DataFrame:
    """All rows in large batches sorted by length, one call."""
    return read_vignettes(lm, items, reading)[0]


def apart(lm: LM, items: ItemSet, reading: Reading) -> pl.DataFrame:
    """A call for every four items: batches of 8 prompts (two orders each), in the items' order."""
    small = replace(reading, batch_size=8)
    parts = [ItemSet("part", items.items[i : i + 4]) for i in range(0, len(items.items), 4)]
    return pl.concat([read_vignettes(lm, part, small)[0] for part in parts])


def timed(work: Any, *args: Any) -> tuple[float, np.ndarray[Any, Any]]:
    began = time.perf_counter()
    frame = work(*args)
    return time.perf_counter() - began, frame.select(f"score_{f}" for f in FOUNDATIONS).to_numpy()


def random_model(n: int) -> tuple[LM, ItemSet]:
    from tests.builders.tiny_models import tiny_lm

    items = load_items("standard")
    return tiny_lm("qwen3", max_position_embeddings=2048), ItemSet("some", items.items[:n])


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--random", type=int, metavar="N")
    options.add_argument("--runs", type=int, default=3)
    options.add_argument("--think", type=int, default=64)
    options.add_argument("--batch", type=int, default=64)
    args = options.parse_args()
    mini = recipe_of("mini")
    lm, items = random_model(args.random) if args.random else (load_model("mini"), load_items("standard", mini))
    reading = Reading(think=args.think, samples=1, batch_size=args.batch, json=False)
    print(f"{lm.name}, {len(items.items)} items x 2 orders, think {args.think}")
    for run in range(args.runs):
        slow, a = timed(apart, lm, items, reading)
        fast, b = timed(together, lm, items, reading)
        load = os.getloadavg()[0]
        seconds = f"batch 8 apart {slow:.2f} s, batch {args.batch} together {fast:.2f} s, ratio {slow / fast:.2f}"
        print(f"run {run}: {seconds}, largest difference {np.abs(a - b).max():.1e} nats, load {load:.1f}", flush=True)


if __name__ == "__main__":
    main()
