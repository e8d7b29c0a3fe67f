"""The house: pins that anybody can install, commands that set up once, public names, code that stays readable."""

from __future__ import annotations

import ast
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

import ws

ROOT = Path(__file__).parent.parent
SOURCES = sorted((ROOT / "src").rglob("*.py"))


def test_pins_are_exact_and_portable() -> None:
    lines = [x for x in (ROOT / "requirements.txt").read_text().splitlines() if x and not x.startswith("#")]
    odd = [x for x in lines if not re.fullmatch(r"[A-Za-z0-9._-]+==[0-9][A-Za-z0-9.]*", x)]
    assert not odd, f"not a plain exact pin (a local build, a path, an address?): {odd}"
    assert "torch==2.13.0" in lines


def test_every_dependency_is_pinned() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    needed = project["dependencies"] + project["optional-dependencies"]["dev"]
    names = {re.split(r"[<>=\[ ]", x)[0].lower().replace("_", "-") for x in needed}
    pinned = {x.split("==")[0].lower().replace("_", "-") for x in (ROOT / "requirements.txt").read_text().splitlines()}
    assert names <= pinned


def test_public_names_resolve_and_import_is_light() -> None:
    for name in ws.__all__:
        assert getattr(ws, name) is not None, name
    with pytest.raises(AttributeError, match="load_model"):
        _ = ws.nonsense
    code = "import sys, ws; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT / "src", check=False).returncode == 0


def test_no_module_shadows_a_public_function() -> None:
    assert not {path.stem for path in (ROOT / "src/ws").iterdir()} & set(ws.__all__)


def test_functions_stay_under_sixty_lines() -> None:
    long = [
        f"{path.name}:{node.lineno} {node.name}"
        for path in SOURCES
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and (node.end_lineno or 0) - node.lineno + 1 > 60
    ]
    assert not long


def test_the_library_knows_no_notebook() -> None:
    users = [p.name for p in SOURCES if re.search(r"^\s*(import|from) marimo", p.read_text(), re.MULTILINE)]
    assert users in ([], ["jobs.py"], ["views.py"]), "marimo is imported in one module for jobs and views only"


@pytest.mark.parametrize("target", ["run", "test", "lint"])
def test_a_second_make_installs_nothing(tmp_path: Path, target: str) -> None:
    if shutil.which("make") is None:
        pytest.skip("MAKE IS MISSING")
    for name in ("Makefile", "requirements.txt", "pyproject.toml"):
        shutil.copy(ROOT / name, tmp_path)
    first = make(tmp_path, target)
    (tmp_path / ".venv").mkdir()
    (tmp_path / ".venv/.installed").touch()
    second = make(tmp_path, target)
    assert "pip install" in first
    assert "-r requirements.txt" in first
    assert "pip" not in second


def make(folder: Path, target: str) -> str:
    """What make would do."""
    done = subprocess.run(["make", "-n", target], cwd=folder, capture_output=True, text=True, check=True)
    return done.stdout


def test_make_help_names_every_target() -> None:
    done = subprocess.run(["make", "help"], cwd=ROOT, capture_output=True, text=True, check=True)
    for target in ("run", "test", "lint", "mini", "help"):
        assert re.search(rf"^make {target}\s", done.stdout, re.MULTILINE), target


def test_nothing_of_this_machine_is_committed() -> None:
    tracked = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=False)
    if tracked.returncode:
        pytest.skip("NOT A GIT CHECKOUT")
    pattern = re.compile(r"(^|[\s\"'=(])/(work|root|home/\w+)/|(?:index-url|find-links)\s*[= ]")
    hits = [
        name
        for name in tracked.stdout.splitlines()
        if Path(name).suffix in {".py", ".md", ".toml", ".txt", ".json", ".sh", ""} and (ROOT / name).is_file()
        and name != "tests/test_house.py" and pattern.search((ROOT / name).read_text(errors="ignore"))
    ]  # fmt: skip
    assert not hits


def test_notebooks_pass_marimos_own_check() -> None:
    command = [sys.executable, "-m", "marimo", "check", "--strict", "nbs/"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
