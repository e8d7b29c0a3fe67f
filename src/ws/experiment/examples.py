"""Makes the runs that ship with the package, finished runs of a model's own recipe, for pages to show before any work.

    make example            # python -m ws.experiment.examples: one round, whole, with its variants; the app opens on it
    make example-rounds     # python -m ws.experiment.examples rounds [--out OUT]: three rounds, cut down to a loop's
                            # pictures; --model NAME for another than the embedded model

Kept of the run that is cut down: arms, doses, directions, heal curve, drift, verdicts, and the first sample of a few
probe prompts. Left out: training data, adapters, item answers. A test fails when one of them is `stale`.
"""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import shutil
import sys
import tempfile
from collections.abc import Mapping, Sequence
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
from ws.generation.completions import PER_TOKEN
from ws.models.lm import load_model
from ws.models.recipe import recipe_of
from ws.runs.config import RunConfig, from_dict, to_dict
from ws.runs.heal_variants import SHIPPED, VariantSettings, find_variant
from ws.runs.reader import FORMAT, Run
from ws.runs.recipes import recipe_for
from ws.runs.stages import VERSIONS, files_of
from ws.runs.whole import record_again, write_status

__all__ = [
    "EXAMPLE", "EXAMPLES", "EXAMPLE_ROUNDS", "LOOPS", "ROUNDS", "cut_down", "example_of", "make_example",
    "make_example_rounds", "recipe", "shipped", "stale",
]  # fmt: skip

DATA = Path(__file__).parent / "data"
EXAMPLES = {"smollm2": DATA / "example_smollm2", "mini": DATA / "example"}
"""Model -> its run of one round; the first that is there is what the app opens on."""
LOOPS = {
    "smollm2": DATA / "example_rounds" / "smollm2",
    "mini": DATA / "example_rounds" / "care_over_authority",
}
"""Model -> its run of several rounds."""
EXAMPLE, EXAMPLE_ROUNDS = EXAMPLES["mini"], LOOPS["mini"]
COMMAND = ["python", "-m", "ws.experiment.examples"]
# eval.parquet holds the reports; no page reads the adapters of the controls
REPORTS = ("unsteered", "steer", "random", "healed", *(f"plain.{arm}" for arm in BASELINES))
LEFT_OUT = (*(files_of(stage)[-1] for stage in REPORTS), *(f"adapter.{arm}" for arm in BASELINES))
FEW = (0.1, 1.0)  # the first keeps the trait, the second undoes it
ROUNDS = {"mini": 3, "smollm2": 2}  # of a model's run of several rounds
BARE = ("sft", "sft_base", "unfiltered")
"""Trainings that the rounds of a model that is not instant are without; its example of one round has them."""
PROMPTS = 12  # probe prompts whose texts are kept of a run that is cut down
KEPT = ("direction.safetensors", "dose.parquet", "knee.json", "heal.json", "heal.parquet", "drift.parquet",
        "arms.parquet", "gates.json")  # fmt: skip


def shipped(of: Mapping[str, Path] = EXAMPLES) -> dict[str, Path]:
    """Model -> folder of the examples that are there, the app's face first."""
    return {model: path for model, path in of.items() if (path / "config.json").is_file()}


def example_of(path: Path) -> Path | None:
    """The shipped example that a folder is, or is a viewer's copy of; None for any other run."""
    names = sorted(EXAMPLES.values(), key=lambda example: -len(example.name))
    return next((example for example in names if path.name == example.name or _copied(path, example)), None)


def _copied(path: Path, example: Path) -> bool:
    return path.name.startswith(f"{example.name}-")


def recipe(rounds: int = 1, model: str = "mini") -> RunConfig:
    """What the examples run; read back from its JSON form, so that it compares equal with a stored one. Rounds of a
    model that is not instant are without the controls of a heal, which its example of one round has."""
    config = dataclasses.replace(recipe_for(model), rounds=rounds)
    if rounds > 1 and not recipe_of(model).instant:
        controls = dataclasses.replace(config.controls, **dict.fromkeys(BARE, False))
        config = dataclasses.replace(config, controls=controls)
    return from_dict(to_dict(config))


def betas_of(model: str) -> tuple[float, ...]:
    """Stops of beta that a model's example holds; each costs a training, and a small model's ten seconds."""
    return SHIPPED if recipe_of(model).instant else FEW


def make_example(model: str = "mini", target: Path | None = None, out: Path | None = None) -> Path:
    """Run the recipe in a temporary folder, or find it finished under `out`, and put the run, less what is stored
    twice, and its variants in place of `target`, the model's own by default. Adapters beside the headline's are kept of
    small models only."""
    target = target or EXAMPLES[model]
    with contextlib.ExitStack() as stack:
        folder = out or Path(stack.enter_context(tempfile.TemporaryDirectory()))
        made = _made(recipe(model=model), folder)
        write_atomic(target, lambda place: _trimmed(made, place))
    make_variants(Run(target), betas_of(model))
    for stored in (target / "rounds").rglob("stops/*/adapter") if not recipe_of(model).instant else ():
        shutil.rmtree(stored)
    record_again(target)
    (target / ".lock").unlink(missing_ok=True)
    return target


def make_example_rounds(model: str = "mini", target: Path | None = None, out: Path | None = None) -> Path:
    """Run its rounds, or find them finished under `out`, and put the run, cut down, in place of `target`."""
    target = target or LOOPS[model]
    with contextlib.ExitStack() as stack:
        folder = out or Path(stack.enter_context(tempfile.TemporaryDirectory()))
        made = _made(recipe(ROUNDS[model], model), folder)
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
    argv = [*COMMAND, *_model_words(run.config.model)]
    _describe(run, to, EXAMPLES[run.config.model].name, {"argv": argv, "stages": VERSIONS})
    record_again(to)


def _model_words(model: str) -> list[str]:
    """What a command line says of a model; nothing of the one that it takes by itself."""
    return [] if model == RunConfig().model else ["--model", model]


def cut_down(run: Run, to: Path) -> None:
    """The parts of a finished run that the loop's pictures need, in the new folder `to`."""
    to.mkdir(parents=True)
    for name in ("config.json", "axis.json"):
        shutil.copyfile(run.path / name, to / name)
    write_status(to, run.status)
    argv = ["ws", "run", *_model_words(run.config.model), "--rounds", str(run.config.rounds)]
    argv += [] if recipe_of(run.config.model).instant else [f"--controls.no-{name.replace('_', '-')}" for name in BARE]
    _describe(run, to, LOOPS.get(run.config.model, to).name, {"argv": argv, "branch": None, "platform": None})
    stamp = {"recipe": digest(to_dict(recipe(run.config.rounds, run.config.model))), "versions": VERSIONS}
    write_json(to / "stamp.json", {"fingerprint": run.env["fingerprint"]} | stamp)
    for number in range(run.rounds):
        _cut_round(run, number, to / "rounds" / str(number))
    record_again(to)


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
    return [row | {name: [] for name in PER_TOKEN} for row in first[::step][:PROMPTS]]


def stale(path: Path = EXAMPLE, rounds: int = 1) -> list[str]:
    """Why a shipped run of so many rounds does not show what this version would compute; empty where it does."""
    run = Run(path)
    config = recipe(rounds, run.config.model)
    now, made = _now(config), _made_from(run)
    found = [f"{name}: made with {made.get(name)}, now {now[name]}" for name in now if made.get(name) != now[name]]
    if run.status.get("format") != FORMAT or not run.finished:
        found.append(f"format {run.status.get('format')}, state {run.status.get('state')}")
    if read_json(path / "config.json") != to_dict(config):
        found.append("another recipe")
    betas = betas_of(config.model) if rounds == 1 else ()
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
    parser.add_argument("--out", type=Path, help="where the whole run is kept, or found")
    parser.add_argument("--model", choices=tuple(EXAMPLES), default="mini")
    asked = parser.parse_args(argv)
    make = make_example if asked.which == "one" else make_example_rounds
    made = make(asked.model, out=asked.out)
    size = sum(path.stat().st_size for path in made.rglob("*") if path.is_file())
    sys.stdout.write(f"{made}: {size / 1e3:.0f} kB\n")


if __name__ == "__main__":
    main()
