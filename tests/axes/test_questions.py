"""Questions: both ways of writing them, the plain answer, halves, what is refused; and what the shipped ones hold."""

from __future__ import annotations

import json
import re
from collections import Counter
from dataclasses import asdict
from itertools import combinations
from pathlib import Path
from typing import Any

import pytest

from ws.axes.axis import Axis, load_axis, shipped_axes
from ws.axes.axis_file import Question, as_question, halves_of, text_key
from ws.errors import UserError
from ws.evaluation.readings import Request
from ws.evaluation.readings.dilemmas import asks
from ws.models.lm import LM

POLES = {"text": "The rule hurts her. What now?", "positive": "I would help her.", "negative": "I would obey it."}
PLAIN = {"plain": "I would have some tea."}


def own(questions: list[dict[str, Any]], outside: bool = False) -> dict[str, Any]:
    return {
        "name": "own", "target": "Grit" if outside else "Care", "intended": {} if outside else {"Care": 1},
        "positive": ["You help."], "negative": ["You hinder."], "contexts": ["Hello there."],
        "train": ["First question?"], "select": ["Second question?"], "probes": ["Third question?"],
        "questions": questions,
    }  # fmt: skip


def loaded(tmp_path: Path, table: dict[str, Any]) -> Axis:
    path = tmp_path / "own.json"
    path.write_text(json.dumps(table), encoding="utf-8")
    return load_axis(path)


# the format


def test_answers_named_by_their_poles() -> None:
    question = as_question(POLES | PLAIN)
    assert question == Question(POLES["text"], POLES["positive"], POLES["negative"], 1, PLAIN["plain"])
    assert as_question(POLES) == Question(POLES["text"], POLES["positive"], POLES["negative"], 1)
    turned = Question("Would you?", "Yes, I would.", "No, never.", -1)
    assert (turned.positive, turned.negative) == ("No, never.", "Yes, I would.")
    assert (question.positive, question.negative) == (POLES["positive"], POLES["negative"])


@pytest.mark.parametrize("extra", [{}, PLAIN], ids=["two", "three"])
def test_round_trip(extra: dict[str, str], tmp_path: Path) -> None:
    axis = loaded(tmp_path, own([POLES | extra]))
    assert loaded(tmp_path, axis.to_dict()) == axis


def test_a_question_without_a_plain_answer_is_stored_as_before_there_was_one(tmp_path: Path) -> None:
    axis = loaded(tmp_path, own([{"text": "Would you?", "yes": "Yes.", "no": "No.", "label": -1}]))
    before = [{"text": "Would you?", "yes": "Yes.", "no": "No.", "label": -1}]
    request: Any = Request.__new__(Request)
    object.__setattr__(request, "axis", axis)
    assert axis.to_dict()["questions"] == before == asks(request)
    three = loaded(tmp_path, own([POLES | PLAIN]))
    assert three.to_dict()["questions"] == [asdict(three.questions[0])]


@pytest.mark.parametrize("labels", [[1] * 40, [1, -1] * 20, [1] * 13 + [-1] * 11, [1] * 17])
def test_halves_are_balanced_disjoint_and_all(labels: list[int]) -> None:
    questions = [Question(f"Number {i}?", "Yes.", "No.", label) for i, label in enumerate(labels)]
    halves = halves_of(questions)
    assert sorted(halves["select"] + halves["report"]) == list(range(len(labels)))
    sums = [sum(labels[i] for i in half) for half in halves.values()]
    assert abs(len(halves["select"]) - len(halves["report"])) <= 1 and abs(sums[0] - sums[1]) <= 2
    turned = [Question(q.text, q.yes, q.no, -q.label) for q in questions]
    assert len(set(labels)) > 1 or halves_of(turned) == halves, "a mirror of an axis has its halves"


def test_few_questions_are_in_both_halves(tmp_path: Path) -> None:
    axis = loaded(tmp_path, own([POLES | {"text": f"Number {i}?"} for i in range(15)]))
    assert axis.half("select") == axis.half("report") == axis.questions
    more = loaded(tmp_path, own([POLES | {"text": f"Number {i}?"} for i in range(16)]))
    assert [q.text for q in more.half("select")] == [f"Number {i}?" for i in range(0, 16, 2)]
    assert more.half("report") == more.questions[1::2]


MISTAKES = [
    (own([{"text": "Now?", "positive": "Yes."}]), r"this question lacks negative \(found: text, positive\)"),
    (own([{"text": "Now?"}]), r"this question lacks yes, no, label"),
    (own([POLES | {"label": 1}]), r"unknown key in this question: 'label'"),
    (own([POLES | {"yes": "Yes."}]), r"unknown key in this question: 'yes'"),
    (own([POLES | {"plane": "Tea."}]), r"unknown key in this question: 'plane' \(did you mean 'plain'\?\)"),
    (own([POLES | {"plain": " "}]), r"plain must hold texts that are not empty"),
    (own([POLES | {"plain": "i would OBEY it"}]), r"the plain answer to 'The rule hurts her\. .* takes a side"),
    (own([POLES | {"negative": "I would help her!"}]), r"both answers to 'The rule hurts her"),
    (own([POLES | PLAIN], outside=True), r"'Grit' is outside the foundations, but 1 questions have a plain answer"),
    (own([POLES | PLAIN, POLES | {"text": "And then?"}]), r"1 of 2 questions have no plain answer \(the first: 'And"),
]


@pytest.mark.parametrize(("table", "message"), MISTAKES, ids=[message[:40] for _, message in MISTAKES])
def test_mistakes(table: dict[str, Any], message: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=f"(?s)own.json: .*{message}"):
        loaded(tmp_path, table)


# what ships

OUTSIDE = (
    "brief_over_wordy", "cheerful_over_gloomy", "formal_over_casual", "honesty", "pirate_over_professor",
    "poetic_over_plain", "warmth",
)  # fmt: skip
FOUNDATION = (
    "authority_over_principle", "care_over_authority", "fairness_over_loyalty", "liberty_over_sanctity",
    "principle_over_authority",
)  # fmt: skip
ALL = (*OUTSIDE, *FOUNDATION)
DENIAL = re.compile(r"\b(?:not|no|nor|never|none|nothing|nobody|neither|without|cannot|\w+n['’]t)\b", re.IGNORECASE)
LETTER = re.compile(r"^\(?[A-Za-z0-9][).]|\b(?:option|answer|choice) [A-Za-z0-9]\b")


def answers(question: Question) -> tuple[str, ...]:
    plain = () if question.plain is None else (question.plain,)
    return (question.positive, question.negative, *plain)


def stems(text: str) -> set[str]:
    return {word[:6] for word in re.findall(r"[\w'’]+", text.casefold()) if len(word) > 3}


def repeats(question: Question) -> list[int]:
    """How many words of the question each of its answers says again."""
    return [len(stems(answer) & stems(question.text)) for answer in answers(question)]


def test_every_axis_for_any_model_is_looked_at() -> None:
    assert sorted(ALL) == shipped_axes("any")


@pytest.mark.parametrize("name", ALL)
def test_counts_and_answers(name: str) -> None:
    axis = load_axis(name)
    assert len(axis.half("select")) >= 20 and len(axis.half("report")) >= 20
    assert {question.plain is None for question in axis.questions} == {axis.outside}
    told = [text_key(text) for question in axis.questions for text in (question.text, *answers(question))]
    assert len(set(told)) == len(told), "no question and no answer comes twice"


@pytest.mark.parametrize("name", ALL)
def test_answers_to_one_question_differ_in_the_trait_alone(name: str) -> None:
    for question in load_axis(name).questions:
        told = answers(question)
        lengths = [len(answer.split()) for answer in told]
        assert max(lengths) - min(lengths) <= 2, question
        assert max(repeats(question)) - min(repeats(question)) <= 1, (question, repeats(question))
        assert len({bool(DENIAL.search(answer)) for answer in told}) == 1, question
        assert not any(LETTER.search(answer) for answer in told), question
        assert not any(answer.casefold().startswith(("yes, ", "no, ")) for answer in told) and question.text[-1] == "?"


@pytest.mark.parametrize("name", ALL)
@pytest.mark.parametrize("half", ["select", "report"])
def test_no_sides_answers_are_the_longer_ones_in_either_half(name: str, half: str) -> None:
    told = [answers(question) for question in load_axis(name).half(half)]
    lengths = [sum(len(answer.split()) for answer in side) for side in zip(*told, strict=True)]
    again = [sum(counts) for counts in zip(*(repeats(q) for q in load_axis(name).half(half)), strict=True)]
    # fragments are short by nature: a brief answer of as many words would be no brief one
    assert max(lengths) < (1.25 if name == "brief_over_wordy" else 1.08) * min(lengths)
    assert abs(again[0] - again[1]) <= 6, "neither pole repeats the question more"


@pytest.mark.parametrize("name", FOUNDATION)
def test_foundation_answers_are_in_the_first_person(name: str) -> None:
    assert all(answer.startswith("I ") for question in load_axis(name).questions for answer in answers(question))


@pytest.mark.parametrize("name", ALL)
def test_questions_are_no_template(name: str) -> None:
    """At most two end in the same sentence, and no two of them share most words."""
    questions = load_axis(name).questions
    ends = Counter(re.split(r"(?<=[.!?]) ", question.text)[-1] for question in questions)
    assert ends.most_common(1)[0][1] <= 2, ends.most_common(2)
    told = [stems(question.text) - {"what", "like", "your", "would"} for question in questions]
    assert not [(a, b) for a, b in combinations(told, 2) if len(a) > 2 and len(a & b) > 0.6 * len(a | b)]


@pytest.mark.slow
@pytest.mark.parametrize("name", ALL)
def test_answers_have_about_as_many_tokens_on_the_real_model(name: str, smollm2: LM) -> None:
    for question in load_axis(name).questions:
        tokens = [len(smollm2.encode(answer)) for answer in answers(question)]
        assert max(tokens) - min(tokens) <= 0.25 * max(tokens), (question, tokens)
