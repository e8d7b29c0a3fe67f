"""How a direction is applied, as a configuration says it in words. Needs no torch.

check_application("assistant", "window:0:20", "below:0.1", ["rotation:20"])
parse_also("fairness_over_loyalty:-0.5")      # ("fairness_over_loyalty", -0.5)
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from ws.axes.axis import check_axis, is_axis_path, shipped_axes
from ws.errors import UserError, near
from ws.steering.methods import names
from ws.steering.schedules import check_where, parse_gate, parse_schedule

__all__ = ["check_application", "is_method", "parse_also", "said"]


def check_application(where: str, schedule: str | None, gate: str | None, also: Sequence[str]) -> None:
    """UserError for a clause, a schedule, a gate or a further direction that is not there, or named twice."""
    check_where(where)
    if schedule is not None:
        parse_schedule(schedule)
    if gate is not None:
        parse_gate(gate)
    found = [parse_also(text)[0] for text in also]
    if twice := [name for name in found if found.count(name) > 1]:
        raise UserError(f"{twice[0]!r} is named twice in --also. Give it once, with the sum of its doses.")


def parse_also(text: str) -> tuple[str, float]:
    """ "NAME:DOSE" -> name of a method or an axis, and its dose. UserError says what is wrong with it."""
    name, colon, dose = text.rpartition(":")
    try:
        number = float(dose)
    except ValueError:
        number = math.nan
    if not colon or not name or not math.isfinite(number) or not number:
        raise UserError(f"cannot read {text!r} of --also. Write METHOD:DOSE or AXIS:DOSE, a dose that is not 0, as in"
                        " rotation:20.")  # fmt: skip
    if is_method(name) or is_axis_path(name):
        return name, number
    if name not in (known := shipped_axes()):
        hint = near(name, [*names(), *known])
        raise UserError(f"--also names {name!r}, which is no steering method and no axis.{hint} Methods:"
                        f" {', '.join(names())}; axes: {', '.join(known)}, or the path of an axis file.")  # fmt: skip
    check_axis(name)
    return name, number


def is_method(name: str) -> bool:
    """Whether a further direction is one of this axis by another method; else it is one of another axis."""
    return name in names()


def said(where: str, schedule: str | None, gate: str | None, backtrack: bool, also: Sequence[str]) -> str:
    """All that is not as usual, in words: "schedule window:0:20; beside it rotation:20"; empty where all is."""
    parts = [f"at {where} positions"] if where != "assistant" else []
    parts += [f"{name} {text}" for name, text in (("schedule", schedule), ("gate", gate)) if text]
    parts += ["backtracking"] if backtrack else []
    parts += [f"beside it {', '.join(also)}"] if also else []
    return "; ".join(parts)
