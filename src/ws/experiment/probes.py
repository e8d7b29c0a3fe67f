"""What a dose search has measured so far: a report for every dose, pooled over the dice of its rounds."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from typing import Any

import polars as pl

from ws.evaluation.pooling import pooled
from ws.evaluation.report import Report
from ws.experiment.pipeline import HealPipeline
from ws.experiment.progress import Reporter
from ws.gating.arm_table import BASE, STEER, STUDENT
from ws.gating.knee import probes_of
from ws.runs.arms import Arm
from ws.steering.direction import Direction

__all__ = ["Probes"]


class Probes:
    """Doses of the direction on the select set. total: how many probes are expected, for the progress."""

    def __init__(self, pipeline: HealPipeline, v: Direction, report: Reporter, total: int) -> None:
        self._pipeline, self._v, self._report, self._total = pipeline, v, report, total
        self._bases: dict[int, Report] = {}
        self._probed: dict[float, dict[int, Report]] = {}

    def measure(self, doses: Sequence[float], dice: int) -> pl.DataFrame:
        """These doses under these dice, the base and the student of earlier rounds beside them; all that is known."""
        pipeline = self._pipeline
        if dice not in self._bases:
            pipeline.check()
            self._bases[dice] = pipeline.evaluate("select", dice=dice)
        wanted = [0.0, *doses] if pipeline.history else list(doses)
        wanted = [c for c in wanted if dice not in self._probed.get(c, {})]
        if wanted:
            pipeline.check()
            on: dict[str, Any] = {"direction": self._v, "adapters": pipeline.history}
            found = pipeline.evaluate("select", dice=dice, c=wanted, **on)
            for c, report in zip(wanted, found, strict=True):
                self._probed.setdefault(c, {})[dice] = report
        done = len(self._bases) + sum(map(len, self._probed.values()))
        self._report(min(done, self._total - 1), self._total)
        return self._known()

    @property
    def base(self) -> Report:
        """The base with the texts of every round."""
        return pooled([self._bases[dice] for dice in sorted(self._bases)])

    @property
    def limits(self) -> dict[str, Any]:
        """What the base's own text sets for the filter, the middle of what every round's dice gave: below which
        worst_ppl a text is readable, and whether it has to end by itself."""
        found = [base.subject["text_limits"] for base in self._bases.values()]
        ends = [bool(limits["finished"]) for limits in found]
        readable = statistics.median(float(limits["worst_ppl"]) for limits in found)
        return {"readable_ppl": readable, "ends": 2 * sum(ends) > len(ends)}

    @property
    def probed(self) -> dict[float, Report]:
        """Every dose with all its texts, weakest first; 0 is the student of earlier rounds."""
        return {c: pooled([found[dice] for dice in sorted(found)]) for c, found in sorted(self._probed.items())}

    @property
    def arms(self) -> list[Arm]:
        """Base and doses as arms of the select set, none chosen yet."""
        arms = [Arm(BASE, self.base, split="select")]
        return arms + [Arm(STEER if c else STUDENT, r, c, "select", False) for c, r in self.probed.items()]

    def _known(self) -> pl.DataFrame:
        """What `ws.gating.knee.crossing` reads."""
        rows = []
        for arm in self.arms:
            read = {name: getattr(arm.report, name) for name in ("coherence", "coh_text", "p_ans_any")}
            rows.append({"arm": arm.arm, "c": arm.c, "n_text": arm.report.text.height, **read})
        return probes_of(pl.DataFrame(rows))
