"""Doses at equal KL, and the bands of blocks that are compared there."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import polars as pl
import pytest

import ws
from tests.builders.directions import direction
from tests.builders.small_runs import ending_lm
from ws.app.cli import main
from ws.errors import UserError
from ws.evaluation.readings.dilemmas import read_dilemmas
from ws.experiment.calibration import BRACKETS, bracket_of, calibrate, effects
from ws.experiment.layer_search import layer_search, verdict
from ws.generation.completions import generate
from ws.generation.settings import Sampling
from ws.models.lm import LM
from ws.reporting import charts
from ws.runs.arms import kl_p95
from ws.steering.direction import Direction
from ws.steering.extraction import extract, extract_bands

PROMPTS = ["Hello?", "Is it late?", "May I?"]
DRAWS = Sampling(max_new_tokens=12)


def known(lm: LM, method: str, relative: float = 0.2) -> Direction:
    return direction(lm, scale=0.3, method=method, relative=relative)


def test_the_dose_that_is_named_has_the_kl_that_is_named(tiny: LM) -> None:
    """Each cell decoded again by itself: same prompts and dice as its own sample gives the same KL."""
    made = {"a": known(tiny, "mean_diff"), "b": known(tiny, "rotation")}
    found = calibrate(tiny, made, PROMPTS, [0.05, 0.2], sampling=DRAWS, probes=5)
    assert found.height == 8 and set(found["sign"]) == {1, -1} and found["unit"].to_list()[0] == "multiples"
    met = found.filter(pl.col("edge") == "")
    assert met.height >= 6
    for row in met.rows(named=True):
        assert max(row["kl"] / row["target"], row["target"] / row["kl"]) <= 2 and row["c"] * row["sign"] > 0
        alone = kl_p95(generate(tiny, PROMPTS, made[row["name"]], row["c"], n=6, sampling=DRAWS))
        assert max(alone / row["kl"], row["kl"] / alone) < 4, "other dice, the same size"
    share = found.filter(name="a")
    assert share["relative"].to_list() == pytest.approx((0.2 * share["c"].abs()).to_list())
    assert found.filter(name="b")["relative"].null_count() == 4


def test_a_target_out_of_reach_is_an_edge(tiny: LM) -> None:
    found = calibrate(tiny, {"a": known(tiny, "mean_diff")}, PROMPTS, [1e-9, 1e6], signs=(1,), sampling=DRAWS, probes=3)
    low, high = bracket_of(known(tiny, "mean_diff"))
    assert found["edge"].to_list() == ["low", "high"] and found["c"].to_list() == pytest.approx([low, high])
    assert (low, high) == tuple(x / 0.2 for x in BRACKETS["multiples"])


def test_effects_are_what_each_dose_moves_by_itself() -> None:
    lm = ending_lm()
    axis = ws.load_axis("cheerful_over_gloomy").on(lm)
    made = {"a": known(lm, "mean_diff"), "b": known(lm, "givens")}
    table = pl.DataFrame({"name": ["a", "b", "a"], "c": [2.0, 40.0, -3.0]})
    read = effects(lm, axis, table, made)
    asked = axis.half("select")
    for row in read.rows(named=True):
        base, moved = (frame["logratio"].to_numpy() for frame in
                       read_dilemmas(lm, asked, direction=made[row["name"]], cs=[0.0, row["c"]]))  # fmt: skip
        assert row["d_target"] == pytest.approx(float((moved - base).mean()), abs=1e-5)
        assert row["d_target_low"] < row["d_target"] < row["d_target_high"]


def test_bands_are_what_each_extraction_gives(tiny: LM) -> None:
    axis = ws.load_axis("cheerful_over_gloomy").on(tiny)
    for method in ("mean_diff", "angular", "s_space"):
        for band, v in zip([(0, 1), (1, 2)], extract_bands(tiny, axis, method, [(0, 1), (1, 2)], pairs=8), strict=True):
            alone = extract(tiny, axis, method, band, pairs=8)
            assert v.cosine(alone) == pytest.approx(1, abs=1e-5) and v.meta == alone.meta | {
                "relative": pytest.approx(alone.meta["relative"], rel=1e-4)
            }


def test_the_search_reads_every_band_and_draws_it(tmp_path: Path) -> None:
    lm = ending_lm()
    found = layer_search(lm, ws.load_axis("cheerful_over_gloomy"), targets=(0.1, 0.5), width=2, pairs=6)
    assert found["name"].unique(maintain_order=True).to_list() == ["0-1", "1-2", "2-3"] and found.height == 6
    assert found["first"].to_list() == [0, 0, 1, 1, 2, 2] and not found["usual"].any()
    picture = charts.save(charts.layer_map_chart(found), tmp_path / "map.svg").read_text()
    assert "blocks steered" in picture and "1-2" in picture
    with pytest.raises(UserError, match="1 to 4 blocks"):
        layer_search(lm, ws.load_axis("cheerful_over_gloomy"), width=5)


def test_no_shift_is_white_on_the_map() -> None:
    """Where every band moves the trait as intended, the weakest is no blue."""
    drawn = charts.layer_map_chart(planted([0.5, 1.0], 0.1).with_columns(c=1.0, kl=1.0)).to_dict()
    assert drawn["layer"][0]["encoding"]["color"]["scale"]["domain"] == [-1.0, 1.0]


def planted(shifts: list[float], error: float, edge: str = "") -> pl.DataFrame:
    """Bands of one block with these shifts at 1 nat."""
    rows = [{"name": f"{i}-{i}", "first": i, "last": i, "target": 1.0, "edge": edge, "usual": i == 1, "d_target": x,
             "d_target_low": x - error, "d_target_high": x + error} for i, x in enumerate(shifts)]  # fmt: skip
    return pl.DataFrame(rows)


def test_the_verdict_says_which_band_and_how_sharply() -> None:
    shifts = [0.1, 0.2, 0.9, 0.2, 0.1, 0.1]
    assert verdict(planted(shifts, 0.1)).startswith("Sharp: blocks 2-2 move the trait most at 1 nat of KL: +0.90")
    assert "1 of 6 bands may do as well; the model's own band 1-1: +0.20" in verdict(planted(shifts, 0.1))
    assert verdict(planted(shifts, 0.4)).startswith("Flat: blocks 2-2")
    assert verdict(planted([-0.1, 0.05, -0.3], 0.2)).startswith("No band moves the trait as intended")
    with pytest.raises(UserError, match="nothing to compare"):
        verdict(planted(shifts, 0.1, "high"))


@pytest.mark.parametrize(
    "how",
    [{"directions": {}}, {"prompts": []}, {"targets": []}, {"targets": [0.0]}, {"targets": [math.inf]}, {"probes": 1}],
)
def test_nothing_to_calibrate_is_said(tiny: LM, how: dict[str, Any]) -> None:
    asked = {"directions": {"a": known(tiny, "mean_diff")}, "prompts": PROMPTS, "targets": [1.0]} | how
    with pytest.raises(UserError, match="calibration needs"):
        calibrate(tiny, **asked)
    with pytest.raises(UserError, match=r"\|v\| / \|h\|"):
        bracket_of(direction(tiny))


def test_no_prompt_is_refused_before_a_model_is_loaded(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("ws.models.lm.load_model", None)
    for n in ("0", "-1"):
        assert main(["calibrate", "--prompts", n]) == 2
        assert "at least 1" in capsys.readouterr().err


@pytest.mark.slow
def test_the_commands_print_what_they_found(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["calibrate", "--methods", "mean_diff", "rotation", "--prompts", "4", "--json"]) == 0
    rows = json.loads(capsys.readouterr().out.splitlines()[-1])["calibrated"]
    assert {(row["name"], row["sign"]) for row in rows} == {(n, s) for n in ("mean_diff", "rotation") for s in (1, -1)}
    assert all(row["d_target"] * row["sign"] > 0.2 for row in rows), "both lead where their sign says"
    assert main(["layers", "--width", "2", "--out", str(tmp_path)]) == 0
    told = capsys.readouterr().out
    assert "may do as well" in told and len(list(tmp_path.glob("layers/*.svg"))) == 1
    assert main(["calibrate", "--methods", "nope"]) == 2
    assert "no steering method" in capsys.readouterr().err
