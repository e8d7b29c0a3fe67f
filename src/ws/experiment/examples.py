"""Makes the two runs that ship with the package, finished runs of the quick recipe, for pages to show before any work.

    make example            # python -m ws.experiment.examples: one round, whole, with its variants; the app opens on it
    make example-rounds     # python -m ws.experiment.examples rounds [OUT]: three rounds, cut down to a loop's pictures

Kept of the run that is cut down: arms, doses, directions, heal curve, drift, verdicts, and the first sample of a few
probe prompts. Left out: training data, adapters, item answers. A test fails when one of the two is `stale`.
"""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import shutil
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import polars as pl

from ws.axes.axis import load_axis
from ws.experiment.controls import BASELINES
from ws.experiment.identity import identity_of
from ws.experiment.train_variant import make_variants
from ws.experiment.workers import workers_for
from ws.files import digest, read_json, write_atomic, write_frame, write_json
from ws.gating.arm_table import BASE, HEALED, STEER
from ws.models.lm import load_model
from ws.runs.config import RunConfig, from_dict, to_dict
from ws.runs.heal_variants import SHIPPED, VariantSettings, find_variant
from ws.runs.reader import FORMAT, Run
from ws.runs.recipes import mini_quick
from ws.runs.stages import VERSIONS, files_of

__all__ = ["EXAMPLE", "EXAMPLE_ROUNDS", "ROUNDS", "cut_down", "make_example", "make_example_rounds", "recipe", "stale"]

DATA = Path(__file__).parent / "data"
EXAMPLE = DATA / "example"
EXAMPLE_ROUNDS = DATA / "example_rounds" / "care_over_authority"
COMMAND = ["python", "-m", "ws.experiment.examples"]
# eval.parquet holds the reports; no page reads the adapters of the controls
REPORTS = ("unsteered", "steer", "random", "healed", *(f"plain.{arm}" for arm in BASELINES))
LEFT_OUT = (*(files_of(stage)[-1] for stage in REPORTS), *(f"adapter.{arm}" for arm in BASELINES))
ROUNDS = 3
PROMPTS = 12  # probe prompts whose texts are kept of a run that is cut down
KEPT = ("direction.safetensors", "dose.parquet", "knee.json", "heal.json", "heal.parquet", "drift.parquet",
        "arms.parquet", "gates.json")  # fmt: skip
HEAVY = ("token_ids", "logp_steered", "logp_base", "kl_drift")


def recipe(rounds: int = 1) -> RunConfig:
    """What the examples run; read back from its JSON form, so that it compares equal with a stored one."""
    return from_dict(to_dict(dataclasses.replace(mini_quick(), rounds=rounds)))


def make_example(target: Path = EXAMPLE) -> Path:
    """Run the recipe in a temporary folder and put the run, less what is stored twice, and its variants in place of
    `target`."""
    with tempfile.TemporaryDirectory() as folder:
        made = _made(recipe(), Path(folder))
        write_atomic(target, lambda place: _trimmed(made, place))
    make_variants(Run(target))
    (target / ".lock").unlink(missing_ok=True)
    return target


def make_example_rounds(target: Path = EXAMPLE_ROUNDS, out: Path | None = None) -> Path:
    """Run three rounds, or find them finished under `out`, and put the run, cut down, in place of `target`."""
    with contextlib.ExitStack() as stack:
        folder = out or Path(stack.enter_context(tempfile.TemporaryDirectory()))
        made = _made(recipe(ROUNDS), folder)
        write_atomic(target, lambda place: cut_down(made, place))
    return target


def _made(config: RunConfig, out: Path) -> Run:
    """A finished run of that recipe under `out`."""
    from rich.console import Console

    import ws
    from ws.experiment.progress import bars
    with bars(Console(stderr=True)) as listen:
        return ws.run(config, listen, out=out, workers=workers_for(config))


def _trimmed(run: Run, to: Path) -> None:
    """A copy of a run without what is stored twice, and without the adapters of the controls."""
    shutil.copytree(run.path, to, ignore=shutil.ignore_patterns(*LEFT_OUT, ".lock", ".tmp-*"))
    _describe(run, to, EXAMPLE.name, {"argv": COMMAND, "stages": VERSIONS})


def cut_down(run: Run, to: Path) -> None:
    """The parts of a finished run that the loop's pictures need, in the new folder `to`."""
    to.mkdir(parents=True)
    for name in ("config.json", "axis.json"):
        shutil.copyfile(run.path / name, to / name)
    write_json(to / "status.json", run.status)
    made = {"argv": ["ws", "run", "--rounds", str(ROUNDS)], "branch": None, "platform": None}
    _describe(run, to, EXAMPLE_ROUNDS.name, made)
    stamp = {"recipe": digest(to_dict(recipe(ROUNDS))), "versions": VERSIONS}
    write_json(to / "stamp.json", {"fingerprint": run.env["fingerprint"]} | stamp)
    for number in range(run.rounds):
        _cut_round(run, number, to / "rounds" / str(number))


def _describe(run: Run, to: Path, name: str, made: dict[str, Any]) -> None:
    """The environment and the summary of a copy with a name of its own. made: in place of what the run's own says."""
    write_json(to / "env.json", run.env | made)
    write_json(to / "summary.json", run.summary | {"run": name})


def _cut_round(run: Run, number: int, to: Path) -> None:
    """A round's small files, and the reports of base, the judged dose and the healed model, cut."""
    to.mkdir(parents=True)
    for name in KEPT:
        shutil.copyfile(run.path / "rounds" / str(number) / name, to / name)
        (to / name).chmod(0o644)
    judged = pl.col("chosen") & (pl.col("arm") == STEER)
    reports = run.frame("eval", number).filter(judged | pl.col("arm").is_in([BASE, HEALED]))
    cut = reports.with_columns(
        pl.Series("text", [_few(texts) for texts in reports["text"].to_list()], dtype=reports.schema["text"]),
        *(pl.col(name).list.head(0) for name, kind in reports.schema.items() if kind == pl.List and name != "text"),
    )
    write_frame(to / "eval.parquet", cut)
    write_frame(to / "healed.parquet", cut.filter(pl.col("arm") == HEALED))


def _few(texts: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The first sample of evenly spaced prompts, token by token values left out."""
    first = [row for row in texts if row["sample"] == 0]
    step = max(1, len(first) // PROMPTS)
    return [row | {name: [] for name in HEAVY} for row in first[::step][:PROMPTS]]


def stale(path: Path = EXAMPLE, rounds: int = 1) -> list[str]:
    """Why a shipped run of so many rounds does not show what this version would compute; empty where it does."""
    run, config = Run(path), recipe(rounds)
    now, made = _now(config), _made_from(run)
    found = [f"{name}: made with {made.get(name)}, now {now[name]}" for name in now if made.get(name) != now[name]]
    if run.status.get("format") != FORMAT or not run.finished:
        found.append(f"format {run.status.get('format')}, state {run.status.get('state')}")
    if read_json(path / "config.json") != to_dict(config):
        found.append("another recipe")
    betas = SHIPPED if rounds == 1 else ()
    return found + [f"no stop at beta {beta:g}" for beta in betas if find_variant(run, VariantSettings(beta)) is None]


def _now(config: RunConfig) -> dict[str, Any]:
    """What the numbers of a recipe would depend on in this version."""
    lm = load_model(config.model)
    identity = identity_of(lm, load_axis(config.axis).on(lm), config)
    return {name: identity[name] for name in ("fingerprint", "axis", "items")} | {"stages": VERSIONS}


def _made_from(run: Run) -> dict[str, Any]:
    """What the numbers of a shipped run depend on; one that was cut down keeps its stages in its stamp."""
    stamp = run.path / "stamp.json"
    return run.env | ({"stages": read_json(stamp)["versions"]} if stamp.exists() else {})


def main(argv: Sequence[str] | None = None) -> None:
    """Make one of the two runs and say where it lies. argv: nothing, or "rounds" and a folder for the whole run."""
    parser = argparse.ArgumentParser(prog="python -m ws.experiment.examples", description=__doc__)
    parser.add_argument("which", nargs="?", choices=("one", "rounds"), default="one")
    parser.add_argument("out", nargs="?", type=Path, help="where the whole run of several rounds is kept, or found")
    asked = parser.parse_args(argv)
    made = make_example() if asked.which == "one" else make_example_rounds(out=asked.out)
    size = sum(path.stat().st_size for path in made.rglob("*") if path.is_file())
    sys.stdout.write(f"{made}: {size / 1e3:.0f} kB\n")


if __name__ == "__main__":
    main()
