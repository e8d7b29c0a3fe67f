"""What it costs `ws show` that a run's files are compared with its record, and how much memory it takes.

    python bench/show.py                  # the shipped run, and one of 3 rounds x 8 doses x 2000 completions
    python bench/show.py --run FOLDER     # another

Each is shown in a process of its own, several times: seconds of the processor, the share of them that went into
comparing checksums, and the peak of resident memory, beside what the process has once everything is imported. The large
run is the shipped one, its rounds repeated and its completions drawn again with other numbers, in a temporary folder.
"""

from __future__ import annotations

import argparse
import json
import shutil
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from ws.experiment.examples import EXAMPLE
from ws.runs.whole import read_status, record_again, write_status

SHOW = """
import contextlib, io, json, resource, sys, time
from ws.app.cli import main
from ws.runs import reader
import ws.app.commands, ws.runs.round_tables, ws.steering.direction, ws.models.adapters.adapter
spent, real = [0.0], reader.check_whole
def timed(*given):
    began = time.process_time()
    try:
        return real(*given)
    finally:
        spent[0] += time.process_time() - began
reader.check_whole = timed
peak = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
before, began = peak(), time.process_time()
with contextlib.redirect_stdout(io.StringIO()):
    assert main(["show", sys.argv[1]]) == 0
shown = time.process_time() - began
print(json.dumps({"all": time.process_time(), "show": shown, "check": spent[0], "before": before, "peak": peak()}))
"""


def large(folder: Path, rounds: int, doses: int, rows: int) -> Path:
    """The shipped run with so many rounds, and completions per round and dose."""
    shutil.copytree(EXAMPLE, folder)
    shutil.rmtree(folder / "rounds/0/stops")
    _write_completions(folder / "rounds/0/completions.parquet", doses, rows)
    status = read_status(folder)
    for number in range(1, rounds):
        shutil.copytree(folder / "rounds/0", folder / "rounds" / str(number))
        status["stages"] |= {f"{number}/{name.split('/')[1]}": dict(stage)
                             for name, stage in status["stages"].items() if name.startswith("0/")}  # fmt: skip
    write_status(folder, status | {"records": {}})
    record_again(folder)
    return folder


def _write_completions(file: Path, doses: int, rows: int) -> None:
    """Rows of the stored ones at random, their numbers changed a little, so that they do not shrink to nothing."""
    rng, stored = np.random.default_rng(0), pl.read_parquet(file)
    drawn = stored[rng.integers(0, stored.height, doses * rows)]
    noise = pl.Series(rng.normal(1, 1e-3, drawn.height))
    floats = [name for name, kind in drawn.schema.items() if kind.is_float()]
    lists = [name for name, kind in drawn.schema.items() if kind == pl.List and kind.inner.is_float()]
    drawn.with_columns(
        *(pl.col(name) * noise for name in floats if name != "c"),
        *((pl.col(name) * noise).cast(stored.schema[name]) for name in lists),
        c=pl.Series(np.repeat(np.linspace(0.25, 2, doses), rows)),
        sample=pl.Series(np.tile(np.arange(rows), doses)).cast(stored.schema["sample"]),
    ).write_parquet(file)


def measured(run: Path, times: int) -> dict[str, Any]:
    """The median of so many processes."""
    found = []
    for _ in range(times):
        done = subprocess.run([sys.executable, "-c", SHOW, str(run)], capture_output=True, text=True, check=True)
        found.append(json.loads(done.stdout.splitlines()[-1]))
    return {name: statistics.median(row[name] for row in found) for name in found[0]}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--run", type=Path, action="append")
    parser.add_argument("--times", type=int, default=3)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--doses", type=int, default=8)
    parser.add_argument("--rows", type=int, default=2000)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        runs = asked.run or [EXAMPLE, large(Path(folder) / "large", asked.rounds, asked.doses, asked.rows)]
        for run in runs:
            size = sum(path.stat().st_size for path in run.rglob("*") if path.is_file()) / 2**20
            m = measured(run, asked.times)
            sys.stdout.write(
                f"{run.name}, {size:.0f} MiB: ws show {m['all']:.2f} s of the processor, {m['show']:.2f} after imports;"
                f" comparing {1e3 * m['check']:.0f} ms, {m['check'] / m['all']:.1%} ({m['check'] / m['show']:.1%} after"
                f" imports); peak {m['peak']:.0f} MiB, {m['before']:.0f} before reading\n"
            )


if __name__ == "__main__":
    main()
