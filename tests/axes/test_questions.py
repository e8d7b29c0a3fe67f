"""Questions: both ways of writing them, the plain answer, halves, what is refused; and what the shipped ones hold."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest

from ws.axes.axis import Axis, load_axis
from ws.axes.axis_file import Question, as_question, halves_of
from ws.errors import UserError
from ws.evaluation.readings import Request
from ws.evaluation.readings.dilemmas import asks

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
