"""The seven moral foundations, and what follows from which of them an axis means to move. Imports nothing of ws."""

from __future__ import annotations

import math
from collections.abc import Mapping

__all__ = ["FOUNDATIONS", "MAY_MOVE", "is_surgical", "most_moved", "off_target", "plane_of", "poles_of"]

FOUNDATIONS = ("Care", "Fairness", "Loyalty", "Authority", "Sanctity", "Liberty", "SocialNorms")
MAY_MOVE = "SocialNorms"
"""May move along with any target: most acts that an axis is about break a norm as well."""
PLANE = ("Authority", "Care")  # fall and rise of the shipped axis, for axes that do not name two


def off_target(target: str, intended: Mapping[str, int]) -> tuple[str, ...]:
    """The foundations that should stay; `MAY_MOVE` is not one of them."""
    return tuple(f for f in FOUNDATIONS if f not in {*intended, target, MAY_MOVE})


def most_moved(shifts: Mapping[str, float | None]) -> tuple[str, float]:
    """The foundation of these that moved most, and by how many nats (absolute); ("none", NaN) where none is measured.

    shifts: nats by foundation; None and NaN are not measured.
    """
    moved = [(f, abs(shift)) for f, shift in shifts.items() if shift is not None and not math.isnan(shift)]
    return max(moved, key=lambda pair: pair[1], default=("none", math.nan))


def is_surgical(
    d_target: float | None, shifts: Mapping[str, float | None], target: str, intended: Mapping[str, int]
) -> bool | None:
    """abs(d_target) greater than the shift of every measured foundation that the axis does not intend, all in nats.

    None where that cannot be said: the target is no foundation (its shift has another unit), its shift was not
    measured, or none of the others was. True where every foundation is intended. None and NaN are not measured.
    """
    if target not in FOUNDATIONS or d_target is None or math.isnan(d_target):
        return None
    off = off_target(target, intended)
    if not off:
        return True
    most = most_moved({f: shifts.get(f) for f in off})[1]
    return None if math.isnan(most) else abs(d_target) > most


def poles_of(target: str, intended: Mapping[str, int]) -> dict[str, int]:
    """The foundation of either pole's answers, with its sign: +1 the positive pole's, the one that should rise.

    The target and the first other one that should go the other way; nothing outside the foundations.
    """
    if target not in FOUNDATIONS or target not in intended:
        return {}
    sign = intended[target]
    against = [f for f in intended if intended[f] == -sign]
    return {target: sign} | dict.fromkeys(against[:1], -sign)


def plane_of(target: str, intended: Mapping[str, int]) -> tuple[str, str]:
    """The two foundations in whose plane an axis is drawn: x should fall, y should rise.

    They are the target and what it is traded for: the first that should go the other way, else the first other one
    that is intended, else whichever of Authority and Care it is not. Two that go the same way: the target is x.
    Authority and Care for a target that is no foundation.
    """
    if target not in FOUNDATIONS:
        return PLANE
    sign = intended.get(target, 1)
    others = [f for f in intended if f != target and f in FOUNDATIONS]
    against = [f for f in others if intended[f] != sign]
    spare = [f for f in (PLANE if sign > 0 else PLANE[::-1]) if f != target]
    other = [*against, *others, *spare][0]
    goes_along = bool(others) and not against
    return (target, other) if sign < 0 or goes_along else (other, target)
