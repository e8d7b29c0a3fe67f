"""Behind the Learn section: figures and texts of base, steered and healed; a training that is shared and asked for."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from tests.builders.small_runs import ending_lm, small_config
from ws.app.access import AppSettings
from ws.app.jobs import Jobs, View
from ws.app.views import heal, heal_html
from ws.errors import UserError
from ws.experiment.examples import EXAMPLE
from ws.experiment.identity import load_configured
from ws.experiment.loop import run as whole_run
from ws.healing.training import CURVE
from ws.reporting import charts
from ws.runs.heal_variants import BETAS, PHASES, VariantSettings, find_variant, variants_of
from ws.runs.reader import Run, open_run

HOSTILE = "<img src=x onerror=hit()> & <script>"


def view(state: Any = "running", rows: tuple[dict[str, Any], ...] = (), message: str = "", seconds: float = 0) -> View:
    return View("k", HOSTILE, state, False, rows, message, seconds, 1)


def step(i: int, seconds: float, steps: int = 10) -> dict[str, Any]:
    return dict.fromkeys(CURVE) | {"step": i, "nll": 1.0, "D": 0.1, "active": 1.0, "seconds": seconds,
                                             "steps": steps}  # fmt: skip


def test_every_arm_has_its_place_on_the_planes() -> None:
    run = open_run(EXAMPLE)
    variants = variants_of(run)
    points = heal.points(run, variants)
    assert points["arm"].to_list() == ["base", "steered", "unsteered text"] + ["healed"] * len(variants)
    assert points["beta"].drop_nulls().to_list() == [variant.settings.beta for variant in variants]
    base, steered = points.row(0, named=True), points.row(1, named=True)
    assert base["d_target"] == pytest.approx(0) and base["x"] == pytest.approx(0)
    assert heal.plane_of(run) == ("Authority", "Care")
    assert steered["x"] == pytest.approx(-steered["d_target"]), (
        "care over authority: authority is the target, and falls"
    )
    healed = points.filter(pl.col("arm") == "healed")
    for name in ("d_target", "coherence", "retain", "capability", "coh_cost"):
        assert (healed[f"{name}_low"] <= healed[f"{name}_high"]).all()
    own = healed.filter(pl.col("beta") == run.config.heal.resolved(load_configured(run.config)).beta).row(0, named=True)
    assert own["retain"] == run.summary["heal"]["retain"]


def test_more_barrier_keeps_less_of_the_trait_on_the_shipped_stops() -> None:
    retain = {variant.settings.beta: variant.arm["retain"][0] for variant in variants_of(open_run(EXAMPLE))}
    assert retain[0.0] > retain[0.3] > retain[100.0]


def test_the_three_texts_answer_one_prompt_with_the_same_dice() -> None:
    run = open_run(EXAMPLE)
    variant = find_variant(run, VariantSettings(0.3))
    assert variant is not None
    prompts = heal.prompts_of(run)
    assert set(prompts) <= set(run.axis["probes"])
    rows = heal.three_texts(run, variant, prompts[0])
    assert rows["arm"].to_list()[:3] == ["base", "steered", "healed"]
    assert rows.group_by("sample").len()["len"].unique().to_list() == [3]
    assert list(heal_html.text_blocks(rows)) == ["base", "steered", "healed"]
    with pytest.raises(UserError, match="not asked"):
        heal.three_texts(run, variant, HOSTILE)


def test_the_slider_has_the_grid_and_the_runs_own_beta() -> None:
    assert heal.beta_steps(None) == list(BETAS)
    run = open_run(EXAMPLE)
    assert heal.usual_beta(run, heal.beta_steps(run)) == run.config.heal.beta == 0.03


@pytest.mark.parametrize("state", ["queued", "running", "done", "failed", "cancelled"])
def test_words_about_a_training_are_escaped(state: Any) -> None:
    shown = heal_html.progress_html(
        view(state, message=HOSTILE, rows=({"phase": PHASES[0]}, step(0, 1.0))), open_run(EXAMPLE)
    )
    assert "<img" not in shown and "<script" not in shown and "&lt;img" in shown


def test_what_is_left_is_reckoned_from_measured_steps() -> None:
    expected = {"training": 10.0, "report": 4.0, "drift": 2.0}
    assert heal_html.left(view(), expected) == ("training", 0.0, 16.0)
    rows = ({"phase": "training"}, step(0, 2.0), step(1, 4.0))
    phase, share, rest = heal_html.left(view(rows=rows, seconds=4.0), expected)
    assert (phase, rest) == ("training", pytest.approx(20 + 2 * 6 - 4)), "twice as slow as expected, so is the rest"
    assert share == pytest.approx(4 / 32)
    late = (*rows, {"phase": "drift"})
    assert heal_html.left(view(rows=late, seconds=99.0), expected) == ("drift", 1.0, 0.0)


def test_a_live_curve_is_drawn_as_far_as_it_has_come() -> None:
    running = view(rows=({"phase": PHASES[0]}, step(0, 1.0), step(1, 2.0)))
    curve = heal.live_curve(running)
    assert curve.height == 2 and heal.steps_of(running) == 10
    assert charts.training_chart(curve, 0.3, 10).to_dict()
    assert heal.live_curve(view("done", running.rows)).height == 0 and heal.live_curve(None).height == 0


def test_every_picture_has_units_on_its_axes() -> None:
    run = open_run(EXAMPLE)
    variants = variants_of(run)
    points = heal.points(run, variants)
    pictures = [
        charts.tradeoff_chart(points, heal.plane_of(run), 0.3), charts.beta_sweep_chart(points, 0.3),
        charts.training_chart(variants[0].curve, 0.3), charts.drift_chart(variants[0].drift),
    ]  # fmt: skip
    for picture in pictures:
        text = picture.to_json()
        assert any(unit in text for unit in ("nats", "share"))


# The job


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Run:
    folder = tmp_path_factory.mktemp("learned")
    return whole_run(small_config(folder), out=folder / "out", lm=ending_lm())


def test_a_training_is_shared_stored_and_found(small: Run, tmp_path: Path) -> None:
    jobs, access, settings = Jobs(), AppSettings(out=tmp_path), VariantSettings(5.0)
    first = heal.start_training(small, settings, access, lm=ending_lm(), jobs=jobs)
    assert heal.start_training(small, settings, access, lm=ending_lm(), jobs=jobs) is first
    assert first.wait(100).state == "done", first.view().message
    assert find_variant(small, settings) is not None
    assert heal.start_training(small, settings, access, lm=ending_lm(), jobs=jobs) is first, "stored: nothing starts"
    jobs.close()


def test_a_cancelled_training_stores_nothing(small: Run, tmp_path: Path) -> None:
    jobs, access, settings = Jobs(), AppSettings(out=tmp_path), VariantSettings(6.0)
    heal.start_training(small, settings, access, lm=ending_lm(), jobs=jobs)
    heal.cancel_training(small, settings, access, jobs=jobs)
    job = jobs.get(heal.job_key(small, settings))
    assert job is not None and job.wait(100).state == "cancelled"
    assert find_variant(small, settings) is None
    jobs.close()


def test_a_shared_app_neither_trains_nor_cancels(small: Run) -> None:
    jobs, shared = Jobs(), AppSettings(shared=True)
    for act in (heal.start_training, heal.cancel_training):
        with pytest.raises(UserError, match="--allow-write"):
            act(small, VariantSettings(7.0), shared, jobs=jobs)
    assert not jobs.active()


def test_a_full_queue_says_so(small: Run, tmp_path: Path) -> None:
    jobs, access = Jobs(), AppSettings(out=tmp_path, max_jobs=1)
    jobs.start("other", "another training", lambda tell, cancel: (cancel.wait(100), None)[1])
    time.sleep(0.05)
    with pytest.raises(UserError, match="this app takes 1"):
        heal.start_training(small, VariantSettings(8.0), access, lm=ending_lm(), jobs=jobs)
    jobs.close()


def test_the_example_and_a_viewers_copy_of_it_share_their_jobs(tmp_path: Path) -> None:
    run = open_run(EXAMPLE)
    copy = heal.home_of(run, tmp_path, create=True)
    assert copy.path != run.path and heal.job_key(copy, VariantSettings(10.0)) == heal.job_key(
        run, VariantSettings(10.0)
    )
    assert [variant.settings for variant in variants_of(copy)] == [variant.settings for variant in variants_of(run)], (
        "the copy has the variants too"
    )
