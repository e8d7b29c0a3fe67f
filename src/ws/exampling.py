"""The example that ships with the package: one finished run of the quick recipe, for pages to show before any work.

`make example` (python -m ws.exampling) runs it afresh and replaces src/ws/data/example/; a test fails when it is stale.
"""

from __future__ import annotations

import shutil
import sys
import tempfile
from pathlib import Path

from ws.config import RunConfig, from_dict, mini_quick, to_dict
from ws.runs import FORMAT, Run
from ws.stops import SHIPPED, Ask, find_stop, make_stops
from ws.storing import read_json, write_atomic, write_json

__all__ = ["EXAMPLE", "NAME", "make_example", "stale"]

NAME = "example"
EXAMPLE = Path(__file__).parent / "data" / NAME
COMMAND = ["python", "-m", "ws.exampling"]
DOUBLE = ("steer.parquet", "healed.parquet")  # eval.parquet holds both


def recipe() -> RunConfig:
    """What the example runs; read back from its JSON form, so that it compares equal with a stored one."""
    return from_dict(to_dict(mini_quick()))


def make_example(target: Path = EXAMPLE) -> Path:
    """Run the recipe in a temporary folder and put the trimmed run in place of `target`."""
    from rich.console import Console

    import ws
    from ws.progress import bars

    with tempfile.TemporaryDirectory() as folder, bars(Console(stderr=True)) as listen:
        run = ws.run(recipe(), listen, out=Path(folder) / "out", new=True)
        write_atomic(target, lambda place: _trimmed(run, place))
    make_stops(Run(target))
    (target / ".lock").unlink(missing_ok=True)
    return target


def _trimmed(run: Run, target: Path) -> None:
    """A copy without what is stored twice, and without what only this machine knows."""
    shutil.copytree(run.path, target, ignore=shutil.ignore_patterns(*DOUBLE, ".lock", ".tmp-*"))
    write_json(target / "env.json", run.env | {"argv": COMMAND, "stages": versions()})
    write_json(target / "summary.json", run.summary | {"run": NAME})


def versions() -> dict[str, int]:
    """The versions of the stages that made the numbers."""
    from ws.rounds import VERSIONS

    return dict(VERSIONS)


def stale(path: Path = EXAMPLE) -> list[str]:
    """Why the example does not show what this version would compute; empty where it does."""
    from ws.axes import load_axis
    from ws.loop import identity_of
    from ws.models import load_model

    run, config = Run(path), recipe()
    lm = load_model(config.model)
    now = identity_of(lm, load_axis(config.axis).on(lm), config) | {"stages": versions()}
    env = run.env
    found = [
        f"{name}: made with {env.get(name)}, now {now[name]}"
        for name in ("fingerprint", "axis", "items", "stages")
        if env.get(name) != now[name]
    ]
    if run.status.get("format") != FORMAT or not run.finished:
        found.append(f"format {run.status.get('format')}, state {run.status.get('state')}")
    if read_json(path / "config.json") != to_dict(config):
        found.append("another recipe")
    found += [f"no stop at beta {beta:g}" for beta in SHIPPED if find_stop(run, Ask(beta)) is None]
    return found


if __name__ == "__main__":
    sys.stdout.write(f"{make_example()}\n")
