"""Choices: read by log-probability, chance level and what base cannot do said, the doses of one batch as alone."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import polars as pl
import pytest
import torch

import ws
from tests.builders.directions import direction
from ws.axes.axis_file import Context
from ws.errors import UserError
from ws.evaluation.base_cache import forget_bases
from ws.evaluation.freetext import TEXTS
from ws.evaluation.prompt_cache import log_softmax
from ws.evaluation.readings import Request, canaries, canary_of, choices, exam, figures_of, floors_of
from ws.evaluation.report import Report
from ws.evaluation.vignettes import ROWS
from ws.models.lm import LM
from ws.models.recipe import MINI, OTHER, RECIPES

AXIS: Any = None  # no choice depends on it


@pytest.fixture(autouse=True)
def forget() -> None:
    forget_bases()


def request_of(lm: LM, exam: int = 12, **how: Any) -> Request:
    return Request(lm, AXIS, exam=exam, batch_size=how.pop("batch_size", 64), **how)


def read(lm: LM, **how: Any) -> list[pl.DataFrame]:
    request = request_of(lm, **how)
    return choices.read(request, choices.asks(request))


def by_hand(lm: LM, item: dict[str, Any], persona: str | None = None) -> list[float]:
    """log p per token of each answer behind the stem: one forward for each, nothing shared."""
    prompt, found = lm.prompt_ids(item["user"], system=persona), []
    for word in (item["right"], *item["wrong"]):
        ids, alike = lm.encode(f"{item['stem']} {word}"), choices._split(
            [lm.encode(f"{item['stem']} {other}") for other in (item["right"], *item["wrong"])]
        )[0]
        with torch.inference_mode():
            hidden = lm.body(input_ids=torch.tensor([[*prompt, *ids]])).last_hidden_state
        logps = log_softmax(lm, hidden[0, len(prompt) - 1 : -1]).gather(1, torch.tensor(ids)[:, None])[len(alike) :]
        found.append(float(logps.mean()))
    return found


@pytest.mark.parametrize("persona", [None, "You are a pirate."])
def test_a_choice_is_the_likeliest_answer_per_token(tiny: LM, persona: str | None) -> None:
    # the tiny tokenizer knows bytes: answers differ in their number of tokens, and are padded
    items, frame = choices.asks(request_of(tiny)), read(tiny, persona=persona)[0]
    for item, row in zip(items, frame.iter_rows(named=True), strict=True):
        logps = by_hand(tiny, item, persona)
        assert row["margin"] == pytest.approx(logps[0] - max(logps[1:]), abs=2e-4)
        assert row["text"] == (item["right"], *item["wrong"])[logps.index(max(logps))]
        assert row["correct"] == (row["margin"] > 0) and row["answer"] == item["right"]


def test_doses_together_are_the_doses_alone(tiny: LM) -> None:
    v = direction(tiny)
    together = read(tiny, direction=v, cs=(0.0, 0.5, -0.5), batch_size=5)
    alone = [read(tiny, direction=v, cs=(c,))[0] for c in (0.0, 0.5, -0.5)]
    for one, other in zip(together, alone, strict=True):
        assert (one["margin"] - other["margin"]).abs().max() < 1e-4  # type: ignore[operator]
    assert (together[0]["margin"] - read(tiny)[0]["margin"]).abs().max() < 1e-4  # type: ignore[operator]
    assert (together[0]["margin"] - together[1]["margin"]).abs().max() > 0.01  # type: ignore[operator]


def test_items_are_fair_and_kinds_come_in_turn(tiny: LM) -> None:
    items = choices.asks(request_of(tiny, exam=1000))
    kinds = list(dict.fromkeys(item["kind"] for item in items))
    assert len(items) >= 60 and [item["kind"] for item in items[: len(kinds)]] == kinds
    assert len({item["user"] for item in items}) == len(items)
    for item in items:
        answers = (item["right"], *item["wrong"])
        assert len(set(answers)) == 4 and len(item["wrong"]) == 3, item
        assert len({len(word.split()) for word in answers}) == 1, f"answers of one length: {item}"
        assert len({word[0].isupper() for word in answers}) == 1 or item["kind"] == "facts", item
    assert choices.asks(request_of(tiny, exam=7)) == items[:7]


def frame_of(right: dict[str, int], n: int = 16, base: dict[str, int] | None = None) -> pl.DataFrame:
    """n rows a kind, so many of them right; readable is read off `base`, or off these."""
    def plain(counts: dict[str, int]) -> pl.DataFrame:
        rows = [(kind, f"{kind} {i}", "a", "a", i < k, 1.0 if i < k else -3.0) for kind, k in counts.items()
                for i in range(n)]  # fmt: skip
        columns = [name for name in choices.COLUMNS if name != "readable"]
        return pl.DataFrame(rows, schema={name: choices.COLUMNS[name] for name in columns}, orient="row")

    above = choices._above_chance(plain(base or right))
    return plain(right).with_columns(readable=pl.col("kind").is_in(above))


def test_a_kind_that_base_cannot_do_is_left_out_and_named() -> None:
    able = {"facts": 14, "words": 16, "sense": 12}
    found = figures_of("choices", frame_of(able | {"sums": 5}))
    assert found["capability"] == pytest.approx(42 / 48) and found["capability_low"] > 0.7
    assert found["choice_margin"] == pytest.approx((42 - 3 * 6) / 48)
    assert "sums 0.31" in choices.said(frame_of(able | {"sums": 5})) and "facts" not in choices.said(frame_of(able))
    fallen = figures_of("choices", frame_of({"facts": 4, "words": 4, "sense": 4, "sums": 16}, base=able | {"sums": 5}))
    assert fallen["capability"] == pytest.approx(0.25), "which kinds count is base's, whatever an arm can do"


def test_too_few_kinds_are_no_capability() -> None:
    for right in ({"facts": 16, "words": 16, "sums": 4}, {"facts": 4}):
        assert all(math.isnan(value) for value in figures_of("choices", frame_of(right)).values())
        assert "not readable on this model" in choices.said(frame_of(right))
    assert all(math.isnan(x) for x in figures_of("choices", pl.DataFrame(schema=choices.COLUMNS)).values())


def test_a_report_has_one_canary_and_its_recipe_says_which(tiny: LM) -> None:
    assert canaries(["dilemmas", "choices", "exam"]) == ["choices", "exam"] and canary_of([]) == "exam"
    assert all(floors_of(recipe.canary) == ("capability",) for recipe in (MINI, OTHER, *RECIPES.values()))
    assert MINI.canary == "exam" and OTHER.canary == "choices"
    axis = dataclasses.replace(ws.load_axis("care_over_authority"), questions=())
    how: dict[str, Any] = {"free_text": False, "think": 0, "per_foundation": 1, "exam": 12}
    plain, named = ws.evaluate(tiny, axis, **how), ws.evaluate(tiny, axis, readings=["exam"], **how)
    assert (plain.canary, named.canary) == ("choices", "exam") and plain.exam.columns == list(choices.COLUMNS)
    assert plain.identity["capability"] != named.identity["capability"], "two canaries are never compared"
    with pytest.raises(UserError, match="the reports differ in capability"):
        ws.compare(plain, named)
    with pytest.raises(UserError, match="choices and exam both read capability"):
        ws.evaluate(tiny, axis, readings=["choices", "exam"], **how)
    again = Report.from_frame(plain.to_frame())
    assert again.canary == "choices" and again.exam.equals(plain.exam)
    assert ws.evaluate(tiny, axis, **how | {"capability": False}).canary == "exam", "nothing was read"


def test_the_figure_of_a_canary_is_the_reports_capability(tiny: LM) -> None:
    report = Report(pl.DataFrame(schema=ROWS), pl.DataFrame(schema=TEXTS), {"conditions": [], "think": 0},
                    {"target": "Care", "intended": {"Care": 1}, "base": True, "c": 0.0},
                    {"choices": frame_of({"facts": 14, "words": 16, "sense": 12})})  # fmt: skip
    assert report.capability == report.summary()["capability"] == pytest.approx(42 / 48)
    assert list(report.further) == ["choice_margin"], "tables and gates read capability off one column"
    assert report.capability_interval[0] > choices.CHANCE
    old = dataclasses.replace(report, parts={"exam": pl.DataFrame(schema=exam.COLUMNS)})
    assert old.canary == "exam" and math.isnan(old.capability)


@pytest.mark.slow
def test_the_real_model_can_choose_and_loses_it_where_texts_break(smollm2: LM) -> None:
    contexts = tuple(map(Context, ("How was your weekend?", "Tell me about your day.", "How is your town?")))
    happy = ("You are an extremely happy, cheerful and joyful person.", "You are a delighted person who sees joy.")
    sad = ("You are an extremely sad, gloomy and miserable person.", "You are a miserable person who sees gloom.")
    axis = dataclasses.replace(ws.load_axis("warmth"), contexts=contexts, positive=happy, negative=sad)
    v = ws.extract(smollm2, axis, pairs=6)
    base, mild, broken = (figures_of("choices", f) for f in read(smollm2, exam=60, direction=v, cs=(0.0, 2.0, 14.0)))
    assert base["capability"] > 0.7 and base["capability_low"] > 2 * choices.CHANCE
    assert mild["capability"] > base["capability"] - 0.1 and mild["choice_margin"] > base["choice_margin"] - 1
    assert broken["capability"] < base["capability"] - 0.15 and broken["choice_margin"] < base["choice_margin"] - 2
