"""Which run it is: its date, its name as a file's, its question, and everything that its numbers depend on."""

from __future__ import annotations

import re
import shlex
from datetime import datetime
from typing import Any

from ws.errors import UserError
from ws.runs.config import flat, to_dict
from ws.runs.reader import Run
from ws.runs.summary import seconds_of

__all__ = ["command_of", "day_of", "facts_of", "name_of", "question_of", "settings_of"]

LONGEST = 120  # characters of a file's name


def name_of(run: Run) -> str:
    """The run's folder name as a file's: letters, digits, - _ . only, so that no name leads out of a folder."""
    slug = re.sub(r"[^A-Za-z0-9_.-]+", "-", run.path.resolve().name).lstrip(".-")
    return slug[:LONGEST] or "run"


def day_of(run: Run) -> str:
    """The day on which the run began, YYYY-MM-DD. UserError where status.json does not say."""
    began = str(run.status.get("started", ""))
    try:
        return datetime.strptime(began, "%Y-%m-%dT%H:%M:%SZ").strftime("%Y-%m-%d")
    except ValueError as error:
        raise UserError(
            f"{run.path / 'status.json'} does not say when the run began (started: {began[:40]!r}). "
            "Run the same `ws run` command again to rebuild it."
        ) from error


def question_of(run: Run) -> str:
    """The question that every run asks, with its axis and model."""
    axis, model = run.axis["name"], run.config.model
    return f"Does {axis} steer {model}, can its completions be filtered, and does the adapter learn it?"


def command_of(run: Run) -> str:
    """The command line that made the run."""
    return shlex.join(str(word) for word in run.env.get("argv", []))


def facts_of(run: Run) -> dict[str, Any]:
    """Everything but the configuration: versions, weights, place, time, as plain values by name."""
    env = dict(run.env)
    versions = env.pop("versions", {})
    for told in ("argv", "sampling", "sampling_said"):
        env.pop(told, None)
    named = {
        "run": run.path.name,
        "state": run.status.get("state", "unknown"),
        "began (UTC)": run.status.get("started"),
        "finished (UTC)": run.status.get("finished"),
        "seconds of work": round(seconds_of(run), 1),
        "command": command_of(run),
        "branch": env.pop("branch", None),
        "commit": env.pop("commit", None),
        "seeds": ", ".join(map(str, run.config.seeds)),
        "model": run.config.model,
        "sampling": run.sampling,
        "steering": run.steering,
        "model fingerprint": env.pop("fingerprint", None),
        "axis": run.axis["name"],
        "axis hash": env.pop("axis", None),
        "items hash": env.pop("items", None),
    }
    rest = {"ws": env.pop("ws", None), **env, **{name: version for name, version in versions.items() if version}}
    return {name: value for name, value in {**named, **rest}.items() if value not in (None, "")}


def settings_of(run: Run) -> dict[str, Any]:
    """The whole configuration, one level."""
    return flat(to_dict(run.config))
