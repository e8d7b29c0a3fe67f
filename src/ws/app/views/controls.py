"""Controls that take from a viewer what they offer, and nothing else, whatever is sent to the server.

A browser keeps to a control's bounds; who speaks to the server itself need not. Every value passes through its control,
so cells read only values that they can use: one that is not taken leaves the control at what it was, and `refused`
says why (`ws.app.views.widgets.refusals` puts it on the page).

    seed = Number("seed", 0, 9999, value=3)          # 1e30, 1.5, "7", null: not taken, and said
    menu = Menu("model", ["mini"], value="mini")     # a name that is not offered: not taken, and said
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any

import marimo as mo

from ws.errors import UserError

__all__ = ["Area", "Fields", "Menu", "Number", "Radio", "Slider", "Switch", "Table", "Text", "refused_by"]


class Checked:
    """Looks at what is sent to one of marimo's controls, before marimo does. Mixed into its classes."""

    name: str
    refused: str | None = None
    """why the last value that was sent was not taken, or could not be acted on"""

    def check(self, sent: Any) -> None:
        """UserError for what this control does not take. sent: any JSON."""
        raise NotImplementedError

    def takes(self, sent: Any) -> bool:
        try:
            self.check(sent)
        except UserError as error:
            self.refused = str(error)
            return False
        self.refused = None
        return True

    def _update(self, value: Any) -> None:
        """A viewer's value. What acts on it may refuse it too: nothing can be written, for example."""
        self._value_frontend = value  # what the browser shows, so that going back to the value that holds is a change
        if self.takes(value):
            try:
                super()._update(value)  # type: ignore[misc]
            except UserError as error:
                self.refused = str(error)

    def _frontend_initial_value(self, value: Any) -> Any:
        """Where it starts: a request to open the page may bring values of its own."""
        return value if self.takes(value) else self._args.initial_value  # type: ignore[attr-defined]

    def _convert_value(self, value: Any) -> Any:
        starts = self._args.initial_value  # type: ignore[attr-defined]
        return super()._convert_value(value if self.takes(value) else starts)  # type: ignore[misc]


def said(sent: Any) -> str:
    """What was sent, in few characters."""
    text = repr(sent)
    return text if len(text) <= 40 else f"{text[:40]}..."


class Number(Checked, mo.ui.number):
    """A number in [low, high]; whole: without a fraction; empty: it may be left empty, and is None then."""

    def __init__(self, name: str, low: float, high: float, *, value: float | None, whole: bool = True,
                 empty: bool = False, **how: Any) -> None:  # fmt: skip
        self.name, self.low, self.high, self.whole, self.empty = name, low, high, whole, empty
        start, stop = (None, None) if empty else (low, high)  # marimo fills an empty field that has bounds
        super().__init__(start, stop, value=value, **how)

    def check(self, sent: Any) -> None:
        if sent is None and self.empty:
            return
        kind = f"{'a whole' if self.whole else 'a'} number in [{self.low:.16g}, {self.high:.16g}]"
        if sent is None:
            raise UserError(f"{self.name} is empty: it needs {kind}. The page shows what it was before.")
        right = type(sent) in (int, float) and math.isfinite(_float(sent)) and self.low <= sent <= self.high
        if not right or (self.whole and sent != int(sent)):
            raise UserError(f"{self.name} must be {kind} (got {said(sent)}).")

    def _convert_value(self, value: Any) -> Any:
        number = super()._convert_value(value)
        return int(number) if self.whole and number is not None else number


def _float(number: float) -> float:
    """A number as a float; infinity for a whole one that is too large for that."""
    try:
        return float(number)
    except OverflowError:
        return math.inf


class Slider(Checked, mo.ui.slider):
    """One of these steps; what is sent is its place among them."""

    def __init__(self, name: str, steps: Sequence[float], **how: Any) -> None:
        self.name, self.places = name, len(steps)
        super().__init__(steps=steps, **how)

    def check(self, sent: Any) -> None:
        if type(sent) not in (int, float) or sent not in range(self.places):
            raise UserError(f"{self.name} has the steps 0 to {self.places - 1} (got {said(sent)}).")


class Menu(Checked, mo.ui.dropdown):
    """One of these choices: values, or what the menu calls them -> value. One is always chosen where there is one."""

    def __init__(self, name: str, options: Any, *, value: str | None, **how: Any) -> None:
        self.name = name
        super().__init__(options, value=value, allow_select_none=not options, **how)

    def check(self, sent: Any) -> None:
        one = isinstance(sent, list) and len(sent) == 1 and isinstance(sent[0], str) and sent[0] in self.options
        if not (one or sent == [] == list(self.options)):
            raise UserError(f"{self.name} has no such choice (got {said(sent)}). Choose one of the list.")


class Radio(Checked, mo.ui.radio):
    """One of these words; None until one is chosen."""

    def __init__(self, name: str, options: Sequence[str], *, value: str | None, **how: Any) -> None:
        self.name = name
        super().__init__(list(options), value=value, **how)

    def check(self, sent: Any) -> None:
        if not (sent is None or (isinstance(sent, str) and sent in self.options)):
            raise UserError(f"{self.name} has no such choice (got {said(sent)}). Choose one of the list.")


class Switch(Checked, mo.ui.switch):
    """On or off."""

    def __init__(self, name: str, value: bool, **how: Any) -> None:
        self.name = name
        super().__init__(value, **how)

    def check(self, sent: Any) -> None:
        if not isinstance(sent, bool):
            raise UserError(f"{self.name} is on or off (got {said(sent)}).")


class _Typed(Checked):
    """Text of at most so many characters."""

    most: int

    def check(self, sent: Any) -> None:
        if not isinstance(sent, str):
            raise UserError(f"{self.name} is a text (got {said(sent)}).")
        if len(sent) > self.most:
            raise UserError(f"{self.name} has {len(sent)} characters, this app takes {self.most}. Shorten it.")
        if any("\ud800" <= mark <= "\udfff" for mark in sent):
            raise UserError(f"{self.name} holds half a character, which no tokenizer reads. Type it anew.")


class Text(_Typed, mo.ui.text):
    """A line of text."""

    def __init__(self, name: str, most: int, value: str = "", **how: Any) -> None:
        self.name, self.most = name, most
        super().__init__(value if len(value) <= most else "", max_length=most, **how)


class Area(_Typed, mo.ui.text_area):
    """Text of several lines."""

    def __init__(self, name: str, most: int, value: str = "", **how: Any) -> None:
        self.name, self.most = name, most
        super().__init__(value if len(value) <= most else "", max_length=most, **how)


class Table(Checked, mo.ui.table):
    """A table of which at most one row is selected."""

    def __init__(self, name: str, rows: Any, **how: Any) -> None:
        self.name, self.height = name, len(rows)
        super().__init__(rows, selection="single", **how)

    def check(self, sent: Any) -> None:
        rows = range(self.height)
        one = isinstance(sent, list) and len(sent) == 1 and any(sent[0] in (row, str(row)) for row in rows)
        if not one and sent != []:
            raise UserError(f"{self.name} has no such row (got {said(sent)}). Select one of the table.")


class Fields(Checked, mo.ui.dictionary):
    """Controls under names; each looks at its own values. A name that is none of them is not taken."""

    def __init__(self, name: str, elements: dict[str, Any]) -> None:
        self.name = name
        super().__init__(elements)

    def check(self, sent: Any) -> None:
        if not isinstance(sent, dict) or not set(sent) <= set(self.elements):
            raise UserError(f"{self.name} has no such fields (got {said(sent)}).")


def refused_by(controls: Sequence[Any]) -> Iterator[str]:
    """What these controls did not take, and why."""
    for control in controls:
        inside = control.elements.values() if isinstance(control, Fields) else ()
        yield from (part.refused for part in (control, *inside) if getattr(part, "refused", None))
