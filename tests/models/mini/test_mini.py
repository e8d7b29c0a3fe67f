"""The embedded model's promises, on the shipped weights; a bar not reached is a strict xfail that says how near."""

from __future__ import annotations

import itertools
import json
import os
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ws.axes.axis import load_axis
from ws.evaluation import evaluate, retain
from ws.healing.config import HealConfig
from ws.healing.training import heal
from ws.models.lm import LM, load_model
from ws.reporting import mini_card
from ws.steering.extraction import extract

of_the_weights = pytest.mark.skipif(
    "WS_BARS" not in os.environ,
    reason="BARS OF THE EMBEDDED MODEL'S HEALS ARE LEFT OUT: they follow its weights; make test-bars runs them",
)
HELD = Path(__file__).parents[2] / "heldout"
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        not (mini_card.WEIGHTS / "model.safetensors").exists(),
        reason="the embedded model's weights are not there: make mini",
    ),
]


def rows(name: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (HELD / f"{name}.jsonl").read_text().splitlines()]


@lru_cache(maxsize=1)
def lm() -> LM:
    return load_model("mini")


@lru_cache(maxsize=1)
def direction() -> Any:
    return extract(lm(), mini_card.axis_of(lm()))


@lru_cache(maxsize=1)
def personas() -> dict[str, Any]:
    return mini_card.personas(lm(), split="report")  # half of the items: the card has all of them


@lru_cache(maxsize=1)
def doses() -> dict[str, Any]:
    return mini_card.dose_response(lm(), direction())


@lru_cache(maxsize=1)
def texts() -> dict[float, dict[str, Any]]:
    return {r["c"]: r for r in mini_card.free_text(lm(), direction(), (-1.5, -1, -0.5, 0, 0.5, 1, 1.5, 4))}


@lru_cache(maxsize=8)
def healed(c: float, beta: float, filtered: bool = True, tau: float | None = None) -> dict[str, Any]:
    n = 200 if beta > 0 and filtered and tau is None else 80  # where a bar is on coherence, more texts
    return mini_card.healed(lm(), direction(), c, beta, filtered=filtered, texts=n, tau=tau)


def test_personas_move_it() -> None:
    p = personas()
    assert p["care_persona"] <= -1.0, p
    assert p["authority_persona"] >= 0.4, p
    assert p["authority_persona"] - p["care_persona"] >= 1.5, p


def test_neutral_is_balanced_and_has_headroom() -> None:
    assert max(personas()["profile"].values()) <= 0.97
    assert 0.4 <= texts()[0.0]["protect"] <= 0.6, texts()[0.0]


@of_the_weights
def test_a_barrier_brings_back_what_damage_took() -> None:
    """Data at a dose with real damage: with barrier and filter coherence is base's, and some of the trait stays."""
    h = healed(2.0, 0.3, True)
    assert h["steered"]["coherence"] <= 0.9, h
    assert h["healed"]["coherence"] >= h["base"]["coherence"] - 0.05 and h["retain"][0] >= 0.2, h


def test_adverbs_are_graded() -> None:
    graded = {}
    for name in ("slightly", "sometimes", "often", "always"):
        adverb = name + " "
        graded[name] = mini_card.persona_shifts(lm(), [f"You {adverb}look after others and {adverb}ignore orders."])[0]
    values = list(graded.values())
    assert values == sorted(values, reverse=True), graded


def test_steering_is_monotone_over_nine_doses() -> None:
    d = doses()
    near = [a for c, a in zip(d["doses"], d["auth_nats"], strict=True) if -1.0 <= c <= 1.0]
    assert len(near) == 9
    assert all(a > b for a, b in itertools.pairwise(near)), d


def test_one_dose_is_one_persona() -> None:
    d = doses()
    assert abs(d["shift"]["1.0"][0] - personas()["care_persona"]) <= 0.3, (
        d["shift"]["1.0"],
        personas()["care_persona"],
    )


def test_random_directions_do_not_steer() -> None:
    d = doses()
    moved = abs(d["shift"]["1.0"][0])
    assert moved > 0.5
    assert d["random_mean"] < moved / 5, d
    assert d["random_p95"] < moved / 3, d


def test_too_much_breaks_the_text() -> None:
    t = texts()
    assert t[4.0]["tail_ppl"] >= 10 * t[0.0]["tail_ppl"], (t[0.0], t[4.0])
    assert t[4.0]["coherence"] < 0.5
    assert t[4.0]["loops"] > t[0.0]["loops"]


@pytest.mark.xfail(reason="0.94 against 1.00 at 200 texts, 0.95 at 400: six points where five were wanted")
def test_one_dose_costs_five_points_of_coherence() -> None:
    assert texts()[1.0]["coherence"] >= texts()[0.0]["coherence"] - 0.05, texts()[1.0]


@pytest.mark.xfail(
    reason="0.80: at c = 4 a fifth of the texts are a bare label and its end, which the base finds likely"
)
def test_tail_perplexity_separates_base_from_broken() -> None:
    assert mini_card.filter_auc(lm(), direction()) >= 0.98


def test_narration_and_refusals_are_there_to_filter() -> None:
    t = texts()
    assert max(r["narrates"] for c, r in t.items() if c > 0) >= 0.03, t
    assert max(r["narrates"] for c, r in t.items() if c < 0) >= 0.03, t


@pytest.mark.xfail(reason="0.045 of the texts narrate on the side of care, 0.055 on the other; 0.05 were wanted")
def test_narration_on_either_side() -> None:
    t = texts()
    assert min(max(r["narrates"] for c, r in t.items() if s * c > 0) for s in (-1, 1)) >= 0.05, t


def test_refusals_somewhere_on_the_grid() -> None:
    assert max(r["refuses"] for r in texts().values()) >= 0.02, texts()


def test_capability_holds_out() -> None:
    c = mini_card.capability(lm())
    assert c["sum"] >= 0.97, c
    assert c["fact"] >= 0.97, c
    assert c["two_step"] >= 0.85, c


def test_questions_move_with_the_direction() -> None:
    for name in ("care_over_authority", "honesty"):
        means = mini_card.question_means(lm(), name)
        assert all(a < b for a, b in itertools.pairwise(means)), (name, means)


@lru_cache(maxsize=1)
def archetypes() -> dict[str, Any]:
    return mini_card.archetypes(lm())


def test_archetypes_raise_their_own_foundation() -> None:
    assert min(archetypes()["rise"].values()) > 0, archetypes()


@pytest.mark.xfail(reason="0.86 of the variance on one axis (care against authority); at most 0.65 was wanted")
def test_archetypes_span_three_axes() -> None:
    assert max(archetypes()["variance"]) <= 0.65, archetypes()


def test_heal_from_replies_alone() -> None:
    h = healed(1.0, 0.3)
    assert h["retain"][0] >= 0.5, h
    assert h["retain_behaviour"] >= 0.8, h
    assert h["healed"]["capability"] >= h["base"]["capability"] - 0.03, h
    assert h["healed"]["coh_text"] >= h["base"]["coh_text"] - 0.03, h


@of_the_weights
@pytest.mark.parametrize("seed", [1, 2])
def test_enough_replies_heal_whatever_the_draw(seed: int) -> None:
    """64 replies of these draws keep .30 (the draw of seed 0 happens to keep .75); 256 less the filter's keep half."""
    data = mini_card.heal_data(lm(), direction(), 1.0, rows=256, n=4, seed=seed)
    axis, quiet = mini_card.axis_of(lm()), {"think": 0, "free_text": False, "capability": False}
    student = heal(lm(), data, HealConfig(beta=0.1, epochs=2, seed=seed), axis=axis)
    base, steered = evaluate(lm(), axis, direction=direction(), c=[0.0, 1.0], **quiet)
    kept = retain(base, evaluate(lm(), axis, adapters=[student], **quiet), [steered], [1.0] * data.height)
    assert kept.value >= 0.5, kept


@of_the_weights
def test_a_very_large_beta_undoes() -> None:
    """At tau 0: under its tau of 0.3 nats the recipe's barrier is flat, and there is room for a third of the trait."""
    assert healed(1.0, 1000.0, tau=0.0)["retain"][0] < 0.05, healed(1.0, 1000.0, tau=0.0)


@of_the_weights
def test_filter_or_barrier_prevents_damage() -> None:
    bad, barrier, filtered = healed(2.0, 0.0, False), healed(2.0, 0.3, False), healed(2.0, 0.0, True)
    assert bad["healed"]["coherence"] <= 0.9, bad
    assert barrier["healed"]["coherence"] > bad["healed"]["coherence"]
    assert filtered["healed"]["coherence"] > bad["healed"]["coherence"]


def test_held_out_items_by_hand() -> None:
    """Items and frames that the grammar never saw: personas move the label on hand-written conflicts too."""
    items = [
        {
            "id": r["id"],
            "foundation": "Care",
            "cues": r["cues"],
            "other_violate": r["text"],
            "self_violate": r["text"] + " ",
            "label_source": "author",
        }
        for r in rows("items")
        if r["kind"] == "conflict"
    ]
    axis = load_axis("care_over_authority").on(lm())
    care = np.mean(mini_card.persona_shifts(lm(), axis.positive[:6], items))
    authority = np.mean(mini_card.persona_shifts(lm(), axis.negative[:6], items))
    assert authority - care >= 0.75, (care, authority)


@of_the_weights
@pytest.mark.xfail(reason="a third: care frames -0.54, authority frames +0.08, a gap of 0.62 where 0.91 is half")
def test_hand_written_frames_keep_half() -> None:
    frames = rows("frames")
    care = np.mean(mini_card.persona_shifts(lm(), [r["text"] for r in frames if r["pole"] == "care"], split="report"))
    authority = np.mean(
        mini_card.persona_shifts(lm(), [r["text"] for r in frames if r["pole"] == "authority"], split="report")
    )
    own = personas()["authority_persona"] - personas()["care_persona"]
    assert authority - care >= own / 2, (care, authority, own)
