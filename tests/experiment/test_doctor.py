"""Which axes are alive: the figures are those of single readings, stored once, and shown in the menu of axes."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest

import ws
from tests.builders.tiny_models import tiny_lm
from ws.app.cli import main
from ws.app.views.page_settings import CUSTOM, axis_labels
from ws.axes.axis import Axis
from ws.errors import UserError
from ws.evaluation.readings.dilemmas import read_dilemmas
from ws.experiment import doctor
from ws.experiment.doctor import TABLE, Check, alive, alive_table, verdicts_of
from ws.files import read_json, write_json
from ws.models.lm import LM
from ws.steering.extraction import extract

SMALL = Check(draws=2, questions=4, contexts=3)


@pytest.fixture
def axis(tiny: LM) -> Axis:
    return ws.load_axis("warmth").on(tiny)


def test_figures_are_those_of_single_readings(tiny: LM, axis: Axis) -> None:
    row = alive(tiny, axis, SMALL)
    assert set(row) == set(TABLE) and row["questions"] == 4 and row["draws"] == 2
    v = extract(tiny, dataclasses.replace(axis, contexts=axis.contexts[:3]), pairs=3)
    asked, c = axis.half("select")[:4], row["c"]
    assert c * v.meta["relative"] == pytest.approx(row["share"]) and row["share"] == 0.1
    plus, base, minus = (f["logratio"].to_numpy() for f in read_dilemmas(tiny, asked, direction=v, cs=[c, 0.0, -c]))
    told = read_dilemmas(tiny, asked[::2], persona=axis.negative[0])[0]["logratio"].to_numpy()
    wanted = {"base": base.mean(), "plus": (plus - base).mean(), "minus": (minus - base).mean(),
              "steered": (plus - minus).mean(), "persona_minus": (told - base[::2]).mean()}  # fmt: skip
    for name, value in wanted.items():
        assert row[name] == pytest.approx(value, abs=1e-4), name
    draws = [
        2 * (read_dilemmas(tiny, asked[::2], direction=w, cs=[c])[0]["logratio"].to_numpy() - base[::2]).mean()
        for w in doctor.random_directions(v, 2, 0)
    ]
    assert row["random"] == pytest.approx(np.abs(draws).mean(), abs=1e-4)
    assert row["random_most"] == pytest.approx(np.abs(draws).max(), abs=1e-4)
    assert row["steered_low"] <= row["steered"] <= row["steered_high"]


def test_an_axis_without_questions_is_refused(tiny: LM, axis: Axis) -> None:
    bare = dataclasses.replace(axis, target="Care", intended={"Care": 1}, questions=())
    with pytest.raises(UserError, match="has no questions"):
        alive(tiny, bare, SMALL)


def test_a_table_is_stored_and_found_again(
    tiny: LM, axis: Axis, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[str] = []
    first = alive_table(tiny, [axis], tmp_path, SMALL, told.append)
    assert first.schema == TABLE and told == ["warmth"] and first["seconds"][0] > 0
    measured = doctor.alive
    monkeypatch.setattr(doctor, "alive", lambda *_: pytest.fail("it is stored"))
    assert alive_table(tiny, [axis], tmp_path, SMALL).equals(first)
    monkeypatch.setattr(doctor, "alive", measured)
    place = next((tmp_path / "doctor").glob("*.json"))
    place.write_text("{", encoding="utf-8")
    assert alive_table(tiny, [axis], tmp_path, SMALL, told.append)["steered"][0] == first["steered"][0]
    assert told == ["warmth"] * 2 and read_json(place)["model"] == tiny.name
    other = dataclasses.replace(SMALL, share=0.2)
    alive_table(tiny, [axis], tmp_path, other)
    assert len(list((tmp_path / "doctor").glob("*.json"))) == 2


def test_what_reads_no_questions_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    for given in (["--axis", "warmth"], ["--items", "conflict"], ["--think", "3"], ["--sampling.top-k", "2"]):
        assert main(["doctor", "--model", "tiny", "--axes", "all", *given]) == 2
        assert given[0].split(".")[0] in capsys.readouterr().err


def test_the_menu_says_what_is_alive(tmp_path: Path) -> None:
    usual = axis_labels("mini", tmp_path)
    assert next(iter(usual)) == "care_over_authority" and "honesty" not in usual
    rows = [("a", "warmth", "dead"), ("b", "honesty", "steered backwards"), ("c", "warmth", "alive")]
    for place, axis, verdict in rows:
        stored = {"model": "some/model", "row": {"axis": axis, "verdict": verdict}}
        write_json(tmp_path / "doctor" / f"{place}.json", stored)
    (tmp_path / "doctor" / "d.json").write_text("{", encoding="utf-8")
    assert verdicts_of("some/model", tmp_path) == {"warmth": "alive", "honesty": "steered backwards"}
    assert verdicts_of("other", tmp_path) == {}
    labels = axis_labels("some/model", tmp_path)
    assert labels["warmth (alive)"] == "warmth" and labels["honesty (steered backwards)"] == "honesty"
    assert labels["care_over_authority (not measured)"] == "care_over_authority" and labels[CUSTOM] == CUSTOM


@pytest.fixture
def named_tiny(monkeypatch: pytest.MonkeyPatch) -> None:
    """A tiny model in the place of any other that is loaded by name."""
    monkeypatch.setattr("ws.app.doctor.load_model", lambda _: tiny_lm("qwen3"))
    monkeypatch.setattr(doctor, "Check", lambda: SMALL)


def test_the_command(named_tiny: None, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["doctor", "--model", "tiny", "--axes", "all", "--out", str(tmp_path), "--json"]) == 0
    found = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert {row["axis"] for row in found["axes"]} >= {"warmth", "honesty", "care_over_authority"}
    assert main(["doctor", "--model", "tiny", "--axes", "all", "--out", str(tmp_path)]) == 0
    said = capsys.readouterr().out
    assert "persona +" in said and "Nats per token on 4 questions" in said and "warmth" in said


def test_the_command_on_one_axis_that_questions_read(
    named_tiny: None, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ws.evaluation.instrument.glance", lambda *_: pytest.fail("base was looked at"))
    assert main(["doctor", "--model", "tiny", "--axis", "warmth", "--out", str(tmp_path)]) == 0
    said = capsys.readouterr().out
    assert "reads by questions" in said and "base profile: not measured" in said and "verdict" in said
    assert "Warmth is read by the axis's questions" in said
