"""What a dose search has measured so far: a report for every dose, pooled over the dice of its rounds.

Beside the doses the base, and the persona as a system prompt: its text is in the trait's style and answers what was
asked, so the less tied of the two to their prompts is what steered text is held against.
"""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from typing import Any

import numpy as np
import polars as pl

from ws.evaluation.pooling import pooled
from ws.evaluation.report import Report
from ws.evaluation.topic import Array, tie, ties
from ws.experiment.pipeline import HealPipeline
from ws.experiment.progress import Reporter
from ws.gating.arm_table import BASE, PERSONA, STEER, STUDENT
from ws.gating.knee import probes_of
from ws.runs.arms import Arm, topic_frame, with_topic
from ws.steering.coefficients import Steered

__all__ = ["Probes"]


class Probes:
    """Doses of the direction on the select set. total: how many probes are expected, for the progress."""

    def __init__(self, pipeline: HealPipeline, v: Steered, report: Reporter, total: int) -> None:
        self._pipeline, self._v, self._report, self._total = pipeline, v, report, total
        self._found: dict[tuple[str, float], dict[int, Report]] = {}  # by arm and dose, then by dice
        self._ties: dict[tuple[str, float], dict[int, Array]] = {}

    def measure(self, doses: Sequence[float], dice: int) -> pl.DataFrame:
        """These doses under these dice; base, the persona and the student of earlier rounds beside them. All that is
        known."""
        pipeline = self._pipeline
        self._add([(BASE, 0.0)], dice)
        if doses:
            self._add([(PERSONA, 0.0)], dice, persona=pipeline.axis.positive[0])
        steered = [(STUDENT, 0.0)] if pipeline.history else []
        steered += [(STEER, c) for c in doses]
        how = {"direction": self._v, "backtrack": pipeline.backtrack} if doses else {}
        self._add(steered, dice, adapters=pipeline.history, **how)
        done = sum(map(len, self._found.values()))
        self._report(min(done, self._total - 1), self._total)
        return self._known()

    def _add(self, asked: Sequence[tuple[str, float]], dice: int, **treatment: Any) -> None:
        """Measure those of the arms that are not known under these dice; they differ in the dose alone."""
        wanted = [arm for arm in asked if dice not in self._found.get(arm, {})]
        if not wanted:
            return
        self._pipeline.check()
        found = self._pipeline.evaluate("select", dice=dice, c=[c for _, c in wanted], **treatment)
        for arm, report in zip(wanted, found, strict=True):
            self._found.setdefault(arm, {})[dice] = report
            self._ties.setdefault(arm, {})[dice] = ties(self._pipeline.lm, report.text)

    @property
    def base(self) -> Report:
        """The base with the texts of every round."""
        return self._pooled((BASE, 0.0))

    @property
    def limits(self) -> dict[str, Any]:
        """What the base's own text sets for the filter, the middle of what every round's dice gave: below which
        worst_ppl a text is readable, and whether it has to end by itself."""
        found = [base.subject["text_limits"] for base in self._found[BASE, 0.0].values()]
        ends = [bool(limits["finished"]) for limits in found]
        readable = statistics.median(float(limits["worst_ppl"]) for limits in found)
        return {"readable_ppl": readable, "ends": 2 * sum(ends) > len(ends)}

    @property
    def arms(self) -> list[Arm]:
        """What was measured, pooled over its dice: arms of the select set, base first, weaker doses before stronger
        ones, none chosen yet."""
        order = sorted(self._found, key=lambda arm: ((BASE, PERSONA, STUDENT, STEER).index(arm[0]), arm[1]))
        chosen = {BASE: None, PERSONA: None}
        return [Arm(arm, self._pooled((arm, c)), c, "select", chosen.get(arm, False)) for arm, c in order]

    def _pooled(self, arm: tuple[str, float]) -> Report:
        """The arm's report with the texts of all its dice."""
        return pooled([self._found[arm][dice] for dice in sorted(self._found[arm])])

    @property
    def topic(self) -> pl.DataFrame:
        """How far the arms' text keeps to its prompt."""
        found = {arm: np.concatenate([by[dice] for dice in sorted(by)]) for arm, by in self._ties.items()}
        return topic_frame([(arm, tie(found[arm.arm, arm.c])) for arm in self.arms])

    def _known(self) -> pl.DataFrame:
        """What `ws.gating.knee.knee_of` reads."""
        rows = []
        for arm in self.arms:
            read = {name: getattr(arm.report, name) for name in ("coherence", "coh_text", "p_ans_any")}
            rows.append({"arm": arm.arm, "c": arm.c, "n_text": arm.report.text.height, **read})
        return probes_of(with_topic(pl.DataFrame(rows), self.topic))
