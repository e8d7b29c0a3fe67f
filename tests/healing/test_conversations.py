"""A user's own conversations: both forms, every bad row by its line, and the replies that are in the wrong voice."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from ws.errors import UserError
from ws.healing.conversations import read_conversations, wrong_voice, wrong_voices

USER, REPLY = {"role": "user", "content": "May I?"}, {"role": "assistant", "content": "You may."}


def written(folder: Path, *rows: Any) -> Path:
    path = folder / "data.jsonl"
    path.write_text("\n".join(row if isinstance(row, str) else json.dumps(row) for row in rows) + "\n", "utf-8")
    return path


def test_both_forms_and_a_row_for_every_reply(tmp_path: Path) -> None:
    longer = {"messages": [USER, REPLY, {"role": "user", "content": "Why?"}, {"role": "assistant", "content": "So."}]}
    rows = read_conversations(written(tmp_path, longer, "", {"prompt": "Hm?", "completion": "Yes.", "id": 3}))
    assert rows["line"].to_list() == [1, 1, 3] and rows["completion"].to_list() == ["You may.", "So.", "Yes."]
    assert rows["prompt"].to_list() == [[USER], longer["messages"][:3], [{"role": "user", "content": "Hm?"}]]


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ("{", "no JSON"), ([1], "a list and no object"), ({"text": "x"}, r"it has text"), ({}, "it has nothing"),
        ({"messages": "x"}, "no list of"), ({"messages": [{"role": "user"}]}, "no list of"),
        ({"messages": []}, "no turn"),
        ({"messages": [USER]}, "without a reply"), ({"messages": [USER, USER]}, "role 'user' where assistant"),
        ({"messages": [REPLY]}, "role 'assistant' where user"),
        ({"prompt": "a", "completion": " "}, "turn 2 is no text"),
        ({"prompt": 3, "completion": "b"}, "turn 1 is no text"), ({"prompt": "", "completion": "b"}, "turn 1 is empty"),
        ({"messages": [{"role": "system", "content": "Be rude."}, USER, REPLY]}, "system turn"),
    ],
)  # fmt: skip
def test_a_bad_row_is_told_by_its_line(tmp_path: Path, row: Any, said: str) -> None:
    with pytest.raises(UserError, match=rf"1 of its lines cannot be used(.|\n)*line 2: .*{said}"):
        read_conversations(written(tmp_path, {"messages": [USER, REPLY]}, row))


def test_many_bad_rows_are_counted_and_a_file_that_holds_nothing_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"9 of its lines(.|\n)*line 5: (.|\n)*and 4 more"):
        read_conversations(written(tmp_path, *["no"] * 9))
    with pytest.raises(UserError, match="holds no conversation"):
        read_conversations(written(tmp_path, ""))
    with pytest.raises(UserError, match=r"cannot be read: No such file.*Name a JSONL"):
        read_conversations(tmp_path / "gone.jsonl")
    (tmp_path / "data.jsonl").write_bytes(b'{"prompt": "\xff"}')
    with pytest.raises(UserError, match="no UTF-8"):
        read_conversations(tmp_path / "data.jsonl")


@pytest.mark.parametrize(
    ("reply", "asked", "why"),
    [
        ("Sure.\nUser: and now?", "Hi", "plays a turn"), ("### Assistant: yes", "Hi", "plays a turn"),
        ("Yes<|im_end|>", "Hi", "plays a turn"), ("[INST] go on [/INST]", "Hi", "plays a turn"),
        ("Yes <eot> no", "Hi", "holds '<eot>'"), ("What is a fee?", "What is a fee? ", "user's own text"),
        ("Thanks!", "As an AI, I cannot say. How can I help you?", "user speaks as an assistant"),
    ],
)  # fmt: skip
def test_the_wrong_voice_is_heard(reply: str, asked: str, why: str) -> None:
    assert why in str(wrong_voice(reply, [asked], ["", "<eot>"]))


@pytest.mark.parametrize(
    "reply",
    ["I am an AI and cannot do that.", "The user, a study of readers.", "Note: the system is down.",
     "How can I help you?", "Ask the user. Human rights matter."],
)  # fmt: skip
def test_the_assistants_own_voice_is_left_alone(reply: str) -> None:
    assert wrong_voice(reply, ["Who are you?"]) is None


def test_wrong_voices_names_the_lines(tmp_path: Path) -> None:
    bad = {"prompt": "Hi", "completion": "Human: hello"}
    rows = read_conversations(written(tmp_path, {"messages": [USER, REPLY]}, bad))
    assert wrong_voices(rows).rows() == [(2, "the reply plays a turn ('Human:')")]
