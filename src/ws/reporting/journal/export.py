"""marimo's own HTML export beside the page: interactive, and needs the network to open."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from ws.errors import UserError
from ws.runs.reader import Run

__all__ = ["NOTEBOOKS", "write_interactive"]

NOTEBOOKS = ("gates.py", "loop.py")
LIMIT = 600  # seconds


def notebook() -> Path:
    """The first of NOTEBOOKS that is there, in ./nbs or beside the sources. UserError where there is none."""
    folders = [Path("nbs"), Path(__file__).resolve().parents[4] / "nbs"]
    for name in NOTEBOOKS:
        for folder in folders:
            if (folder / name).is_file():
                return folder / name
    raise UserError(
        f"--interactive exports a notebook ({' or '.join(NOTEBOOKS)}) and there is none in {folders[0]}/. "
        "Run it in a checkout of ws, or leave --interactive out: the page needs no notebook."
    )


def write_interactive(run: Run, path: Path) -> Path:
    """Export the notebook on this run to `path`; an export that is there stays. UserError when marimo cannot."""
    found = notebook()
    if path.is_file():
        return path
    temporary = path.with_suffix(".tmp.html")
    command = [sys.executable, "-m", "marimo", "export", "html", str(found), "-o", str(temporary), "--force"]
    given = ["--", "--run", str(run.path.resolve()), "--journal", "true"]
    try:
        done = subprocess.run([*command, *given], capture_output=True, text=True, timeout=LIMIT, check=False)
    except subprocess.TimeoutExpired as error:
        temporary.unlink(missing_ok=True)
        raise UserError(f"marimo did not export {found} within {LIMIT} s. The page itself is written.") from error
    if done.returncode or not temporary.is_file():
        temporary.unlink(missing_ok=True)
        said = (done.stderr.strip() or done.stdout.strip() or "no message")[-800:]
        raise UserError(
            f"marimo could not export {found} (exit {done.returncode}): {said}. The page itself is written."
        )
    temporary.replace(path)
    return path
