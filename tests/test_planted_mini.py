"""Outcomes planted for real on the embedded model: judged by the code that judges a run, on arms measured here."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass
from typing import Any

import polars as pl
import pytest

import ws
from ws.adapters import Adapter
from ws.arms import Arm, arms_of
from ws.axes import Axis
from ws.directions import Direction
from ws.errors import UserError
from ws.evaluation.comparison import retain
from ws.evaluation.report import Report
from ws.filtering import reasons, tail_limit
from ws.gating import Gate, Trait, judge_filter, judge_heal, judge_instrument, judge_steer
from ws.models import LM

pytestmark = pytest.mark.slow
READ: dict[str, Any] = {"items": "conflict", "think": 0, "texts": 64, "capability": False, "split": "report"}
VIGNETTES = READ | {"free_text": False}
KNEE = 1.0
BROKEN = 4.0


@dataclass
class Lab:
    """The model, its direction and what all plants share."""

    lm: LM
    axis: Axis
    v: Direction
    base: Report
    limit: float

    @property
    def trait(self) -> Trait:
        return Trait(self.axis.target, self.axis.intended)

    def read(self, settings: dict[str, Any] = READ, **treatment: Any) -> Any:
        return ws.evaluate(self.lm, self.axis, **settings, **treatment)

    def texts(self, c: float, n: int = 1, seed: int = 0) -> pl.DataFrame:
        """Scored completions of the train prompts at c."""
        prompts = [ws.Prompt(p, split="train") for p in self.axis.train]
        return ws.score(self.lm, ws.generate(self.lm, prompts, self.v, c, n=n, seed=seed), self.axis)

    def table(self, arms: list[Arm], fingerprint: str = "") -> pl.DataFrame:
        return arms_of(self.base, arms, fingerprint or self.v.fingerprint)

    def steered(self, v: Direction, c: float, fingerprint: str = "") -> Gate:
        """Gate 1 of a direction at c, with -c, the persona and eight random directions at the same dose."""
        plus, minus = self.read(direction=v, c=[c, -c])
        arms = [Arm("base", self.base), Arm("steer", plus, c, chosen=True), Arm("steer", minus, -c, chosen=False)]
        arms.append(Arm("persona", self.read(VIGNETTES, persona=self.axis.positive[0])))
        draws = [self.read(VIGNETTES, direction=self.v.random_like(100 + i), c=c) for i in range(8)]
        arms += [Arm("random", r, c, draw=i) for i, r in enumerate(draws)]
        grid = arms_of(self.base, [Arm("base", self.base), Arm("steer", plus, c)], v.fingerprint)
        return judge_steer(grid, self.table(arms, fingerprint), self.trait, seeds=3)

    def healed(self, data: pl.DataFrame, c: float, **config: Any) -> Gate:
        """Gate 3 of one heal on `data`, written at c."""
        settings = ws.HealConfig(**{"min_rows": 4} | config)
        adapter: Adapter = ws.heal(self.lm, data, settings, axis=self.axis)
        steer, after = self.read(direction=self.v, c=c), self.read(adapters=[adapter])
        arms = [Arm("base", self.base), Arm("steer", steer, c, chosen=True), Arm("healed", after)]
        kept = retain(self.base, after, [steer], [c] * data.height)
        healed = pl.col("arm") == "healed"
        columns = {"retain": kept.value, "retain_low": kept.low, "retain_high": kept.high}
        frame = self.table(arms).with_columns(
            pl.when(healed).then(pl.lit(x if math.isfinite(x) else None, pl.Float64)).alias(name)
            for name, x in columns.items()
        )
        beta = settings.resolved(self.lm).beta or 0.0
        return judge_heal(frame, adapter.curve, self.trait, beta=beta, seeds=3)

    def filtered(self, data: pl.DataFrame, **limits: Any) -> Gate:
        """Gate 2 of completions under these limits, on a grid whose strongest dose is broken."""
        arms = [Arm("base", self.base, split="select")]
        doses = [KNEE, BROKEN]
        arms += [Arm("steer", r, c, "select") for c, r in zip(doses, self.read(direction=self.v, c=doses), strict=True)]
        default = {"tail_ppl": self.limit, "rep": 0.3, "narrates": False, "refuses": False}
        marked = reasons(data, **(default | limits))
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
    return ws.keep(lab.texts(KNEE), tail_ppl=lab.limit, rep=0.3, narrates=False, refuses=False, min_keep=30).head(48)


def named(gate: Gate) -> set[str]:
    return {gate.outcome, *gate.also}


def test_good_knee(lab: Lab) -> None:
    gate = lab.steered(lab.v, KNEE)
    assert gate.outcome == "good knee" and gate.colour in ("green", "yellow"), gate
    assert not {"wrong sign", "non-specific disruption", "too weak", "too strong"} & named(gate)
    assert named(gate) & {"prompting wins", "prompting ties"} or any(
        c[0] == "prompting wins" and c[1] and not c[2] for c in gate.checks
    )


def test_too_weak(lab: Lab) -> None:
    gate = lab.steered(lab.v, 0.05)
    assert "too weak" in named(gate) and gate.colour == "red" and "good knee" not in named(gate), gate


def test_too_strong(lab: Lab) -> None:
    gate = lab.steered(lab.v, BROKEN)
    assert {"too strong", "format alive, text dead"} & {gate.outcome} and gate.colour == "red", gate
    assert "too strong" in named(gate)


def test_a_random_direction_is_no_knee(lab: Lab) -> None:
    gate = lab.steered(lab.v.random_like(1), KNEE)
    assert gate.colour == "red" and "good knee" not in named(gate), gate


def test_wrong_sign(lab: Lab) -> None:
    gate = lab.steered(lab.v * -1.0, KNEE)
    assert gate.outcome == "wrong sign" and gate.colour == "red", gate


def test_stale_direction(lab: Lab) -> None:
    gate = lab.steered(lab.v, KNEE, fingerprint="another model")
    assert gate.outcome == "stale direction" and gate.colour == "red", gate


def test_instrument_is_sane_and_unpaired_rows_are_named(lab: Lab) -> None:
    other = lab.read(READ | {"items": "standard"}, direction=lab.v, c=KNEE)
    with pytest.raises(UserError, match="item_hash"):
        ws.compare(lab.base, other)
    steer = Arm("steer", lab.read(direction=lab.v, c=KNEE), KNEE, chosen=True)
    table = lab.table([Arm("base", lab.base), steer])
    sane = judge_instrument(table, lab.trait)
    assert sane.outcome == "sane" and sane.colour == "green", sane
    mixed = table.with_columns(identity=pl.when(pl.col("arm") == "steer").then(pl.lit("other")).otherwise("identity"))
    assert judge_instrument(mixed, lab.trait).outcome == "unpaired rows"


def test_a_nan_row_is_red(lab: Lab) -> None:
    lost = pl.when(pl.int_range(pl.len()) == 3).then(math.nan).otherwise(pl.col("p_Care")).alias("p_Care")
    broken = dataclasses.replace(lab.base, per_row=lab.base.per_row.with_columns(lost))
    gate = judge_instrument(lab.table([Arm("base", broken)]), lab.trait)
    assert gate.outcome == "non-finite rows" and gate.colour == "red", gate


def test_filter_works_and_inert(lab: Lab) -> None:
    data = pl.concat([lab.texts(0.0), lab.texts(KNEE), lab.texts(2.0), lab.texts(BROKEN)])
    works = lab.filtered(data)
    assert works.outcome == "works" and "inert" not in named(works), works
    inert = lab.filtered(data, tail_ppl=math.inf, rep=2.0, narrates=True, refuses=True)
    assert inert.outcome == "inert" and inert.colour == "red", inert


def test_filter_starves(lab: Lab) -> None:
    gate = lab.filtered(pl.concat([lab.texts(KNEE), lab.texts(BROKEN)]), tail_ppl=1.0)
    assert gate.outcome == "starvation" and gate.colour == "red", gate


def test_filter_keeps_base_like_text(lab: Lab) -> None:
    pretended = pl.concat([lab.texts(0.01), lab.texts(0.02, seed=1)])
    gate = lab.filtered(pretended, tail_ppl=math.inf, rep=2.0, narrates=True, refuses=True)
    assert "keeps base-like text" in named(gate), gate


def test_narration_leaks(lab: Lab) -> None:
    data = pl.concat([lab.texts(KNEE, n=3), lab.texts(BROKEN)])
    said = data.with_columns(
        text=pl.when(pl.int_range(pl.len()) % 8 == 0).then(pl.lit("I am someone who looks after others.") + pl.lit(" ")
        + pl.col("text")).otherwise("text"))  # fmt: skip
    gate = lab.filtered(ws.score(None, said, lab.axis) if "narrates" not in said.columns else said, narrates=True)
    assert "narration leaks" in named(gate), gate


def test_heal(lab: Lab, good: pl.DataFrame) -> None:
    gate = lab.healed(good, KNEE)
    assert gate.outcome == "heal" and gate.colour != "red", gate


def test_undo(lab: Lab, good: pl.DataFrame) -> None:
    gate = lab.healed(good, KNEE, beta=1000.0, tau=0.0)
    assert {"undo", "barrier too strong"} & named(gate) and gate.colour == "red", gate
    assert gate.value is not None and gate.value < 0.2


def test_inert_barrier(lab: Lab, good: pl.DataFrame) -> None:
    gate = lab.healed(good, KNEE, tau=100.0)
    assert "barrier inert" in named(gate) and "undo" not in named(gate), gate


def test_frozen_adapter(lab: Lab, good: pl.DataFrame) -> None:
    gate = lab.healed(good, KNEE, lr=0.0)
    assert gate.outcome == "frozen adapter" and gate.colour == "red", gate


def test_memorised(lab: Lab, good: pl.DataFrame) -> None:
    gate = lab.healed(good.head(12), KNEE, rank=32, epochs=40, beta=0.0, validation=0.3)
    assert "memorised" in named(gate), gate


def test_broken(lab: Lab) -> None:
    gate = lab.healed(lab.texts(BROKEN).head(48), BROKEN, beta=0.0)
    assert gate.outcome == "broken" and gate.colour == "red", gate
