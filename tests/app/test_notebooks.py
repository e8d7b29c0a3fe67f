"""Notebooks as scripts: every cell runs on what is there, nothing is empty, and hostile text stays text."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from tests.builders.hostile import poison
from ws.app.views.run_picker import chosen_run, first_run, run_choices
from ws.errors import UserError
from ws.experiment.examples import EXAMPLE_ROUNDS, LOOPS, ROUNDS, betas_of, shipped
from ws.runs.reader import Run
from ws.runs.sweeps import write_sweep

ROOT = Path(__file__).parents[2]


def notebook(name: str) -> ModuleType:
    """The notebook's module, fresh."""
    spec = importlib.util.spec_from_file_location(f"nbs_{name}", ROOT / "nbs" / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def shown(outputs: Any) -> str:
    """The HTML of every cell's output."""
    return "\n".join(o.text for o in outputs if hasattr(o, "text"))


@pytest.fixture
def hostile_out(tmp_path: Path) -> Path:
    """A folder of runs whose only run is an attack, by its name too."""
    poison(EXAMPLE_ROUNDS, tmp_path / "out" / "runs" / "20260101T000000Z-<img src=x onerror=alert(1)>")
    return tmp_path / "out"


def test_loop_shows_the_example_where_there_is_no_run(tmp_path: Path) -> None:
    outputs, defs = notebook("loop").app.run(defs={"out": tmp_path})
    model, face = next(iter(shipped(LOOPS).items()))
    assert defs["run"].path == face
    assert defs["steps"].height == 2 * ROUNDS[model] + 1
    assert "Gate 4 loop" in shown(outputs)
    assert len([o for o in outputs if type(o).__module__.startswith("altair")]) == 3


def test_loop_shows_the_run_that_was_asked_for(hostile_out: Path, tmp_path: Path) -> None:
    asked = next((hostile_out / "runs").iterdir())
    _, defs = notebook("loop").app.run(defs={"out": tmp_path / "nothing", "asked": str(asked)})
    assert defs["run"].path == asked


def test_compare_shows_the_example_where_there_is_no_run(tmp_path: Path) -> None:
    outputs, defs = notebook("compare").app.run(defs={"out": tmp_path})
    assert defs["arms"].height == 6 * ROUNDS["mini"] + len(betas_of("mini")) - 1, (
        "steered, healed, and trained without barrier, filter, both and on base's text; and the other example's betas"
    )
    assert "not ranked" in shown(outputs)
    assert "shipped example" in shown(outputs)


@pytest.mark.parametrize("name", ["loop", "compare"])
def test_hostile_runs_stay_text(name: str, hostile_out: Path) -> None:
    outputs, _ = notebook(name).app.run(defs={"out": hostile_out})
    html = shown(outputs)
    assert "[axis name]" in html or "[sample]" in html
    for markup in ("<script>", "<iframe", "<img", "<marimo-table data-data='[]'", '<marimo-table data-data="[]"'):
        assert markup not in html, markup


def test_a_folder_that_was_not_offered_is_refused(tmp_path: Path) -> None:
    choices, _ = run_choices(tmp_path)
    with pytest.raises(UserError, match="none of the runs offered"):
        chosen_run(str(tmp_path / ".." / "secret"), choices)
    assert chosen_run(str(EXAMPLE_ROUNDS), choices) == Run(EXAMPLE_ROUNDS)


@pytest.mark.parametrize("name", ["../../secret", "..", "/etc", "\x00", "runs/one", "<script>"])
def test_a_run_of_a_link_is_one_of_the_offered(tmp_path: Path, name: str) -> None:
    for run in ("one", "two"):
        poison(EXAMPLE_ROUNDS, tmp_path / "out/runs" / run)
    poison(EXAMPLE_ROUNDS, tmp_path / "secret")
    choices, _ = run_choices(tmp_path / "out")
    label, said = first_run(choices, {"run": name})
    assert choices[label].endswith("two") and len(said) == 1
    label, said = first_run(choices, {"run": "one"})
    assert choices[label].endswith("one") and said == []


def test_labels_cannot_hide_one_run_behind_another(tmp_path: Path) -> None:
    poison(EXAMPLE_ROUNDS, tmp_path / "out/runs/one")
    poison(EXAMPLE_ROUNDS, tmp_path / "out/runs/two")
    choices, _ = run_choices(tmp_path / "out")
    assert len(choices) == 3
    assert next(iter(choices.values())).endswith("two")  # the newest name first, the example last


def test_a_notebook_runs_as_a_script(tmp_path: Path) -> None:
    env = os.environ | {"PYTHONPATH": str(ROOT / "src")}
    command = [sys.executable, str(ROOT / "nbs" / "loop.py")]
    done = subprocess.run(command, cwd=tmp_path, env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_compare_shows_a_sweep_beside_the_arms(tmp_path: Path) -> None:
    """How far each arm is; a name that is markup stays text."""
    arms = [{"name": "<img src=x>", "varied": {}, "config": {"seeds": [0]}, "state": state, "run": None, "said": said}
            for state, said in (("waiting", None), ("failed", "no coherent dose"))]  # fmt: skip
    write_sweep(tmp_path / "sweeps" / "betas-1", {"arms": arms})
    outputs, _ = notebook("compare").app.run(defs={"out": tmp_path})
    html = shown(outputs)
    assert "written to last" in html and "no coherent dose" in html
    assert "<img src=x>" not in html
