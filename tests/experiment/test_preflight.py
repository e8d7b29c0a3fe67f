"""The pre-flight: what can be known before a run, each finding planted, its neighbours silent; nothing is written."""

from __future__ import annotations

import dataclasses
import importlib.metadata
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.builders.small_runs import ending_lm, small_config, write_axis
from tests.builders.tiny_models import tiny_lm
from ws.app.cli import main
from ws.errors import UserError
from ws.experiment import preflight_model
from ws.experiment.findings import Finding, refuse
from ws.experiment.inputs import axis_of
from ws.experiment.loop import run
from ws.experiment.preflight import before_loading, preflight
from ws.experiment.preflight_model import with_model
from ws.experiment.progress import Event
from ws.files import check_writable
from ws.healing.config import HealConfig
from ws.models.lm import LM
from ws.runs.config import DoseConfig, RunConfig, SamplingConfig
from ws.runs.recipes import mini_quick

WITHOUT = {"settings", "axis", "items", "output folder", "disk", "packages", "rows"}
WITH = {"blocks", "personas", "dose unit", "context", "adapter", "readings", "room for adapters", "memory"}


def found(config: RunConfig, out: Path, lm: LM | None = None) -> dict[str, Finding]:
    """Every finding by its check, the model's only where nothing before refuses."""
    lm = lm or ending_lm()
    findings = before_loading(config, out, lm.recipe, lm.name)
    if all(finding.state == "ok" for finding in findings):
        findings += with_model(lm, axis_of(config, lm.recipe, lm.name), config, out)
    return {finding.check: finding for finding in findings}


def test_a_run_that_is_right_is_ok_in_every_check_and_nothing_is_written(tmp_path: Path) -> None:
    seen = found(small_config(tmp_path), tmp_path / "out")
    assert set(seen) == WITHOUT | WITH
    assert [finding for finding in seen.values() if finding.state != "ok"] == []
    assert not (tmp_path / "out").exists() and all(finding.said for finding in seen.values())


def changed(part: str, **values: Any) -> Callable[[Path], dict[str, Any]]:
    """Settings of a part of the small configuration."""
    return lambda at: {part: dataclasses.replace(getattr(small_config(at), part), **values)}


def axis(**changes: str) -> Callable[[Path], dict[str, Any]]:
    """The axis file in other words."""
    return lambda at: {"axis": str(write_axis(at, **changes))}


QUESTIONS = """[{ text = "What now?", positive = "%s", negative = "No." },
    { text = "And then?", positive = "Yes.", negative = "No." }]"""
PLANTED: dict[str, tuple[str, str, Callable[[Path], dict[str, Any]], str]] = {
    "axis gone": ("axis", "refused", lambda at: {"axis": str(at / "gone.toml")}, "no such axis file"),
    "items gone": ("items", "refused", lambda at: changed("evaluation", items=str(at / "gone.jsonl"))(at), "no such"),
    "few rows": ("rows", "refused", lambda at: changed("heal", min_rows=17)(at) | changed("data", keep=17)(at),
                 r"a heal needs 17.*Raise data\.samples"),
    "no such block": ("blocks", "refused", lambda _: {"layers": (1, 4)}, r"cannot read blocks \[1, 4\].*0 to 3"),
    "degrees": ("dose unit", "warn", lambda _: {"method": "rotation"}, r"in degrees.*ends at 1.*--dose\.grid 5 10"),
    "multiples": ("dose unit", "warn", changed("dose", grid=(100.0,)), "in multiples.*--method rotation"),
    "long completions": ("context", "refused", lambda _: {"sampling": SamplingConfig(max_new_tokens=1024)},
                         r"1024 new ones exceed the context.*lower max_new_tokens"),
    "a long context": ("context", "refused", axis(contexts=json.dumps(["word " * 250])), "exceed the context"),
    "a long prompt": ("context", "refused", axis(train=json.dumps(["word " * 250, *"abcdefgh"])), "exceed the context"),
    "a long persona": ("context", "refused", axis(positive=json.dumps(["care " * 250, "You help."])), "exceed the"),
    "a long answer": ("context", "refused", axis(questions=QUESTIONS % ("yes " * 300)), "What now.*exceed the context"),
    "long thinking": ("context", "refused", changed("evaluation", think=1000), "exceed the context"),
    "no weights": ("adapter", "refused", changed("heal", depth=(0.0, 0.05)), "Widen the depth"),
    "no questions": ("readings", "refused", changed("evaluation", instrument="questions"), "has no questions"),
    "a silent reading": ("readings", "warn", changed("evaluation", readings=("dilemmas",)), "not measured"),
}  # fmt: skip


@pytest.mark.parametrize("name", PLANTED)
def test_each_finding_is_planted_and_its_neighbours_are_silent(name: str, tmp_path: Path) -> None:
    check, state, plant, said = PLANTED[name]
    small = small_config(tmp_path)
    config = dataclasses.replace(small, **plant(tmp_path))
    seen = found(config, tmp_path / "out")
    assert [(finding.check, finding.state) for finding in seen.values() if finding.state != "ok"] == [(check, state)]
    with pytest.raises(UserError, match=f"(?s){said}"):
        refuse([dataclasses.replace(seen[check], state="refused")])
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    "near",
    [
        lambda _: {"method": "rotation", "dose": DoseConfig(grid=(5.0, 20.0))},
        changed("dose", grid=(16.0,)),
        axis(train=json.dumps(["word " * 180, *"abcdefgh"])),
        axis(questions=QUESTIONS % ("yes " * 200)),
        changed("evaluation", think=300),
        changed("heal", depth=(0.0, 0.25)),
        changed("heal", min_rows=8),
    ],
)
def test_what_lies_just_inside_is_ok(near: Callable[[Path], dict[str, Any]], tmp_path: Path) -> None:
    config = dataclasses.replace(small_config(tmp_path), **near(tmp_path))
    assert [x for x in found(config, tmp_path / "out").values() if x.state != "ok"] == []


def test_personas_that_the_model_cannot_tell_apart_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(LM, "prompt_ids", lambda self, user, **_: self.encode(str(user)))
    seen = found(small_config(tmp_path), tmp_path / "out")
    assert [finding.check for finding in seen.values() if finding.state != "ok"] == ["personas"]
    assert "pair 0 as the same tokens ('You care.' and 'You obey.')" in seen["personas"].said


def test_an_adapter_that_cannot_train_these_weights_is_refused(tmp_path: Path) -> None:
    config = small_config(tmp_path, heal=HealConfig(adapter="delora", min_rows=4))
    assert found(config, tmp_path / "out")["adapter"].state == "ok"
    seen = found(config, tmp_path / "out", tiny_lm("gpt2"))["adapter"]
    assert seen.state == "refused" and "cannot train Conv1D" in seen.said


def test_a_folder_that_cannot_be_written_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for out in (tmp_path / "file", tmp_path / "file/deeper"):
        seen = found(small_config(tmp_path), out)["output folder"]
        assert seen.state == "refused" and "could not be written: Not a directory" in seen.said
    assert check_writable(tmp_path / "a/b") == tmp_path and sorted(p.name for p in tmp_path.iterdir()) == [
        "file", "items.jsonl", "tiny.toml"]  # fmt: skip


@pytest.mark.parametrize(("mib", "state"), [(10, "refused"), (40, "warn"), (300, "ok")])
def test_room_on_the_disk(mib: int, state: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda _: shutil._ntuple_diskusage(1, 1, mib << 20))  # type: ignore[attr-defined]
    seen = found(small_config(tmp_path), tmp_path / "out")
    assert seen["disk"].state == state and f"{mib} MiB free" in seen["disk"].said
    assert {finding.check for finding in seen.values() if finding.state != "ok"} <= {"disk"}


def test_a_package_of_another_version_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    wanted = ["torch>=99", "polars", "nowhere>=1", 'absent; extra == "dev"']
    monkeypatch.setattr(importlib.metadata, "requires", lambda _: wanted)
    seen = found(small_config(tmp_path), tmp_path / "out")["packages"]
    assert seen.state == "refused" and "nowhere is not installed. pip install -r requirements.txt" in seen.said
    assert "is not >=99" in seen.said and "polars" not in seen.said and "absent" not in seen.said


def test_too_little_memory_is_a_doubt(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(preflight_model, "_free", lambda device: 1)
    seen = found(small_config(tmp_path), tmp_path / "out")
    assert [(x.check, x.state) for x in seen.values() if x.state != "ok"] == [("memory", "warn")]


def test_weights_that_are_not_there_are_refused_before_loading(tmp_path: Path) -> None:
    findings = preflight(dataclasses.replace(mini_quick(), model=str(tmp_path / "gone")), tmp_path / "out")
    assert [(x.check, x.state) for x in findings if x.state != "ok"] == [("weights", "refused")]
    empty = preflight(dataclasses.replace(mini_quick(), model=str(tmp_path)), tmp_path / "out")
    assert (empty[-1].check, empty[-1].state) == ("model", "refused") and "it has no config.json" in empty[-1].said


def test_a_run_begins_with_it_and_says_everything_that_it_refuses(tmp_path: Path) -> None:
    config = small_config(tmp_path, layers=(1, 4), method="rotation", heal=HealConfig(depth=(0.0, 0.05), min_rows=4))
    with pytest.raises(UserError, match=r"(?s)cannot read blocks.*\n.*Widen the depth"):
        run(config, out=tmp_path / "out", lm=ending_lm())
    assert not (tmp_path / "out").exists()


def test_a_doubt_is_told_and_the_run_begins(tmp_path: Path) -> None:
    events: list[Event] = []

    def listen(event: Event) -> None:
        events.append(event)
        if event.stage:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(small_config(tmp_path, method="rotation"), listen, out=tmp_path / "out", lm=ending_lm())
    assert [event.note for event in events if event.note.startswith("dose unit: rotation counts c in degrees")]


def test_the_command_prints_a_line_a_finding_and_writes_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    args = ["run", "--check", "--out", str(tmp_path / "out")]
    assert main(args) == 0
    lines = capsys.readouterr().out.splitlines()
    assert {line.split(":")[0].split(maxsplit=1)[1] for line in lines} == WITHOUT | WITH | {"weights", "model"}
    assert all(line.startswith("ok ") for line in lines)
    assert main([*args, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["refused"] == []
    assert main([*args, "--layers", "0", "9", "--heal.min-rows", "250", "--data.doses", "1"]) == 2
    told = capsys.readouterr()
    assert "refused  rows: 64 train prompts" in told.out and "this run is refused (rows)" in told.err
    assert main([*args, "--layers", "0", "9", "--heal.depth", "0", "0.01"]) == 2
    assert "this run is refused (blocks, adapter): nothing was written" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
