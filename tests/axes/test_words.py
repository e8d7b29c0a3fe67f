"""Words and keys of texts in other scripts: what differs by a vowel sign or a sign of a sum is another text."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from ws.axes.axis import load_axis
from ws.axes.words import phrases_of, text_key, words_of
from ws.errors import UserError

GOOD: dict[str, Any] = {
    "name": "mine", "models": ["any", "mini"], "target": "Authority", "intended": {"Authority": -1},
    "positive": ["You are kind."], "negative": ["You obey."], "contexts": ["One?"], "train": ["Two?"],
    "select": ["Three?"], "probes": ["Four?"],
}  # fmt: skip

DIFFER = {
    "Hindi, my son / my daughter": ("मेरा बेटा कहाँ है?", "मेरी बेटी कहाँ है?"),
    "Thai, not / wood": ("ไม่", "ไม้"),
    "Tamil": ("கல்", "கால்"),
    "Arabic, knew / was known": ("عَلِمَ", "عُلِمَ"),
    "Hebrew": ("סֵפֶר", "סָפַר"),
    "Bengali": ("কাল", "কালি"),
    "Khmer": ("កា", "កី"),
    "Burmese": ("မာ", "မိ"),
    "Tibetan": ("ཀི", "ཀུ"),
    "Chinese": ("我同意", "我不同意"),
    "Korean": ("나는 간다", "나는 온다"),
    "Vietnamese": ("ma", "mà"),
    "sums": ("Is 5 > 3?", "Is 5 < 3?"),
    "minus": ("What is 5 - 3?", "What is 5 + 3?"),
    "a number's sign": ("Is it -3 outside?", "Is it 3 outside?"),
    "times and over": ("What is 6 * 2?", "What is 6 / 2?"),
    "letters": ("Is a - b even?", "Is a * b even?"),
    "percent": ("Take 50%", "Take 50"),
    "emoji": ("I feel 🙂", "I feel 🙁"),
}
AGREE = {
    "case": ("ΣΊΣΥΦΟΣ straße", "σίσυφος STRASSE"),
    "marks and spaces": ("What's  this?", "what's this"),
    "hyphen": ("A well-known man", "a well known man"),
    "slash": ("and/or", "and or"),
    "composed": ("caf\u00e9", "cafe\u0301"),
    "width": ("\uff21\uff22\uff23\uff11", "abc1"),
    "ligature": ("o\ufb03ce", "office"),
    "emphasis": ("You *must* go", "you must go"),
    "soft hyphen": ("some\u00adthing", "something"),
}


@pytest.mark.parametrize("one, other", DIFFER.values(), ids=DIFFER)
def test_texts_that_differ(one: str, other: str) -> None:
    assert text_key(one) != text_key(other)


@pytest.mark.parametrize("one, other", AGREE.values(), ids=AGREE)
def test_texts_that_are_one(one: str, other: str) -> None:
    assert text_key(one) == text_key(other)


def test_an_axis_in_another_script_loads(tmp_path: Path) -> None:
    changes = [{"train": list(DIFFER[name])} for name in ("Hindi, my son / my daughter", "Thai, not / wood", "sums")]
    changes += [{"positive": ["आप राजा हैं"], "negative": ["आप राजी हैं"]}]
    changes += [{"train": ["राम की किताब कहाँ है?"], "probes": ["राम का किताब कहाँ है?"]}]
    for change in changes:
        (tmp_path / "mine.json").write_text(json.dumps(GOOD | change, ensure_ascii=False), encoding="utf-8")
        assert load_axis(tmp_path / "mine.json").name == "mine"


def test_words_keep_their_marks() -> None:
    assert words_of("मेरा बेटा कहाँ है?") == ["मेरा", "बेटा", "कहाँ", "है"]
    assert words_of("我不同意。Ok, don’t") == ["我", "不", "同", "意", "ok", "don’t"]
    assert words_of("ไม่ใช่") == ["ไ", "ม่", "ใ", "ช่"]
    assert phrases_of("我不同意，你好") == ["我不同意", "你好"]


def test_english_words_are_what_they_were() -> None:
    text = "Don't — she's 21, x_y isn't O’Neil's; naïve café: 3½ \"Straße\" co-op 2² IV Ⅷ."
    before = re.findall(r"[^\W_]+(?:['’][^\W_]+)*", text.casefold())
    assert words_of(text) == phrases_of(text) == before


def test_refusal_patterns_of_an_axis(tmp_path: Path) -> None:
    path = tmp_path / "mine.json"
    path.write_text(json.dumps(GOOD | {"refusal": [r"\bno puedo ayudarte\b"]}))
    axis = load_axis(path)
    assert axis.refusal == (r"\bno puedo ayudarte\b",) and axis.to_dict()["refusal"] == [*axis.refusal]
    path.write_text(json.dumps(GOOD))
    assert "refusal" not in load_axis(path).to_dict()  # stored runs keep their keys
    path.write_text(json.dumps(GOOD | {"refusal": ["("]}))
    with pytest.raises(UserError, match=r"refusal pattern '\(' is no regular expression"):
        load_axis(path)
