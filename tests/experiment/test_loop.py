"""The whole experiment at stub size: stages stored and found again, killed anywhere, starved, cancelled, in rounds."""

from __future__ import annotations

import dataclasses
import errno
import io
import json
import os
import shutil
import subprocess
import sys
import threading
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import polars as pl
import pytest
import torch
from polars.testing import assert_frame_equal
from rich.console import Console

import ws
from tests.builders.records import record_changes
from tests.builders.small_runs import bare_config, ending_lm, small_config, write_axis
from ws import files as storing
from ws.app import cli
from ws.axes.axis import load_axis
from ws.errors import Cancelled, UserError
from ws.experiment import loop, rounds
from ws.experiment.controls import engineered_prompt, plain_rows, same_kl
from ws.experiment.loop import run
from ws.experiment.pipeline import spread_rows
from ws.experiment.progress import Event
from ws.experiment.rounds import evenly
from ws.gating.foundations import FOUNDATIONS
from ws.gating.schemas import ARMS
from ws.models.architecture import fingerprint_of
from ws.reporting.terminal import print_run
from ws.runs import reader, writer
from ws.runs.config import ControlConfig, RunConfig
from ws.runs.four_arms import FOUR, four_arms
from ws.runs.ledger import read_results
from ws.runs.round_tables import rounds_frame
from ws.steering.direction import Direction

LAST_FILES = (
    "direction.safetensors", "knee.json", "unsteered.parquet", "steer.parquet", "random.parquet", "completions.parquet",
    "heal.json", "sft_base.parquet", "sft.parquet", "healed.parquet", "drift.parquet", "arms.parquet", "gates.json",
)  # fmt: skip


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("loop")


@pytest.fixture(scope="module")
def config(folder: Path) -> RunConfig:
    return small_config(folder)


@pytest.fixture(scope="module")
def whole(folder: Path, config: RunConfig) -> reader.Run:
    """One uninterrupted run, shared by the tests that only read."""
    return run(config, out=folder / "out", lm=ending_lm())


def numbers(done: reader.Run) -> dict[str, Any]:
    """Everything final but the clock and the place."""
    return {k: v for k, v in done.summary.items() if k not in ("run", "seconds")}


def test_a_run_leaves_the_folder_of_the_contract(whole: reader.Run, folder: Path) -> None:
    inside = {str(p.relative_to(whole.path)) for p in whole.path.rglob("*")}
    files = ("direction.safetensors", "completions.parquet", "adapter", "heal.parquet", "eval.parquet", "gates.json")
    assert {"config.json", "env.json", "status.json", *[f"rounds/0/{name}" for name in files]} <= inside
    assert whole.finished
    assert whole.frame("arms").columns == list(ARMS)
    controls = {"persona", "persona_engineered", "anti_persona", "random", "sft", "sft_base"}
    assert set(whole.frame("arms")["arm"]) == {"base", "steer", "healed"} | controls
    assert read_results(folder / "out").height == 1
    assert {"versions", "threads", "commit", "argv", "device", "dtype", "fingerprint"} <= set(whole.env)


def test_the_summary_is_the_contracts(whole: reader.Run) -> None:
    summary = json.loads(json.dumps(whole.summary, allow_nan=False))
    assert {"run", "seconds", "seeds", "rounds", "steer", "heal", "gates"} <= set(summary)
    entry = summary["rounds"][0]
    assert set(entry["steer"]) == {"c", "d_target", "low", "high", "coherence", "p_ans_any", "coh_text"}
    assert {"beta", "d_target", "retain", "d_coh", "coherence"} <= set(entry["heal"])
    assert entry["filter"]["kept"] == 8
    assert [gate["gate"] for gate in entry["gates"]] == [0, 1, 2, 3]
    assert summary["steer"] == entry["steer"]
    assert summary["gates"] == entry["gates"]


def test_judge_recomputes_what_was_stored(whole: reader.Run) -> None:
    assert ws.judge(whole) == whole.gates()
    whole.note(1, "reads like noise")
    assert whole.gates()[1].note == "reads like noise"
    assert ws.judge(whole)[1].note == "reads like noise"


def test_the_same_call_returns_a_finished_run(whole: reader.Run, config: RunConfig, folder: Path) -> None:
    computed: list[str] = []
    again = run(config, lambda e: computed.append(e.stage), out=folder / "out", lm=ending_lm())
    assert again.path == whole.path
    assert numbers(again) == numbers(whole)
    assert read_results(folder / "out").height == 1


def test_killed_in_every_stage_it_ends_with_the_same_numbers(
    whole: reader.Run, config: RunConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, stopped = writer.save, []

    def save(path: Path, value: Any) -> None:
        """Stop in front of the last file of a stage, once for each: its first files are written, its record is not."""
        if path.name in LAST_FILES and path.name not in stopped:
            stopped.append(path.name)
            raise KeyboardInterrupt
        real(path, value)

    monkeypatch.setattr(writer, "save", save)
    for _ in LAST_FILES:
        with pytest.raises(KeyboardInterrupt):
            run(config, out=tmp_path, lm=ending_lm())
        assert reader.open_run(reader.newest_run(tmp_path)).status["state"] == "interrupted"
    done = run(config, out=tmp_path, lm=ending_lm())
    assert stopped == list(LAST_FILES)
    assert len(list((tmp_path / "runs").glob("2*"))) == 1
    assert numbers(done) == numbers(whole)
    for name in ("grid", "arms", "completions"):
        assert_frame_equal(done.frame(name), whole.frame(name))
    assert_frame_equal(done.frame("heal").drop("seconds"), whole.frame("heal").drop("seconds"))


def test_a_process_killed_dead_is_resumed_by_another(whole: reader.Run, config: RunConfig, tmp_path: Path) -> None:
    code = (
        "import os, sys; from pathlib import Path; from tests.builders.small_runs import *\n"
        "from ws.runs import writer as recording; from ws.experiment.loop import run\n"
        "real = recording.save\n"
        "def save(path, value):\n"
        "    if path.name == 'heal.json': os.kill(os.getpid(), 9)\n"
        "    real(path, value)\n"
        "recording.save = save\n"
        "run(small_config(Path(sys.argv[1])), out=Path(sys.argv[2]), lm=ending_lm())\n"
    )
    root = Path(__file__).parents[2]
    path = os.pathsep.join([str(root / "src"), str(root)])
    command = [sys.executable, "-c", code, str(Path(config.axis).parent), str(tmp_path)]
    done = subprocess.run(command, env=os.environ | {"PYTHONPATH": path}, capture_output=True, check=False)
    assert done.returncode == -9, done.stderr.decode()
    assert reader.open_run(reader.newest_run(tmp_path)).status["state"] == "running"
    assert numbers(run(config, out=tmp_path, lm=ending_lm())) == numbers(whole)


def test_a_truncated_file_is_recomputed_to_the_same_numbers(whole: reader.Run, config: RunConfig, folder: Path) -> None:
    before, said = numbers(whole), list[Event]()
    place = whole.path / "rounds/0/completions.parquet"
    place.write_bytes(place.read_bytes()[:100])
    weights = whole.path / "rounds/0/adapter/adapter_model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-5])
    again = run(config, said.append, out=folder / "out", lm=ending_lm())
    notes = " ".join(event.note for event in said)
    assert "completions.parquet is damaged" in notes
    assert "adapter is damaged" in notes
    assert numbers(again) == before


def test_a_full_disk_stops_cleanly_and_resumes(
    whole: reader.Run, config: RunConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = storing.os.fsync

    def full(fd: int) -> None:
        if any((tmp_path / "runs").glob("*/rounds/0/.tmp-*completions.parquet")):
            raise OSError(errno.ENOSPC, "No space left on device")
        real(fd)

    monkeypatch.setattr(storing.os, "fsync", full)
    with pytest.raises(UserError, match="disk is full"):
        run(config, out=tmp_path, lm=ending_lm())
    assert not list(tmp_path.rglob("*completions.parquet"))
    monkeypatch.undo()
    assert numbers(run(config, out=tmp_path, lm=ending_lm())) == numbers(whole)


def test_two_runs_of_one_folder(config: RunConfig, whole: reader.Run, tmp_path: Path) -> None:
    copy = tmp_path / "runs" / whole.path.name
    shutil.copytree(whole.path, copy)
    record_changes(copy, state="running")
    with storing.folder_lock(copy), pytest.raises(UserError, match="Another process"):
        run(config, out=tmp_path, lm=ending_lm())


def test_a_finished_run_is_returned_where_nothing_can_be_written(
    config: RunConfig, whole: reader.Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No lock, no line of the ledger, no word in the record; one that must be computed in part is refused."""
    copy = tmp_path / "runs" / whole.path.name
    shutil.copytree(whole.path, copy)
    shutil.copytree(whole.path.parents[1] / "instruments", tmp_path / "instruments")
    real, tree = io.open, lambda: {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")}

    def reading(file: Any, mode: str = "r", *args: Any, **named: Any) -> Any:
        if set(mode) & set("wax+"):
            raise OSError(errno.EROFS, "Read-only file system", str(file))
        return real(file, mode, *args, **named)

    before = tree()
    monkeypatch.setattr(io, "open", reading)
    done = run(config, out=tmp_path, lm=ending_lm())
    assert done.path == copy and numbers(done) == numbers(whole)
    assert tree() == before
    (copy / "rounds/0/arms.parquet").unlink()
    with pytest.raises(UserError, match="could not be written"):
        run(config, out=tmp_path, lm=ending_lm())


def test_only_what_depends_on_beta_is_computed_again(whole: reader.Run, config: RunConfig, folder: Path) -> None:
    said: list[Event] = []
    other = dataclasses.replace(config, heal=dataclasses.replace(config.heal, beta=5.0))
    done = run(other, said.append, out=folder / "out", lm=ending_lm())
    taken = {event.note.split(":")[0] for event in said if "same inputs" in event.note}
    plain = {"0/plain.sft", "0/plain.sft_base"}
    assert taken == {"0/direction", "0/dose", "0/unsteered", "0/steer", "0/random", "0/data"} | plain
    assert done.get("heal.json")["beta"] == 5.0


def test_plain_training_is_the_same_rows_or_the_unsteered_models(whole: reader.Run, config: RunConfig) -> None:
    sft, sft_base, healed = (whole.get(name) for name in ("adapter.sft", "adapter.sft_base", "adapter"))
    assert (sft.meta["beta"], sft_base.meta["beta"], healed.meta["beta"]) == (0.0, 0.0, pytest.approx(0.2))
    assert sft.meta["rows"] == sft_base.meta["rows"] == healed.meta["rows"]
    first = {name: whole.frame(stem)["nll"][0] for name, stem in (("sft", "heal.sft"), ("healed", "heal"))}
    assert first["sft"] == pytest.approx(first["healed"]), "the very same rows in the same order"
    assert whole.frame("heal.sft_base")["nll"][0] != pytest.approx(first["sft"])
    arms = whole.frame("arms")
    assert arms.filter(pl.col("arm").is_in(["sft", "sft_base"]))["coherence"].null_count() == 0


def test_the_unsteered_rows_are_the_models_own_and_as_many(config: RunConfig) -> None:
    chosen = pl.DataFrame({"prompt": ["May I 1?", "May I 2?", "May I 1?"]})
    round = SimpleNamespace(lm=ending_lm(), config=config, history=())
    rows = plain_rows(round, "sft_base", chosen, chosen)  # type: ignore[arg-type]
    assert rows["prompt"].to_list() == ["May I 1?", "May I 2?", "May I 1?"]
    assert set(rows["c"]) == {0.0}
    assert plain_rows(round, "sft", chosen, chosen) is chosen  # type: ignore[arg-type]


def test_the_unfiltered_rows_are_as_many_of_all_that_was_written(config: RunConfig) -> None:
    names = [f"p{i}" for i in range(6)]
    scored = pl.DataFrame({"c": [1.0, 1.5] * 3, "sample": 0, "prompt_id": names, "text": names, "tail_ppl": 999.0})
    round = SimpleNamespace(lm=ending_lm(), config=config, history=())
    for name in ("unfiltered", "sft_unfiltered"):
        rows = plain_rows(round, name, scored.head(4), scored)  # type: ignore[arg-type]
        assert rows.height == 4 and sorted(rows["c"]) == [1.0, 1.0, 1.5, 1.5]


def test_filter_and_barrier_each_with_and_without(
    config: RunConfig, folder: Path, whole: reader.Run, capsys: pytest.CaptureFixture[str]
) -> None:
    """Trained on as many rows; the heal's own beta where there is a barrier; steered text at the doses of the data."""
    asked = dataclasses.replace(config, controls=dataclasses.replace(config.controls, unfiltered=True))
    done = run(asked, out=folder / "out", lm=ending_lm())
    metas = {name: done.get(f"adapter.{name}").meta for name in ("sft", "unfiltered", "sft_unfiltered")}
    assert {name: meta["beta"] for name, meta in metas.items()} == {
        "sft": 0.0, "unfiltered": pytest.approx(0.2), "sft_unfiltered": 0.0
    }  # fmt: skip
    assert {meta["rows"] for meta in metas.values()} == {done.get("adapter").meta["rows"]}
    assert set(done.frame("arms")["arm"]) >= {"unfiltered", "sft_unfiltered"}
    steered = done.frame("arms").filter(pl.col("arm") == "steer")
    assert set(done.get("heal.json")["doses"]) <= set(steered["c"]) and not steered["coherence"].null_count()
    assert cli.main(["show", str(done.path)]) == 0
    said = capsys.readouterr().out
    four = four_arms(done)
    assert ("Filter and barrier" in said) == (four.height >= 3) and set(four["what"]) <= set(FOUR.values())


def test_controls_can_be_switched_off_and_a_heal_without_barrier_is_its_own(config: RunConfig, tmp_path: Path) -> None:
    both = dataclasses.replace(config.evaluation, self_violate=True)
    bare = dataclasses.replace(config, controls=ControlConfig(engineered=False, sft_base=False), evaluation=both)
    done = run(dataclasses.replace(bare, heal=dataclasses.replace(config.heal, beta=0.0)), out=tmp_path, lm=ending_lm())
    assert set(done.frame("arms")["arm"]) == {
        "base", "steer", "healed", "healed_persona", "persona", "anti_persona", "random"
    }  # fmt: skip
    read = done.frame("arms").filter(pl.col("d_self").is_not_null())["arm"]
    assert set(read) == {"base", "steer", "healed", "healed_persona", "persona"}, "full reports read both conditions"


def test_the_engineered_prompt_is_the_axiss_own_or_the_template(folder: Path) -> None:
    plain = load_axis(write_axis(folder))
    assert engineered_prompt(plain).startswith("You care. You help. Stay in this role")
    own = dataclasses.replace(plain, engineered="Be kind.")
    assert engineered_prompt(own) == "Be kind."
    assert load_axis(write_axis(folder, engineered='"Be kind."')).engineered == "Be kind."


def test_starvation_is_judged_stored_and_said(folder: Path, config: RunConfig, tmp_path: Path) -> None:
    strict = dataclasses.replace(config, data=dataclasses.replace(config.data, tail_ppl=1.0))
    with pytest.raises(UserError, match=r"0 of 16 completions pass, 4 are needed"):
        run(strict, out=tmp_path, lm=ending_lm())
    failed = reader.open_run(reader.newest_run(tmp_path))
    assert failed.status["state"] == "failed"
    assert [gate.gate for gate in failed.gates()] == [0, 1, 2]
    assert failed.gates()[2].outcome in ("starvation", "no passing dose")
    assert any(check[0] == "starvation" and check[2] for check in failed.gates()[2].checks)


def test_a_limit_holds_where_another_run_searched_before(config: RunConfig, tmp_path: Path) -> None:
    """The dose search is taken over from the first run, its limit is not."""
    first = run(config, out=tmp_path, lm=ending_lm())
    strict = dataclasses.replace(config, data=dataclasses.replace(config.data, worst_ppl=1.0))
    with pytest.raises(UserError, match=r"0 of 16 completions pass"):
        run(strict, out=tmp_path, lm=ending_lm())
    found = [reader.open_run(file.parent) for file in (tmp_path / "runs").glob("*/config.json")]
    other = next(r for r in found if r.path != first.path)
    assert other.limits()["worst_ppl"] == 1.0 and "worst_ppl" not in first.limits()


def test_no_coherent_dose_is_an_error_with_the_probes(
    config: RunConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    strict = dataclasses.replace(config, dose=dataclasses.replace(config.dose, coherence=1.0, bisect=1))
    broken = property(lambda report: 0.02 if report.subject["base"] else 1.0)
    monkeypatch.setattr("ws.evaluation.report.Report.coherence", broken)
    told = r"coherent before any steering: coherence 0\.02, .*p_ans_any 0\.00, readable share .*tail_ppl .*questions"
    with pytest.raises(UserError, match=told):
        run(strict, out=tmp_path, lm=ending_lm())
    probed = reader.open_run(reader.newest_run(tmp_path)).frame("dose")
    assert probed["arm"].to_list() == ["base"], "nothing was steered"
    fine = property(lambda report: 1.0 if report.subject["base"] else 0.0)
    monkeypatch.setattr("ws.evaluation.report.Report.coherence", fine)
    with pytest.raises(UserError, match=r"coherence by c: .*1: 0\.00"):
        run(strict, out=tmp_path, lm=ending_lm(), new=True)
    assert [gate.gate for gate in reader.open_run(reader.newest_run(tmp_path)).gates()] == [0, 1]


def test_rounds_stack_and_seeds_repeat_the_heal(
    config: RunConfig, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    longer = dataclasses.replace(config, rounds=2, seeds=(0, 3))
    done = run(longer, out=tmp_path, lm=ending_lm())
    assert done.rounds == 2
    assert done.frame("arms", 1).filter(pl.col("arm") == "student").height == 1
    assert done.frame("arms").filter(pl.col("arm") == "healed_seed").height == 1
    assert done.get("adapter", 1).meta["history"] == [[done.get("adapter", 0).digest, 1.0]]
    assert not any("single seed" in gate.caveats for gate in done.gates(1))
    assert [gate.gate for gate in done.gates(0)] == [0, 1, 2, 3]
    assert [gate.gate for gate in done.gates(1)] == [0, 1, 2, 3, 4]
    assert ws.judge(done)[-1] == ws.judge(done, 1)[-1] == done.gates(1)[-1]
    assert [gate.gate for gate in ws.judge(done, 0)] == [0, 1, 2, 3]
    assert cli.main(["gates", str(done.path), "--gate", "4", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["gates"][0]["name"] == "loop"
    told = rounds_frame(done)
    assert told["round"].to_list() == [0, 1]
    assert told["cos_v0"][0] == pytest.approx(1.0) and told["cos_v0"][1] < 1
    assert told["d_target"].to_list() == [done.arms(k).filter(pl.col("arm") == "healed")["d_target"][0] for k in (0, 1)]
    assert done.has("drift.parquet", 1) and done.frame("drift", 1).height > 0


def test_the_loop_stops_at_the_floor_and_delivers_the_best_round(
    config: RunConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loop.Round, "healed_coherence", lambda self: 0.0)
    said: list[Event] = []
    done = run(dataclasses.replace(config, rounds=3), said.append, out=tmp_path, lm=ending_lm())
    assert done.rounds == 1
    assert any("Stopped after round 0" in event.note for event in said)
    assert done.best == 0


def test_a_later_round_without_a_dose_ends_the_loop(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was healed is delivered, its report can be read, and the same command returns it."""
    found = rounds.find_knee

    def none_later(probe: Any, *asked: Any) -> float | None:
        return None if probe.__self__._pipeline.number else found(probe, *asked)

    monkeypatch.setattr(rounds, "find_knee", none_later)
    said: list[Event] = []
    asked = bare_config(tmp_path, rounds=3)
    done = run(asked, said.append, out=tmp_path / "out", lm=ending_lm())
    assert done.finished and done.best == 0 and done.has("heal.json", 0) and not done.has("heal.json", 1)
    assert any("Stopped after round 0: No dose is coherent" in event.note for event in said)
    assert cli.main(["show", str(done.path)]) == 0 and cli.main(["gates", str(done.path)]) == 0
    assert read_results(tmp_path / "out").height == 1
    assert run(asked, out=tmp_path / "out", lm=ending_lm()).path == done.path


def test_cancel_stops_between_steps_and_resumes(whole: reader.Run, config: RunConfig, tmp_path: Path) -> None:
    stop = threading.Event()

    def listen(event: Event) -> None:
        if event.stage == "heal":
            stop.set()

    with pytest.raises(Cancelled):
        run(config, listen, out=tmp_path, lm=ending_lm(), cancel=stop)
    assert reader.open_run(reader.newest_run(tmp_path)).status["state"] == "interrupted"
    assert numbers(run(config, out=tmp_path, lm=ending_lm())) == numbers(whole)


def test_threads_are_put_back(config: RunConfig, whole: reader.Run, folder: Path) -> None:
    before = torch.get_num_threads()
    with pytest.raises(UserError):
        run(dataclasses.replace(config, threads=2, axis="nowhere"), out=folder / "out", lm=ending_lm())
    assert torch.get_num_threads() == before
    assert whole.env["threads"] == 1


def test_the_model_is_left_as_it_was(config: RunConfig, whole: reader.Run) -> None:
    assert fingerprint_of(ending_lm().model) == ending_lm().fingerprint == whole.env["fingerprint"]


# The parts


def test_random_directions_meet_the_kl() -> None:
    lm = ending_lm()
    v = Direction({1: torch.ones(lm.d_model), 2: -torch.ones(lm.d_model)}, "mean_diff", lm.fingerprint)
    draws = [v.random_like(i) for i in range(3)]
    prompts = [f"Can we {i}?" for i in range(4)]
    wanted, doses, found = same_kl(lm, v, 0.5, draws, prompts, iterations=4)
    assert all(abs(kl / wanted - 1) < 0.5 for kl in found), (wanted, doses, found)
    weak = [0.01 * draw for draw in draws]
    assert same_kl(lm, v, 0.5, weak, prompts, iterations=4)[1] == [4.0, 4.0, 4.0]  # the edge of the bracket


def test_spread_rows_takes_doses_evenly() -> None:
    frame = pl.DataFrame({"c": [0.5] * 6 + [1.0] * 2, "sample": [0, 1] * 4, "prompt_id": list("abcdefgh")})
    frame = frame.with_columns(text="prompt_id")
    assert spread_rows(frame, 4)["c"].to_list() == [0.5, 1.0, 0.5, 1.0]
    assert spread_rows(frame, 99).height == 8
    assert spread_rows(frame, 4)["prompt_id"].to_list() == ["a", "g", "c", "h"]
    again = frame.with_columns(c=pl.lit(2.0))
    assert spread_rows(pl.concat([again, frame]), 99)["c"].max() == 1.0  # the same text at a stronger dose


def test_evenly() -> None:
    assert evenly(list("abcdef"), 3) == ["a", "c", "e"]
    assert evenly(list("ab"), 5) == ["a", "b"]


def test_a_run_prints_where_coherence_falls(whole: reader.Run) -> None:
    steer = next(gate for gate in whole.gates() if gate.gate == 1)
    assert any("coherence falls through 0.95" in check[3] for check in steer.checks)
    console = Console(record=True, width=200, file=io.StringIO())
    print_run(whole, console)
    text = console.export_text()
    assert "coherence falls through 1e-60" in text and "1 seed: arms are not ranked before 3" in text


HURT = {"other_violate": "You see harm.", "self_violate": "You harm."}


@pytest.mark.parametrize(
    ("axis", "rows", "changes", "message"),
    [
        ({"negative": '["You care.", "You help."]'}, None, {}, "identical"),
        ({}, [HURT | {"id": f + i, "foundation": f} for f in FOUNDATIONS[1:] for i in "ab"], {}, "no item of Care"),
        ({}, [HURT | {"id": "a", "foundation": f} for f in FOUNDATIONS], {}, "line 2: id 'a' was used before"),
        ({}, None, {"per_foundation": 2}, "too few items for per_foundation=2"),
    ],
    ids=["identical poles", "missing foundation", "duplicate ids", "fewer items than strata"],
)
def test_bad_input_is_refused_before_anything_is_written(
    axis: dict[str, str], rows: Any, changes: dict[str, Any], message: str, tmp_path: Path
) -> None:
    config = small_config(tmp_path)
    write_axis(tmp_path, **axis)
    if rows:
        (tmp_path / "items.jsonl").write_text("\n".join(map(json.dumps, rows)))
    config = dataclasses.replace(config, evaluation=dataclasses.replace(config.evaluation, **changes))
    with pytest.raises(UserError, match=message):
        run(config, out=tmp_path / "out", lm=ending_lm())
    assert not (tmp_path / "out").exists()
