"""A heal against its controls: training without the barrier, without the filter, without either, on unsteered text.

A heal beats a control that it is better than in one of coherence and retain, and not worse than in the other. Better
and worse are read off the interval of the difference, made of both arms' own (MOVER, Zou and Donner 2008; arms share
items and dice, so it is wider than it need be), and mean more than `Thresholds.won` of coherence or `equal` of retain.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from ws.gating.arm_table import SFT, SFT_BASE, SFT_UNFILTERED, UNFILTERED
from ws.gating.facts import best_prompt, row_of
from ws.gating.gate import Finding
from ws.gating.heal_facts import HealFacts
from ws.intervals import as_float, interval_of

__all__ = ["CONTROLS", "Contrast", "contrasts", "difference", "paid", "prompt_moves_more", "trades", "uncompared"]

CONTROLS = {
    SFT: "training without a barrier",
    UNFILTERED: "training without a filter",
    SFT_UNFILTERED: "training with neither",
    SFT_BASE: "training on unsteered text",
}
BARRED = (SFT, UNFILTERED)
"""Controls that differ from the heal in the barrier, or have it: none to a heal without one."""


@dataclass(frozen=True)
class Contrast:
    """The heal against one control. coherence, retain: 1 better, -1 worse, 0 not to be told apart."""

    words: str
    coherence: int
    retain: int
    text: str

    @property
    def beaten(self) -> bool:
        return min(self.coherence, self.retain) >= 0 and max(self.coherence, self.retain) > 0

    @property
    def worse(self) -> bool:
        """Worse in one, better in none."""
        return max(self.coherence, self.retain) <= 0 and min(self.coherence, self.retain) < 0

    @property
    def price(self) -> bool:
        """Better in the one, worse in the other."""
        return self.coherence * self.retain < 0


def contrasts(f: HealFacts) -> list[Contrast]:
    """The heal against every control that was trained and whose figures are there."""
    names = [name for name in CONTROLS if f.beta > 0 or name not in BARRED]
    rows = [row for name in names if (row := row_of(f.arms, name))["retain"] is not None]
    return [_contrast(f, row) for row in rows if row["coherence"] is not None]


def _contrast(f: HealFacts, row: dict[str, Any]) -> Contrast:
    words = CONTROLS[row["arm"]]
    text = (
        f"{words}: coherence {interval_of(row, 'coherence')}, retain {interval_of(row, 'retain')} against "
        f"{interval_of(f.healed, 'coherence')} and {interval_of(f.healed, 'retain')} of the heal"
    )
    coherence = _sign(difference(f.healed, row, "coherence"), f.limits.won)
    return Contrast(words, coherence, _sign(difference(f.healed, row, "retain"), f.limits.equal), text)


def paid(f: HealFacts) -> list[str]:
    """What the barrier bought, in a sentence, where training without it was less coherent; else nothing."""
    plain = row_of(f.arms, SFT)
    if f.beta == 0 or plain["coherence"] is None or plain["retain"] is None or f.healed["retain"] is None:
        return []
    without, kept = as_float(plain["coherence"]), as_float(f.healed["retain"]) / as_float(plain["retain"])
    won = _sign(difference(f.healed, plain, "coherence"), f.limits.won)
    if won <= 0 or not math.isfinite(kept):
        return []
    return [f"coherence {without:.2f} without the barrier, {f.coherence:.2f} with it, at {kept:.2f} of the trait"]


def _sign(found: tuple[float, float, float], most: float) -> int:
    value, low, high = found
    return 1 if low > 0 and value > most else -1 if high < 0 and value < -most else 0


def difference(a: dict[str, Any], b: dict[str, Any], name: str) -> tuple[float, float, float]:
    """a - b of a figure of two arms, and its interval from theirs; an arm without one counts as exact."""
    x, y = as_float(a[name]), as_float(b[name])
    down = math.hypot(_reach(a, name, "_low"), _reach(b, name, "_high"))
    up = math.hypot(_reach(a, name, "_high"), _reach(b, name, "_low"))
    return x - y, x - y - down, x - y + up


def _reach(row: dict[str, Any], name: str, end: str) -> float:
    reach = abs(as_float(row[name + end]) - as_float(row[name]))
    return 0.0 if math.isnan(reach) else reach


def uncompared(f: HealFacts) -> Finding:
    """Whether there is nothing to say that the barrier or the filter did it."""
    found = contrasts(f)
    if found:
        return False, f"{len(found)} controls were trained: {', '.join(c.words for c in found)}"
    return True, "no control was trained: what the barrier and the filter did cannot be told from training alone"


def prompt_moves_more(f: HealFacts) -> Finding:
    """Whether the persona as a system prompt moves the target more than the healed weights do."""
    row, kind = best_prompt(f.arms)
    if row["d_target_low"] is None or f.healed["d_target_high"] is None:
        return None, "the persona was not run"
    figures = f"{interval_of(row, 'd_target')} {f.trait.unit}, healed {interval_of(f.healed, 'd_target')}"
    text = f"{kind} as system prompt {figures}"
    return as_float(row["d_target_low"]) > as_float(f.healed["d_target_high"]), text


def trades(f: HealFacts) -> Finding:
    """No beta that was run beats beta 0 (the arm sft): more coherence at equal or better retain.

    Not measured where one beta was run only, or where beta 0 lost no coherence, so that there was nothing to win.
    """
    plain = row_of(f.arms, SFT)
    if f.beta == 0 or plain["coherence"] is None or f.healed["coherence"] is None:
        return None, "needs the heal at several beta, beta 0 (the arm sft) among them"
    if plain["retain"] is None or f.healed["retain"] is None:
        return None, "retain is missing"
    text = (
        f"beta {f.beta:g}: coherence {interval_of(f.healed, 'coherence')}, retain {interval_of(f.healed, 'retain')}; "
        f"beta 0: {interval_of(plain, 'coherence')} and {interval_of(plain, 'retain')}"
    )
    if as_float(f.base["coherence"]) - as_float(plain["coherence"]) <= f.limits.won:
        return None, f"{text}: no coherence was lost at beta 0, so there was nothing to win"
    wins = f.coherence - as_float(plain["coherence"]) > f.limits.won
    equal = as_float(f.healed["retain"]) >= as_float(plain["retain"]) - f.limits.equal
    return not (wins and equal), text
