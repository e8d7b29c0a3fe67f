"""The house: pins that anybody can install, commands that set up once, public names, code that stays readable, and
documents whose commands, files and modules exist."""

from __future__ import annotations

import ast
import contextlib
import importlib
import io
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

import ws
from ws.app.cli import main
from ws.app.options import COMMANDS
from ws.experiment.examples import EXAMPLE

ROOT = Path(__file__).parent.parent
SOURCES = sorted((ROOT / "src").rglob("*.py"))
NOTEBOOKS = sorted((ROOT / "nbs").glob("*.py"))
DOCUMENTS = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")), ROOT / "bench/README.md"]
PLACES = (ROOT, ROOT / "src/ws", EXAMPLE, EXAMPLE / "rounds/0")  # a run's files are named without its folder
ENDINGS = ("py", "md", "json", "toml", "txt", "parquet", "safetensors", "png", "svg")


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
        for path in [*SOURCES, *NOTEBOOKS]
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and (node.end_lineno or 0) - node.lineno + 1 > 60
    ]
    assert not long


def test_the_library_knows_no_notebook() -> None:
    """But for marimo's own command, with our headers put where marimo takes them, and the controls of a page."""
    knows = [p.name for p in SOURCES if re.search(r"^\s*(import|from) marimo", p.read_text(), re.MULTILINE)]
    assert sorted(knows) == ["controls.py", "job_buttons.py", "main.py", "password.py", "syntax_trees.py", "widgets.py"]


def cells(notebook: Path) -> list[ast.FunctionDef]:
    """The cells of a notebook, in the order in which a page shows them."""
    return [node for node in ast.parse(notebook.read_text()).body if isinstance(node, ast.FunctionDef)]


@pytest.mark.parametrize("notebook", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_is_short_and_begins_with_words(notebook: Path) -> None:
    lines = notebook.read_text().splitlines()
    assert len(lines) < 400
    assert next(i for i, line in enumerate(lines) if "mo.md(" in line) < 40
    found = cells(notebook)
    assert not [cell.lineno for cell in found if (cell.end_lineno or 0) - cell.lineno + 1 > 20]


def test_what_the_app_shows_comes_before_its_controls() -> None:
    """A page shows its cells in the order of the file, and runs them by what they need."""
    code = [ast.unparse(cell) for cell in cells(ROOT / "nbs/gates.py")]
    last = max(i for i, cell in enumerate(code) if "mo.md(" in cell)
    first = min(i for i, cell in enumerate(code) if "mo.sidebar(" in cell or "widgets.choice(" in cell)
    assert last < first


def gone(cell: ast.FunctionDef) -> set[str]:
    """Names of the cell alone that its callbacks would read when a viewer comes to them: marimo has deleted them."""
    callbacks = [node for node in ast.walk(cell) if isinstance(node, ast.Lambda | ast.FunctionDef) and node is not cell]
    own = {node.id for node in ast.walk(cell) if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)}
    read = {node.id for part in callbacks for node in ast.walk(part) if isinstance(node, ast.Name)}
    return {name for name in own & read if name.startswith("_")}


@pytest.mark.parametrize("notebook", NOTEBOOKS, ids=lambda path: path.stem)
def test_no_callback_of_a_notebook_reads_a_name_that_marimo_deletes(notebook: Path) -> None:
    assert not [(cell.lineno, gone(cell)) for cell in cells(notebook) if gone(cell)]


def test_a_callback_that_reads_such_a_name_is_noticed() -> None:
    code = "def _(mo, push):\n    _at = 1\n    mo.ui.button(on_click=lambda _: push(_at))\n    return\n"
    cell = ast.parse(code).body[0]
    assert isinstance(cell, ast.FunctionDef) and gone(cell) == {"_at"}


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
    pattern = re.compile(r"(^|[\s\"'=(])/(work|root|home/\w+)/|(?:index.url|find.links)\s*[= ]")
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


def code_of(text: str) -> list[str]:
    """Every line of the code blocks of a Markdown text, without its comment, and every piece of code in its prose."""
    fence = re.compile(r"^```\w*\n(.*?)^```", re.MULTILINE | re.DOTALL)
    lines = [line.split(" #")[0].strip() for block in fence.findall(text) for line in block.splitlines()]
    return lines + [" ".join(piece.split()) for piece in re.findall(r"`([^`]+)`", fence.sub("", text))]


def is_there(name: str) -> bool:
    """A file or folder of the repository, a module of the library, or a file of a run."""
    found = [place / name for place in PLACES] + [ROOT / f"src/ws/{name}.py"]
    return any(path.exists() for path in found)


def resolves(name: str) -> bool:
    """Whether a dotted name is a module of ws, or something in one."""
    parts = name.split(".")
    for i in range(len(parts), 0, -1):
        try:
            found = importlib.import_module(".".join(parts[:i]))
        except ModuleNotFoundError:
            continue
        for part in parts[i:]:
            if not hasattr(found, part):
                return False
            found = getattr(found, part)
        return True
    return False


def named_files(text: str) -> list[str]:
    """Files and folders that a document's code names; what a reader or a run makes (my_..., out/) is left out."""
    words = [word.strip("\"'(),;:") for piece in code_of(text) for word in piece.split()]
    path = re.compile(rf"[A-Za-z_][\w.-]*(/[\w.-]+)*(\.({'|'.join(ENDINGS)})|/)")
    return [word for word in words if path.fullmatch(word) and not word.startswith(("my_", "out/"))]


def named_commands(text: str) -> tuple[set[str], set[str]]:
    """(commands of ws, targets of make) that begin a line or a piece of code."""
    found = [re.match(r"(ws|make) ([a-z][a-z-]*)", piece) for piece in code_of(text)]
    pairs = {(m.group(1), m.group(2)) for m in found if m}
    return {name for tool, name in pairs if tool == "ws"}, {name for tool, name in pairs if tool == "make"}


def named_options(text: str) -> set[str]:
    """Long options of ws that a document's code names; other programs' lines are left out."""
    own = [piece for piece in code_of(text) if not re.match(r"\(?(marimo|umask|pip|python)\b", piece)]
    return {option for piece in own for option in re.findall(r"(?<![\w-])--[a-z][\w.-]*", piece)}


@pytest.fixture(scope="module")
def options() -> set[str]:
    """Every long option of every command, as its help shows them."""
    shown = io.StringIO()
    with pytest.MonkeyPatch.context() as patch, contextlib.redirect_stdout(shown):
        patch.setenv("COLUMNS", "300")  # so that no option is broken over two lines
        for name in COMMANDS:
            main([name, "--help"])
    return set(re.findall(r"--[a-z][\w.-]*", shown.getvalue()))


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_what_a_document_names_exists(document: Path, options: set[str]) -> None:
    text = document.read_text()
    commands, targets = named_commands(text)
    assert commands <= set(COMMANDS)
    assert targets <= set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    assert not [name for name in named_files(text) if not is_there(name)]
    assert not [link for link in re.findall(r"\]\(([^):]+)\)", text) if not (document.parent / link).exists()]
    assert not named_options(text) - options
    dotted = {name for piece in code_of(text) for name in re.findall(r"\bws(?:\.[A-Za-z_]\w*)+", piece)}
    assert not [name for name in dotted if not resolves(name)]


def test_the_readme_says_where_modules_are() -> None:
    text = (ROOT / "README.md").read_text()
    section = text[text.index("## Where things are") :]
    bare = {piece.rstrip("/") for piece in code_of(section) if re.fullmatch(r"[a-z_]+/?", piece)}
    assert {"axes", "steering", "filtering", "healing", "experiment", "gating", "app"} < bare
    assert not [name for name in bare if not is_there(name)]


def test_modules_that_the_code_speaks_of_exist() -> None:
    """Docstrings and comments outlive what they name."""
    named = {
        (path.name, name)
        for path in SOURCES
        for name in re.findall(r"(?<![\w.])ws(?:\.[A-Za-z_]\w*)+", path.read_text())
        if name != "ws.json"  # a file's name
    }
    assert len(named) > 100
    assert not [pair for pair in named if not resolves(pair[1])]


def test_a_document_that_names_nothing_real_is_noticed() -> None:
    text = "`nbs/gone.py`, `ws nonsense --nowhere`, `make gone`\n\n```sh\nws run --lost 1  # --kept\n```\n"
    assert [name for name in named_files(text) if not is_there(name)] == ["nbs/gone.py"]
    assert named_commands(text) == ({"nonsense", "run"}, {"gone"})
    assert named_options(text) == {"--nowhere", "--lost"}
    assert not resolves("ws.gating.gone") and not resolves("ws.gone") and resolves("ws.gating.Thresholds")
