"""Before any hour of work: everything that can be known of a run before it begins, each finding a line.

    findings = preflight(config, "out")     # loads the model, writes nothing
    refuse(findings)                        # UserError with all that is refused; `ws.run` begins with both

`ws run --check` prints the findings alone. What needs no model is looked at before one is loaded, without torch
(`before_loading`); what only the model knows is in `ws.experiment.preflight_model`.
"""

from __future__ import annotations

import importlib.metadata
from pathlib import Path
from typing import TYPE_CHECKING

from packaging.requirements import Requirement

from ws.errors import UserError
from ws.experiment.findings import DISK, FOLDER, TABLES, Finding, check_disk, looked, refuse
from ws.experiment.inputs import axis_of, check_enough, items_of
from ws.models.recipe import ModelRecipe, check_path, is_path, missing_weights, recipe_of
from ws.runs.config import RunConfig, check_runnable

if TYPE_CHECKING:
    from ws.axes.axis import Axis

__all__ = ["before_loading", "preflight", "refuse"]

SHOWN = ("torch", "transformers", "peft", "polars")


def preflight(config: RunConfig, out: str | Path = "out", workers: int = 1) -> list[Finding]:
    """Every finding on a run of this configuration. Loads the model where nothing is refused before; writes nothing
    under `out`."""
    findings = before_loading(config, Path(out))
    if any(found.state == "refused" for found in findings):
        return findings
    from ws.experiment.identity import load_configured  # only now: it brings torch
    from ws.experiment.preflight_model import with_model

    found = looked("model", lambda: _loaded(config))
    if found.state == "refused":
        return [*findings, found]
    lm = load_configured(config)
    return [*findings, found, *with_model(lm, axis_of(config).on(lm), config, Path(out), workers)]


def _loaded(config: RunConfig) -> str:
    from ws.experiment.identity import load_configured

    lm = load_configured(config)
    return f"{lm.name}: {lm.n_layers} blocks, {str(lm.dtype).removeprefix('torch.')} on {lm.device}"


def before_loading(
    config: RunConfig, out: Path, recipe: ModelRecipe | None = None, model: str | None = None
) -> list[Finding]:
    """What can be known without a model. recipe, model: of a model that is loaded already."""
    own = recipe or recipe_of(config.model)
    axes: list[Axis] = []
    findings = [
        looked("settings", lambda: _settings(config)),
        looked("axis", lambda: _axis(config, own, model or config.model, axes)),
        looked("items", lambda: f"{(items := items_of(config, own)).name}: {len(items.items)} items"),
        looked(FOLDER, lambda: _folder(out)),
        looked(DISK, lambda: check_disk(out, TABLES * config.rounds)),
        looked("packages", _packages),
    ]
    if axes:
        findings.append(looked("rows", lambda: _rows(config, axes[0])))
    if recipe is None:
        findings.append(looked("weights", lambda: _weights(config)))
    return findings


def _settings(config: RunConfig) -> str:
    check_runnable(config)
    return f"method {config.method}, doses {', '.join(f'{c:g}' for c in config.dose.grid)}, seeds {config.seeds}"


def _axis(config: RunConfig, recipe: ModelRecipe, model: str, found: list[Axis]) -> str:
    axis = axis_of(config, recipe, model)
    found.append(axis)
    counts = ", ".join(f"{len(texts)} {name}" for name, texts in axis.prompts().items())
    return f"{axis.name}: {len(axis.positive)} pairs of personas, {counts}, {len(axis.questions)} questions"


def _rows(config: RunConfig, axis: Axis) -> str:
    return f"{check_enough(config, axis)} completions will be written, a heal needs {config.heal.min_rows} of them"


def _folder(out: Path) -> str:
    from ws.files import check_writable  # only now: it brings polars

    for place in (out, out / "runs"):
        check_writable(place)
    return f"{out} can be written"


def _weights(config: RunConfig) -> str:
    """Whether a packaged model is installed, and a path there; whether a hub id is shows when it is loaded."""
    if missing := missing_weights(config.model):
        raise UserError(f"{recipe_of(config.model).title}'s weights are missing. {missing}")
    if not is_path(config.model):
        return f"{config.model}, by name"
    check_path(config.model)
    return f"{config.model} is there"


def _packages() -> str:
    """Installed versions against those that ws asks for, where it is installed as a package."""
    try:
        needed = [Requirement(line) for line in importlib.metadata.requires("ws") or ()]
    except importlib.metadata.PackageNotFoundError:
        needed = []
    bare = [need for need in needed if need.marker is None or need.marker.evaluate({"extra": ""})]
    bad = [told for need in bare if (told := _unmet(need))]
    if bad:
        raise UserError(f"{', '.join(bad)}. pip install -r requirements.txt brings the versions ws is tested with.")
    return ", ".join(f"{name} {importlib.metadata.version(name)}" for name in SHOWN)


def _unmet(need: Requirement) -> str:
    """What is wrong with an installed package; "" where it is as asked for."""
    try:
        found = importlib.metadata.version(need.name)
    except importlib.metadata.PackageNotFoundError:
        return f"{need.name} is not installed"
    return "" if need.specifier.contains(found, prereleases=True) else f"{need.name} {found} is not {need.specifier}"
