"""What is sent to a control is looked at on the server: a value that it does not offer leaves it as it was, and is
said."""

from __future__ import annotations

from typing import Any

import polars as pl
import pytest

from tests.builders.hostile import HOSTILE
from ws.app.views import widgets
from ws.app.views.controls import Area, Fields, Menu, Number, Radio, Slider, Switch, Table, Text, refused_by
from ws.errors import UserError

ODD: list[Any] = [1e30, 10**400, -(10**400), float("nan"), float("inf"), 1.5, -5, True, [], [1], {"a": 1}, [["x"]]]
ODD += [HOSTILE]
"""What no control of the kinds below takes, but for a text where text is asked for."""

MAKE: dict[str, tuple[Any, Any, Any]] = {
    "number": (lambda: Number("seed", 0, 9999, value=3), 7.0, 7),
    "slider": (lambda: Slider("c", [0.0, 0.5, 1.0], value=0.5), 2, 1.0),
    "menu": (lambda: Menu("axis", {"one (alive)": "one", "two": "two"}, value="two"), ["one (alive)"], "one"),
    "radio": (lambda: Radio("the label", ["yes", "no"], value="no"), "yes", "yes"),
    "switch": (lambda: Switch("colour", False), True, True),
    "text": (lambda: Text("your own text", 10, "a"), "b", "b"),
    "area": (lambda: Area("the persona", 10, "a"), "b", "b"),
}  # fmt: skip


@pytest.mark.parametrize("kind", MAKE)
def test_what_is_not_offered_is_not_taken_and_is_said(kind: str) -> None:
    make, sent, taken = MAKE[kind]
    control = make()
    was, own = control.value, {"switch": (True,)}.get(kind, ())
    assert control.refused is None
    for odd in [*ODD, "x" * 10**6, "", None]:
        if odd in own or (kind in ("text", "area") and odd == "") or (kind == "radio" and odd is None):
            continue
        control._update(odd)
        assert control.value == was and control.name in control.refused and len(control.refused) < 200, odd
    control._update(sent)
    assert control.value == taken and type(control.value) is type(taken) and control.refused is None


def test_an_emptied_field_keeps_the_page_as_it_was_unless_it_may_be_empty() -> None:
    seed, limit = Number("seed", 0, 9999, value=3), Number("top_p", 0, 1, value=0.5, whole=False, empty=True)
    seed._update(None)
    limit._update(None)
    assert (seed.value, limit.value, limit.refused) == (3, None, None)
    assert seed.refused is not None and "seed is empty: it needs a whole number in [0, 9999]" in seed.refused


def test_a_number_may_be_as_large_as_any_that_a_run_has() -> None:
    for usual in (31337, -7, 2**50 - 1):
        assert widgets.seed_field(usual).value == usual


def test_fields_take_their_own_names_and_each_looks_at_its_own_value() -> None:
    fields = Fields("the sampling", {"top_k": Number("top_k", 0, 9, value=None, empty=True), "text": Text("text", 3)})
    for odd in ([], 3, None, "x", {"other": 1}, {"top_k": 1, "__class__": 2}):
        fields._update(odd)
        assert fields.value == {"top_k": None, "text": ""} and list(refused_by([fields])) == [fields.refused]
    fields._update({"top_k": 99, "text": "abcd"})
    assert fields.value == {"top_k": None, "text": ""} and len(list(refused_by([fields]))) == 2
    fields._update({"top_k": 4, "text": "abc"})
    assert fields.value == {"top_k": 4, "text": "abc"} and list(refused_by([fields])) == []
    fields._update({"top_k": 99})
    fields._update({"top_k": 4})
    assert list(refused_by([fields])) == [], "back at the value that holds, nothing is refused any more"


def test_half_a_character_is_no_text() -> None:
    own = Text("your own text", 10)
    own._update("a\ud800")
    assert own.value == "" and own.refused is not None and "half a character" in own.refused


def test_a_table_has_the_rows_that_it_shows() -> None:
    table = Table("the table", pl.DataFrame({"id": [4, 9], "text": ["a", "b"]}), initial_selection=[0])
    for odd in (["2"], [-1], ["x"], [0, 1], "0", {"rowId": 1}, None, [1e30], [[0]]):
        table._update(odd)
        assert table.value["id"].to_list() == [4] and table.refused is not None, odd
    table._update(["1"])
    assert table.value["id"].to_list() == [9] and table.refused is None


def test_what_acts_on_a_value_may_refuse_it_too() -> None:
    def save(text: str) -> None:
        raise UserError(HOSTILE)

    note = Area("the note", 10, on_change=save)
    note._update("words")
    shown = widgets.refusals(note, note)
    assert len(shown) == 1 and "<img" not in shown[0].text, "said once, as text"
    note._update(3)
    assert "is a text" in str(note.refused)


def test_a_link_longer_than_the_app_takes_is_left_out() -> None:
    assert Text("your own text", 3, "abcd").value == "" and Area("the persona", 3, "abc").value == "abc"
