"""`evaluate` on tiny models, the item sets it asks, the parts of a report, other backends."""

from __future__ import annotations

import ast
import json
import math
import operator
import re
import tomllib
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import polars as pl
import pytest

import ws
from tests.builders.adapters import made
from tests.builders.tiny_models import GEMMA, tiny_lm
from tests.builders.vignettes import direction, items, scores
from ws.axes.axis import Axis
from ws.errors import UserError
from ws.evaluation import backends, evaluator, freetext
from ws.evaluation.answer_slot import Reading
from ws.evaluation.backends import Builtin, External, backend_of
from ws.evaluation.base_cache import share_bases
from ws.evaluation.behaviour import behaviour_of, read_behaviour, takes_side
from ws.evaluation.freetext import TEXTS, TextLimits, limits_of, mark_readable, spread
from ws.evaluation.instrument import Instrument
from ws.evaluation.items import CONDITIONS, ItemSet, load_items, shipped_items
from ws.evaluation.prompt_cache import _PREFIXES
from ws.evaluation.readings.exam import capability_items, is_right
from ws.evaluation.vignettes import read_vignettes
from ws.gating.foundations import FOUNDATIONS
from ws.models.lm import LM
from ws.models.mini.rule_reader import Reading as Read
from ws.models.recipe import MINI, OTHER, ModelRecipe
from ws.runs.config import EvalConfig
from ws.runs.recipes import mini_full
from ws.steering.hooks import steered

QUICK: dict[str, Any] = {"think": 0, "free_text": False, "capability": False}
SHORT: dict[str, Any] = {"max_new_tokens": 16, "capability": False, "conditions": ["other_violate"]}
C = 0.3


@pytest.fixture(autouse=True)
def vignettes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tiny models answer in no format; here the vignettes read them all the same."""
    monkeypatch.setattr("ws.evaluation.instrument.find_instrument", lambda *_: Instrument())


@pytest.fixture(autouse=True)
def forget() -> None:
    ws.evaluation.forget_bases()


@pytest.fixture(scope="module")
def axis() -> Axis:
    full = ws.load_axis("care_over_authority")
    return replace(full, name="short", probes=full.probes[:4], select=full.select[:3], questions=full.questions[:2])


def line(**changes: Any) -> str:
    return json.dumps(
        {"id": "a", "foundation": "Care", "other_violate": "You see it.", "label_source": "author"} | changes
    )


def written(folder: Path, *lines: str) -> Path:
    path = folder / "mine.jsonl"
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


# Items


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        ('{"id": "b"', r"mine.jsonl, line 3 is no JSON"),
        ("[1, 2]", r"line 3: a row is an object \(got '\[1, 2\]'\)"),
        (line(id="b", foundation="Honour"), r"line 3: unknown foundation 'Honour'. Foundations: Care,"),
        (line(id="b", cues=["Care", "Zeal"]), r"line 3: unknown foundation 'Zeal'"),
        (line(id="b", cues=[]), r"line 3: cues must be a list"),
        (line(), r"line 3: id 'a' was used before \(mine.jsonl, line 1\)"),
        (line(id=""), r"line 3: id must be a text \(got ''\)"),
        (line(id=7), r"line 3: id must be a text \(got 7\)"),
        (line(id="b", other_violate=" "), r"line 3: other_violate must be a text that is not empty \(got ' '\)"),
        (line(id="b", other_violate=None), r"line 3: other_violate must be a text"),
    ],
)
def test_a_malformed_row_is_refused_with_its_line(tmp_path: Path, bad: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        load_items(written(tmp_path, line(), "", bad))


def test_other_columns_are_welcome(tmp_path: Path) -> None:
    mine = load_items(written(tmp_path, line(human_Care=0.8, note="x"), line(id="b", foundation="Liberty")))
    assert (mine.name, mine.counts) == ("mine", {"Care": 1, "Liberty": 1})


def test_missing_files_and_names_say_what_there_is(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no such item file"):
        load_items(tmp_path / "none.jsonl")
    with pytest.raises(UserError, match="no item set is called 'classic' for this model"):
        load_items("classic")
    with pytest.raises(UserError, match="holds no items"):
        load_items(written(tmp_path, ""))


@pytest.mark.parametrize("recipe", [OTHER, MINI], ids=["other", "mini"])
def test_shipped_sets_load_and_hold_every_condition(recipe: ModelRecipe) -> None:
    assert shipped_items(recipe.words) == ["conflict", "standard"]
    standard, conflict = (load_items(name, recipe) for name in ("standard", "conflict"))
    assert len(standard.items) >= 132 and list(standard.counts) == list(FOUNDATIONS)
    assert all({"Care", "Authority"} == set(item.cues) for item in conflict.items)
    assert all(len(item.texts) == 2 for item in (*standard.items, *conflict.items))
    assert load_items(recipe=recipe).name.endswith("conflict" if recipe is MINI else "standard")


def test_subsets_are_stratified_and_no_head_slice() -> None:
    whole = load_items("standard")
    few = whole.subset(5)
    assert few.counts == dict.fromkeys(FOUNDATIONS, 5)
    care = [i.id for i in whole.items if i.foundation == "Care"]
    assert [i.id for i in few.items if i.foundation == "Care"] != care[:5]
    backwards = ItemSet("x", whole.items[::-1]).subset(5)
    assert {i.id for i in backwards.items} == {i.id for i in few.items} and backwards.hash == few.hash != whole.hash


def test_halves_are_disjoint_and_stratified() -> None:
    whole = load_items("standard")
    select, report = (whole.split(name) for name in ("select", "report"))
    assert {i.id for i in select.items}.isdisjoint(i.id for i in report.items)
    assert len(select.items) + len(report.items) == len(whole.items) and whole.split("all") is whole
    assert all(abs(select.counts[f] - report.counts[f]) <= 1 for f in FOUNDATIONS)


def test_too_few_items_for_the_strata_are_refused() -> None:
    with pytest.raises(
        UserError, match=r"too few items for per_foundation=17: Loyalty has 16, SocialNorms has 16.*at most 16"
    ):
        load_items("standard").subset(17)
    with pytest.raises(UserError, match="at least 1"):
        load_items("standard").subset(0)
    one = load_items([json.loads(line())])
    assert one.counts == {"Care": 1}
    with pytest.raises(UserError, match="too small to be split"):
        one.split("report")
    with pytest.raises(UserError, match="unknown split 'train'"):
        one.split("train")


# evaluate


def test_doses_together_are_the_doses_alone(tiny: LM, axis: Axis) -> None:
    v = direction(tiny)
    quick: dict[str, Any] = {"items": items(), "texts": 8, "think": 0, "max_new_tokens": 24, "exam": 20}
    together = ws.evaluate(tiny, axis, direction=v, c=[0, C, -C], **quick)
    assert [r.c for r in together] == [0.0, C, -C] and [r.subject["base"] for r in together] == [True, False, False]
    alone = [ws.evaluate(tiny, axis, direction=v, c=c, **quick) for c in (C, -C)]
    base = ws.evaluate(tiny, axis, **quick)
    for one, other in zip([base, *alone], together, strict=True):
        assert abs(scores(one.rows) - scores(other.rows)).max() < 1e-4
        assert one.text["token_ids"].equals(other.text["token_ids"]), "same dice at every dose and in every batch"
        assert one.text["text"].len() == 8 and one.exam.height == 20 and one.dilemmas.height == 2
        assert one.identity == other.identity
    moved = [abs(scores(r.rows) - scores(base.rows)).max() for r in together]
    assert moved[0] < 1e-4 and min(moved[1:]) > 0.05
    assert together[1].dilemmas["logratio"].to_list() != base.dilemmas["logratio"].to_list()
    assert ws.compare(base, together[1]).height == 7


def test_one_c_gives_one_report(tiny: LM, axis: Axis) -> None:
    one = ws.evaluate(tiny, axis, items=items(), **QUICK)
    many = ws.evaluate(tiny, axis, items=items(), c=[0.0], **QUICK)
    assert isinstance(one, ws.Report) and [type(r) for r in many] == [ws.Report]
    assert one.text.height == one.exam.height == 0 and math.isnan(one.coherence) and math.isnan(one.capability)


def test_the_base_is_measured_once_per_settings(tiny: LM, axis: Axis, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[Any] = []

    def counted(*args: Any, **kwargs: Any) -> Any:
        calls.append(args)
        return read_vignettes(*args, **kwargs)

    monkeypatch.setattr(backends, "read_vignettes", counted)
    for _ in range(2):
        ws.evaluate(tiny, axis, items=items(), **QUICK)
        ws.evaluate(tiny, axis, items=items(), direction=direction(tiny), c=0.0, **QUICK)
    ws.evaluate(tiny, axis, items=items(), texts=4, think=0, **SHORT)
    assert len(calls) == 1, "the parts are remembered one by one"
    ws.evaluate(tiny, axis, items=items(2), **QUICK)
    ws.evaluate(tiny, axis, items=items(), conditions=["self_violate"], **QUICK)
    ws.evaluate(tiny_lm("qwen3", seed=1), axis, items=items(), **QUICK)
    assert len(calls) == 4
    ws.evaluate(tiny, axis, items=items(), persona="You are a pirate.", **QUICK)
    assert len(calls) == 5, "a persona is no base"


def test_processes_that_share_a_folder_measure_the_base_once(
    tiny: LM, axis: Axis, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    alone = ws.evaluate(tiny, axis, items=items(), texts=8, **SHORT)
    share_bases(tmp_path)
    try:
        ws.evaluation.forget_bases()
        first = ws.evaluate(tiny, axis, items=items(), texts=8, **SHORT)
        ws.evaluation.forget_bases()  # as another process, which has measured nothing yet
        monkeypatch.setattr(evaluator, "free_text", lambda *_, **__: pytest.fail("written again"))
        monkeypatch.setattr(backends.Builtin, "read", lambda *_, **__: pytest.fail("read again"))
        second = ws.evaluate(tiny, axis, items=items(), texts=8, **SHORT)
    finally:
        share_bases(None)
    for report in (first, second):
        assert report.per_row.equals(alone.per_row) and report.text.equals(alone.text)


def test_remembered_prompts_change_no_number(tiny: LM, axis: Axis) -> None:
    v = direction(tiny)
    fresh = ws.evaluate(tiny, axis, direction=v, c=C, items=items(), **QUICK)
    assert _PREFIXES
    again = ws.evaluate(tiny, axis, direction=v, c=C, items=items(), **QUICK)
    assert again.per_row.equals(fresh.per_row)
    adapted = ws.evaluate(tiny, axis, adapters=[made(tiny)], items=items(), **QUICK)
    assert abs(scores(adapted.rows) - scores(fresh.rows)).max() > 0.05
    assert ws.evaluate(tiny, axis, direction=v, c=C, items=items(), **QUICK).per_row.equals(fresh.per_row)


def test_adapters_and_personas_are_arms_beside_the_base(tiny: LM, axis: Axis) -> None:
    adapter = made(tiny)
    base = ws.evaluate(tiny, axis, items=items(), **QUICK)
    arms = [
        ws.evaluate(tiny, axis, adapters=[adapter], items=items(), **QUICK),
        ws.evaluate(tiny, axis, adapters=[(adapter, 0.5)], items=items(), **QUICK),
        ws.evaluate(tiny, axis, adapters=[adapter], direction=direction(tiny), c=C, items=items(), **QUICK),
        ws.evaluate(tiny, axis, persona="You are a pirate.", items=items(), **QUICK),
    ]
    read = [scores(r.rows) for r in (base, *arms)]
    assert all(abs(a - b).max() > 0.01 for i, a in enumerate(read) for b in read[:i])
    assert not any(r.subject["base"] for r in arms) and [r.identity for r in arms] == [base.identity] * 4
    json.dumps([r.subject for r in arms])
    assert (
        abs(scores(ws.evaluate(tiny, axis, adapters=[(adapter, 0.0)], items=items(), **QUICK).rows) - read[0]).max()
        < 1e-4
    )


def test_identity_says_what_was_asked(tiny: LM, axis: Axis) -> None:
    found = ws.evaluate(tiny, axis, items=items(2), per_foundation=1, think=3, think_samples=2, texts=8, **SHORT)
    assert found.identity | {"item_hash": "", "dilemmas": "", "text": {}} == {
        "backend": "builtin", "readout": "whole",
        "items": "rows/1", "item_hash": "", "rows": dict.fromkeys(FOUNDATIONS, 1),
        "conditions": ["other_violate"], "think": 3, "think_samples": 2, "text": {}, "capability": None, "dilemmas": "",
    }  # fmt: skip
    assert found.identity["text"]["n"] == 2 and found.subject["fingerprint"] == tiny.fingerprint
    with pytest.raises(UserError, match="differ in conditions"):
        ws.compare(
            found, ws.evaluate(tiny, axis, items=items(2), per_foundation=1, conditions=["self_violate"], **QUICK)
        )


def test_choosing_and_reporting_use_other_items_and_prompts(tiny: LM, axis: Axis) -> None:
    select, report = (
        ws.evaluate(tiny, axis, items=items(2), split=s, texts=3, think=0, **SHORT) for s in ("select", "report")
    )
    assert set(select.rows["id"]).isdisjoint(report.rows["id"])
    assert set(select.text["prompt"]) <= set(axis.select) and set(report.text["prompt"]) <= set(axis.probes)


def test_the_embedded_model_thinks_beside_its_headline(axis: Axis) -> None:
    tiny = replace(tiny_lm("qwen3"), recipe=replace(OTHER, think=(0, 2)))
    full = ws.evaluate(tiny, axis, items=items(), texts=4, think_samples=2, **SHORT)
    assert full.identity["think"] == 0 and sorted(set(full.per_row["think"])) == [0, 2] and full.rows.height == 7
    assert full.at_think(2).rows["json_valid"].is_nan().all() and full.at_think(2).nats["Care"] != full.nats["Care"]
    quick = ws.evaluate(tiny, axis, items=items(), free_text=False, capability=False)
    assert set(quick.per_row["think"]) == {0}
    assert ws.compare(full, quick).height == 7


def test_self_violate_stands_beside_the_headline(tiny: LM, axis: Axis) -> None:
    settings: dict[str, Any] = {"items": items(), "think": 0, "texts": 4, "max_new_tokens": 8, "capability": False}
    base, moved = ws.evaluate(tiny, axis, direction=direction(tiny), c=[0, C], **settings)
    assert set(base.per_row["condition"]) == {"other_violate", "self_violate"}
    assert set(base.rows["condition"]) == {"other_violate"} and base.identity["conditions"] == ["other_violate"]
    alone = ws.evaluate(tiny, axis, direction=direction(tiny), c=C, conditions=["self_violate"], **settings)
    own = moved.at_condition("self_violate")
    assert abs(scores(own.rows) - scores(alone.rows)).max() < 1e-4 and own.identity == alone.identity
    both, other, self_ = (
        ws.compare(*pair).row(0, named=True)
        for pair in ((base, moved), *[(base.at_condition(c), moved.at_condition(c)) for c in CONDITIONS])
    )
    assert both["d_target"] == other["d_target"] != self_["d_target"]
    assert [both[f"d_self{end}"] for end in ("", "_low", "_high")] == [
        self_[f"d_target{end}"] for end in ("", "_low", "_high")
    ]
    with pytest.raises(UserError, match="differ in conditions"):
        ws.compare(base, own)
    quick = ws.evaluate(tiny, axis, items=items(), **QUICK)
    assert not quick.has_condition("self_violate") and math.isnan(ws.compare(base, quick)["d_self"][0])
    with pytest.raises(UserError, match="'self_violate' was not read"):
        quick.at_condition("self_violate")


def test_items_without_the_other_text_are_read_in_the_headlines_condition(tiny: LM, axis: Axis) -> None:
    bare = [{"id": f, "foundation": f, "other_violate": f"You see {f} go."} for f in FOUNDATIONS]
    found = ws.evaluate(tiny, axis, items=bare, think=0, texts=4, max_new_tokens=8, capability=False)
    assert set(found.per_row["condition"]) == {"other_violate"}


def test_the_size_of_the_exam_is_a_setting_and_its_questions_are_the_identity(tiny: LM, axis: Axis) -> None:
    few, many, again = (
        ws.evaluate(tiny, axis, items=items(), think=0, free_text=False, exam=n, seed=0, readings=["exam"])
        for n in (4, 16, 4)
    )
    assert (few.exam.height, many.exam.height) == (4, 16) and few.identity == again.identity != many.identity
    width = [high - low for low, high in (few.capability_interval, many.capability_interval)]
    assert width[1] < width[0]
    with pytest.raises(UserError, match="differ in capability"):
        ws.compare(few, many)
    assert EvalConfig().exam >= 200 and mini_full().evaluation.exam >= 200
    with pytest.raises(UserError, match=r"evaluation\.exam must be at least 1"):
        EvalConfig(exam=0)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"c": 0.5}, "no direction"),
        ({"c": []}, "one finite number or several"),
        ({"c": [0.5, math.nan]}, "one finite number"),
        ({"direction": "pairs"}, "Pass c=1.0"),
        ({"items": "classic"}, "no item set is called"),
        ({"readout": "third"}, "unknown readout"),
        ({"split": "train"}, "unknown split"),
        ({"backend": "third"}, "unknown backend 'third'"),
    ],
)
def test_what_does_not_fit_is_the_users_error(tiny: LM, axis: Axis, wrong: dict[str, Any], message: str) -> None:
    if wrong.get("direction") == "pairs":
        wrong = {"direction": [(direction(tiny), 1.0)]}
    with pytest.raises(UserError, match=message):
        ws.evaluate(tiny, axis, **{"items": items(), **QUICK, **wrong})


def test_evaluating_inside_a_steered_block_is_refused(tiny: LM, axis: Axis) -> None:
    with steered(tiny, direction(tiny), C), pytest.raises(UserError, match="evaluate was called inside"):
        ws.evaluate(tiny, axis, items=items(), **QUICK)


def test_models_without_system_role_or_template_are_read_too(axis: Axis) -> None:
    for lm in (tiny_lm("gemma2", template=GEMMA), tiny_lm("gpt2", chat=False)):
        base, moved = ws.evaluate(lm, axis, direction=direction(lm), c=[0, C], items=items(), texts=4, think=2, **SHORT)
        assert base.n_bad == moved.n_bad == 0 and base.rows.height == 7 and moved.text.height == 4


# Free text


def test_spread_gives_at_least_what_was_asked() -> None:
    assert spread(["a", "b", "c"], 7) == (["a", "b", "c"], 3)
    assert spread([*"abcdefghij"], 5) == ([*"acegi"], 1)
    prompts, n = spread(ws.load_axis("care_over_authority").probes, 200)
    assert len(prompts) * n >= 200


def test_readable_needs_all_three() -> None:
    frame = pl.DataFrame({"worst_ppl": [2.0, 9.0, 2.0, 2.0, math.nan, math.inf, 2.0],
                          "tail_ppl": [7.0, 2.0, 2.0, 2.0, 2.0, 2.0, 2.0], "rep": [0.1, 0.1, 0.5, 0.1, 0.1, 0.1, 0.1],
                          "loop": [0.2, 0.2, 0.2, 0.2, 0.2, 0.2, 0.4],
                          "finished": [True, True, True, False, True, True, True]})  # fmt: skip
    marked = mark_readable(frame, TextLimits(5.0, 5.0, finished=True))
    assert marked["readable"].to_list() == [True, False, False, False, False, False, False]
    assert marked["readable_tail"].to_list() == [False, True, False, False, True, True, True], "the reading before"
    cut = mark_readable(frame, TextLimits(5.0, 5.0, finished=False))
    assert cut["readable"].to_list() == [True, False, False, True, False, False, False]
    assert cut["readable_tail"].equals(marked["readable_tail"])
    unknown = mark_readable(frame, TextLimits(math.nan, math.nan, finished=True))
    assert unknown.select("readable", "readable_tail").null_count().row(0) == (7, 7), "NaN is larger for polars"


def test_the_limits_follow_the_sampling_that_the_base_was_drawn_at() -> None:
    base, cut = (
        pl.DataFrame({"worst_ppl": [4.0] * 9, "tail_ppl": [2.0] * 9, "finished": [True] * n + [False] * (9 - n)})
        for n in (5, 4)
    )
    assert limits_of(base) == limits_of(base, 1.3) == TextLimits(4.0, 2.0, finished=True)
    assert limits_of(base, 0.5) == TextLimits(16.0, 2.0, finished=True), "half the temperature, half the nats"
    assert not limits_of(cut).finished, "a model that the token limit cuts off is not asked to end"
    assert math.isnan(limits_of(base.with_columns(worst_ppl=pl.lit(math.nan)), 0.5).worst_ppl)


def test_the_limit_comes_from_another_sample_of_the_base(tiny: LM, axis: Axis, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[int, bool]] = []
    write = freetext.free_text

    def watch(lm: LM, axis: Axis, prompts: Sequence[str], n: int, **kw: Any) -> list[pl.DataFrame]:
        asked.append((kw["sampling"].seed, kw["direction"] is None))
        return [f.with_columns(finished=True, rep=0.0, loop=0.0) for f in write(lm, axis, prompts, n, **kw)]

    monkeypatch.setattr(evaluator, "free_text", watch)
    settings: dict[str, Any] = {"items": items(), "think": 0, "texts": 12, "seed": 5, **SHORT}
    moved = ws.evaluate(tiny, axis, direction=direction(tiny, 4.0), c=1.0, **settings)
    assert asked == [(5 + freetext.LIMIT_SEED, True), (5, True), (5, False)]
    base = ws.evaluate(tiny, axis, **settings)
    assert len(asked) == 3, "the base's text was there already"
    assert base.coh_text == base.coh_text_base > 0.5 and base.coherence == min(base.p_ans_any, 1)
    assert moved.coh_text_base == base.coh_text and moved.coh_text < base.coh_text
    assert list(moved.text.schema) == list(TEXTS)


def test_greedy_text_is_a_reading_of_its_own(tiny: LM, axis: Axis) -> None:
    settings: dict[str, Any] = {"items": items(), "think": 0, "texts": 8, **SHORT}
    sampled = ws.evaluate(tiny, axis, **settings)
    greedy, moved = ws.evaluate(tiny, axis, direction=direction(tiny), c=[0, C], temperature=0, **settings)
    again = ws.evaluate(tiny, axis, temperature=0, seed=9, **settings)
    assert sampled.text.height == 8 and greedy.text.height == moved.text.height == 4, "one completion per prompt"
    assert greedy.text["text"].to_list() == again.text["text"].to_list() != moved.text["text"].to_list()
    assert not set(greedy.text["text"]) & set(sampled.text["text"])
    assert greedy.identity["text"]["temperature"] == 0 and "temperature" not in sampled.identity["text"]
    assert greedy.text["readable"].is_not_null().all() and ws.compare(greedy, moved).height == 7
    with pytest.raises(UserError, match="differ in text"):
        ws.compare(sampled, greedy)


def test_a_plain_set_without_a_foundation_is_refused(tiny: LM, axis: Axis) -> None:
    some = ItemSet("some", tuple(i for i in items(2).items if i.foundation not in ("Care", "Liberty")))
    with pytest.raises(UserError, match=r"item set 'some' has no item of Care, Liberty \(10 items\)"):
        ws.evaluate(tiny, axis, items=some, **QUICK)
    conflict = ItemSet("two", tuple(replace(i, cues=("Care", "Authority")) for i in some.items))
    assert ws.evaluate(tiny, axis, items=conflict, **QUICK).n_bad == 0


# Behaviour and capability


def test_the_side_of_a_reply_depends_on_the_axis() -> None:
    care, obey, honest = (ws.load_axis(n) for n in ("care_over_authority", "authority_over_principle", "honesty"))
    assert [takes_side(s, care) for s in ("Care", "Authority", "Honesty", None)] == [True, False, None, None]
    assert [takes_side(s, obey) for s in ("Care", "Authority", None)] == [False, True, None]
    assert [takes_side(s, honest) for s in ("Honesty", "Flattery", "Care")] == [True, False, None]


def test_behaviour_counts_the_unreadable() -> None:
    frame = pl.DataFrame({"protects": [True] * 6 + [False] * 2 + [None] * 2, "grammatical": [1.0] * 9 + [0.5],
                          "slots": [None] * 8 + [1.0, 0.5]})  # fmt: skip
    found = behaviour_of(frame)
    assert found.measured and (found.protect.value, found.protect.n, found.unreadable) == (0.75, 8, pytest.approx(0.2))
    assert found.log_odds == pytest.approx(math.log(6.5 / 2.5)) and found.protect.low < 0.75 < found.protect.high
    assert (found.grammatical, found.slots) == (0.95, 0.75)


def test_behaviour_of_other_models_is_not_measured(tiny: LM, axis: Axis) -> None:
    frame = read_behaviour(tiny, pl.DataFrame({"prompt": ["?"], "text": ["x"]}), axis)
    assert frame["protects"].is_null().all() and not behaviour_of(frame).measured


def test_the_embedded_models_replies_are_read_by_rule(tiny: LM, monkeypatch: pytest.MonkeyPatch) -> None:
    sides = {"stay": Read("Care", 1.0, 1.0), "obey": Read("Authority", 0.5, None), "zxq": Read(None, 0.0, None)}
    monkeypatch.setattr("ws.models.mini.rule_reader.read", lambda _, text: sides[text])
    frame = pl.DataFrame({"prompt": ["The boss is cruel."] * 3, "text": list(sides)})
    read = read_behaviour(replace(tiny, recipe=MINI), frame, ws.load_axis("care_over_authority"))
    assert read["protects"].to_list() == [True, False, None] and read["slots"].to_list() == [1.0, None, None]
    assert (behaviour_of(read).protect.value, behaviour_of(read).grammatical) == (0.5, 0.5)


def test_capability_items_are_seeded_and_right(tiny: LM) -> None:
    made_items = capability_items(tiny, 50, seed=3)
    assert made_items == capability_items(tiny, 50, seed=3) != capability_items(tiny, 50, seed=4)
    assert Counter(item["kind"] for item in made_items) == dict.fromkeys(
        ("sum", "difference", "product", "two-step", "order"), 10
    )
    signs = {"+": operator.add, "-": operator.sub, "times": operator.mul}
    for item in made_items:
        if found := re.search(r"(\d+) (\+|-|times) (\d+)", item["user"]):
            a, sign, b = found.groups()
            assert signs[sign](ast.literal_eval(a), ast.literal_eval(b)) == int(item["answer"])
        elif item["kind"] == "two-step":
            have, get, give = map(int, re.findall(r"\d+", item["user"]))
            assert have + get - give == int(item["answer"])
        else:
            tall = re.findall(r"(\w+) is taller than (\w+)", item["user"])
            top, low = {a for a, _ in tall} - {b for _, b in tall}, {b for _, b in tall} - {a for a, _ in tall}
            assert {item["answer"]} == (top if "tallest" in item["user"] else low)


@pytest.mark.parametrize(
    ("text", "answer", "right"),
    [("17 + 25 = 42.", "42", True), ("42, and 7", "42", False), ("1,042", "1042", True), ("", "42", False),
     ("-3", "-3", True),
     ("142", "42", False), ("It is Ana.", "Ana", True), ("Anabel", "Ana", False), ("ana", "Ana", True)],
)  # fmt: skip
def test_answers_are_exact(text: str, answer: str, right: bool) -> None:
    assert is_right(text, answer) is right


# Backends

FAKE = """
CALLS = []
NAMES = ["care", "fairness", "loyalty", "authority", "sanctity", "liberty", "social"]

def evaluate(model, tok, name="classic", conditions=(), max_think_tokens=64, batch_size=8, return_per_row=False, **kw):
    import torch
    CALLS.append((name, conditions, max_think_tokens, kw))
    tok.padding_side = "right" if tok.padding_side == "left" else "left"
    turns = [{"role": "user", "content": "Is it wrong?"}]
    ids = torch.tensor([tok(tok.apply_chat_template(turns, tokenize=False, add_generation_prompt=True))["input_ids"]])
    logps = model(input_ids=ids, attention_mask=torch.ones_like(ids)).logits[0, -1, 40:47].log_softmax(-1)
    row = {"condition": "other_violate", "foundation": "care", "pmass_allowed": 0.5, "nll_json": 0.1}
    rows = [{"id": i, "p": logps.exp().tolist(), "score": logps.tolist(), **row} for i in range(4)]
    return {"profile": {"foundation": NAMES}, "per_row": rows, "mean_pmass_allowed": 0.5}
"""


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A stand-in for tinymfv and for moralmaps."""
    for name in backends.EXTERNAL:
        (tmp_path / f"{name}.py").write_text(FAKE)
    monkeypatch.syspath_prepend(str(tmp_path))


def test_a_missing_backend_names_the_command(tiny: LM, axis: Axis) -> None:
    ways = {"moralmaps": "No extra brings it",
            "tinymfv": r"pip install -e '\.\[tinymfv\]'.*needs git and network access"}  # fmt: skip
    project = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"]
    assert extras["tinymfv"][0].startswith("tiny-mfv @ git+https://") and "moralmaps" not in str(extras)
    for name in backends.EXTERNAL:
        with pytest.raises(UserError, match=rf"{name}' is not installed\..*{ways[name]}.*use backend='builtin'"):
            ws.evaluate(tiny, axis, backend=name, **QUICK)
    assert isinstance(backend_of(tiny, None, whole=True), Builtin)


@pytest.mark.usefixtures("installed")
def test_an_installed_backend_is_the_default_where_it_can_serve(tiny: LM) -> None:
    assert backend_of(tiny, None, whole=True) == External("tinymfv")
    assert backend_of(tiny, None, whole=False) == Builtin() == backend_of(tiny, "builtin", whole=True)
    assert backend_of(replace(tiny, recipe=MINI), None, whole=True) == Builtin()
    with pytest.raises(UserError, match="as a whole"):
        backend_of(tiny, "tinymfv", whole=False)


@pytest.mark.usefixtures("installed")
def test_another_backends_rows_become_a_report(tiny: LM, axis: Axis) -> None:
    side = tiny.tok.padding_side
    base, moved = ws.evaluate(tiny, axis, direction=direction(tiny), c=[0, C], backend="tinymfv", **QUICK)
    assert tiny.tok.padding_side == side
    persona = ws.evaluate(tiny, axis, persona="You are a pirate.", backend="tinymfv", **QUICK)
    assert base.identity["backend"] == "tinymfv" and base.identity["readout"] == "first"
    assert base.p_ans_any == 0.5 and math.isnan(base.order_gap) and base.rows.height == 4
    assert len({r.nats["Care"] for r in (base, moved, persona)}) == 3
    assert ws.compare(base, moved)["n"].to_list() == [4] * 7
    digits = ws.evaluate(tiny, axis, backend="moralmaps", **QUICK)
    assert digits.identity["readout"] == "digit"
    import moralmaps

    assert moralmaps.CALLS == [("classic", ("other_violate",), 0, {"verbose": 0})]
    for other in (digits, ws.evaluate(tiny, axis, items=items(), **QUICK)):
        with pytest.raises(UserError, match="differ in backend"):
            ws.compare(base, other)


def test_think_and_samples_must_fit() -> None:
    with pytest.raises(UserError, match="cannot be negative"):
        Reading(samples=-1)


# The embedded model


def test_the_embedded_model_answers_and_personas_move_it(mini: LM) -> None:
    axis = ws.load_axis("care_over_authority").on(mini)
    half: dict[str, Any] = {**QUICK, "split": "report"}
    base = ws.evaluate(mini, axis, **half)
    care, obey = (ws.evaluate(mini, axis, persona=p, **half) for p in (axis.positive[0], axis.negative[0]))
    assert base.identity["items"] == "mini.conflict:report" and base.n_bad == 0
    assert base.p_ans_any > 0.95 and base.json_is_valid > 0.95, (base.p_ans_any, base.json_is_valid)
    assert care.auth_nats < base.auth_nats < obey.auth_nats, (care.auth_nats, base.auth_nats, obey.auth_nats)
