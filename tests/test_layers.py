"""The walls of the house: packages in order, no import back up, no circle of files; and what an import costs."""

from __future__ import annotations

import ast
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "src/ws"
ORDER = (
    ("errors", "files", "intervals"), ("gating",), ("models",), ("axes",), ("healing", "steering", "filtering"),
    ("generation",), ("evaluation",), ("runs",), ("experiment", "reporting"), ("app",),
)  # fmt: skip
RANK = {name: rank for rank, group in enumerate(ORDER) for name in group}
MODULES = {
    ".".join(path.relative_to(ROOT / "src").with_suffix("").parts).removesuffix(".__init__"): path
    for path in PACKAGE.rglob("*.py")
}
Arrow = tuple[str, str]


def targets(node: ast.AST, modules: dict[str, Path]) -> Iterator[str]:
    """The modules of ws that an import statement names, wherever it stands: on top, in a function, for types alone."""
    if isinstance(node, ast.Import):
        yield from (alias.name for alias in node.names if alias.name in modules)
    elif isinstance(node, ast.ImportFrom) and node.module in modules:
        for alias in node.names:
            whole = f"{node.module}.{alias.name}"
            yield whole if whole in modules else str(node.module)


def arrows(modules: dict[str, Path]) -> set[Arrow]:
    """(importer, imported) over all files; what the public face hands out by name is no arrow."""
    found = set()
    for name, path in modules.items():
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            found |= {(name, target) for target in targets(node, modules) if target not in (name, "ws")}
    return found


def part(module: str) -> str:
    """The package or root file that a module belongs to."""
    name = module.split(".")[1] if "." in module else ""
    return "app" if name == "__main__" else name


def upward(found: set[Arrow]) -> list[Arrow]:
    """Arrows between packages that do not go down the order."""
    pairs = [(a, b) for a, b in found if part(a) and part(a) != part(b)]
    ground = ORDER[0]
    return sorted((a, b) for a, b in pairs if RANK[part(b)] >= RANK[part(a)] and part(a) not in ground)


def circle(found: set[Arrow]) -> list[str]:
    """Modules that import each other in a ring, sorted; empty where every file can be read after what it imports."""
    left = set(found)
    while True:
        ends = {b for _, b in left} - {a for a, _ in left}
        starts = {a for a, _ in left} - {b for _, b in left}
        kept = {(a, b) for a, b in left if b not in ends and a not in starts}
        if kept == left:
            return sorted({name for arrow in left for name in arrow})
        left = kept


def test_every_package_has_its_place() -> None:
    assert {part(name) for name in MODULES} - {""} == set(RANK)


def test_no_import_goes_back_up() -> None:
    assert not upward(arrows(MODULES))


def test_no_circle_of_files() -> None:
    assert not circle(arrows(MODULES))


def test_no_circle_of_packages() -> None:
    assert not circle({(part(a), part(b)) for a, b in arrows(MODULES) if part(a) != part(b)})


def test_a_circle_and_an_arrow_back_are_noticed(tmp_path: Path) -> None:
    first, second = tmp_path / "first.py", tmp_path / "second.py"
    first.write_text("def late():\n    from ws.app.second import x\n")
    second.write_text("from ws.gating.first import late\n")
    found = arrows({"ws.gating.first": first, "ws.app.second": second})
    assert upward(found) == [("ws.gating.first", "ws.app.second")]
    assert circle(found) == ["ws.app.second", "ws.gating.first"]
    assert circle({("a", "b"), ("b", "c"), ("a", "c")}) == []


def test_the_root_stays_small() -> None:
    files = [path for path in PACKAGE.rglob("*") if path.is_file() and "__pycache__" not in path.parts]
    entries = {path.relative_to(PACKAGE).parts[0] for path in files}  # a folder that has moved may leave its cache
    assert len(entries) <= 18, entries


@pytest.mark.parametrize("document", ["README.md", "docs/architecture.md"])
def test_the_documents_say_the_order(document: str) -> None:
    words = "; ".join(", ".join(group) for group in ORDER)
    assert words in " ".join((ROOT / document).read_text(encoding="utf-8").split())


@pytest.mark.parametrize("code", ["import ws", "import ws.app.cli", "import ws.app.cli; ws.app.cli.main(['--help'])",
                                  "import ws.app.cli; ws.app.cli.main(['run', '--help'])"])  # fmt: skip
def test_looking_at_the_command_line_brings_nothing_heavy(code: str) -> None:
    heavy = "torch", "transformers", "polars", "numpy"
    checked = f"{code}\nimport sys\nsys.exit(','.join(name for name in {heavy} if name in sys.modules))"
    done = subprocess.run([sys.executable, "-c", checked], cwd=ROOT / "src", check=False, capture_output=True)
    assert done.stderr.decode().strip() == ""


def test_python_m_ws_is_the_command_line() -> None:
    began = time.perf_counter()
    done = subprocess.run([sys.executable, "-m", "ws", "--help"], cwd=ROOT / "src", check=False, capture_output=True)
    assert done.returncode == 0 and b"ws run" in done.stdout
    assert time.perf_counter() - began < 60, "something heavy is imported for a list of commands"


def test_no_test_module_imports_another() -> None:
    """What two of them need is in tests/builders."""
    files = sorted((ROOT / "tests").rglob("*.py"))
    modules = {".".join(path.relative_to(ROOT).with_suffix("").parts): path for path in files}
    named = {
        (name, target)
        for name, path in modules.items()
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        for target in targets(node, modules)
    }
    assert len(named) > 50
    assert not [(a, b) for a, b in named if b.rpartition(".")[2].startswith("test_")]
