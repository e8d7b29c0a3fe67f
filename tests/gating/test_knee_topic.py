"""Where text leaves its question: planted curves of what ties text to its prompt, their reference and their noise."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import polars as pl
import pytest

from tests.builders.gate_frames import TRAIT, grid, steer
from ws.gating import judge_steer
from ws.gating.advice import ADVICE, advice
from ws.gating.arm_table import BASE, STUDENT
from ws.gating.knee import knee_of, probes_of
from ws.gating.knee_topic import leaving
from ws.gating.schemas import arms_frame

DOSES = (0.0, 2.0, 4.0, 8.0, 16.0)
SHARE = 0.85


def probes(curve: Any, error: float = 0.06, noise: Any = None) -> pl.DataFrame:
    moved = np.zeros(len(DOSES)) if noise is None else noise
    tied = [curve(c) + x for c, x in zip(DOSES, moved, strict=True)]
    return pl.DataFrame({"c": DOSES, "tied": tied, "tied_error": error})


def arms(base: Any, persona: Any, steered: dict[float, Any]) -> pl.DataFrame:
    """Rows of a dose search whose coherence never falls; a tie is (value, low, high)."""
    rows = [("base", 0.0, base), ("persona", 0.0, persona), *(("steer", c, found) for c, found in steered.items())]
    return pl.DataFrame(
        [{"arm": arm, "c": c, "coherence": 1.0, "coh_text": 0.98, "n_text": 64, "p_ans_any": 1.0,
          **dict(zip(("on_prompt", "on_prompt_low", "on_prompt_high"), found or (None,) * 3, strict=True))}
         for arm, c, found in rows],
        schema_overrides={"on_prompt": pl.Float64, "on_prompt_low": pl.Float64, "on_prompt_high": pl.Float64},
    )  # fmt: skip


@pytest.mark.parametrize("m", [20.0, 50.0])
@pytest.mark.parametrize("power", [0.8, 1.0, 2.0])
def test_a_planted_curve_is_found(m: float, power: float) -> None:
    found = leaving(probes(lambda c: 1.1 * math.exp(-((c / m) ** power))), SHARE)
    at = m * math.log(1.1 / SHARE) ** (1 / power)
    assert found is not None
    if at > max(DOSES):
        assert found.value > 0.8 * at or found.value == math.inf
    else:
        assert found.value == pytest.approx(at, rel=0.15) and found.low < at < found.high


def test_the_interval_holds_the_planted_dose() -> None:
    rng, at = np.random.default_rng(0), 40 * math.log(1.1 / SHARE)
    noises = [rng.normal(0, 0.033, len(DOSES)) for _ in range(200)]
    found = [leaving(probes(lambda c: 1.1 * math.exp(-c / 40), noise=noise), SHARE) for noise in noises]
    assert np.mean([f is not None and f.low <= at <= f.high for f in found]) >= 0.87
    assert np.std([math.log(min(f.value, 2 * at)) for f in found if f is not None]) < math.log(1.3)


def test_text_that_keeps_to_its_question_sets_no_dose() -> None:
    found = leaving(probes(lambda c: 1.0 + 0.002 * c), SHARE)
    assert found is not None and found.value == math.inf
    unsteered = leaving(probes(lambda c: 0.7 * math.exp(-c / 40)), SHARE)
    assert unsteered is not None and unsteered.value == 0, "a student that left its question before any steering"


@pytest.mark.parametrize("lost", [math.nan, None])
def test_a_dose_that_could_not_be_read_is_left_out(lost: float | None) -> None:
    whole = probes(lambda c: 1.1 * math.exp(-c / 40))
    gap = whole.with_columns(tied=pl.when(pl.col("c") == 4).then(pl.lit(lost, pl.Float64)).otherwise("tied"))
    found, without = leaving(gap, SHARE), leaving(whole.filter(pl.col("c") != 4), SHARE)
    assert found == without
    assert leaving(whole.head(2), SHARE) is None, "one dose draws no curve"
    assert leaving(whole.drop("tied"), SHARE) is None and leaving(whole, 0.0) is None


def test_the_less_tied_of_base_and_persona_is_the_measure() -> None:
    """A prompted pirate answers what was asked, at two thirds of base's tie: steered text is held against that."""
    steered = {c: (1.2 * math.exp(-c / 20), *(1.2 * math.exp(-c / 20) + x for x in (-0.1, 0.1))) for c in DOSES[1:]}
    base, pirate = (1.2, 1.1, 1.3), (0.8, 0.7, 0.9)
    strict, fair = (knee_of(probes_of(arms(base, persona, steered)), 0.95, SHARE) for persona in (None, pirate))
    assert strict.by_topic and strict.at.value == pytest.approx(20 * math.log(1 / SHARE), rel=0.15)
    assert fair.at.value == pytest.approx(20 * math.log(1.2 / (SHARE * 0.8)), rel=0.15)
    assert "text leaves its question" in strict.text and f"at c {strict.at.value:.3g}" in strict.text
    untied = probes_of(arms((0.1, -0.1, 0.3), pirate, steered))
    assert untied["tied"].is_null().all() and knee_of(untied, 0.95, SHARE).on_topic is None, "base keeps to no prompt"


def test_a_student_is_held_against_what_it_begins_with() -> None:
    """It is healed, and keeps .8 of base's tie: a second round's dose is what takes a share of that."""
    steered = {c: (0.96 * math.exp(-c / 20), *(0.96 * math.exp(-c / 20) + x for x in (-0.1, 0.1))) for c in DOSES[1:]}
    table = arms((1.2, 1.1, 1.3), None, steered)
    own = table.filter(pl.col("arm") == BASE).with_columns(
        arm=pl.lit(STUDENT), on_prompt=pl.lit(0.96), on_prompt_low=pl.lit(0.86), on_prompt_high=pl.lit(1.06)
    )
    found = knee_of(probes_of(pl.concat([table, own])), 0.95, SHARE)
    assert found.by_topic and found.at.value == pytest.approx(20 * math.log(1 / SHARE), rel=0.15)
    assert knee_of(probes_of(table), 0.95, SHARE).at.value < found.at.value / 2


def test_what_comes_first_is_the_knee() -> None:
    rows = probes_of(arms((1.2, 1.1, 1.3), None, dict.fromkeys(DOSES[1:], (1.2, 1.1, 1.3))))
    broken = rows.with_columns(coh_text=pl.when(pl.col("c") > 8).then(0.1).otherwise("coh_text"))
    found = knee_of(broken, 0.95, SHARE)
    assert not found.by_topic and found.at == found.coherent and found.text.startswith("coherence falls through 0.95")


def test_a_stronger_dose_that_leaves_the_question_is_no_coherence_to_spare() -> None:
    """Coherent at every dose, little moved: raise the dose, unless the text no longer answers what was asked."""
    spare = ((0.5, 0.1, 0.99), (1.0, 0.2, 0.99))
    rows = steer(shift=0.25, coherence=0.99)
    falling = {0.0: 1.0, 0.5: 0.9, 1.0: 0.8}
    plain = grid(*spare)
    off = plain.with_columns(
        pl.col("c").replace_strict(falling, return_dtype=pl.Float64).add(moved).alias(name)
        for name, moved in (("on_prompt", 0.0), ("on_prompt_low", -0.02), ("on_prompt_high", 0.02))
    )
    found = [judge_steer(doses, arms_frame(rows), TRAIT, seeds=3) for doses in (plain, off)]
    assert [gate.outcome for gate in found] == ["coherence to spare", "too weak"]


def test_going_on_waits_for_text_that_answers() -> None:
    assert advice(1, "good knee") == ADVICE[1]["good knee"]
    assert advice(1, "good knee", ["prompting wins", "off the question"]) == ADVICE[1]["off the question"]
    assert advice(1, "too strong", ["off the question"]) == ADVICE[1]["too strong"]
    assert advice(3, "heal", ["off the question"]) == ADVICE[3]["off the question"]
