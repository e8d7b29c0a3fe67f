"""One verdict or many: a model's own recipe with seeds 0 to 9, one run each: python bench/seeds.py --model mini

Prints a line per run as it ends (knee, shift, retain, coherence, outcomes of gates 1 and 3), then how far the knees lie
apart and how many runs agree with the most frequent outcome of each gate. Runs that are finished under --out are found
again, and stages with equal settings are taken from each other. The bars: knees within a factor of 1.3, nine of ten
verdicts the same.
"""

from __future__ import annotations

import argparse
import dataclasses
from collections import Counter
from pathlib import Path

import polars as pl

import ws
from ws.experiment.workers import workers_for
from ws.gating.arm_table import HEALED, STEER
from ws.intervals import interval_of
from ws.runs.reader import Run
from ws.runs.recipes import recipe_for


def outcomes(run: Run) -> dict[int, str]:
    """Number of a gate -> its outcome."""
    return {gate.gate: gate.outcome for gate in run.gates(run.best)}


def knee_of(run: Run) -> float:
    """The coefficient that the report was judged at."""
    return float(run.arms().filter(pl.col("arm") == STEER, pl.col("chosen"))["c"][0])


def line(seed: int, run: Run) -> str:
    """A run in a row of a table."""
    row = run.arms().filter(pl.col("arm") == HEALED).row(0, named=True)
    told = [interval_of(row, name) for name in ("d_target", "retain", "coherence")]
    gates = outcomes(run)
    return " | ".join([str(seed), f"{knee_of(run):.3g}", *told, gates[1], gates[3]])


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--model", default="mini")
    options.add_argument("--seeds", type=int, nargs="+", default=list(range(10)))
    options.add_argument("--out", type=Path, default=Path("out/seeds"))
    args = options.parse_args()
    recipe = recipe_for(args.model)
    print("seed | knee | healed | retain | coherence | gate 1 | gate 3")
    runs = []
    for seed in args.seeds:
        config = dataclasses.replace(recipe, seeds=(seed,))
        runs.append(ws.run(config, out=args.out, workers=workers_for(config)))
        print(line(seed, runs[-1]), flush=True)
    knees = [knee_of(run) for run in runs]
    print(f"knees within a factor of {max(knees) / min(knees):.2f}")
    for gate in (1, 3):
        (most, count), *_ = Counter(outcomes(run)[gate] for run in runs).most_common()
        print(f"gate {gate}: {most} in {count} of {len(runs)}")


if __name__ == "__main__":
    main()
