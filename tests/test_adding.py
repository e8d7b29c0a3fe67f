"""How to add a part (docs/architecture.md): each is written here as a reader would, its file into a folder of the
package or its entry into its table, and then stands in the command line, in a run and in the app.

One run of stub size has them all.
"""

from __future__ import annotations

import dataclasses
import importlib.util
import shutil
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import polars as pl
import pytest

import ws
import ws.evaluation.readings
import ws.models.adapters.families
import ws.reporting.charts
import ws.steering.methods
from tests.builders.added_parts import BREVITY, COST, HALVED, LOHA, NOTEBOOK, added
from tests.builders.small_runs import small_config, write_axis
from tests.builders.tiny_models import tiny_model, tiny_tokenizer
from ws.app import views
from ws.app.access import AppSettings
from ws.app.cli import main
from ws.app.views.run_picker import comparable_runs
from ws.axes import axis as axes
from ws.errors import UserError
from ws.evaluation.readings import STANDING
from ws.experiment import controls
from ws.experiment.rounds import Round
from ws.files import digest
from ws.gating import arm_table
from ws.gating.arm_table import ArmKind
from ws.healing.config import HealConfig
from ws.healing.divergences import BARRIERS
from ws.models.adapters.adapter import Adapter
from ws.models.adapters.families import FAMILIES
from ws.models.recipe import RECIPES, HealDefaults, ModelRecipe
from ws.reporting.charts import pareto_chart
from ws.reporting.charts.compiled import CompiledChart
from ws.reporting.leaderboard import arms_table, points_frame
from ws.runs.reader import Run
from ws.runs.stages import VERSIONS

RECIPE = ModelRecipe(title="the next model", package="ws", dtype="float32", think=(0,),
                     heal=HealDefaults(rank=5, depth=(0.0, 1.0)), run_settings=(("batch_size", 7),))  # fmt: skip
HUSH = ArmKind("hush", "told to whisper", "told to whisper", prompted=True)


def doubled(student: Any, reference: Any) -> Any:
    """A barrier: 2 KL(reference || student)."""
    return 2 * (reference.exp() * (reference - student)).sum(-1)


def hushed(scene: Any) -> dict[str, Any]:
    """A control: another system prompt."""
    return {"persona": "You whisper.", "adapters": scene.history}


def place_files(folder: Path, stack: ExitStack) -> None:
    """The parts that are a file: method, family, reading, chart, and an axis beside the shipped ones."""
    parts = {
        "halved": (ws.steering.methods, HALVED), "loha": (ws.models.adapters.families, LOHA),
        "brevity": (ws.evaluation.readings, BREVITY), "cost": (ws.reporting.charts, COST),
    }  # fmt: skip
    for name, (package, text) in parts.items():
        (folder / name).mkdir()
        stack.enter_context(added(package, name, text, folder / name))
    shutil.copytree(axes.DATA / "axes", folder / "data/axes")
    write_axis(folder, name='"kindness"').rename(folder / "data/axes/kindness.toml")


def enter_tables(folder: Path, patch: pytest.MonkeyPatch) -> None:
    """The parts that are an entry: barrier, control, model; and where the package's axes lie."""
    weights = folder / "weights"
    tiny_model("qwen3", max_position_embeddings=1024).save_pretrained(weights)
    tiny_tokenizer().save_pretrained(weights)
    patch.setitem(RECIPES, "next", dataclasses.replace(RECIPE, folder=str(weights)))
    patch.setitem(BARRIERS, "doubled", doubled)
    patch.setitem(controls.UNSTEERED, "hush", hushed)
    patch.setattr(arm_table, "TABLE", (*arm_table.TABLE, HUSH))
    patch.setattr(axes, "DATA", folder / "data")


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Run]:
    """The run that has every part; they stay while this module is tested."""
    folder = tmp_path_factory.mktemp("added")
    with ExitStack() as stack, pytest.MonkeyPatch.context() as patch:
        place_files(folder, stack)
        enter_tables(folder, patch)
        config = small_config(folder)
        heal = dataclasses.replace(config.heal, adapter="loha", barrier="doubled", beta=1.0, tau=0.0, lr=0.05)
        config = dataclasses.replace(
            config, axis="kindness", model="next", device="cpu", method="halved",
            heal=heal,
            evaluation=dataclasses.replace(config.evaluation, readings=(*STANDING, "brevity")),
        )  # fmt: skip
        yield ws.run(config, out=folder / "out")
    axes._shipped.cache_clear()


@pytest.fixture
def page(run: Run) -> views.Page:
    """The app's page of the run's settings, which finds the run among those stored."""
    subject, seed, access = views.subject_of(run), run.config.seeds[0], AppSettings("next", out=run.path.parents[1])
    return views.Page(access, subject, seed, views.run_for(subject, seed, access.out))


@pytest.fixture
def compared(run: Run) -> pl.DataFrame:
    """What the page of all runs is drawn from."""
    runs, said = comparable_runs(run.path.parents[1])
    assert not said
    return points_frame(list(runs.values()))


@pytest.fixture
def shown(run: Run, capsys: pytest.CaptureFixture[str]) -> str:
    """What `ws show` prints of the run."""
    assert main(["show", str(run.path)]) == 0
    return capsys.readouterr().out


@pytest.fixture
def choices(run: Run, capsys: pytest.CaptureFixture[str]) -> str:
    """The help of `ws run`, without frames and white space."""
    assert main(["run", "--model", "next", "--help"]) == 0
    return "".join(capsys.readouterr().out.replace("│", "").split())


@pytest.fixture
def journal(run: Run, monkeypatch: pytest.MonkeyPatch) -> str:
    """The page that the app's button writes about the run."""
    out = run.path.parents[1]
    monkeypatch.chdir(out)
    said, kind = views.write_page(run, AppSettings(out=out))
    assert kind == "success", said
    return next((out / "journal").glob("*.html")).read_text(encoding="utf-8")


def refused(capsys: pytest.CaptureFixture[str], *options: str) -> str:
    """What `ws run` says to options that cannot be."""
    assert main(["run", *options]) == 2
    return capsys.readouterr().err


def test_the_run_ends_and_the_app_opens_it(run: Run, page: views.Page) -> None:
    assert run.finished and page.run == run and page.response(1.0) is not None


def test_a_method_is_a_file(run: Run, capsys: pytest.CaptureFixture[str], compared: pl.DataFrame) -> None:
    assert "s_space, random, halved." in refused(capsys, "--method", "nope")
    assert "gone.toml" in refused(capsys, "--method", "halved", "--axis", "gone.toml"), "the method itself is taken"
    assert run.get("direction.safetensors").method == "halved"
    assert views.method_names()[0] == "mean_diff" and views.method_names()[-1] == "halved"
    assert views.unit_of("halved") == "multiples" and set(compared["method"]) == {"halved"}


def test_a_family_is_a_file(run: Run, choices: str, page: views.Page, compared: pl.DataFrame) -> None:
    names = ["lora", "dora", "pissa", "delora", "oft", "boft", "ia3", "loha"]
    assert list(FAMILIES) == names and len(FAMILIES) == len(names)
    assert f"{{{','.join(names)}}}" in choices
    adapter = Adapter.load(run.path / "rounds/0/adapter")
    assert adapter.config.peft_type == "LOHA" and adapter.curve["update_norm"][-1] > 0
    assert "loha r5" in compared["adapter"].to_list() and page.training(1.0).curve() is not None


def test_a_family_that_is_not_there_or_lacks_its_part_says_so(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"heal\.adapter 'vera' is unknown"):
        HealConfig(adapter="vera")
    with added(ws.models.adapters.families, "bare", "", tmp_path), pytest.raises(UserError, match="no FAMILY"):
        FAMILIES["bare"]


def test_a_barrier_is_a_function_and_its_entry(
    run: Run, choices: str, page: views.Page, compared: pl.DataFrame
) -> None:
    assert "{kl_rev,kl_fwd,nll,doubled}" in choices
    assert run.get("heal.json")["meta"]["config"]["barrier"] == "doubled" and run.frame("heal")["D"].max() > 0
    assert compared["barrier"].str.contains("doubled rmse").any() and page.training(1.0).gates


def test_an_axis_is_a_file_of_the_package_or_of_ones_own(
    run: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str], page: views.Page
) -> None:
    assert "kindness" in refused(capsys, "--axis", "nowhere").partition("Shipped: ")[2]
    for axis in ("kindness", str(write_axis(tmp_path))):
        said = refused(capsys, "--model", "next", "--axis", axis, "--evaluation.items", "gone/items.jsonl")
        assert "gone/items.jsonl" in said, "the axis itself is taken"
    assert run.axis["name"] == "kindness" and "kindness" in views.axis_names("next")
    assert "axis kindness" in views.about(page.run, page.subject)


def test_a_reading_is_a_file(run: Run, choices: str, page: views.Page, shown: str, journal: str) -> None:
    assert "[{exam,dilemmas,brevity,choices}" in choices
    assert dict(run.arms().select("arm", "brevity").rows())["healed"] == 0.5
    assert "brevity: base 1.00 [0.90, 1.10]" in shown
    assert any("brevity 1.00" in check[3] for gate in page.steer_gates for check in gate.checks)
    assert "brevity" in journal


def test_a_chart_is_a_file_and_the_notebook_that_shows_it(run: Run, tmp_path: Path) -> None:
    notebook = tmp_path / "notebook.py"
    notebook.write_text(NOTEBOOK, encoding="utf-8")
    spec = importlib.util.spec_from_file_location("notebook_of_cost", notebook)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    outputs, _ = module.app.run(defs={"run": run})
    pictures = [output for output in outputs if isinstance(output, CompiledChart)]
    assert len(pictures) == 1 and '"coherence"' in pictures[0].spec


def test_charts_are_handed_out_by_name() -> None:
    charts = ws.reporting.charts
    assert all(callable(getattr(charts, name)) for name in charts.__all__)
    for name in ("gone_chart", "style_chart", "rounds_frame"):
        assert not hasattr(charts, name)


def test_a_control_is_a_line_of_each_table(run: Run, shown: str, journal: str, compared: pl.DataFrame) -> None:
    arm = run.arms().filter(arm="hush")
    assert arm.height == 1 and arm["coherence"][0] is not None and arm["brevity"][0] == 0.5
    assert "told to whisper" in shown and "told to whisper" in journal
    mine = arms_table(compared).filter(kind="told to whisper")
    assert mine["label"].to_list() == ["told to whisper · halved"] and mine["adapter"][0] == "-"
    assert "told to whisper" in pareto_chart(compared).to_json()


def test_a_run_without_the_control_is_not_taken_for_one_with_it(run: Run) -> None:
    parts = ("fingerprint", "axis", "items", "device", "dtype", "threads", "chat")
    how = Round.reading.fget(SimpleNamespace(config=run.config))  # type: ignore[attr-defined]
    parts += tuple(name for name in ("sampling", "capability", "instrument") if name in run.env)
    identity, settings = {name: run.env[name] for name in parts}, [how, run.config.controls.engineered]
    inputs = [[identity, [*settings, *further], [], []] for further in (["hush"], [])]
    with_it, without = (digest(["unsteered", VERSIONS["unsteered"], each]) for each in inputs)
    assert run.status["stages"]["0/unsteered"]["key"] == with_it != without


def test_a_model_is_an_entry(run: Run, choices: str, page: views.Page) -> None:
    assert "7)" in choices.partition("--batch-size")[2][:200], "its own run differs in this from the recipe"
    assert run.get("heal.json")["meta"]["config"]["rank"] == 5
    assert views.opened(None, run.path.parents[1], "next") == run and page.subject.recipe == RECIPES["next"]
