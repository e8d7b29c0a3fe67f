"""The environment of a run, for its record: versions, device, threads, branch and commit, command line."""

from __future__ import annotations

import importlib.metadata
import platform
import subprocess
import sys
from pathlib import Path
from typing import Any

from ws import __version__

PACKAGES = (
    "torch", "transformers", "peft", "polars", "numpy", "safetensors", "tokenizers", "altair", "vl-convert-python",
)  # fmt: skip


def environment() -> dict[str, Any]:
    """Versions, platform, threads, branch, commit, argv: plain values for env.json."""
    import torch

    return {
        "ws": __version__,
        "python": platform.python_version(),
        "platform": platform.platform(),
        "versions": {name: _version(name) for name in PACKAGES},
        "threads": torch.get_num_threads(),
        "branch": branch(),
        "commit": commit(),
        "argv": [Path(sys.argv[0]).name, *sys.argv[1:]],
    }


def _version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def commit() -> str | None:
    """The commit of the checkout that ws runs from, with "+" when it has changes; None outside a checkout."""
    here = Path(__file__).resolve().parents[1]
    try:
        head = _git(here, "rev-parse", "--short=12", "HEAD")
        changed = _git(here, "status", "--porcelain", "--untracked-files=no", ".")
    except (OSError, subprocess.SubprocessError):
        return None
    return head + ("+" if changed else "")


def branch() -> str | None:
    """The branch of the checkout that ws runs from; None outside a checkout or on a commit without a branch."""
    try:
        name = _git(Path(__file__).resolve().parents[1], "rev-parse", "--abbrev-ref", "HEAD")
    except (OSError, subprocess.SubprocessError):
        return None
    return None if name == "HEAD" else name


def _git(where: Path, *args: str) -> str:
    done = subprocess.run(["git", *args], cwd=where, capture_output=True, text=True, timeout=10, check=True)
    return done.stdout.strip()
