"""What cannot run is refused where it is written, or before the model is loaded; nothing is left under out/."""

from __future__ import annotations

import dataclasses
import json
import math
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.builders.small_runs import ending_lm, small_config, write_axis
from ws.app import doctor
from ws.app.cli import main
from ws.errors import UserError
from ws.experiment import loop
from ws.experiment.inputs import axis_of
from ws.experiment.loop import run
from ws.healing.config import HealConfig
from ws.models import lm
from ws.runs.config import DataConfig, DoseConfig, EvalConfig, RunConfig, from_dict, to_dict
from ws.runs.recipes import mini_quick

ROOT = Path(__file__).parents[2]


@pytest.fixture
def unloaded(monkeypatch: pytest.MonkeyPatch) -> None:
    """Loading a model fails the test."""

    def loaded(*_: Any, **__: Any) -> None:
        pytest.fail("the model was loaded")

    # the doctor is imported above: read first in here, it would keep this loader for every later test
    for module, name in ((lm, "load_model"), (loop, "load_configured"), (doctor, "load_model")):
        monkeypatch.setattr(module, name, loaded)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"method": "nope"}, r"no steering method 'nope'.*mean_diff"),
        ({"method": "mean_dif"}, r"Did you mean 'mean_diff'"),
        ({"axis": "care_over_autority"}, r"Did you mean 'care_over_authority'"),
        ({"axis": "nowhere"}, r"no shipped axis is called 'nowhere'.*Shipped"),
        ({"contrast": "pairs"}, r"contrast 'pairs' is unknown.*Did you mean 'pair'"),
        ({"quantize": "8bit"}, r"quantize '8bit' is unknown"),
        ({"dtype": "int3"}, r"dtype 'int3' is unknown.*bf16"),
        ({"device": "gpu"}, r"no kind of device 'gpu'"),
        ({"device": "cuda:x"}, r"no kind of device"),
        ({"layers": ()}, r"layers must name each block once"),
        ({"layers": (-1,)}, r"layers must name each block once.*-1"),
        ({"layers": (1, 1)}, r"layers must name each block once"),
        ({"layers": (0.5,)}, r"layers must name each block once"),
        ({"seeds": (-1,)}, r"seeds must be whole.*-1"),
        ({"seeds": (0, 2**63 + 1)}, r"seeds must be whole"),
        ({"seeds": (math.nan,)}, r"seeds must be whole"),
        ({"heal": HealConfig(seed=-1)}, r"heal\.seed must be whole"),
        ({"evaluation": EvalConfig(items="classic")}, r"no item set is called 'classic'"),
        ({"evaluation": EvalConfig(items="standart")}, r"Did you mean 'standard'"),
    ],
)
def test_a_run_of_what_there_is_not_cannot_be_written_down(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        RunConfig(**changes)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: DataConfig(tail_ppl=0.0), r"data\.tail_ppl must be above 0 \(got 0\.0\)"),
        (lambda: DataConfig(tail_ppl=-3.0), "tail_ppl"),
        (lambda: DataConfig(worst_ppl=0.0), r"data\.worst_ppl must be above 0"),
        (lambda: DataConfig(loop=0.0), r"data\.loop must be finite and above 0"),
        (lambda: DataConfig(tail_ppl=math.nan), "tail_ppl"),
        (lambda: DataConfig(doses=()), r"data\.doses is empty"),
        (lambda: DataConfig(doses=(0.5, math.nan)), r"data\.doses must be finite"),
        (lambda: DataConfig(doses=(0.5, 0.5)), r"data\.doses repeat"),
        (lambda: DataConfig(prompts=0), r"data\.prompts must be at least 1"),
        (lambda: DataConfig(rep=math.nan), r"data\.rep"),
        (lambda: DoseConfig(grid=(math.nan,)), r"dose\.grid must be finite"),
        (lambda: DoseConfig(coherence=math.nan), r"dose\.coherence"),
        (lambda: DoseConfig(per_foundation=0), r"dose\.per_foundation"),
        (lambda: EvalConfig(per_foundation=0), r"evaluation\.per_foundation"),
        (lambda: EvalConfig(think_samples=-1), r"evaluation\.think_samples"),
    ],
)
def test_values_out_of_their_range_cannot_be_written_down(make: Callable[[], Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        make()


OTHERS = RunConfig(method="pca", layers=(3, 1), device="cuda:1", dtype="bf16", seeds=(2**50 - 1,))


@pytest.mark.parametrize("config", [mini_quick(), OTHERS])
def test_what_is_right_is_taken_and_read_back(config: RunConfig) -> None:
    assert from_dict(json.loads(json.dumps(to_dict(config)))) == config


def test_paths_are_not_looked_at_where_a_run_is_written_down_or_opened() -> None:
    moved = RunConfig(axis="gone/own.toml", evaluation=EvalConfig(items="gone/items.jsonl"))
    assert from_dict(to_dict(moved)) == moved


def test_a_stored_run_of_names_that_are_gone_opens_and_does_not_run(tmp_path: Path, unloaded: None) -> None:
    gone = {"axis": "an_axis_of_before", "method": "a_method_of_before", "seeds": [-1]}
    stored = from_dict(to_dict(mini_quick()) | gone)
    assert (stored.axis, stored.method) == ("an_axis_of_before", "a_method_of_before")
    with pytest.raises(UserError, match="an_axis_of_before"):
        run(stored, out=tmp_path / "out")
    with pytest.raises(UserError, match="an_axis_of_before"):
        dataclasses.replace(stored, rounds=2)
    with pytest.raises(UserError, match="nope"):
        RunConfig(method="nope")  # reading a stored one leaves the checks on
    assert not (tmp_path / "out").exists()


def test_a_stored_run_with_values_that_are_refused_today_opens() -> None:
    plain = to_dict(mini_quick())
    plain["data"] |= {"doses": [1.0, 1.0], "prompts": 0, "tail_ppl": 0.0}
    plain["evaluation"] |= {"per_foundation": 0, "readings": ["a_reading_of_before"]}
    stored = from_dict(plain)
    assert stored.data.doses == (1.0, 1.0) and stored.evaluation.readings == ("a_reading_of_before",)
    for part in (stored.data, stored.evaluation):
        with pytest.raises(UserError):
            dataclasses.replace(part)  # asked for anew, it is looked at


def broken(path: Path, text: str) -> None:
    path.write_text(text)


BROKEN: dict[str, tuple[Callable[[Path], Any], dict[str, Any], str]] = {
    "axis gone": (lambda at: (at / "tiny.toml").unlink(), {}, "no such axis file"),
    "axis no TOML": (lambda at: broken(at / "tiny.toml", "name = "), {}, "cannot be read as TOML"),
    "axis without a pole": (lambda at: write_axis(at, negative="[]"), {}, "negative"),
    "axis for others": (lambda _: None, {"axis": "warmth", "model": "mini"}, "warmth' is written for any"),
    "items gone": (lambda at: (at / "items.jsonl").unlink(), {}, "no such item file"),
    "items no JSON": (lambda at: broken(at / "items.jsonl", "{"), {}, "line 1 is no JSON"),
    "too few rows": (lambda _: None, {"heal": HealConfig(min_rows=17), "data": DataConfig(samples=1, doses=(0.5, 1.0))},
                     r"8 train prompts x 2 doses x 1 samples are 16 completions.*needs 17"),
}  # fmt: skip


@pytest.mark.parametrize("name", BROKEN)
def test_files_are_read_before_the_model_is(name: str, tmp_path: Path, unloaded: None) -> None:
    spoil, changes, message = BROKEN[name]
    config = small_config(tmp_path, **changes)
    spoil(tmp_path)
    began = time.monotonic()
    with pytest.raises(UserError, match=message):
        run(config, out=tmp_path / "out")
    assert time.monotonic() - began < 2
    assert not (tmp_path / "out").exists()


def test_blocks_that_the_model_lacks_are_refused_before_anything_is_written(tmp_path: Path) -> None:
    config = small_config(tmp_path, layers=(1, 4))
    with pytest.raises(UserError, match=r"cannot read blocks \[1, 4\].*0 to 3"):
        run(config, out=tmp_path / "out", lm=ending_lm())
    assert not (tmp_path / "out").exists()


def test_a_device_that_is_not_here_is_refused_before_anything_is_written(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="there is no device"):
        run(RunConfig(device="cuda:99"), out=tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("args", "expected"),
    [
        (["run", "--method", "nope"], "no steering method"),
        (["run", "--axis", "gone/own.toml"], "no such axis file"),
        (["run", "--evaluation.items", "gone/items.jsonl"], "no such item file"),
        (["run", "--seeds", "-1"], "seeds"),
        (["doctor", "--axis", "nowhere"], "no shipped axis"),
        (["doctor", "--items", "classic"], "no item set"),
        (["steer", "hi", "--axis", "nowhere"], "no shipped axis"),
    ],
)
def test_the_command_line_says_so_before_it_loads(
    args: list[str], expected: str, tmp_path: Path, unloaded: None, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    assert main(args) == 2
    assert expected in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_a_run_that_cannot_be_is_refused_without_torch(tmp_path: Path) -> None:
    code = (
        "import sys; from ws.app.cli import main; code = main(['run', '--axis', 'gone/own.toml']);"
        "sys.exit(code if 'torch' not in sys.modules else 9)"
    )
    path = {"PYTHONPATH": str(ROOT / "src")}
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, check=False, env=path)
    assert done.returncode == 2 and not list(tmp_path.iterdir())


def test_the_axis_of_a_run_is_in_its_models_words(tmp_path: Path) -> None:
    assert axis_of(mini_quick()).models == ("mini",)
    assert axis_of(dataclasses.replace(mini_quick(), model="some/model")).models == ("any",)
    assert axis_of(small_config(tmp_path)).name == "tiny"
