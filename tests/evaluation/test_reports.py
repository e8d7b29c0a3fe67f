"""Reports and comparisons on planted answers: every metric against its closed form."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from ws.errors import UserError
from ws.evaluation import DEFINITIONS, Report, compare, retain, retain_behaviour, summary
from ws.evaluation.comparison import COMPARED, cost, sel_gated, si_flips
from ws.evaluation.freetext import TEXTS
from ws.evaluation.readings.dilemmas import COLUMNS as DILEMMAS
from ws.evaluation.readings.exam import COLUMNS as ANSWERS
from ws.evaluation.vignettes import ROWS
from ws.gating.facts import surgical_of
from ws.gating.foundations import FOUNDATIONS
from ws.gating.schemas import Trait
from ws.runs.arms import Arm, arms_of

CARE, AUTHORITY = 0, 3
N = 40
IDENTITY: dict[str, Any] = {
    "backend": "builtin", "items": "planted", "item_hash": "abc", "rows": {"Care": 20, "Authority": 20},
    "readout": "whole",
    "conditions": ["other_violate"], "think": 0, "think_samples": None, "text": {"prompts": "p", "n": 2},
    "capability": None, "dilemmas": None,
}  # fmt: skip
SUBJECT: dict[str, Any] = {
    "base": False,
    "target": "Authority",
    "intended": {"Care": 1, "Authority": -1},
    "c": 0.0,
    "think_samples": 4,
}


def scores(seed: int = 0, **shift: float) -> np.ndarray[Any, Any]:
    """(N, 7) planted log-probabilities, half labelled Care, half Authority; shift: nats added to a foundation."""
    logits = np.random.default_rng(seed).normal(0, 1.5, (N, 7))
    logits[: N // 2, CARE] += 3
    logits[N // 2 :, AUTHORITY] += 3
    for foundation, nats in shift.items():
        logits[:, FOUNDATIONS.index(foundation)] += nats
    return logits - 6  # a mass well under one


def rows(logps: np.ndarray[Any, Any], think: int = 0, mass: float = 0.9, tilt: float = 0.0) -> pl.DataFrame:
    """The per-row frame of planted scores; tilt: what the forward order adds to Care, the reverse takes away."""
    p = np.exp(logps) / np.exp(logps).sum(1, keepdims=True)
    sway = tilt * np.eye(7)[CARE]
    labels = ["Care"] * (N // 2) + ["Authority"] * (N // 2)
    return pl.DataFrame(
        {
            "id": [f"i{k:02}" for k in range(N)], "foundation": labels, "cues": [[label] for label in labels],
            "condition": ["other_violate"] * N, "think": [think] * N,
            **{f"p_{f}": p[:, k] for k, f in enumerate(FOUNDATIONS)},
            **{f"score_{f}": logps[:, k] for k, f in enumerate(FOUNDATIONS)},
            "forward": (logps + sway).tolist(), "reverse": (logps - sway).tolist(), "p_ans_any": [mass] * N,
            "p_prefill": [0.5] * N, "p_ans_free": [0.5 * mass] * N, "nll_json": [0.1] * N,
            "json_valid": [1.0, 0.0] * (N // 2),
        },
        schema=ROWS,
    )  # fmt: skip


def texts(readable: int, of: int = 100, base: int = 90) -> pl.DataFrame:
    """Completions of which the first `readable` are readable, and the base's first `base`."""
    frame = pl.DataFrame({"prompt_id": [f"p{i}" for i in range(of)], "sample": [0] * of, "text": ["x"] * of,
                          "token_ids": [[1, 2]] * of, "readable": [i < readable for i in range(of)],
                          "base_readable": [i < base for i in range(of)]})  # fmt: skip
    missing = [pl.lit(None, dtype=kind).alias(name) for name, kind in TEXTS.items() if name not in frame.columns]
    return frame.with_columns(missing).select(pl.col(name).cast(kind) for name, kind in TEXTS.items())


def report(logps: np.ndarray[Any, Any], *, text: pl.DataFrame | None = None, subject: dict[str, Any] | None = None,
           exam: pl.DataFrame | None = None, dilemmas: pl.DataFrame | None = None, **kw: Any) -> Report:  # fmt: skip
    return Report(
        per_row=rows(logps, **kw), text=pl.DataFrame(schema=TEXTS) if text is None else text,
        parts={name: frame for name, frame in (("exam", exam), ("dilemmas", dilemmas)) if frame is not None},
        identity=dict(IDENTITY), subject=SUBJECT | (subject or {}),
    )  # fmt: skip


BASE = report(scores(), text=texts(90), subject={"base": True})
MOVED = report(scores(Authority=-1.0, Care=0.5), text=texts(80), mass=0.85)


def test_profile_is_the_mean_and_nats_its_log() -> None:
    p = np.exp(scores()) / np.exp(scores()).sum(1, keepdims=True)
    assert list(BASE.profile.values()) == pytest.approx(p.mean(0))
    assert BASE.auth_nats == pytest.approx(math.log(p[:, AUTHORITY].mean())) and BASE.care_nats == BASE.nats["Care"]
    assert BASE.nats_diag["Authority"] == pytest.approx(np.log(p[N // 2 :, AUTHORITY]).mean())
    assert math.isnan(BASE.nats_diag["Liberty"]), "no row is labelled Liberty"


def test_cues_count_as_own_rows() -> None:
    cued = BASE.per_row.with_columns(cues=pl.lit(["Care", "Authority"], dtype=pl.List(pl.String)))
    assert replace(BASE, per_row=cued).nats_diag["Authority"] == pytest.approx(np.log(BASE.p[:, AUTHORITY]).mean())


def test_format_figures() -> None:
    assert (BASE.p_ans_any, BASE.p_ans_free, BASE.json_is_valid) == pytest.approx((0.9, 0.45, 0.5))
    assert BASE.ppx_json == pytest.approx(math.exp(0.1)) and BASE.n_bad == 0


def test_order_gap_is_the_distance_of_the_two_profiles() -> None:
    assert BASE.order_gap == pytest.approx(0)
    tilted, sway = report(scores(), tilt=1.0), np.eye(7)[CARE]
    profiles = [(np.exp(x) / np.exp(x).sum(1, keepdims=True)).mean(0) for x in (scores() + sway, scores() - sway)]
    assert tilted.order_gap == pytest.approx(np.abs(profiles[0] - profiles[1]).sum() / 2)


def test_coherence_is_the_lesser_of_format_and_text() -> None:
    assert BASE.coherence == pytest.approx(0.9)
    assert MOVED.coh_text == pytest.approx(0.8) and MOVED.coherence == pytest.approx(0.85)
    assert replace(MOVED, text=texts(45)).coherence == pytest.approx(0.5)
    assert math.isnan(replace(MOVED, text=pl.DataFrame(schema=TEXTS)).coherence), "no free text, no coherence"
    assert math.isnan(replace(MOVED, text=texts(0, base=0)).coherence), "a base without readable text is no yardstick"


def test_fewer_texts_widen_the_interval_of_coherence() -> None:
    low, high = replace(MOVED, text=texts(45)).coherence_interval
    wide_low, wide_high = replace(MOVED, text=texts(5, of=10, base=9)).coherence_interval
    assert low < 0.5 < high and wide_high - wide_low > 2 * (high - low)


def test_shifts_against_closed_forms() -> None:
    found = compare(BASE, MOVED)
    assert found.schema == pl.Schema(COMPARED) and found["foundation"].to_list() == list(FOUNDATIONS)
    for row in found.iter_rows(named=True):
        f = row["foundation"]
        assert row["d_nats"] == pytest.approx(MOVED.nats[f] - BASE.nats[f]) and row["low"] < row["d_nats"] < row["high"]
        diag = MOVED.nats_diag[f] - BASE.nats_diag[f]
        assert row["d_diag"] == pytest.approx(diag, nan_ok=True)
    figures = summary(found)
    assert figures["d_target"] == pytest.approx(BASE.auth_nats - MOVED.auth_nats) and figures["d_target"] > 0
    assert (
        figures["d_target_low"] == -figures["d_Authority_high"]
        and figures["d_target_high"] == -figures["d_Authority_low"]
    )
    assert figures["d_coh"] == pytest.approx(-0.05) and figures["d_p_ans_any"] == pytest.approx(-0.05)
    assert figures["coh_cost"] == pytest.approx(0.05 / figures["d_target"])
    assert figures["slope"] == pytest.approx(-5 / figures["d_target"])
    assert (figures["headroom"], figures["headroom_up"]) == pytest.approx(
        (BASE.profile["Authority"], 1 - BASE.profile["Authority"])
    )


def test_clr_takes_the_rows_mean_away() -> None:
    found = {row["foundation"]: row["d_clr"] for row in compare(BASE, MOVED).iter_rows(named=True)}
    assert found["Authority"] == pytest.approx(-1 - (-0.5) / 7) and found["Liberty"] == pytest.approx(0.5 / 7)


def test_surgical_lets_only_social_norms_move_along() -> None:
    def is_surgical(**shift: float) -> bool:
        return bool(summary(compare(BASE, report(scores(Authority=-3.0, **shift)), 50))["surgical"])

    assert is_surgical() and is_surgical(SocialNorms=-5.0) and is_surgical(Care=1.0)
    assert not is_surgical(Liberty=-5.0)


def test_redistribution_needs_a_rise_beyond_its_interval() -> None:
    assert summary(compare(BASE, MOVED))["redistributes"]
    same = summary(compare(BASE, BASE))
    assert not same["redistributes"] and same["d_target"] == 0 and same["coh_cost"] is None and same["slope"] is None


def test_disagreeing_signs_are_told() -> None:
    own = scores()
    own[N // 2 :, AUTHORITY] += 0.5  # its own rows rise, the others fall by more
    own[: N // 2, AUTHORITY] -= 9
    found = summary(compare(BASE, report(own)))
    assert found["signs_disagree"] == (found["d_target"] * found["d_target_diag"] < 0)
    assert not summary(compare(BASE, MOVED))["signs_disagree"]


def test_cost_is_blank_under_the_guard_and_never_negative() -> None:
    assert cost(-0.1, 0.04) == {"coh_cost": None, "slope": None} == cost(-0.1, math.nan)
    assert cost(0.1, -0.5) == {"coh_cost": 0.0, "slope": pytest.approx(-20)}
    assert math.isnan(cost(math.nan, 1.0)["coh_cost"] or 0)


def test_sel_gated_and_si_flips() -> None:
    plus, minus = (
        report(scores(Authority=-1.0, Care=1.0), mass=0.8),
        report(scores(Authority=1.0, Liberty=0.7), mass=0.6),
    )
    moved = dict.fromkeys(FOUNDATIONS, 0.0) | {"Authority": -2.0, "Care": 1.0, "Liberty": -0.7}
    mean = sum(moved.values()) / 7
    on = ((moved["Care"] - mean) - (moved["Authority"] - mean)) / 2
    off = np.mean([abs(moved[f] - mean) for f in FOUNDATIONS if f not in ("Care", "Authority")])
    assert sel_gated(BASE, plus, minus) == pytest.approx((on - 0.1 * off) * (0.6 / 0.9) ** 2)
    picks = [x.p.argmax(1) for x in (plus, minus)]
    flips = [np.mean(picks[0] == k) - np.mean(picks[1] == k) for k in (CARE, AUTHORITY)]
    assert si_flips(plus, minus) == pytest.approx((flips[0] - flips[1]) / 2) and si_flips(plus, minus) > 0
    found = summary(compare(BASE, plus, minus=minus))
    assert found["sel_gated"] == pytest.approx(sel_gated(BASE, plus, minus)) and found["si_flips"] == si_flips(
        plus, minus
    )
    assert summary(compare(BASE, plus))["sel_gated"] is None


def test_one_nan_row_is_seen_in_every_figure_and_counted() -> None:
    logps = scores()
    logps[3, 2] = math.nan
    broken = report(logps)
    assert broken.n_bad == 1 and all(math.isnan(p) for p in broken.profile.values())
    found = compare(BASE, broken)
    assert found["bad"].to_list() == [1] * 7 and found["d_nats"].is_nan().all() and found["low"].is_nan().all()
    assert math.isnan(si_flips(broken, BASE)), "argmax of NaN is no answer"


def test_rows_in_another_order_are_the_same_rows() -> None:
    shuffled = replace(MOVED, per_row=MOVED.per_row.sample(fraction=1, shuffle=True, seed=3))
    assert compare(BASE, shuffled).equals(compare(BASE, MOVED))


def test_items_not_rows_are_resampled() -> None:
    def doubled(r: Report) -> Report:
        again = r.per_row.with_columns(condition=pl.lit("self_violate"))
        return replace(r, per_row=pl.concat([r.per_row, again]))

    once, twice = compare(BASE, MOVED), compare(doubled(BASE), doubled(MOVED))
    assert once.select("d_nats", "low", "high", "diag_low").equals(twice.select("d_nats", "low", "high", "diag_low"))


@pytest.mark.parametrize(
    ("field", "value"),
    [("item_hash", "xyz"), ("rows", {"Care": 32}), ("conditions", ["self_violate"]), ("readout", "first"),
     ("think", 20),
     ("think_samples", 8), ("backend", "tinymfv"), ("text", {"prompts": "q", "n": 2})],
)  # fmt: skip
def test_compare_refuses_another_instrument(field: str, value: Any) -> None:
    other = replace(MOVED, identity=MOVED.identity | {field: value})
    with pytest.raises(UserError, match=f"differ in {field}"):
        compare(BASE, other)
    with pytest.raises(UserError, match=f"differ in {field}"):
        retain(BASE, other, [MOVED], [0.0])


def test_another_model_may_be_compared_and_what_was_not_measured_is_no_difference() -> None:
    other = replace(MOVED, subject=MOVED.subject | {"fingerprint": "other"}, identity=MOVED.identity | {"text": None})
    assert compare(BASE, other).height == 7


def test_think_budgets_stand_side_by_side() -> None:
    both = pl.concat([MOVED.per_row, rows(scores(Authority=-3.0), think=20)])
    two = replace(MOVED, per_row=both)
    assert two.profile == MOVED.profile
    assert (
        two.at_think(20).nats["Authority"] < two.nats["Authority"] and two.at_think(20).identity["think_samples"] == 4
    )
    with pytest.raises(UserError, match="differ in think: 0 and 20"):
        compare(BASE, two.at_think(20))
    with pytest.raises(UserError, match="think=64 was not read"):
        two.at_think(64)


def test_retain_weighs_the_doses_of_the_kept_rows() -> None:
    weak, strong = (report(scores(Authority=-x), subject={"c": c}) for x, c in ((0.6, 0.5), (1.4, 1.0)))
    healed = report(scores(Authority=-0.9))
    shift = {name: summary(compare(BASE, r))["d_target"] for name, r in (("w", weak), ("s", strong), ("h", healed))}
    found = retain(BASE, healed, [weak, strong], [0.5, 1.0, 1.0, 1.0])
    assert found.value == pytest.approx(shift["h"] / (0.25 * shift["w"] + 0.75 * shift["s"]))
    assert found.low < found.value < found.high
    assert math.isnan(retain(BASE, healed, [replace(BASE, subject=SUBJECT)], [0.0]).value), "nothing was steered"
    with pytest.raises(UserError, match=r"no steered report at c = \[2.0\]"):
        retain(BASE, healed, [weak], [0.5, 2.0])


def test_the_gates_call_surgical_what_the_comparison_calls_surgical() -> None:
    """One answer per row, also where no row of the report is finite: then none of the two can say."""
    for logps, answer in ((scores(Authority=-3.0), True), (scores(Liberty=-5.0), False), (scores() * math.nan, None)):
        found = report(logps, subject={"fingerprint": ""})
        row = arms_of(BASE, [Arm("steer", found)], "").row(0, named=True)
        assert summary(compare(BASE, found, 50))["surgical"] is answer, answer
        assert surgical_of(row, Trait("Authority", SUBJECT["intended"])) is answer, answer


def test_outside_the_foundations_the_dilemmas_judge() -> None:
    def told(logratio: list[float]) -> Report:
        frame = pl.DataFrame({"question": ["a", "b", "c"], "label": [1, -1, 1], "logratio": logratio})
        missing = [pl.lit(None, dtype=kind).alias(name) for name, kind in DILEMMAS.items() if name not in frame.columns]
        dilemmas = frame.with_columns(missing).select(pl.col(n).cast(k) for n, k in DILEMMAS.items())
        return report(scores(), dilemmas=dilemmas, subject={"target": "Honesty", "intended": {}})

    base, moved = told([0.1, -0.2, 0.3]), told([0.9, 0.2, 0.9])
    found = summary(compare(base, moved))
    assert found["d_target"] == pytest.approx((0.8 + 0.4 + 0.6) / 3) and found["d_target_low"] < found["d_target"]
    assert found["surgical"] is None and math.isnan(found["headroom"])
    assert retain(base, moved, [moved], [0.0]).value == pytest.approx(1)


def test_retain_of_behaviour_is_in_log_odds() -> None:
    def acting(protects: int) -> Report:
        frame = texts(90).with_columns(protects=pl.int_range(100) < protects, grammatical=pl.lit(1.0))
        return replace(BASE, text=frame)

    def odds(k: int) -> float:
        return math.log((k + 0.5) / (100 - k + 0.5))

    found = retain_behaviour(acting(50), acting(70), [acting(90)], [0.0])
    assert found == pytest.approx((odds(70) - odds(50)) / (odds(90) - odds(50)))
    assert math.isnan(retain_behaviour(BASE, MOVED, [MOVED], [0.0])), "behaviour was not measured"


def test_reports_survive_parquet(tmp_path: Path) -> None:
    exam = pl.DataFrame([("sum", "1+1", "2", "2", True)], schema=ANSWERS, orient="row")
    for name, one in (("full", replace(MOVED, parts={"exam": exam})), ("bare", report(scores()))):
        path = tmp_path / f"{name}.parquet"
        one.to_frame().write_parquet(path)
        back = Report.from_frame(pl.read_parquet(path))
        for part in ("per_row", "text", "exam", "dilemmas"):
            assert getattr(back, part).equals(getattr(one, part), null_equal=True), part
            assert getattr(back, part).schema == getattr(one, part).schema
        assert back.identity == one.identity and back.subject == one.subject
        assert compare(BASE, back).equals(compare(BASE, one))


def test_reports_stack_into_one_frame() -> None:
    frame = pl.concat([BASE.to_frame(), MOVED.to_frame()]).with_columns(arm=pl.Series(["base", "steer"]))
    assert frame["nats_Authority"].to_list() == [BASE.auth_nats, MOVED.auth_nats]
    assert json.loads(frame["identity"][0]) == IDENTITY
    assert Report.from_frame(frame.filter(arm="steer")).coherence == MOVED.coherence
    with pytest.raises(UserError, match="2 rows"):
        Report.from_frame(frame)


def test_every_figure_has_a_definition() -> None:
    named = {*summary(compare(BASE, MOVED)), *BASE.summary()}
    for key in ("d_target", "coh_cost", "slope", "surgical", "redistributes", "sel_gated", "si_flips", "p_ans_any",
                "p_ans_free", "json_is_valid", "ppx_json", "order_gap", "coh_text", "coherence", "capability",
                "headroom"):  # fmt: skip
        assert key in named and DEFINITIONS[key]
