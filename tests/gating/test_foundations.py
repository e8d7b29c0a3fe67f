"""What follows from which foundations an axis means to move: one answer each, wherever it is asked."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

from ws.app.views import heal
from ws.axes.axis import load_axis, shipped_axes
from ws.experiment.examples import EXAMPLE
from ws.files import read_json, write_json
from ws.gating.foundations import FOUNDATIONS, is_surgical, plane_of
from ws.runs.reader import Run
from ws.runs.round_tables import plane_of as plane_of_run
from ws.runs.whole import write_status


@pytest.mark.parametrize(
    ("target", "intended", "plane"),
    [
        ("Authority", {"Authority": -1, "Care": 1}, ("Authority", "Care")),
        ("Authority", {"Care": 1, "Authority": -1}, ("Authority", "Care")),
        ("Liberty", {"Liberty": 1, "Sanctity": -1}, ("Sanctity", "Liberty")),
        ("Care", {"Care": 1, "Fairness": 1, "Loyalty": -1}, ("Loyalty", "Care")),
        ("Care", {"Care": 1, "Fairness": 1}, ("Care", "Fairness")),
        ("Authority", {"Authority": 1}, ("Care", "Authority")),
        ("Authority", {"Authority": -1}, ("Authority", "Care")),
        ("Care", {"Care": -1}, ("Care", "Authority")),
        ("Fairness", {"Fairness": 1}, ("Authority", "Fairness")),
        ("Honesty", {}, ("Authority", "Care")),
    ],
)
def test_the_plane_is_the_target_against_what_it_is_traded_for(
    target: str, intended: dict[str, int], plane: tuple[str, str]
) -> None:
    assert plane_of(target, intended) == plane


def test_no_shipped_axis_is_drawn_against_itself() -> None:
    for name in shipped_axes():
        axis = load_axis(name)
        x, y = plane_of(axis.target, axis.intended)
        assert x != y and {x, y} <= set(FOUNDATIONS), name


def test_both_pages_draw_a_run_in_the_same_plane(tmp_path: Path) -> None:
    """The loop's map and the heal's points choose by one rule, also where the target rises."""
    axis = read_json(EXAMPLE / "axis.json") | {"target": "Care", "intended": {"Care": 1, "Authority": -1}}
    write_json(tmp_path / "axis.json", axis)
    write_status(tmp_path, {"stages": {}})
    (tmp_path / "rounds").symlink_to(EXAMPLE / "rounds")
    run = Run(tmp_path)
    x, y = plane_of_run(run)
    assert (x, y) == ("Authority", "Care")
    steered = heal.points(run, ()).row(1, named=True)
    row = run.arms(0).filter(arm="steer", chosen=True).row(0, named=True)
    assert (steered["x"], steered["y"]) == (row[f"d_{x}"], row[f"d_{y}"])


def test_surgical_is_said_of_what_was_measured() -> None:
    def said(d_target: float | None, target: str = "Authority", **shifts: float | None) -> bool | None:
        return is_surgical(d_target, shifts, target, {"Authority": -1, "Care": 1})

    assert said(1.0, Liberty=-0.9, Fairness=None) is True
    assert said(1.0, Liberty=-1.0) is False
    assert said(1.0, Liberty=0.5, Sanctity=math.nan) is True
    assert said(1.0, SocialNorms=5.0, Care=5.0, Liberty=0.1) is True
    assert said(1.0) is None and said(1.0, Liberty=None) is None and said(1.0, Liberty=math.nan) is None
    assert said(None, Liberty=0.1) is None and said(math.nan, Liberty=0.1) is None
    assert said(1.0, "Honesty", Liberty=0.1) is None
    assert is_surgical(1.0, {}, "Care", dict.fromkeys(FOUNDATIONS, 1)) is True
