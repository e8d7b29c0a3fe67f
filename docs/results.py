"""Writes docs/results.md: what stored runs say to each question of the project.

    make results                          # from the runs that ship with the package
    make results ARGS="--out out more"    # and from the finished runs of these folders
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from ws.errors import UserError
from ws.experiment.examples import LOOPS, shipped
from ws.reporting.questions.page import write_results
from ws.runs.reader import Run, finished_runs

HERE = Path(__file__).parent


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, nargs="+", default=[], help="folders whose finished runs are read, too")
    parser.add_argument("--to", type=Path, default=HERE / "results.md", help="the page that is written")
    asked = parser.parse_args()
    runs = [Run(path) for path in (*shipped().values(), *shipped(LOOPS).values())]
    try:
        for out in asked.out:
            if not (out / "runs").is_dir():
                raise UserError(f"{out} holds no runs. Name a folder that `ws run` or `ws sweep` wrote to.")
            found, skipped = finished_runs(out)
            runs += found
            print("\n".join(skipped), file=sys.stderr, end="\n" if skipped else "")
        print(write_results(runs, asked.to))
    except UserError as error:
        print(f"results: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
