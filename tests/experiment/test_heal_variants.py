"""Steps of the beta slider: keyed by what decides them, stored whole or not at all, read back as they were made."""

from __future__ import annotations

import dataclasses
import math
import os
import shutil
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from polars.testing import assert_frame_equal

import ws
from tests.builders.records import record_changes
from tests.builders.small_runs import ending_lm, small_config
from ws.errors import Cancelled, UserError
from ws.evaluation.comparison import coh_cost
from ws.experiment import train_variant
from ws.experiment.loop import run
from ws.experiment.train_variant import make_variant, make_variants
from ws.gating.schemas import ARMS, DRIFT
from ws.runs import heal_variants, reader
from ws.runs.arms import reports_of
from ws.runs.heal_variants import VariantSettings, estimate, find_variant, variant_gate, variant_key, variants_of
from ws.runs.whole import read_status

FILES = {"adapter", "heal.parquet", "heal.json", "healed.parquet", "drift.parquet", "arms.parquet"}


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> reader.Run:
    """One run at stub size, to be copied by tests that write."""
    folder = tmp_path_factory.mktemp("stops")
    return run(small_config(folder), out=folder / "out", lm=ending_lm())


@pytest.fixture
def mine(whole: reader.Run, tmp_path: Path) -> reader.Run:
    shutil.copytree(whole.path, tmp_path / "runs" / whole.path.name)
    return reader.open_run(tmp_path / "runs" / whole.path.name)


def test_the_runs_own_heal_is_a_stop(whole: reader.Run) -> None:
    own = find_variant(whole, VariantSettings(0.2))
    assert own is not None and own.own
    assert_frame_equal(own.curve, whole.frame("heal"))
    assert own.arm.columns == list(ARMS) and own.arm["arm"].to_list() == ["healed"]
    assert_frame_equal(own.arm, whole.arms().filter(pl.col("arm") == "healed"))
    assert own.adapter.digest == whole.get("adapter").digest
    assert own.text.height and "text" in own.text.columns
    assert variants_of(whole) == [own]
    assert find_variant(whole, VariantSettings(1.0)) is None
    assert make_variants(whole, [0.2], ending_lm()) == [own], "nothing is trained for what is there"


def test_a_variant_goes_through_its_folder_and_is_found_again(mine: reader.Run) -> None:
    rows: list[dict[str, Any]] = []
    made = make_variant(mine, VariantSettings(3.0), ending_lm(), tell=rows.append)
    assert made.path.parent == mine.path / "rounds/0/stops"
    assert {p.name for p in made.path.iterdir()} == FILES
    assert [row["phase"] for row in rows if "phase" in row] == list(train_variant.PHASES)
    assert [row["step"] for row in rows if "step" in row] == made.curve["step"].to_list()
    assert made.arm.columns == list(ARMS) and made.drift.schema == pl.Schema(DRIFT)
    assert made.facts["beta"] == 3.0 and made.settings == VariantSettings(3.0) and len(made.cost) == 3
    heal_variants._read.cache_clear()
    again = find_variant(mine, VariantSettings(3.0))
    assert again is not None and again is not made
    for name in ("curve", "arm", "drift", "text"):
        assert_frame_equal(getattr(again, name), getattr(made, name))
    assert [variant.settings.beta for variant in variants_of(mine)] == [0.2, 3.0]
    assert list(estimate(mine)) == list(train_variant.PHASES)
    assert all(seconds > 0 for seconds in estimate(mine).values())
    before = rows.copy()
    make_variant(mine, VariantSettings(3.0), ending_lm(), tell=rows.append)
    assert rows == before, "a stored variant is not trained again"


def test_a_variant_is_what_a_run_of_that_beta_would_be(mine: reader.Run, tmp_path: Path) -> None:
    config = dataclasses.replace(mine.config, heal=dataclasses.replace(mine.config.heal, beta=2.0))
    direct = run(config, out=tmp_path / "direct", lm=ending_lm())
    made = make_variant(mine, VariantSettings(2.0), ending_lm())
    assert made.adapter.digest == direct.get("adapter").digest
    assert_frame_equal(made.arm, direct.arms().filter(pl.col("arm") == "healed"))
    assert_frame_equal(made.drift, direct.frame("drift"))
    wanted = next(gate for gate in ws.judge(direct) if gate.gate == 3)
    assert variant_gate(mine, made).outcome == wanted.outcome


def test_beta_matters_and_so_does_the_threshold(mine: reader.Run) -> None:
    keys = {
        variant_key(mine, VariantSettings(beta, tail_ppl))
        for beta, tail_ppl in ((0.0, None), (1.0, None), (1.0, 50.0), (1.0, 60.0))
    }
    assert len(keys) == 4
    assert variant_key(mine, VariantSettings(1.0)) == variant_key(mine, VariantSettings(1.0, mine.threshold()[1]))
    stages = read_status(mine.path)["stages"]
    record_changes(mine.path, stages=stages | {"0/data": stages["0/data"] | {"key": "another"}})
    assert variant_key(reader.open_run(mine.path), VariantSettings(1.0)) not in keys, "other data, another variant"


@pytest.mark.parametrize(
    "settings",
    [
        VariantSettings(-1.0),
        VariantSettings(float("nan")),
        VariantSettings(float("inf")),
        VariantSettings(1.0, 0.0),
        VariantSettings(1.0, float("nan")),
    ],
)
def test_hostile_settings_are_refused(whole: reader.Run, settings: VariantSettings) -> None:
    with pytest.raises(UserError, match="finite beta"):
        make_variant(whole, settings, ending_lm())


def test_starvation_is_the_users_and_stores_nothing(mine: reader.Run) -> None:
    with pytest.raises(UserError, match="completions pass"):
        make_variant(mine, VariantSettings(1.0, 1e-9), ending_lm())
    assert not list(mine.path.glob("rounds/0/stops/*/*"))


def test_cancel_leaves_nothing(mine: reader.Run) -> None:
    for when in ({"step": 0}, {"phase": "report"}, {"phase": "drift"}):
        cancel = threading.Event()

        def tell(row: dict[str, Any], when: dict[str, Any] = when, cancel: threading.Event = cancel) -> None:
            if when.items() <= row.items():
                cancel.set()

        with pytest.raises(Cancelled):
            make_variant(mine, VariantSettings(1.0), ending_lm(), tell=tell, cancel=cancel)
    assert find_variant(mine, VariantSettings(1.0)) is None
    assert not list(mine.path.rglob(".tmp-*"))


def test_interrupted_at_any_file_nothing_half_is_left(mine: reader.Run, monkeypatch: pytest.MonkeyPatch) -> None:
    real_save, real_compute, once = train_variant.save, train_variant._compute, []

    def compute(*args: Any) -> dict[str, Any]:
        once.append(once[0] if once else real_compute(*args))
        return dict(once[0]) | {"heal.json": dict(once[0]["heal.json"])}

    monkeypatch.setattr(train_variant, "_compute", compute)
    for at in sorted(FILES):

        def save(path: Path, value: Any, at: str = at) -> None:
            real_save(path, value)
            if path.name == at:
                raise KeyboardInterrupt

        monkeypatch.setattr(train_variant, "save", save)
        with pytest.raises(KeyboardInterrupt):
            make_variant(mine, VariantSettings(1.0), ending_lm())
        assert find_variant(mine, VariantSettings(1.0)) is None
        assert not list(mine.path.glob("rounds/0/stops/*"))
    monkeypatch.setattr(train_variant, "save", real_save)
    assert make_variant(mine, VariantSettings(1.0), ending_lm()).settings == VariantSettings(1.0)


def test_a_process_killed_while_it_stores_leaves_nothing_half(mine: reader.Run) -> None:
    code = (
        "import os, sys; from tests.builders.small_runs import ending_lm\n"
        "from ws.experiment import train_variant; from ws.runs.reader import open_run\n"
        "from ws.runs.heal_variants import VariantSettings\n"
        "real = train_variant.save\n"
        "def save(path, value):\n"
        "    if path.name == 'drift.parquet': os.kill(os.getpid(), 9)\n"
        "    real(path, value)\n"
        "train_variant.save = save\n"
        "train_variant.make_variant(open_run(sys.argv[1]), VariantSettings(1.0), ending_lm())\n"
    )
    root = Path(__file__).parents[2]
    env = os.environ | {"PYTHONPATH": os.pathsep.join([str(root / "src"), str(root)])}
    done = subprocess.run([sys.executable, "-c", code, str(mine.path)], env=env, capture_output=True, check=False)
    assert done.returncode == -9, done.stderr.decode()
    assert find_variant(mine, VariantSettings(1.0)) is None and len(variants_of(mine)) == 1
    made = make_variant(mine, VariantSettings(1.0), ending_lm())
    assert {p.name for p in made.path.parent.iterdir()} == {made.path.name}, "what the killed writer left is gone"


def test_a_run_without_a_heal_says_so(mine: reader.Run) -> None:
    (mine.path / "rounds/0/heal.json").unlink()
    record_changes(mine.path)
    with pytest.raises(UserError, match="no heal"):
        find_variant(reader.open_run(mine.path), VariantSettings(1.0))


def test_the_cost_of_a_shift_has_an_interval(whole: reader.Run) -> None:
    reports = {arm.arm: arm.report for arm in reports_of(whole.frame("eval"))}
    cost = coh_cost(reports["base"], reports["healed"])
    shift = whole.arms().filter(pl.col("arm") == "healed")["d_target"][0]
    if abs(shift) < 0.05:
        assert math.isnan(cost.value)
    else:
        assert cost.low <= cost.value <= cost.high
    assert math.isnan(coh_cost(reports["base"], reports["base"]).value), "no shift, no ratio"
