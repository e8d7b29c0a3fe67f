"""RunContext: what every round of a run needs: model, axis, configuration, folder, progress, the wish to cancel."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from typing import Any

from ws.axes.axis import Axis
from ws.errors import Cancelled
from ws.experiment.progress import Listener, Reporter
from ws.models.adapters.adapter import Adapter
from ws.models.lm import LM
from ws.runs.config import RunConfig
from ws.runs.writer import RunFolder

__all__ = ["RunContext"]


@dataclass
class RunContext:
    """A run in progress: what every round needs, and the adapters so far."""

    lm: LM
    axis: Axis
    config: RunConfig
    identity: dict[str, Any]
    folder: RunFolder
    listen: Listener | None
    cancel: threading.Event | None
    history: list[Adapter] = field(default_factory=list)
    keys: list[str] = field(default_factory=list)

    def reporter(self, number: int, stage: str) -> Reporter:
        """The progress of a stage; asking for one is where a cancelled run stops."""
        self.check()
        report = Reporter(self.listen, number, stage)
        report(0, 1)
        return report

    def check(self) -> None:
        """Cancelled when the run was told to stop."""
        if self.cancel is not None and self.cancel.is_set():
            raise Cancelled("the run was stopped between two steps; the same configuration resumes it")
