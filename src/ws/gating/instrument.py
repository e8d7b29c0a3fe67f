"""Gate 0: is the instrument sane? Read before any effect is believed."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import polars as pl

from ws.gating.advice import ADVICE
from ws.gating.arm_table import BASE, HEALED, STEER
from ws.gating.evidence import EvidenceQuery, babble, moved, readable, unfinite
from ws.gating.facts import row_of
from ws.gating.foundations import FOUNDATIONS
from ws.gating.gate import Finding, Gate, Row, decide, near_end
from ws.gating.schemas import Trait
from ws.gating.thresholds import Thresholds
from ws.intervals import as_float, finite_or_none

MUSH = "base's text is mush"
SHOULD = "base and every arm on the same rows, headroom for the target, an even readout, all rows finite"


@dataclass(frozen=True)
class InstrumentFacts:
    """The arms of the report set, base among them."""

    arms: pl.DataFrame
    trait: Trait
    limits: Thresholds

    @cached_property
    def base(self) -> dict[str, Any]:
        return row_of(self.arms, BASE)


def _nonfinite(f: InstrumentFacts) -> Finding:
    counts = f.arms.select("arm", "nonfinite", "n_items").drop_nulls()
    if not counts.height:
        return None, "not counted"
    n = int(counts["nonfinite"].sum())
    where = ", ".join(f"{arm} {k}" for arm, k, _ in counts.rows() if k)
    return n > 0, f"{n} rows of {int(counts['n_items'].sum())} are not finite" + (f": {where}" if where else "")


def _unpaired(f: InstrumentFacts) -> Finding:
    if f.base["arm"] is None:
        return True, "there is no base arm"
    paired = f.arms.filter(pl.col("split") == f.base["split"])
    kinds = paired["identity"].drop_nulls().unique()
    if not kinds.len():
        return None, "reports carry no identity"
    text = f"{f.arms.height} arms on {kinds.len()} set(s) of items and settings, {f.base['n_items']} rows each"
    others = paired.filter(pl.col("identity") != f.base["identity"])["arm"].unique(maintain_order=True)
    return kinds.len() > 1, text + (f"; not on base's: {', '.join(others)}" if others.len() else "")


def _off_list(f: InstrumentFacts) -> Finding:
    if f.base["p_ans_any"] is None:
        return None, "; ".join(part for part in ("not measured", f.trait.unread) if part)
    p, least = as_float(f.base["p_ans_any"]), f.limits.answers_format if f.trait.relative else f.limits.broken
    said = f"base puts {p:.2f} of its probability on the allowed answers"
    return p < least, said + ("; the others are read relative to it" if f.trait.relative else "")


def _headroom(f: InstrumentFacts) -> Finding:
    p = f.base["profile_target"]
    if p is None and f.trait.by_questions:
        return None, "not measured: questions have no profile"
    if p is None:
        return None, "the target is no foundation: it has no base profile"
    return not f.limits.dead <= p <= f.limits.saturated, headroom_text(as_float(p), f.trait, f.limits)


def headroom_text(p: float, trait: Trait, limits: Thresholds) -> str:
    """Whether the base leaves the target room in the intended direction, in a sentence; p: base profile of it."""
    falls = trait.intended.get(trait.target, 1) < 0
    way, edge = ("fall", limits.dead) if falls else ("rise", limits.saturated)
    room = max(0.0, math.log(p / edge if falls else edge / p)) if p > 0 else 0.0
    out, small = not limits.dead <= p <= limits.saturated, room < limits.shift
    word = "No headroom" if out else "Little headroom" if small else "Headroom"
    less = f", less than the {limits.shift:g} that count as a shift" if small else ""
    now = f"base profile of {trait.target} {p:.2f}"
    return f"{word}: {now}; it should {way}, and can by {room:.2f} nat until {edge:g}{less}"


def _order(f: InstrumentFacts) -> Finding:
    gap = f.base["order_gap"]
    if gap is None:
        return None, "one option order only"
    return gap > f.limits.order_gap, f"the two option orders differ by {gap:.2f} in the base profile; they are averaged"


def _mush(f: InstrumentFacts) -> Finding:
    return mush(f.base, f.limits)


def mush(base: dict[str, Any], limits: Thresholds) -> Finding:
    """Whether the base's own text, before any steering, is no text to steer; base: its row of the arms."""
    if base["coh_text"] is None:
        return None, "no free text was read" if not base["n_text"] else "base has no readable text to be relative to"
    share, ppl = as_float(base["coh_text"]), as_float(base["tail_ppl"])
    text = f"of base's own text {share:.2f} is readable, its median tail_ppl is {ppl:.1f}"
    return share < limits.base_text or ppl > limits.base_ppl, text


def _questions(f: InstrumentFacts) -> Finding:
    if not f.trait.by_questions:
        return False, "the vignettes read the axis"
    what = "its questions read the axis, in nats per token"
    if f.trait.target in FOUNDATIONS:
        what += "; this is another instrument than the vignettes, do not compare their nats"
    return True, "; ".join(part for part in (what, f.trait.unread) if part)


def _think(f: InstrumentFacts) -> Finding:
    budgets = f.arms["think"].drop_nulls().unique().sort().to_list()
    if not budgets:
        return None, "the think budget was not recorded"
    return len(budgets) > 1, f"think budget {', '.join(budgets)}" + ("" if len(budgets) > 1 else " in every arm")


def _blind(f: InstrumentFacts) -> Finding:
    steer = f.arms.filter(pl.col("arm") == STEER, pl.col("chosen"))
    if not steer.height or steer["protect"][0] is None or f.base["protect"] is None:
        return None, "free text is not read for the trait here"
    row = steer.row(0, named=True)
    shift = near_end(as_float(row["d_target_low"]), as_float(row["d_target_high"]))
    text = (
        as_float(row["protect_low"]) - as_float(f.base["protect"]),
        as_float(row["protect_high"]) - as_float(f.base["protect"]),
    )
    moved, spoke = abs(shift) >= f.limits.shift, near_end(*text) != 0
    protect = as_float(row["protect"]) - as_float(f.base["protect"])
    return moved != spoke, f"vignettes {as_float(row['d_target']):+.2f} nat, protect rate {protect:+.2f}"


TABLE: tuple[Row[InstrumentFacts], ...] = (
    Row("non-finite rows", _nonfinite, red=True, shows=unfinite(BASE, STEER, HEALED)),
    Row("unpaired rows", _unpaired, red=True),
    Row(
        "answers off the list", _off_list, red=True, shows=(EvidenceQuery("list", BASE, "least", "rows furthest off"),)
    ),
    Row(MUSH, _mush, red=True, shows=babble(BASE)),
    Row("dead or saturated axis", _headroom, yellow=True),
    Row(
        "readout biased", _order, yellow=True, shows=(EvidenceQuery("order", BASE, "most", "rows with the widest gap"),)
    ),
    Row("think budget", _think, yellow=True),
    Row("probe blind", _blind, yellow=True, shows=moved(STEER) + readable(STEER)),
    Row("reads by questions", _questions, decides=False),
)
OTHERWISE: Row[InstrumentFacts] = Row("sane", lambda f: (True, _unpaired(f)[1] + "; " + _headroom(f)[1]))


def judge_instrument(
    arms: pl.DataFrame, trait: Trait, limits: Thresholds | None = None, evidence: pl.DataFrame | None = None
) -> Gate:
    """Gate 0 from the arms of the report set. evidence: rows and samples to name behind the figures."""
    f = InstrumentFacts(arms, trait, limits or Thresholds())
    primary, checks, seen = decide(TABLE, f, OTHERWISE, evidence)
    colour = "green" if primary is OTHERWISE else "yellow"
    if any(row.red for row in seen):
        colour = "red"
    return Gate(
        gate=0,
        name="instrument",
        outcome=primary.outcome,
        also=[row.outcome for row in seen if row is not primary],
        checks=checks,
        colour=colour,
        value=finite_or_none(as_float(f.base["profile_target"])),
        low=None,
        high=None,
        should=SHOULD,
        next=ADVICE[0][primary.outcome],
    )
