"""The shipped run of several rounds: made by one command, cut down to what the pictures of a loop need.

    make example-rounds         # about 10 minutes on two cores; the same recipe as `ws run --rounds 3`

Kept of every round: arms, doses, directions, heal curve, drift, verdicts, and the first sample of a few probe prompts.
Left out: training data, adapters, item answers. `stamp.json` says what it was made from; a test compares.
"""

from __future__ import annotations

import dataclasses
import shutil
import tempfile
from pathlib import Path
from typing import Any

import polars as pl

from ws.config import RunConfig, mini_quick, to_dict
from ws.runs import Run
from ws.storing import digest, read_json, write_frame, write_json

__all__ = ["EXAMPLE", "build", "cut_down", "recipe", "stamp"]

EXAMPLE = Path(__file__).parent / "data" / "example_rounds" / "care_over_authority"
ROUNDS = 3
PROMPTS = 12  # probe prompts whose texts are kept
WHOLE = ("config.json", "axis.json")
FILES = ("direction.safetensors", "dose.parquet", "knee.json", "heal.json", "heal.parquet", "drift.parquet",
         "arms.parquet", "gates.json")  # fmt: skip
HEAVY = ("token_ids", "logp_steered", "logp_base", "kl_drift")


def recipe() -> RunConfig:
    """The quick recipe, three rounds."""
    return dataclasses.replace(mini_quick(), rounds=ROUNDS)


def stamp(fingerprint: str) -> dict[str, Any]:
    """What the example depends on; another stamp means that it is stale."""
    from ws.rounds import VERSIONS

    return {"fingerprint": fingerprint, "recipe": digest(to_dict(recipe())), "versions": dict(VERSIONS)}


def cut_down(run: Run, to: Path) -> None:
    """Write the parts of a finished run that the loop's pictures need under `to`, in place of what is there."""
    if to.exists():
        shutil.rmtree(to)
    to.mkdir(parents=True)
    for name in WHOLE:
        shutil.copyfile(run.path / name, to / name)
    made = {"argv": ["ws", "run", "--rounds", str(ROUNDS)], "branch": None, "platform": None}
    write_json(to / "env.json", run.env | made)
    write_json(to / "status.json", run.status)
    write_json(to / "summary.json", run.summary | {"run": to.name})
    write_json(to / "stamp.json", stamp(str(run.env["fingerprint"])))
    for number in range(run.rounds):
        source, target = (base / "rounds" / str(number) for base in (run.path, to))
        target.mkdir(parents=True)
        for name in FILES:
            shutil.copyfile(source / name, target / name)
            (target / name).chmod(0o644)
        _cut_reports(run, number, target)


def _cut_reports(run: Run, number: int, target: Path) -> None:
    """The reports of base, the judged dose and the healed model, with a few texts and without their items."""
    judged = pl.col("chosen") & (pl.col("arm") == "steer")
    reports = run.frame("eval", number).filter(judged | pl.col("arm").is_in(["base", "healed"]))
    cut = reports.with_columns(
        pl.Series("text", [_few(texts) for texts in reports["text"].to_list()], dtype=reports.schema["text"]),
        *(pl.col(name).list.head(0) for name in ("per_row", "exam", "dilemmas")),
    )
    write_frame(target / "eval.parquet", cut)
    write_frame(target / "healed.parquet", cut.filter(pl.col("arm") == "healed"))


def _few(texts: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The first sample of evenly spaced prompts, token by token values left out."""
    first = [row for row in texts if row["sample"] == 0]
    step = max(1, len(first) // PROMPTS)
    return [row | {name: [] for name in HEAVY} for row in first[::step][:PROMPTS]]


def build(to: Path = EXAMPLE, out: Path | None = None) -> None:
    """Run the recipe (or find it finished under `out`) and cut it down."""
    from ws.loop import run

    with tempfile.TemporaryDirectory() as folder:
        cut_down(run(recipe(), out=out or Path(folder)), to)


def is_stale(fingerprint: str, path: Path = EXAMPLE) -> bool:
    """Whether the shipped example was made from other weights, another recipe or other stages."""
    return bool(read_json(path / "stamp.json") != stamp(fingerprint))


if __name__ == "__main__":
    import sys

    build(out=Path(sys.argv[1]) if len(sys.argv) > 1 else None)
    print(f"{EXAMPLE}: {sum(p.stat().st_size for p in EXAMPLE.rglob('*') if p.is_file()) / 1e3:.0f} kB")
