"""Arms over runs on planted frames: seeds, spread, equal shift without extrapolation; and two runs side by side."""

from __future__ import annotations

import dataclasses
import itertools
import json
import math
import shutil
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from tests.builders.records import record_changes
from tests.builders.small_runs import ending_lm, small_config
from ws.app.cli import main
from ws.app.views.run_picker import chosen_arm, first_arm, shift_steps
from ws.errors import UserError
from ws.evaluation.comparison import compare, summary
from ws.experiment.examples import EXAMPLE, EXAMPLE_ROUNDS, ROUNDS, cut_down
from ws.experiment.loop import run as whole_run
from ws.files import read_json, write_json
from ws.reporting.charts import (
    clicked_arm,
    loop_plane_chart,
    pareto_chart,
    profile_chart,
    round_metrics_chart,
    rounds_chart,
)
from ws.reporting.charts.tradeoff_planes import _clear_places
from ws.reporting.leaderboard import MIN_SEEDS, POINTS, arms_table, common_shift, equal_shift, instruments, points_frame
from ws.reporting.run_diff import headline_diff, settings_diff, verdict_diff
from ws.reporting.tables import arms_shown, diary_table, equal_shown, rounds_table, verdicts_table
from ws.runs.heal_variants import SHIPPED, variant_gate, variants_of
from ws.runs.reader import Run, finished_runs, open_run
from ws.runs.round_tables import cosines_frame, diary_frame, plane_of, rounds_frame, steps_frame


def point(family: str, beta: float, seed: int, shift: float, coherence: float, **more: Any) -> dict[str, Any]:
    """One seed of one arm; intervals of fixed width."""
    row: dict[str, Any] = dict.fromkeys(POINTS) | {
        "run": f"{family}-{beta}-{seed}", "time": "2026-01-01", "instrument": "i", "arm": f"{family}-{beta}",
        "round": 0, "family": family, "kind": "healed", "beta": beta, "seed": str(seed),
        "label": f"{family} · beta {beta:g}",
        "axis": "a", "model": "m", "settings": "{}",
        "d_target": shift, "d_target_low": shift - 0.1, "d_target_high": shift + 0.1,
        "coherence": coherence, "coherence_low": coherence - 0.02, "coherence_high": coherence + 0.02,
    }  # fmt: skip
    return row | more


def frame(*rows: dict[str, Any]) -> pl.DataFrame:
    return pl.DataFrame(list(rows), schema=POINTS)


Ends = tuple[tuple[float, float], tuple[float, float]]


def line(family: str, ends: Ends, seeds: int, spread: float = 0.0) -> list[Any]:
    """A family of two betas; each seed lies `spread` further from the mean in coherence."""
    offsets = [spread * (s - (seeds - 1) / 2) for s in range(seeds)]
    return [
        point(family, beta, s, shift, coherence + offset)
        for beta, (shift, coherence) in enumerate(ends)
        for s, offset in enumerate(offsets)
    ]


# Seeds and spread


def test_an_arm_is_the_mean_and_spread_of_its_seeds() -> None:
    arms = arms_table(frame(*(point("f", 0.3, s, d, 0.9 + d / 100) for s, d in enumerate((1.0, 1.2, 1.4)))))
    row = arms.row(0, named=True)
    assert row["seeds"] == 3
    assert row["d_target"] == pytest.approx(1.2)
    assert row["d_target_sd"] == pytest.approx(0.2)
    assert row["d_target_low"] == pytest.approx(1.1)
    assert row["note"] == ""
    assert len(row["runs"]) == 3


def test_one_seed_has_no_spread_and_says_so() -> None:
    row = arms_table(frame(point("f", 0.3, 0, 1.0, 0.9))).row(0, named=True)
    assert row["d_target_sd"] is None
    assert row["note"] == f"1 of {MIN_SEEDS} seeds: not ranked"


def test_instruments_do_not_mix() -> None:
    points = frame(point("f", 0.3, 0, 1.0, 0.9), point("f", 0.3, 1, 2.0, 0.9, instrument="other"))
    assert arms_table(points).height == 2
    assert len(instruments(points)) == 2
    with pytest.raises(UserError, match="different instruments"):
        equal_shift(arms_table(points), 1.0)


# At equal shift


def test_coherence_is_read_on_the_line_between_two_betas() -> None:
    arms = arms_table(frame(*line("f", ((0.5, 0.9), (1.5, 1.0)), 3)))
    row = equal_shift(arms, 0.75).row(0, named=True)
    assert row["coherence"] == pytest.approx(0.925)
    assert row["coherence_low"] == pytest.approx(0.905)
    assert (row["from"], row["to"], row["rank"]) == (0.5, 1.5, 1)


@pytest.mark.parametrize(("at", "inside"), [(0.49, False), (0.5, True), (1.5, True), (1.51, False)])
def test_nothing_is_extrapolated(at: float, inside: bool) -> None:
    arms = arms_table(frame(*line("f", ((0.5, 0.9), (1.5, 1.0)), 3)))
    row = equal_shift(arms, at).row(0, named=True)
    assert (row["coherence"] is not None) is inside
    assert ("outside the measured range (0.50 to 1.50 nat)" in row["note"]) is not inside
    assert (row["rank"] is not None) is inside


def test_one_point_is_no_range() -> None:
    arms = arms_table(frame(*(point("f", 0.3, s, 1.0, 0.9) for s in range(3))))
    assert equal_shift(arms, 1.0)["coherence"][0] == pytest.approx(0.9)
    assert "one point at 1.00 nat" in equal_shift(arms, 0.9)["note"][0]
    assert common_shift(arms) is None


def test_only_three_seeds_are_ranked() -> None:
    good, better = line("good", ((0.5, 0.9), (1.5, 0.9)), 3), line("better", ((0.5, 0.99), (1.5, 0.99)), 2)
    found = equal_shift(arms_table(frame(*good, *better)), 1.0)
    assert found["family"].to_list() == ["better", "good"]
    assert found["rank"].to_list() == [None, 1]
    assert found["note"][0] == f"2 of {MIN_SEEDS} seeds: not ranked"


def test_one_poor_beta_keeps_a_family_from_being_ranked() -> None:
    rows = line("f", ((0.5, 0.9), (1.5, 1.0)), 3)
    arms = arms_table(frame(*[r for r in rows if not (r["beta"] == 1 and r["seed"] == "2")]))
    assert equal_shift(arms, 1.0)["rank"].to_list() == [None]
    assert equal_shift(arms, 0.5)["rank"].to_list() == [1]  # that figure rests on three seeds


@pytest.mark.parametrize(("spread", "told"), [(0.001, True), (0.05, False)])
def test_seed_noise_is_said(spread: float, told: bool) -> None:
    rows = [*line("a", ((0.5, 0.95), (1.5, 0.95)), 3, spread), *line("b", ((0.5, 0.93), (1.5, 0.93)), 3, spread)]
    found = equal_shift(arms_table(frame(*rows)), 1.0)
    assert found["rank"].to_list() == [1, 2]
    assert ("not told apart" in found["note"][1]) is not told


def test_the_common_shift_lies_in_every_range() -> None:
    a, b = line("a", ((0.5, 0.9), (1.5, 0.9)), 1), line("b", ((1.1, 0.9), (2.0, 0.9)), 1)
    assert common_shift(arms_table(frame(*a, *b))) == pytest.approx(1.3)
    far = line("c", ((3.0, 0.9), (4.0, 0.9)), 1)
    assert common_shift(arms_table(frame(*a, *far))) is None
    with pytest.raises(UserError, match="number of nats"):
        equal_shift(arms_table(frame(*a)), float("nan"))


def test_missing_figures_stay_out_of_the_comparison() -> None:
    arms = arms_table(frame(point("f", 0.3, 0, 1.0, 0.9) | {"coherence": None}))
    assert equal_shift(arms, 1.0).height == 0


@pytest.mark.parametrize("top", [0.02, 0.94, 3.2])
def test_a_page_opens_at_a_shift_that_every_family_reached(top: float) -> None:
    a, b = line("a", ((0.0, 0.9), (top, 0.9)), 1), line("b", ((top / 2, 0.9), (top, 0.9)), 1)
    arms = arms_table(frame(*a, *b))
    steps, start = shift_steps(arms)
    assert steps[0] == 0.0 and top <= steps[-1] <= 1.2 * top + 0.1
    assert start == min(steps, key=lambda step: abs(step - 0.75 * top))
    lost = arms.with_columns(d_target=pl.lit(None, pl.Float64))
    assert shift_steps(lost) == ([i / 100 for i in range(101)], 0.5)


# What a link or a click asks for


def test_a_page_of_arms_opens_with_what_its_link_names() -> None:
    rows = [point("f", 0.3, 0, 1.0, 0.9), point("f", 0.3, 1, 1.0, 0.9), point("f", 3.0, 0, 1.0, 0.9)]
    points = frame(*rows, point("g", 1.0, 0, 2.0, 0.9, instrument="other"))
    usual = {"instrument": "i", "arm": "f-0.3", "run": "f-0.3-1"}
    assert first_arm(points, {}) == (usual, [])
    assert first_arm(points, {"arm": "f-3.0"}) == ({"instrument": "i", "arm": "f-3.0", "run": "f-3.0-0"}, [])
    given = {"instrument": "other", "arm": "g-1.0", "run": "g-1.0-0"}
    assert first_arm(points, given) == (given, [])
    # an arm of another instrument, a run of another arm: not there, and the page says so
    found, said = first_arm(points, {"arm": "g-1.0", "run": "f-3.0-0"})
    assert found == usual and len(said) == 2 and "'g-1.0'" in said[0]


@pytest.mark.parametrize("asked", [None, "", "../x", 7, ["f-3.0"], "f-9"])
def test_an_arm_that_is_not_there_is_the_first(asked: Any) -> None:
    arms = arms_table(frame(point("f", 0.3, 0, 1.0, 0.9), point("f", 3.0, 0, 1.0, 0.9)))
    assert (chosen_arm(arms, asked)["arm"], chosen_arm(arms, asked)["#"]) == ("f-0.3", 0)
    assert (chosen_arm(arms, "f-3.0")["arm"], chosen_arm(arms, "f-3.0")["#"]) == ("f-3.0", 1)


@pytest.mark.parametrize(
    "sent", [{}, {"clicked": {}}, {"clicked": []}, {"clicked": {"arm": []}}, {"clicked": {"arm": "x"}}, [1], None,
             {"clicked": {"arm": [None]}}, {"clicked": {"arm": [{"x": 1}]}}, {"other": {"arm": ["x"]}}],
)  # fmt: skip
def test_a_click_that_names_no_arm_chooses_none(sent: Any) -> None:
    assert clicked_arm(sent) is None
    assert clicked_arm({"clicked": {"arm": ["a", "b"], "vlPoint": {"or": [{"arm": "b"}]}}}) == "b"


def test_the_chosen_arm_stands_out_and_can_be_clicked() -> None:
    points = frame(point("f", 0.3, 0, 1.0, 0.9), point("f", 3.0, 0, 1.2, 0.9, d_target_low=float("nan")))
    spec = pareto_chart(points, "f-3.0").to_dict()
    assert [p["select"]["fields"] for p in spec["params"]] == [["arm"]]
    assert json.dumps(spec, allow_nan=False).count("(datum.arm === 'f-3.0')") == 4  # size of dots, opacity of all marks
    assert "datum.arm" not in json.dumps(pareto_chart(points).to_dict()["layer"][1])


def test_no_arm_covers_one_that_stands_above_it_in_the_table_or_the_chosen_one() -> None:
    points = frame(*(point("f", beta, 0, 1.0, 0.9) for beta in (0.3, 1.0, 3.0)))
    specs = [pareto_chart(points, chosen).to_dict() for chosen in (None, "f-1.0")]
    drawn = [[row["arm"] for row in spec["datasets"][spec["layer"][3]["data"]["name"]]] for spec in specs]
    assert drawn == [["f-3.0", "f-1.0", "f-0.3"], ["f-3.0", "f-0.3", "f-1.0"]]  # the last is drawn on top


def test_twenty_arms_have_marks_of_their_own() -> None:
    points = frame(*(point("f", beta, 0, 1.0, 0.9) for beta in range(20)))
    dots = pareto_chart(points).to_dict()["layer"][3]["encoding"]
    marks = list(zip(*(dots[name]["scale"]["range"] for name in ("color", "shape")), strict=True))
    assert len(set(marks)) == len(marks) == 20, "neither colour nor shape alone tells so many apart"


# From runs


@pytest.fixture(scope="module")
def out(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two runs that differ in beta, two seeds each, and one that repeats the first."""
    folder = tmp_path_factory.mktemp("compare")
    config = small_config(folder, seeds=(0, 1))
    for beta in (0.3, 3.0):
        heal = dataclasses.replace(config.heal, beta=beta)
        made = whole_run(dataclasses.replace(config, heal=heal), out=folder / "out", lm=ending_lm())
        if beta == 0.3:
            again = made.path.with_name(f"99990101T000000Z-tiny-{beta}")
            shutil.copytree(made.path, again)
    record_changes(again, started="9999-01-01T00:00:00Z")
    return folder / "out"


@pytest.fixture(scope="module")
def runs(out: Path) -> list[Run]:
    return finished_runs(out)[0]


def test_points_of_runs(runs: list[Run]) -> None:
    points = points_frame(runs)
    assert points["instrument"].n_unique() == 1
    healed = points.filter(pl.col("kind") == "healed")
    assert sorted(healed.select("beta", "seed").rows()) == [(0.3, "0"), (0.3, "1"), (3.0, "0"), (3.0, "1")]
    assert healed["family"].n_unique() == 1
    assert healed["arm"].n_unique() == 2
    # a repeated run is no further seed: its figures stand in for the first one's
    assert set(healed.filter(pl.col("beta") == 0.3)["run"]) == {runs[-1].path.name}
    steered = points.filter(pl.col("kind") == "steered")
    assert steered.select("seed").rows() == [("0",)]  # beta does not matter to it
    arms = arms_table(points).filter(pl.col("kind") == "healed")
    assert arms["seeds"].to_list() == [2, 2]
    first = next(r for r in runs[-1].arms().rows(named=True) if r["arm"] == "healed_seed")
    second = healed.filter(pl.col("beta") == 0.3, pl.col("seed") == "1")
    assert second["d_target"][0] == first["d_target"]


def test_another_setting_is_another_arm_and_is_named(runs: list[Run], tmp_path: Path) -> None:
    shutil.copytree(runs[0].path, tmp_path / "run")
    config = read_json(tmp_path / "run/config.json")
    config["data"]["rep"] = 0.7
    write_json(tmp_path / "run/config.json", config)
    record_changes(tmp_path / "run")
    points = points_frame([runs[0], open_run(tmp_path / "run")])
    healed = points.filter(pl.col("kind") == "healed", pl.col("seed") == "0")
    assert healed["arm"].n_unique() == 2
    assert sorted("data.rep 0.7" in label for label in healed["label"]) == [False, True]


def test_folders_that_cannot_be_read_are_named(out: Path, tmp_path: Path) -> None:
    shutil.copytree(out, tmp_path / "out")
    first = sorted((tmp_path / "out/runs").glob("2*"))[0]
    (first / "config.json").write_text("{half")
    found, skipped = finished_runs(tmp_path / "out")
    assert len(found) == 2
    assert len(skipped) == 1
    assert skipped[0].startswith(first.name)


# Two runs


def test_the_same_run_differs_in_nothing(runs: list[Run]) -> None:
    assert settings_diff(runs[0], runs[0]).height == 0
    headline = headline_diff(runs[0], runs[0])
    moved = headline.filter(pl.col("measure") == "d_target")
    assert moved["difference"].to_list() == [0.0, 0.0]
    assert moved["low"].to_list() == [0.0, 0.0]
    assert not verdict_diff(runs[0], runs[0])["differs"].any()


def test_two_runs_are_paired_over_items(runs: list[Run]) -> None:
    a, b = runs[0], runs[1]
    assert settings_diff(a, b).rows() == [("heal.beta", "0.3", "3.0")]
    row = headline_diff(a, b).filter(pl.col("arm") == "healed", pl.col("measure") == "d_target").row(0, named=True)
    assert row["note"] == "paired over items"
    assert row["difference"] == pytest.approx(row["b"] - row["a"], abs=1e-9)
    assert row["low"] <= row["difference"] <= row["high"]
    reports = [reports_by_arm(run)["healed"] for run in (a, b)]
    assert row["low"] == summary(compare(*reports))["d_target_low"]


def reports_by_arm(run: Run) -> dict[str, Any]:
    from ws.runs.arms import reports_of

    return {arm.arm: arm.report for arm in reports_of(run.frame("eval"))}


def test_other_items_are_not_paired(runs: list[Run], tmp_path: Path) -> None:
    shutil.copytree(runs[0].path, tmp_path / "run")
    file = tmp_path / "run/rounds/0/eval.parquet"
    frame = pl.read_parquet(file)
    identity = [json.dumps(json.loads(text) | {"items": "others"}) for text in frame["identity"]]
    frame.with_columns(identity=pl.Series(identity)).write_parquet(file)
    record_changes(tmp_path / "run")
    headline = headline_diff(runs[0], open_run(tmp_path / "run"))
    assert headline["low"].drop_nulls().len() == 0
    assert "not paired: the reports differ in items" in headline["note"][0]
    assert headline["difference"][0] == 0.0  # the plain difference stays


def test_other_weights_are_not_paired(runs: list[Run], tmp_path: Path) -> None:
    shutil.copytree(runs[0].path, tmp_path / "run")
    file = tmp_path / "run/rounds/0/eval.parquet"
    frame = pl.read_parquet(file)
    subject = [json.dumps(json.loads(text) | {"fingerprint": "0" * 16}) for text in frame["subject"]]
    frame.with_columns(subject=pl.Series(subject)).write_parquet(file)
    record_changes(tmp_path / "run")
    assert headline_diff(runs[0], open_run(tmp_path / "run"))["note"][0] == "not paired: the base weights differ"


def test_the_command(runs: list[Run], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["diff", str(runs[0].path), str(runs[1].path)]) == 0
    shown = capsys.readouterr().out
    for part in ("heal.beta", "0.3", "3.0", "b - a", "paired over items", "Verdicts"):
        assert part in shown
    assert main(["diff", str(runs[0].path), str(runs[1].path), "--json"]) == 0
    said = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert said["settings"] == [{"setting": "heal.beta", "a": "0.3", "b": "3.0"}]
    assert main(["diff", str(runs[0].path), "nowhere"]) == 2


# Rounds as frames, and the shipped example


def test_steps_cosines_and_diary_of_the_example() -> None:
    run = open_run(EXAMPLE_ROUNDS)
    steps, rounds = steps_frame(run), rounds_frame(run)
    assert steps["at"].to_list() == [0.0, *(n + part for n in range(ROUNDS["mini"]) for part in (0.5, 1.0))]
    healed = steps.filter(pl.col("kind") == "healed")
    assert healed["d_target"].to_list() == rounds["d_target"].to_list()
    cosines = cosines_frame(run)
    to_first = cosines.filter(pl.col("line") == "to round 0").sort("round")["value"]
    assert to_first.to_list() == pytest.approx(rounds["cos_v0"].to_list())
    assert to_first[0] == pytest.approx(1.0)
    texts = diary_frame(run)
    assert set(texts.group_by("prompt_id").len()["len"]) == {2 * ROUNDS["mini"] + 1}
    assert texts["kind"].unique().sort().to_list() == ["base", "healed", "steered"]
    assert plane_of(run) == ("Authority", "Care")


def test_a_run_of_one_round_has_steps_too(runs: list[Run]) -> None:
    assert steps_frame(runs[0])["kind"].to_list() == ["base", "steered", "healed"]
    assert diary_frame(runs[0])["at"].unique().sort().to_list() == [0.0, 0.5, 1.0]


def test_every_picture_can_be_drawn_with_units_on_its_axes(runs: list[Run]) -> None:
    run = open_run(EXAMPLE_ROUNDS)
    steps = steps_frame(run)
    charts = [rounds_chart(steps), loop_plane_chart(steps), round_metrics_chart(rounds_frame(run), cosines_frame(run)),
              profile_chart(run.arms()), pareto_chart(points_frame(runs))]  # fmt: skip
    for chart in charts:
        spec = json.dumps(chart.to_dict())
        assert "nats" in spec
        assert '"datasets"' in spec


def test_variants_of_the_beta_slider_are_arms_of_their_runs_family() -> None:
    run = open_run(EXAMPLE)
    points = points_frame([run])
    healed = points.filter(pl.col("kind") == "healed").sort("beta")
    variants = variants_of(run)
    assert healed["beta"].to_list() == [variant.settings.beta for variant in variants] == sorted(SHIPPED)
    assert healed["family"].n_unique() == 1 and healed["arm"].n_unique() == len(SHIPPED)
    assert healed["d_target"].to_list() == [variant.arm["d_target"].item() for variant in variants]
    verdicts = [variant_gate(run, variant) for variant in variants]
    assert healed["verdict"].to_list() == [f"{gate.outcome} ({gate.colour})" for gate in verdicts]
    arms = arms_table(points)
    found = equal_shift(arms, shift_steps(arms)[1]).row(0, named=True)
    around = healed.sort("d_target")["coherence"]
    assert found["points"] == len(SHIPPED) and around.min() <= found["coherence"] <= around.max()
    free = (pl.col("beta") == 0) & (pl.col("kind") == "healed")
    planted = arms.with_columns(d_target=pl.when(free).then(0.0).otherwise("d_target"))
    assert "kl_rev" in equal_shift(planted, 0.5)["label"][0], "named by its barrier wherever beta 0 lies"


@pytest.mark.parametrize("gap", [0, 4, 9, 60])
def test_numbers_of_crowded_nodes_stay_apart(gap: int) -> None:
    """Six nodes in a row, pixels apart: every number at its own node's side, none on another nor on a node."""
    nodes = [(gap * i, 0.5 * gap * i) for i in range(6)]
    labels = [(x + dx, y + dy) for (x, y), (dx, dy) in zip(nodes, _clear_places(nodes), strict=True)]
    assert [math.dist(*pair) for pair in zip(nodes, labels, strict=True)] == [pytest.approx(16.0)] * 6
    assert min(math.dist(a, b) for a, b in itertools.combinations(labels, 2)) > 7
    assert min(math.dist(a, b) for a, b in itertools.product(labels, nodes)) > 7


def test_what_notebooks_show(runs: list[Run]) -> None:
    run = open_run(EXAMPLE_ROUNDS)
    arms = arms_table(points_frame(runs))
    assert rounds_table(rounds_frame(run), run.trait.unit).height == ROUNDS["mini"]
    assert diary_table(diary_frame(run)).columns == ["model", "prompt", "tail_ppl", "readable", "text"]
    assert arms_shown(arms)["#"].to_list() == list(range(arms.height))
    assert equal_shown(equal_shift(arms, 0.1)).height > 0
    assert verdicts_table(run).height == len(run.gates(run.best))


def test_cutting_down_keeps_what_the_loop_shows(runs: list[Run], tmp_path: Path) -> None:
    cut_down(runs[0], tmp_path / "cut")
    cut = open_run(tmp_path / "cut")
    assert steps_frame(cut).equals(steps_frame(runs[0]))
    assert rounds_frame(cut).equals(rounds_frame(runs[0]))
    assert set(diary_frame(cut)["text"]) <= set(diary_frame(runs[0])["text"])
