"""The bet's readings: closed forms on planted numbers and on a tiny model steered at one block."""

from __future__ import annotations

from typing import Any

import numpy as np
import polars as pl
import pytest
import torch

from tests.builders.small_runs import ending_lm
from ws.evaluation import drift
from ws.filtering.scores import score
from ws.gating.schemas import DRIFT
from ws.generation.completions import generate
from ws.generation.tracing import trace
from ws.healing.config import HealConfig
from ws.healing.training import heal
from ws.reporting.charts import drift_chart
from ws.steering.direction import Direction

PROMPTS = [f"May I {i}?" for i in range(6)]


def planted(dropped: list[bool], **columns: Any) -> pl.DataFrame:
    n = len(dropped)
    marks = {"dropped": ["tail_ppl" if d else None for d in dropped], "narrates": [False] * n, "refuses": [False] * n}
    return pl.DataFrame(marks | {"bite": [0.1] * n} | columns, schema_overrides={"dropped": pl.String})


def value(readings: Any, name: str, group: str, stage: str = "before") -> float:
    return next(r[3] for r in readings if r[:3] == (name, group, stage))


def test_kl_readings_against_closed_forms() -> None:
    rows = planted([False, False, True], bite=[0.1, 0.0, 0.1])
    calm, wild = np.full(40, 0.1), np.r_[np.full(36, 0.1), np.full(4, 5.0)]
    found = list(drift._of_kl(rows, [[calm, calm, wild], [calm, calm, calm]], "max", 1.0))
    assert value(found, "kl", "kept") == pytest.approx(0.1)
    assert value(found, "kl", "dropped") == pytest.approx(wild.mean())
    assert [r[6] for r in found if r[:2] == ("kl", "on_trait")] == [1, 1], "a text that has not bitten is not on trait"
    assert value(found, "tokens", "dropped") == pytest.approx(1 / 3)
    assert value(found, "worst_share", "all") > 0.6
    assert value(found, "barrier_mass", "dropped") == 1.0
    assert not [r for r in found if r[0] == "barrier_mass" and r[2] == "after"], "the barrier is flat there"


def test_what_is_common_to_all_is_systematic_and_scatter_is_not() -> None:
    common, scatter = np.ones((50, 4)), np.random.default_rng(0).normal(size=(50, 4))
    assert drift._systematic("kept", "before", common)[0][3] == pytest.approx(1.0)
    assert drift._systematic("kept", "before", scatter)[0][3] < 0.1


def test_left_is_paired_and_its_gap_the_difference() -> None:
    along, rest = np.linspace(1, 2, 20), np.linspace(2, 3, 20)
    found = drift._left([(along, rest), (0.8 * along, 0.4 * rest)])
    assert value(found, "left", "along", "after/before") == pytest.approx(0.8)
    assert value(found, "left", "gap", "after/before") == pytest.approx(0.4)
    assert found[2][4:6] == pytest.approx((0.4, 0.4))


def test_steering_one_block_shifts_its_output_by_c_v_and_nothing_else() -> None:
    lm = ending_lm()
    v = Direction({2: torch.linspace(-1, 1, lm.d_model)}, "mean_diff", lm.fingerprint)
    prompts, said = [lm.prompt_ids(p) for p in PROMPTS[:2]], [lm.encode("a short reply"), lm.encode("yes")]
    base = drift.block_states(lm, prompts, said, 2)
    moved = drift.block_states(lm, prompts, said, 2, v, [0.5, 2.0])
    for b, m, c, ids in zip(base, moved, (0.5, 2.0), said, strict=True):
        assert b.shape == (len(ids), lm.d_model)
        torch.testing.assert_close(m - b, (c * v.layers[2]).expand(len(ids), -1), atol=1e-4, rtol=1e-3)
    mean, along, orthogonal = drift._split(moved[0] - base[0], v.layers[2] / v.norm())
    assert along == pytest.approx(0.5 * v.norm(), rel=1e-3)
    assert orthogonal < 1e-3 and np.linalg.norm(mean) == pytest.approx(along, rel=1e-3)


def test_a_heal_is_read_before_and_after() -> None:
    lm = ending_lm()
    v = Direction({1: torch.ones(lm.d_model), 2: torch.ones(lm.d_model)}, "mean_diff", lm.fingerprint)
    texts = score(lm, generate(lm, PROMPTS, v, [0.0, 1.0], seed=0, max_new_tokens=8))
    marked = texts.with_columns(dropped=pl.when(pl.int_range(pl.len()) % 4 == 3).then(pl.lit("rep")))
    adapter = heal(lm, marked.filter(pl.col("c") > 0), HealConfig(min_rows=4, epochs=1, batch=4, lr=1e-2))
    frame = drift.drift_frame(lm, marked, v, adapter, tau=0.0)
    assert frame.schema == pl.Schema(DRIFT)
    kept = marked.filter(pl.col("c") > 0, pl.col("dropped").is_null())
    before, after = (
        frame.filter(pl.col("reading") == "kl", pl.col("group") == "kept", pl.col("stage") == stage)["value"][0]
        for stage in ("before", "after")
    )
    assert before == pytest.approx(kept["kl_drift"].explode().mean(), rel=1e-5)
    traced = trace(lm, [lm.prompt_ids(p) for p in kept["prompt"]], kept["token_ids"].to_list(), adapters=[adapter])
    assert after == pytest.approx(np.concatenate([t.kl_drift for t in traced]).mean(), rel=1e-3)
    assert set(frame.filter(pl.col("reading") == "left")["group"]) == {"along", "orthogonal", "gap"}
    assert drift_chart(frame).to_dict()["layer"]
    assert drift.drift_frame(lm, marked.filter(pl.col("c") == 0), v, adapter).height == 0


def test_the_sample_is_even_and_steered_and_finite() -> None:
    frame = pl.DataFrame({"c": [0.0, *[1.0] * 9], "kl_drift": [[0.1]] * 9 + [[float("nan")]], "i": range(10)})
    assert drift.sampled(frame, 4)["i"].to_list() == [1, 3, 5, 7]
    assert drift.sampled(frame)["i"].to_list() == list(range(1, 9))
