"""Axes: what ships (counts, pole lengths, variety, disjointness), what `on` hands out, round trips, user errors."""

from __future__ import annotations

import dataclasses
import json
import re
from collections import Counter
from functools import cache
from itertools import combinations
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from ws.axes import axis as axes
from ws.axes.axis import Axis, load_axis, shipped_axes
from ws.axes.axis_file import DATA, Context, Question, item_keys, shipped_pools, text_key
from ws.errors import UserError
from ws.gating.foundations import FOUNDATIONS
from ws.models.recipe import OTHER, recipe_of

SHIPPED = (
    "authority_over_principle", "care_over_authority", "fairness_over_loyalty", "honesty", "liberty_over_sanctity",
    "principle_over_authority", "warmth",
)  # fmt: skip
STYLES = (
    "brief_over_wordy", "cheerful_over_gloomy", "formal_over_casual", "pirate_over_professor", "poetic_over_plain",
)  # fmt: skip
"""Written for small chat models: few personas, short prompts."""
ALL = (*SHIPPED, *STYLES)
ANY: Any = SimpleNamespace(recipe=OTHER, name="some/model")
MINI: Any = SimpleNamespace(recipe=recipe_of("mini"), name="mini")


def words(text: str) -> list[str]:
    return re.findall(r"[\w']+", text.casefold())


@cache
def distinct(text: str) -> frozenset[str]:
    return frozenset(words(text))


def similar(a: str, b: str) -> float:
    x, y = distinct(a), distinct(b)
    return len(x & y) / len(x | y)


def small(**changes: Any) -> dict[str, Any]:
    """A user's axis that is right; a value of None removes its key."""
    table: dict[str, Any] = {
        "name": "own", "target": "Care", "intended": {"Care": 1},
        "positive": ["You help."], "negative": ["You hinder."],
        "contexts": ["Hello there.", {"user": "Hello there.", "assistant_prefix": "Well,"}],
        "train": ["First question?"], "select": ["Second question?"], "probes": ["Third question?"],
    } | changes  # fmt: skip
    return {key: value for key, value in table.items() if value is not None}


def written(tmp_path: Path, table: object) -> Path:
    path = tmp_path / "own.json"
    path.write_text(json.dumps(table), encoding="utf-8")
    return path


# what ships


def test_shipped_names() -> None:
    assert set(ALL) <= set(shipped_axes())
    assert shipped_axes() == sorted(shipped_axes())


@pytest.mark.parametrize("name", SHIPPED)
def test_shipped_counts(name: str) -> None:
    axis = load_axis(name)
    assert (axis.name, axis.models) == (name, ("any",))
    assert len(axis.positive) == len(axis.negative) >= 8
    assert len(axis.contexts) >= 256 and len(axis.train) >= 40 and len(axis.select) >= 20 and len(axis.probes) >= 30
    assert axis.narration and axis.neutral


@pytest.mark.parametrize("name", STYLES)
def test_counts_of_the_axes_for_small_models(name: str) -> None:
    axis = load_axis(name)
    assert (axis.name, axis.models) == (name, ("any",))
    assert len(axis.positive) == len(axis.negative) >= 4
    assert len(axis.contexts) >= 48 and len(axis.train) >= 24 and len(axis.select) >= 16 and len(axis.probes) >= 16
    assert axis.narration and axis.neutral and axis.engineered
    assert max(len(words(text)) for listed in axis.prompts().values() for text in listed) <= 14, "short and everyday"


@pytest.mark.parametrize("name", ALL)
def test_poles_are_pairs_of_one_length(name: str) -> None:
    axis = load_axis(name)
    for positive, negative in zip(axis.positive, axis.negative, strict=True):
        assert abs(len(positive.split()) - len(negative.split())) <= 1, (positive, negative)
        assert similar(positive, negative) >= 0.3, "a pair shares its frame and differs in the trait"
        assert re.search(r"\b[Yy]ou", positive) or positive.startswith(("Let ", "Ask ")), positive
    personas = [text_key(persona) for persona in (*axis.positive, *axis.negative)]
    assert len(set(personas)) == len(personas)
    lengths = [sum(len(p.split()) for p in pole) / len(pole) for pole in (axis.positive, axis.negative, axis.neutral)]
    assert abs(lengths[0] - lengths[1]) < 0.5


@pytest.mark.parametrize("name", ALL)
def test_lists_are_disjoint_and_hold_no_doubles(name: str) -> None:
    axis = load_axis(name)
    lists = {**axis.prompts(), "questions": tuple(q.text for q in axis.questions)}
    keys = [text_key(text) for texts in lists.values() for text in texts]
    assert len(set(keys)) == len(keys)
    assert not set(keys) & set(item_keys())
    assert not set(keys) & {text_key(p) for p in (*axis.positive, *axis.negative, *axis.neutral)}


def test_intended_signs() -> None:
    signs = {name: (load_axis(name).target, load_axis(name).sign) for name in SHIPPED}
    assert signs["care_over_authority"] == ("Authority", -1)
    assert load_axis("care_over_authority").intended == {"Authority": -1, "Care": 1}
    assert signs["principle_over_authority"] == ("Authority", -1)
    assert signs["authority_over_principle"] == ("Authority", 1)
    assert signs["fairness_over_loyalty"] == ("Loyalty", -1)
    assert signs["liberty_over_sanctity"] == ("Sanctity", -1)


@pytest.mark.parametrize("name", ["honesty", "warmth", *STYLES])
def test_axes_outside_the_foundations(name: str) -> None:
    axis = load_axis(name)
    assert axis.outside and axis.intended == {} and axis.sign == 1
    assert axis.target not in FOUNDATIONS and axis.questions


def test_the_mirror_is_the_mirror() -> None:
    axis, mirror = load_axis("principle_over_authority"), load_axis("authority_over_principle")
    assert (mirror.positive, mirror.negative) == (axis.negative, axis.positive)
    assert mirror.intended == {name: -sign for name, sign in axis.intended.items()}
    assert mirror.questions == tuple(dataclasses.replace(q, label=-q.label) for q in axis.questions)
    assert mirror.prompts() == axis.prompts()


def test_narration_patterns_catch_talk_about_the_trait_and_leave_the_trait_itself() -> None:
    told = {
        "care_over_authority": ["I put people before rules.", "I always obey those above me.", "I'm bound to obey."],
        "principle_over_authority": ["I stand by my principles.", "I never bow to anyone.", "I answer to nobody."],
        "fairness_over_loyalty": ["I never take sides.", "I put my family first.", "To me, fairness is all."],
        "liberty_over_sanctity": ["I believe in freedom.", "I would never judge.", "To me, purity comes first."],
        "honesty": ["I always tell the truth.", "I pride myself on honesty.", "As an honest critic, no."],
        "warmth": ["I am full of love.", "My heart overflows.", "Love is who I am."],
        "cheerful_over_gloomy": ["I'm a very happy person.", "As a gloomy man, no.", "I always see the bright side."],
        "poetic_over_plain": ["I am a dreamy poet.", "As a poet, I see more.", "Here is a short poem for you."],
        "formal_over_casual": ["I'm just a chill guy.", "As a very formal butler, sir.", "I always speak politely."],
        "pirate_over_professor": ["I be a pirate.", "As an old professor, indeed.", "I talk like a pirate."],
        "brief_over_wordy": ["I'm a brief person.", "As a very terse writer, no.", "I will keep it short."],
    }
    shown = [
        "Stay with her until she is calm, and tell the sister in the morning why you did it.",
        "Do what the manager asked. He answers for the ward, and the rota was his to make.",
        "Take the better applicant and ring your nephew yourself before the letter arrives.",
        "The third line limps. Cut it, and the poem may work.",
        "Oh, how lovely! Give her a kiss from me, and get some sleep.",
        "Let her hang it. Whoever minds may look at another wall.",
    ]
    for name, sentences in told.items():
        pattern = re.compile("|".join(load_axis(name).narration), re.IGNORECASE)
        assert all(pattern.search(sentence) for sentence in sentences), (name, sentences)
        assert not any(pattern.search(sentence) for sentence in shown), name


# the pool of contexts


def test_contexts_are_diverse() -> None:
    contexts = load_axis("care_over_authority").contexts
    lengths = sorted(len(words(context.user)) for context in contexts)
    assert len(contexts) >= 256 and sum(bool(context.assistant_prefix) for context in contexts) >= 20
    assert lengths[0] <= 2 and lengths[-1] >= 80 and lengths[len(lengths) // 2] in range(8, 30)
    openings = Counter(tuple(words(context.user)[:2]) for context in contexts)
    assert openings.most_common(1)[0][1] <= 0.05 * len(contexts), openings.most_common(3)
    assert len(openings) >= 0.6 * len(contexts)


def test_no_two_prompts_are_nearly_the_same() -> None:
    texts = {t for name in ALL for listed in load_axis(name).prompts().values() for t in listed if len(words(t)) > 7}
    near = [(a, b) for a, b in combinations(sorted(texts), 2) if similar(a, b) > 0.5]
    assert near == []


@cache
def stems(text: str) -> frozenset[str]:
    return frozenset(word[:6] for word in words(text) if len(word) > 3)


@pytest.mark.parametrize("name", ALL)
def test_what_judges_tells_no_story_that_extracts_trains_or_chooses(name: str) -> None:
    """By rare words: two texts that share four of them are likely to tell the same story."""
    axis = load_axis(name)
    items = (DATA / "items" / f"{kind}.jsonl" for kind in ("standard", "conflict"))
    vignettes = [json.loads(line)["other_violate"] for path in items for line in path.read_text("utf-8").splitlines()]
    used = [text for listed in ("contexts", "train", "select") for text in axis.prompts()[listed] if len(text) < 400]
    judging = [*axis.probes, *(question.text for question in axis.questions), *vignettes]
    often = Counter(stem for text in (*used, *judging) for stem in stems(text))
    rare = {stem for stem, times in often.items() if times <= 15}
    told = {text: stems(text) & rare for text in (*used, *judging)}
    same = [(a, b) for a in used for b in judging if len(told[a] & told[b]) >= 4]
    assert same == []


def test_pools_are_taken_in(tmp_path: Path) -> None:
    assert {"diverse", "advice_train", "advice_select", "mundane_probes"} <= set(shipped_pools())
    axis = load_axis(written(tmp_path, small(contexts=["pool:diverse", "My own."], train="pool:advice_train")))
    assert axis.contexts[-1] == Context("My own.") and len(axis.contexts) >= 257 and len(axis.train) >= 40


# variants


def test_on_hands_out_the_variant_of_the_model() -> None:
    for name in shipped_axes():
        for axis in axes._variants(name):
            for lm, kind in ((ANY, "any"), (MINI, "mini")):
                if any(kind in variant.models for variant in axes._variants(name)):
                    assert kind in axis.on(lm).models and axis.on(lm).name == name


def test_every_shipped_file_loads_and_is_named_after_its_axis() -> None:
    for path in sorted((DATA / "axes").glob("*.toml")):
        axis = load_axis(path)
        assert path.name in (f"{axis.name}.toml", f"{axis.name}.mini.toml")
        assert axis.models == (("mini",) if path.name.endswith(".mini.toml") else ("any",))


def test_on_says_what_exists() -> None:
    with pytest.raises(
        UserError, match=r"'warmth' is written for any; model 'mini' needs 'mini'.*Axes for this model: "
    ):
        load_axis("warmth").on(MINI)


def test_a_users_own_axis_is_itself(tmp_path: Path) -> None:
    axis = load_axis(written(tmp_path, small()))
    assert axis.on(ANY) is axis and axis.on(MINI) is axis
    changed = dataclasses.replace(load_axis("care_over_authority"), contexts=(Context("Hi."),))
    assert changed.on(ANY) is changed and changed.on(MINI) is changed


# round trips


@pytest.mark.parametrize("name", ALL)
def test_json_round_trip(name: str, tmp_path: Path) -> None:
    axis = load_axis(name)
    assert load_axis(written(tmp_path, axis.to_dict())) == axis


def test_toml_path_as_text_and_as_path() -> None:
    path = DATA / "axes" / "warmth.toml"
    assert load_axis(path) == load_axis(str(path)) == load_axis("warmth")


def test_defaults_of_a_small_file(tmp_path: Path) -> None:
    axis = load_axis(written(tmp_path, small()))
    assert (axis.title, axis.models, axis.sign, axis.questions, axis.neutral) == ("own", ("any",), 1, (), ())
    assert axis.contexts == (Context("Hello there."), Context("Hello there.", "Well,"))


def test_overlap_is_by_words() -> None:
    axis = load_axis("honesty")
    assert axis.overlap([axis.train[0].upper() + "!!", "something else"]) == [("train", axis.train[0])]
    assert text_key("What's  this?") == text_key("what's this") != text_key("what is this")
    assert text_key("?") != text_key("!")


# user errors

QUESTION = {"text": "Would you?", "yes": "Yes, I would.", "no": "No, I would not.", "label": 1}
MISTAKES = [
    (small(positive=[], negative=[]), r"positive is empty"),
    (small(negative=None), r"this axis lacks negative"),
    (small(contexts=None), r'lacks contexts.*contexts = "pool:diverse"'),
    (small(positive=["You help.", "You aid."]), r"2 positive and 1 negative personas"),
    (small(negative=["you  HELP"]), r"poles are identical in 'You help\.'"),
    (small(negative=[" "]), r"negative must hold texts that are not empty"),
    (small(positive="You help."), r"positive must be a list"),
    (small(intended={"Kindness": 1, "Care": 1}), r"unknown foundation 'Kindness' in intended\. Foundations: Care"),
    (small(target="Cares"), r"unknown foundation 'Cares' as target"),
    (small(target="Liberty"), r"target 'Liberty' has no intended sign"),
    (small(intended={}), r"intended is empty, but target 'Care' is a foundation"),
    (small(intended={}, target="Grit"), r"'Grit' is outside the foundations .* no questions judge it"),
    (small(intended=None), r"lacks intended"),
    (small(intended=["Care"]), r"intended must be a table"),
    (small(intended={"Care": 2}), r"sign of Care must be 1 or -1 \(got 2\)"),
    (small(intended={"Care": True}), r"sign of Care must be 1 or -1 \(got True\)"),
    (small(postive=["You help."]), r"unknown key in this axis: 'postive' \(did you mean 'positive'\?\)"),
    (small(colour="red"), r"unknown key in this axis: 'colour'\. Known keys: name"),
    (small(models=["gpt"]), r"models may hold 'any' and 'mini' \(got \['gpt'\]\)"),
    (small(models=[]), r"models is empty"),
    (small(train=[]), r"train is empty .* a shipped pool: "),
    (small(train="pool:nothing"), r"no pool is called 'nothing'\. Shipped pools: advice_select"),
    (small(train="First question?"), r"train must be a list"),
    (small(train=["First question?", 3]), r"train must hold texts .* \(got 3\)"),
    (small(train=["First question?", "first question"]), r"train holds 'first question' twice"),
    (small(train=["second QUESTION"]), r"select and train share 'Second question\?'"),
    (small(probes=["hello, there!"]), r"probes and contexts share"),
    (small(contexts=["One.", "One."]), r"contexts holds 'One\.' twice"),
    (small(contexts=[{"text": "One."}]), r"unknown key in this context: 'text'"),
    (small(contexts=[{"user": "One.", "assistant_prefix": 1}]), r"assistant_prefix must be a text \(got 1\)"),
    (small(narration=["i am ("]), r"narration pattern 'i am \(' is no regular expression"),
    (small(questions=["Would you?"]), r"a question is a table"),
    (small(questions=[{**QUESTION, "label": 0}]), r"label must be 1 or -1 \(got 0 for 'Would you\?'\)"),
    (small(questions=[{**QUESTION, "no": "yes, I would"}]), r"both answers to 'Would you\?'"),
    (small(questions=[{**QUESTION, "answer": "Yes"}]), r"unknown key in this question: 'answer'"),
    (small(questions=[{**QUESTION, "text": "first question"}]), r"questions and train share"),
    (["a list"], r"an axis is a table of keys \(got a list\)"),
]


@pytest.mark.parametrize(("table", "message"), MISTAKES, ids=[message[:32] for _, message in MISTAKES])
def test_mistakes_in_a_file(table: object, message: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=f"(?s)own.json: .*{message}"):
        load_axis(written(tmp_path, table))


def test_a_prompt_that_is_an_evaluation_item(tmp_path: Path) -> None:
    item = json.loads((DATA / "items" / "standard.jsonl").read_text(encoding="utf-8").splitlines()[4])
    with pytest.raises(UserError, match=f"train and evaluation item standard.jsonl:{item['id']} share"):
        load_axis(written(tmp_path, small(train=[item["self_violate"]])))


def test_mistakes_in_the_name_or_the_path(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"no shipped axis is called 'honesti'\. Did you mean 'honesty'\? Shipped: "):
        load_axis("honesti")
    with pytest.raises(UserError, match="no such axis file"):
        load_axis(tmp_path / "none.toml")
    (tmp_path / "axis.yaml").write_text("name: x")
    with pytest.raises(UserError, match=r"ends in \.toml or \.json \(got '\.yaml'\)"):
        load_axis(tmp_path / "axis.yaml")
    for suffix, text in ((".toml", "name = "), (".json", "{")):
        (tmp_path / f"broken{suffix}").write_text(text)
        with pytest.raises(UserError, match=f"cannot be read as {suffix[1:].upper()}"):
            load_axis(tmp_path / f"broken{suffix}")


def test_an_axis_built_in_code_is_checked_too() -> None:
    good = load_axis("care_over_authority")
    with pytest.raises(UserError, match="the negative pole has no persona"):
        dataclasses.replace(good, negative=())
    with pytest.raises(UserError, match="models may hold"):
        dataclasses.replace(good, models=())
    assert isinstance(dataclasses.replace(good, title="x"), Axis)
    assert Question(**QUESTION).label == 1  # type: ignore[arg-type]
