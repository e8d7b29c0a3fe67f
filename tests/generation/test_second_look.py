"""The second reference: which rows are read again, under whose persona, and which of the two counts."""

from __future__ import annotations

import math

import polars as pl
import pytest

import ws
from tests.builders.directions import direction
from tests.builders.tiny_models import tiny_lm
from ws.axes.axis import Axis
from ws.filtering.scores import score, worst_nll
from ws.generation.completions import generate
from ws.generation.second_look import second_look
from ws.generation.tracing import trace
from ws.models.lm import LM

PROMPTS = ["How was your weekend?", "Describe the park."]


@pytest.fixture(scope="module")
def lm() -> LM:
    return tiny_lm("qwen3")


@pytest.fixture(scope="module")
def axis() -> Axis:
    return ws.load_axis("care_over_authority")


@pytest.fixture(scope="module")
def texts(lm: LM, axis: Axis) -> pl.DataFrame:
    """Steered both ways, and at 0 what the positive persona wrote: likelier under it than under the neutral prompt."""
    steered = generate(lm, PROMPTS, direction(lm, scale=0.5), [-1.0, 1.0], max_new_tokens=12, seed=1)
    prompted = generate(lm, PROMPTS, persona=axis.positive[0], n=3, max_new_tokens=12, seed=1)
    return score(lm, pl.concat([steered, prompted]), axis)


def read_under(lm: LM, row: dict[str, object], persona: str) -> float:
    """The perplexity of a row's worst stretch under base with a persona, by another way."""
    prompt = lm.prompt_ids(str(row["prompt"]), system=persona)
    found = trace(lm, [prompt], [row["token_ids"]])[0].logp_base  # type: ignore[list-item]
    return math.exp(worst_nll(found.tolist()))


def test_the_smaller_of_both_references_counts_under_the_pole_of_the_dose(
    lm: LM, axis: Axis, texts: pl.DataFrame
) -> None:
    looked = second_look(lm, texts, axis, 0.0)
    assert looked.drop("worst_ppl").equals(texts.drop("worst_ppl"), null_equal=True)
    for was, row in zip(texts.rows(named=True), looked.rows(named=True), strict=True):
        persona = (axis.negative if row["c"] < 0 else axis.positive)[0]
        want = min(was["neutral_ppl"], read_under(lm, row, persona))
        assert row["worst_ppl"] == pytest.approx(want, rel=1e-4)
    assert (looked["worst_ppl"] < texts["worst_ppl"]).any(), "or this would show nothing"


def test_the_persona_of_an_arm_is_its_reference(lm: LM, axis: Axis, texts: pl.DataFrame) -> None:
    row = second_look(lm, texts.head(1), axis, 0.0, persona="You sell hats.").row(0, named=True)
    assert row["worst_ppl"] == pytest.approx(min(row["neutral_ppl"], read_under(lm, row, "You sell hats.")), rel=1e-4)


def test_what_passes_is_not_read_again(
    lm: LM, axis: Axis, texts: pl.DataFrame, monkeypatch: pytest.MonkeyPatch
) -> None:
    limit = float(texts["neutral_ppl"].median() or 0)  # type: ignore[arg-type]
    looked, whole = second_look(lm, texts, axis, limit), second_look(lm, texts, axis, 0.0)
    odd = texts["neutral_ppl"] >= limit
    assert looked.filter(~odd).equals(texts.filter(~odd), null_equal=True)
    assert looked.filter(odd)["worst_ppl"].to_list() == pytest.approx(whole.filter(odd)["worst_ppl"].to_list())
    assert (looked["worst_ppl"] < limit).equals(whole["worst_ppl"] < limit), "the same texts pass"
    monkeypatch.setattr("ws.generation.second_look.completion_states", None)
    assert second_look(lm, texts, axis, math.inf).equals(texts, null_equal=True)
    assert second_look(lm, texts, axis, math.nan).equals(texts, null_equal=True)
    assert second_look(lm, texts.clear(), axis, 0.0).height == 0
