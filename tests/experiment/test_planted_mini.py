"""Outcomes planted for real on the embedded model: judged by the code that judges a run, on arms measured here.

Margins are wide: what is planted must hold for any weights that behave alike. Reports and texts are read once.
"""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass, field
from typing import Any

import polars as pl
import pytest

import ws
from ws.axes.axis import Axis
from ws.errors import UserError
from ws.evaluation.comparison import compare, retain, summary
from ws.evaluation.drift import drift_frame
from ws.evaluation.items import ItemSet, load_items
from ws.evaluation.report import Report
from ws.filtering.limits import reasons, tail_limit
from ws.gating import Gate, Trait, judge_filter, judge_heal, judge_instrument, judge_loop, judge_steer
from ws.gating.schemas import ROUNDS
from ws.generation.completions import SCHEMA
from ws.intervals import as_float
from ws.models.adapters.adapter import Adapter
from ws.models.lm import LM
from ws.models.recipe import MINI
from ws.runs.arms import Arm, arms_of
from ws.steering.direction import Direction

pytestmark = pytest.mark.slow
READ: dict[str, Any] = {
    "items": "conflict", "think": 0, "texts": 48, "capability": False, "split": "report", "batch_size": 128,
    "conditions": ["other_violate"], "per_foundation": 16,
}  # fmt: skip
VIGNETTES = READ | {"free_text": False}
WEAK, SPARE, KNEE, ERRATIC, BROKEN = 0.05, 0.25, 1.0, 2.0, 4.0
DRAWS = 8
FILTER = {"rep": 0.3, "narrates": False, "refuses": False}
OPEN: dict[str, Any] = {"tail_ppl": math.inf, "rep": 2.0, "narrates": True, "refuses": True}


@dataclass
class Lab:
    """The model, its direction and what all plants share."""

    lm: LM
    axis: Axis
    v: Direction
    base: Report
    limit: float
    read_once: dict[Any, Any] = field(default_factory=dict)

    @property
    def trait(self) -> Trait:
        return Trait(self.axis.target, self.axis.intended)

    def once(self, key: Any, compute: Any) -> Any:
        if key not in self.read_once:
            self.read_once[key] = compute()
        return self.read_once[key]

    def read(self, settings: dict[str, Any] = READ, **treatment: Any) -> Any:
        return ws.evaluate(self.lm, self.axis, **settings, **treatment)

    def at(self, c: float) -> Report:
        """The steered report at c."""
        return self.once(c, lambda: self.read(direction=self.v, c=c))  # type: ignore[no-any-return]

    def prompted(self, persona: str) -> Report:
        return self.once(persona, lambda: self.read(VIGNETTES, persona=persona))  # type: ignore[no-any-return]

    def randoms(self) -> list[Report]:
        """Random directions of the same norm at the knee's dose, vignettes only."""
        draws = [self.v.random_like(100 + i) for i in range(DRAWS)]
        return self.once(  # type: ignore[no-any-return]
            "random", lambda: [self.read(VIGNETTES, direction=draw, c=KNEE) for draw in draws]
        )

    def texts(self, c: float, n: int = 1, seed: int = 0) -> pl.DataFrame:
        """Scored completions of the train prompts at c."""
        prompts = [ws.Prompt(p, split="train") for p in self.axis.train]
        return self.once(  # type: ignore[no-any-return]
            ("texts", c, n, seed),
            lambda: ws.score(self.lm, ws.generate(self.lm, prompts, self.v, c, n=n, seed=seed), self.axis),
        )

    def table(self, arms: list[Arm], fingerprint: str = "") -> pl.DataFrame:
        return arms_of(self.base, arms, fingerprint or self.v.fingerprint)

    def steered(
        self, plus: Report, c: float, minus: Report | None = None, persona: str = "", fingerprint: str = ""
    ) -> Gate:
        """Gate 1 of a steered report at c: with its -c, a persona, and at the knee eight random directions."""
        arms = [Arm("base", self.base), Arm("steer", plus, c, chosen=True)]
        arms += [] if minus is None else [Arm("steer", minus, -c, chosen=False)]
        arms += [Arm("persona", self.prompted(persona))] if persona else []
        if c == KNEE:
            arms += [Arm("random", r, c, draw=i) for i, r in enumerate(self.randoms())]
        grid = arms_of(self.base, [Arm("base", self.base), Arm("steer", plus, c)], self.v.fingerprint)
        return judge_steer(grid, self.table(arms, fingerprint), self.trait, seeds=3)

    def trained(self, data: pl.DataFrame, history: tuple[Adapter, ...] = (), **config: Any) -> Adapter:
        settings = ws.HealConfig(**{"min_rows": 4} | config)
        return ws.heal(self.lm, data, settings, axis=self.axis, history=history, round=len(history))

    def healed(
        self, data: pl.DataFrame, c: float, settings: dict[str, Any] = READ, *, plain: bool = False, **config: Any
    ) -> tuple[Gate, pl.DataFrame]:
        """Gate 3 of one heal on `data`, written at c, and its arms; plain: beside training without a barrier."""
        adapter = self.trained(data, **config)
        arms = [Arm("base", self.base), Arm("steer", self.at(c), c, chosen=True)]
        arms.append(Arm("healed", self.read(settings, adapters=[adapter])))
        drift = None
        if plain:
            arms.append(Arm("sft", self.read(settings, adapters=[self.trained(data, **config | {"beta": 0.0})])))
            texts = reasons(self.texts(c), tail_ppl=self.limit, **FILTER)
            tau = adapter.meta["config"]["tau"] if "config" in adapter.meta else 0.3
            drift = drift_frame(self.lm, texts, self.v, adapter, tau=tau)
        frame = self.table(arms)
        kept = {a.arm: retain(self.base, a.report, [self.at(c)], [c] * data.height) for a in arms[2:]}
        for name in ("value", "low", "high"):
            found = [as_float(getattr(kept[arm], name)) if arm in kept else math.nan for arm in frame["arm"]]
            column = "retain" if name == "value" else f"retain_{name}"
            frame = frame.with_columns(pl.Series(column, found, pl.Float64).fill_nan(None))
        beta = ws.HealConfig(**config).resolved(self.lm).beta or 0.0
        return judge_heal(frame, adapter.curve, self.trait, beta=beta, seeds=3, drift=drift), frame

    def filtered(self, data: pl.DataFrame, **limits: Any) -> Gate:
        """Gate 2 of completions under these limits, on a grid whose strongest dose is broken."""
        arms = [Arm("base", self.base, split="select")]
        arms += [Arm("steer", self.at(c), c, "select") for c in (KNEE, BROKEN)]
        marked = reasons(data, **({"tail_ppl": self.limit} | FILTER | limits))
        return judge_filter(marked, self.table(arms), min_keep=30, seeds=3)


@pytest.fixture(scope="module")
def lab(mini: LM) -> Lab:
    axis = ws.load_axis("care_over_authority").on(mini)
    v = ws.extract(mini, axis)
    base = ws.evaluate(mini, axis, **READ)
    return Lab(mini, axis, v, base, tail_limit(base.text))


@pytest.fixture(scope="module")
def good(lab: Lab) -> pl.DataFrame:
    """Kept rows at the knee."""
    return ws.keep(lab.texts(KNEE), tail_ppl=lab.limit, min_keep=30, **FILTER).head(48)


def named(gate: Gate) -> set[str]:
    return {gate.outcome, *gate.also}


def check(gate: Gate, outcome: str) -> tuple[bool, bool]:
    """(measured, seen) of one outcome."""
    return next((measured, seen) for name, measured, seen, _ in gate.checks if name == outcome)


# Gate 0


def test_instrument_is_sane_and_unpaired_rows_are_named(lab: Lab) -> None:
    vignettes = dataclasses.replace(lab.at(KNEE), text=lab.base.text.clear())  # few texts may leave the probe blind
    table = lab.table([Arm("base", lab.base), Arm("steer", vignettes, KNEE, chosen=True)])
    sane = judge_instrument(table, lab.trait)
    assert sane.outcome == "sane" and sane.colour == "green", sane
    mixed = table.with_columns(identity=pl.when(pl.col("arm") == "steer").then(pl.lit("other")).otherwise("identity"))
    assert named(judge_instrument(mixed, lab.trait)) == {"unpaired rows"}


def test_a_head_slice_makes_a_no_op_look_like_a_shift(lab: Lab) -> None:
    """The first rows of the standard set are all Care: the untouched base answers Care there and not on the set."""
    whole = load_items("standard", MINI)
    head = ItemSet(whole.name, whole.items[:24])
    assert {item.foundation for item in head.items} == {"Care"}
    conflict = {"cues": ["Care", "Authority"]}  # what lets a lopsided set pass: items that say so
    with pytest.raises(UserError, match="no item of"):
        lab.read(VIGNETTES | {"items": head, "split": "all", "per_foundation": None})
    cued = [{"id": i.id, "foundation": i.foundation, **i.texts, **conflict} for i in head.items]
    sliced = lab.read(VIGNETTES | {"items": cued, "split": "all", "per_foundation": None})
    fair = lab.read(VIGNETTES | {"items": whole, "per_foundation": 8, "split": "all"})
    assert sliced.profile["Care"] > fair.profile["Care"] + 0.2, "the same weights"
    with pytest.raises(UserError, match="the reports differ in item"):
        compare(fair, sliced)
    arms = [arms_of(r, [Arm(name, r, chosen=True)], "") for name, r in (("base", fair), ("steer", sliced))]
    assert judge_instrument(pl.concat(arms), lab.trait).outcome == "unpaired rows"


def test_a_nan_row_is_red(lab: Lab) -> None:
    lost = pl.when(pl.int_range(pl.len()) == 3).then(math.nan).otherwise(pl.col("p_Care")).alias("p_Care")
    broken = dataclasses.replace(lab.base, per_row=lab.base.per_row.with_columns(lost))
    gate = judge_instrument(lab.table([Arm("base", broken)]), lab.trait)
    assert named(gate) == {"non-finite rows"} and gate.colour == "red", gate


# Gate 1


def test_good_knee(lab: Lab) -> None:
    gate = lab.steered(lab.at(KNEE), KNEE, lab.at(-KNEE), lab.axis.negative[0])
    assert gate.outcome == "good knee" and gate.colour in ("green", "yellow"), gate
    assert not {"wrong sign", "non-specific disruption", "too weak", "too strong", "saddle"} & named(gate)
    assert check(gate, "prompting wins") == check(gate, "prompting ties") == (True, False), "the opposite persona"


def test_prompting_wins_over_a_weak_dose(lab: Lab) -> None:
    gate = lab.steered(lab.at(WEAK), WEAK, persona=lab.axis.positive[0])
    assert "prompting wins" in named(gate) and "prompting ties" not in named(gate), gate


def test_whether_prompting_wins_at_the_knee_is_what_the_intervals_say(lab: Lab) -> None:
    gate = lab.steered(lab.at(KNEE), KNEE, persona=lab.axis.positive[0])
    says, does = (summary(compare(lab.base, r)) for r in (lab.prompted(lab.axis.positive[0]), lab.at(KNEE)))
    wins = says["d_target_low"] > does["d_target_high"]
    ties = not wins and says["d_target_high"] >= does["d_target_low"]
    assert {"prompting wins": wins, "prompting ties": ties} == {
        name: name in named(gate) for name in ("prompting wins", "prompting ties")
    }


def test_too_weak(lab: Lab) -> None:
    gate = lab.steered(lab.at(WEAK), WEAK)
    assert "too weak" in named(gate) and gate.colour == "red", gate
    assert not {"good knee", "wrong sign", "too strong"} & named(gate), gate


def test_coherence_to_spare(lab: Lab) -> None:
    gate = lab.steered(lab.at(SPARE), SPARE)
    assert "coherence to spare" in named(gate) and not {"too strong", "wrong sign"} & named(gate), gate
    assert "coherence to spare" not in named(lab.steered(lab.at(BROKEN), BROKEN))


def test_too_strong(lab: Lab) -> None:
    gate = lab.steered(lab.at(BROKEN), BROKEN)
    assert gate.outcome in ("too strong", "format alive, text dead", "collapse posing as signal"), gate
    assert gate.colour == "red" and "too strong" in named(gate)
    assert not {"too weak", "good knee", "coherence to spare"} & named(gate), gate


def test_a_random_direction_is_no_knee(lab: Lab) -> None:
    report = lab.read(direction=lab.v.random_like(1), c=KNEE)
    gate = lab.steered(report, KNEE)
    assert gate.colour == "red" and "good knee" not in named(gate), gate


def test_wrong_sign(lab: Lab) -> None:
    """-v at c is v at -c: the same two reports, exchanged."""
    gate = lab.steered(lab.at(-KNEE), KNEE, lab.at(KNEE))
    assert gate.outcome == "wrong sign" and gate.colour == "red", gate
    assert not {"good knee", "saddle", "too weak"} & named(gate), gate


def test_stale_direction(lab: Lab) -> None:
    gate = lab.steered(lab.at(KNEE), KNEE, lab.at(-KNEE), fingerprint="another model")
    assert gate.outcome == "stale direction" and gate.colour == "red", gate


# Gate 2


def test_filter_works_and_inert(lab: Lab) -> None:
    data = pl.concat([lab.texts(c) for c in (0.0, KNEE, ERRATIC, BROKEN)])
    works = lab.filtered(data)
    assert works.outcome == "works" and not {"inert", "starvation", "keeps base-like text"} & named(works), works
    inert = lab.filtered(data, **OPEN)
    assert inert.outcome == "inert" and inert.colour == "red" and "works" not in named(inert), inert


def test_filter_starves(lab: Lab) -> None:
    gate = lab.filtered(pl.concat([lab.texts(KNEE), lab.texts(BROKEN)]), tail_ppl=1.0)
    assert gate.outcome == "starvation" and gate.colour == "red", gate
    assert not {"works", "keeps base-like text"} & named(gate)


def test_filter_keeps_base_like_text(lab: Lab) -> None:
    """Data that no dose has touched: written at c = 0."""
    gate = lab.filtered(pl.concat([lab.texts(0.0), lab.texts(0.0, seed=1)]))
    assert "keeps base-like text" in named(gate) and not {"works", "starvation"} & named(gate), gate


def test_narration_leaks(lab: Lab) -> None:
    """One kept text in eight begins by talking about the trait."""
    data = pl.concat([lab.texts(KNEE), lab.texts(KNEE, seed=1), lab.texts(BROKEN)])
    said = pl.concat_str(pl.lit("I am someone who looks after others. "), "text")
    told = data.with_columns(text=pl.when(pl.int_range(pl.len()) % 8 == 0).then(said).otherwise("text"))
    scored = ws.score(lab.lm, told.select(list(SCHEMA)), lab.axis)
    leaky, tight = lab.filtered(scored, narrates=True), lab.filtered(scored)
    assert "narration leaks" in named(leaky) and "refusal boilerplate" not in named(leaky), leaky
    assert "narration leaks" not in named(tight), tight


# Gate 3


def test_heal(lab: Lab, good: pl.DataFrame) -> None:
    gate, _ = lab.healed(good, KNEE)
    assert gate.outcome == "heal" and gate.colour != "red", gate
    assert not {"undo", "broken", "frozen adapter", "barrier inert", "memorised"} & named(gate), gate


def test_undo(lab: Lab, good: pl.DataFrame) -> None:
    gate, _ = lab.healed(good, KNEE, beta=1000.0, tau=0.0)
    assert "undo" in named(gate) and gate.colour == "red", gate
    assert not {"heal", "part heal", "barrier inert"} & named(gate), gate


def test_inert_barrier(lab: Lab, good: pl.DataFrame) -> None:
    gate, _ = lab.healed(good, KNEE, VIGNETTES, tau=100.0)
    assert "barrier inert" in named(gate) and not {"undo", "barrier too strong"} & named(gate), gate


def test_frozen_adapter(lab: Lab, good: pl.DataFrame) -> None:
    gate, _ = lab.healed(good, KNEE, VIGNETTES, lr=0.0, epochs=2)
    assert gate.outcome == "frozen adapter" and gate.colour == "red" and "memorised" not in named(gate), gate


def test_memorised(lab: Lab, good: pl.DataFrame) -> None:
    gate, _ = lab.healed(good.head(12), KNEE, VIGNETTES, rank=32, epochs=24, beta=0.0, validation=0.3)
    assert "memorised" in named(gate) and not {"frozen adapter", "nothing to learn"} & named(gate), gate


def test_broken(lab: Lab) -> None:
    """Babble as data, no filter, no barrier."""
    gate, _ = lab.healed(lab.texts(BROKEN).head(48), BROKEN, beta=0.0)
    assert gate.outcome == "broken" and gate.colour == "red" and "heal" not in named(gate), gate


def test_a_barrier_that_changes_nothing_just_trades(lab: Lab) -> None:
    """Data beyond the knee, unfiltered: beta 0 loses coherence, and a barrier without weight loses as much."""
    gate, arms = lab.healed(lab.texts(ERRATIC).head(48), ERRATIC, plain=True, beta=1e-9)
    plain, healed = (arms.filter(pl.col("arm") == name).row(0, named=True) for name in ("sft", "healed"))
    assert as_float(lab.base.coherence) - plain["coherence"] > 0.03, "there is something to win"
    assert abs(plain["coherence"] - healed["coherence"]) < 0.05
    assert check(gate, "just trades") == (True, True), gate


def test_the_bet_is_measured_and_named_as_its_figures_say(lab: Lab) -> None:
    kept = ws.keep(lab.texts(ERRATIC), tail_ppl=lab.limit, min_keep=4, **FILTER)
    gate, arms = lab.healed(kept.head(48), ERRATIC, plain=True)
    assert check(gate, "the bet holds")[0], gate
    healed = arms.filter(pl.col("arm") == "healed").row(0, named=True)
    steered = lab.at(ERRATIC).coherence
    back = (healed["coherence"] - steered) / (lab.base.coherence - steered)
    if "the bet holds" in named(gate):
        assert back > 1 - healed["retain"]


# Gate 4


def looped(lab: Lab, reports: list[Report], steered: Report, reference: str) -> Gate:
    """Gate 4 of rounds whose healed models gave these reports."""
    rows = []
    for i, report in enumerate(reports):
        found = summary(compare(lab.base, report))
        names = (
            "d_target",
            "d_target_low",
            "d_target_high",
            "coherence",
            "coherence_low",
            "coherence_high",
            "surgical",
        )
        row = {name: found[name] for name in names}
        row |= {"round": i, "nonfinite": report.n_bad, "coherence_base": lab.base.coherence, "c": KNEE, "cos_v0": 1.0}
        rows.append(row | {"coherence_steered": steered.coherence, "reference": reference, "kept": 48})
    return judge_loop(pl.DataFrame([{name: row.get(name) for name in ROUNDS} for row in rows], schema=ROUNDS), seeds=3)


def test_history_is_erased_with_reference_base_and_held_with_the_previous_round(lab: Lab, good: pl.DataFrame) -> None:
    """A second round whose barrier outweighs everything: it pulls to what it refers to."""
    first = lab.trained(good)
    once, gates = lab.read(adapters=[first]), {}
    for reference in ("base", "prev"):
        second = lab.trained(good, (first,), reference=reference, beta=1000.0, tau=0.0, epochs=3)
        twice = lab.read(adapters=[first, second])
        gates[reference] = looped(lab, [once, twice], lab.at(KNEE), reference)
    assert "history erased" in named(gates["base"]), gates["base"]
    assert not {"history erased", "erodes", "hidden collapse"} & named(gates["prev"]), gates["prev"]
