"""Verdicts as HTML: a tile per gate with its colour, outcome, number and next step; opened, every outcome."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from ws.app.views.token_html import escaped
from ws.gating import Gate

__all__ = ["NOT_MEASURED", "QUESTIONS", "gate_table", "tile", "tiles"]

QUESTIONS = {1: "Steer?", 2: "Filter?", 3: "Learn?"}
SIGNS = {"green": "●", "yellow": "▲", "red": "■", "grey": "○"}  # the shape says it where the colour does not
NOT_MEASURED = "not measured"


def tile(number: int, gate: Gate | None, inside: str = "") -> str:
    """One tile; `inside` is HTML of ours that stands above the outcomes when it is opened."""
    if gate is None:
        head, colour, body = _head(number, "grey", NOT_MEASURED, "", "measure these settings"), "grey", ""
    else:
        also = [f"also {', '.join(gate.also)}"] if gate.also else []
        figure = " · ".join([gate.figure, *also, *gate.caveats[:1]])
        head, colour = _head(number, gate.colour, gate.outcome, figure, gate.next), gate.colour
        body = gate_table(gate)
    return (
        f'<details class="ws-tile ws-{escaped(colour)}" data-gate="{number}">'
        f'<summary>{head}</summary><div class="ws-inside">{inside}{body}</div></details>'
    )


def _head(number: int, colour: str, outcome: str, figure: str, following: str) -> str:
    sign = SIGNS.get(colour, SIGNS["grey"])
    return (
        f'<span class="ws-question">{QUESTIONS[number]}</span>'
        f'<span class="ws-outcome"><span class="ws-sign">{sign}</span> {escaped(outcome)}</span>'
        f'<span class="ws-figure">{escaped(figure)}</span><span class="ws-next">Next: {escaped(following)}</span>'
    )


def gate_table(gate: Gate) -> str:
    """Every outcome of a gate: measured, seen, evidence; and what a good result looks like."""
    rows = "".join(_row(*check) for check in gate.checks)
    also = f"<p>Also seen: {escaped(', '.join(gate.also))}.</p>" if gate.also else ""
    weigh = f"<p>To weigh it: {escaped('; '.join(gate.caveats))}.</p>" if gate.caveats else ""
    return (
        f"<p>Should: {escaped(gate.should)}.</p>{also}{weigh}"
        "<table><thead><tr><th>outcome</th><th>measured</th><th>seen</th><th>evidence</th></tr></thead>"
        f"<tbody>{rows}</tbody></table>"
    )


def _row(outcome: str, measured: bool, seen: bool, evidence: str) -> str:
    words = "yes" if measured else "no", ("yes" if seen else "no") if measured else "-"
    return (
        f'<tr class="{"ws-seen" if seen else ""}"><td>{escaped(outcome)}</td><td>{words[0]}</td><td>{words[1]}</td>'
        f"<td>{escaped(evidence)}</td></tr>"
    )


def tiles(gates: Sequence[Gate], inside: Mapping[int, str]) -> str:
    """The three tiles side by side; gates that were not judged stand grey."""
    known = {gate.gate: gate for gate in gates}
    return f'<div class="ws-tiles">{"".join(tile(n, known.get(n), inside.get(n, "")) for n in QUESTIONS)}</div>'
