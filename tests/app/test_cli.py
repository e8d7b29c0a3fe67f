"""The commands as a user meets them: what is printed, JSON on the last line, exit codes, mistakes told cleanly."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import gguf
import pytest
from peft import DeloraConfig, LoraConfig

import ws.experiment.loop
import ws.models.lm
import ws.models.outline
from tests.builders.records import record_changes
from tests.builders.small_runs import ending_lm, small_config, write_axis
from tests.builders.tiny_models import tiny_model, tiny_tokenizer
from ws.app.cli import main
from ws.app.exports import vllm_notes
from ws.app.options import COMMANDS
from ws.errors import UserError
from ws.experiment.examples import EXAMPLE, EXAMPLE_ROUNDS
from ws.reporting.charts import dose_chart, save
from ws.reporting.terminal import figure, readable, spark
from ws.runs.config import RunConfig
from ws.runs.reader import Run, newest_run
from ws.runs.recipes import mini_quick
from ws.steering.control_vector import write_control_vector
from ws.steering.direction import Direction

ROOT = Path(__file__).parents[2]


@pytest.fixture(autouse=True)
def tiny_models(monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> None:
    """The name "tiny-ending" loads the tiny model; every other name goes its own way."""
    real = ws.models.lm.load_model

    def load(name: str = "mini", **kw: Any) -> Any:
        return ending_lm() if name == "tiny-ending" else real(name, **kw)

    for module in ("ws.models.lm", "ws.experiment.identity", "ws.app.doctor"):
        monkeypatch.setattr(f"{module}.load_model", load)
    shape, config = ws.models.outline.outline_of, ending_lm().model.config
    told = ws.models.outline.outline_of_config(config)
    monkeypatch.setattr("ws.models.outline.outline_of", lambda name: told if name == "tiny-ending" else shape(name))


def flags(config: RunConfig) -> list[str]:
    """The command line of `small_config`."""
    d, e = config.data, config.evaluation
    return [
        "--model", config.model, "--axis", config.axis, "--threads", "1", "--max-new-tokens", "8",
        "--dose.grid", "1.0", "--dose.bisect", "0", "--dose.texts", "8", "--dose.random-draws", "1",
        "--dose.coherence", "1e-60", "--data.doses", "0.5", "1.0", "--data.keep", str(d.keep), "--data.no-finished",
        "--data.tail-ppl", "1e9", "--data.rep", "1.1", "--data.loop", "1.1",
        "--heal.min-rows", "4", "--heal.epochs", "1", "--heal.batch", "4",
        "--evaluation.items", e.items, "--evaluation.think", "0", "--evaluation.texts", "8",
        "--evaluation.no-capability", "--evaluation.no-self-violate", "--controls.no-prompted",
        "--controls.no-unfiltered", "--batch-size", "128",
    ]  # fmt: skip


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cli")


@pytest.fixture(scope="module")
def done(folder: Path) -> Run:
    return ws.experiment.loop.run(small_config(folder), out=folder / "out", lm=ending_lm())


def test_run_finds_the_finished_run_and_prints_json_last(
    done: Run, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["run", *flags(small_config(folder)), "--out", str(folder / "out"), "--json"]) == 0
    out, err = capsys.readouterr()
    printed = json.loads(out.strip().splitlines()[-1])
    assert printed == json.loads(json.dumps(done.summary))
    assert "round 0" in err


def test_run_prints_everything_a_reader_needs(done: Run, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["run", *flags(small_config(folder)), "--out", str(folder / "out")]) == 0
    out = capsys.readouterr().out
    for part in (
        "Dose search", "Report", "persona as system prompt", "random directions, same KL", "One sample per dose",
        "just kept", "Filter", "Heal:", "Base, steered, healed", "Verdicts", "gate 3 heal", "next", "should", "seen",
        "single seed", "coherence: least of the parts", str(done.path),
    ):  # fmt: skip
        assert part in out.replace("\n", " "), part
    assert "-1" in out  # the -c arm


def test_show_reads_samples(done: Run, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["show", str(done.path), "-n", "2"]) == 0
    out = capsys.readouterr().out
    assert "persona, c +0" in out
    assert "completions, c +0.5" in out
    assert main(["show", "--out", str(folder / "out"), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["run"] == str(done.path)


def test_gates_lists_all_outcomes_and_takes_a_note(done: Run, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["gates", str(done.path), "--gate", "1", "--note", "random text, as it should be"]) == 0
    out = capsys.readouterr().out
    assert "not measured" in out
    assert "capability cliff" in out
    assert "random text, as it should be" in out
    assert main(["gates", str(done.path), "--json"]) == 0
    gates = json.loads(capsys.readouterr().out)["gates"]
    assert [gate["gate"] for gate in gates] == [0, 1, 2, 3]
    assert gates[1]["note"] == "random text, as it should be"


def test_a_note_for_a_gate_that_is_not_there_is_not_stored(done: Run, capsys: pytest.CaptureFixture[str]) -> None:
    before = done.notes()
    for round in ([], ["--round", "0"]):
        assert main(["gates", str(done.path), "--gate", "9", "--note", "x", *round]) == 2
        assert re.search(r"has no gate 9; it has 0, 1, 2, 3", capsys.readouterr().err)
    assert main(["gates", str(done.path), "--gate", "1", "--note", "caf\udce9"]) == 2
    assert "half a character" in capsys.readouterr().err
    assert done.notes() == before


def test_results_lists_the_ledger(done: Run, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["results", "--out", str(folder / "out"), "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)["results"]
    assert rows[0]["run"] == str(done.path)
    assert main(["results", "--out", str(folder / "out")]) == 0


def test_steer_shows_every_dose_with_the_same_dice(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    axis = str(write_axis(folder))
    args = ["steer", "Hello?", "--model", "tiny-ending", "--axis", axis, "--c", "0", "0", "--max-new-tokens", "6"]
    assert main([*args, "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)["completions"]
    assert len(rows) == 2
    assert rows[0]["text"] == rows[1]["text"]
    assert main(args) == 0


def test_doctor_judges_the_instrument(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    args = ["doctor", "--model", "tiny-ending", "--axis", str(write_axis(folder)), "--think", "0"]
    assert main([*args, "--items", small_config(folder).evaluation.items, "--json"]) == 0
    printed = json.loads(capsys.readouterr().out)
    assert printed["gate"]["gate"] == 0
    assert "eadroom: base profile of Authority" in printed["headroom"] and "nat" in printed["headroom"]
    assert printed["model"]["layers"] == 4


def test_export_direction_and_adapter(done: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["export", str(done.path), str(tmp_path / "adapter"), "--what", "adapter", "--json"]) == 0
    assert (tmp_path / "adapter/adapter_model.safetensors").exists()
    assert json.loads(capsys.readouterr().out)["what"] == "adapter"
    assert main(["export", str(done.path), str(tmp_path / "v.gguf"), "--what", "direction"]) == 0
    assert Direction.load(tmp_path / "v.gguf").cosine(done.get("direction.safetensors")) == pytest.approx(1)
    assert main(["export", str(done.path), str(tmp_path / "v.gguf"), "--what", "direction"]) == 2
    assert "exists" in capsys.readouterr().err
    assert main(["export", str(done.path), str(tmp_path / "lora.gguf"), "--what", "gguf-lora", "--json"]) == 0
    assert "notes" not in json.loads(capsys.readouterr().out)
    names = {tensor.name for tensor in gguf.GGUFReader(tmp_path / "lora.gguf").tensors}
    assert {"blk.1.attn_q.weight.lora_a", "blk.1.attn_q.weight.lora_b"} <= names


def not_healed(done: Run, to: Path) -> Path:
    """A copy of a run that ended before its heal, as one that starved does."""
    shutil.copytree(done.path, to)
    shutil.rmtree(to / "rounds/0/adapter")
    record_changes(to)
    return to


def test_a_direction_needs_no_heal_and_no_weights(
    done: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    run = not_healed(done, tmp_path / "run")
    monkeypatch.setattr("ws.experiment.identity.load_model", lambda *a, **k: pytest.fail("a model was loaded"))
    assert main(["export", str(run), str(tmp_path / "v.gguf"), "--what", "direction"]) == 0
    for what in ("adapter", "gguf-lora", "model"):
        assert main(["export", str(run), str(tmp_path / what), "--what", what]) == 2
        assert "was not healed" in capsys.readouterr().err
    config = json.loads((run / "config.json").read_text())
    (run / "config.json").write_text(json.dumps(config | {"model": str(tmp_path / "gone")}))
    record_changes(run)
    assert main(["export", str(run), str(tmp_path / "w.gguf"), "--what", "direction"]) == 2
    assert "is not there" in capsys.readouterr().err


def test_a_shipped_direction_says_what_is_lost(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    args = ["export", str(EXAMPLE), str(tmp_path / "v.gguf"), "--what", "direction"]
    assert main(args) == 2
    said = capsys.readouterr().err
    assert "block 0, which holds 0.01% of this direction" in said and "--drop-block-0" in said
    assert main([*args, "--drop-block-0"]) == 0
    assert "note: block 0 is left out: 0.01% of the direction" in capsys.readouterr().out
    assert len(gguf.GGUFReader(tmp_path / "v.gguf").tensors) == 5, "blocks 1 to 5 of 6"
    later = ["export", str(EXAMPLE_ROUNDS), str(tmp_path / "w.gguf"), "--what", "direction", "--round", "2"]
    assert main([*later, "--drop-block-0"]) == 0
    assert "with the adapters of rounds 0 to 1 on" in capsys.readouterr().out


def test_steer_takes_a_control_vector(
    done: Run, folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    own, other = tmp_path / "own.gguf", tmp_path / "other.gguf"
    assert main(["export", str(done.path), str(own), "--what", "direction"]) == 0
    v = Direction.load(own)
    write_control_vector(other, {k: x / len(v.layers) for k, x in v.layers.items()}, "qwen3", {})
    args = ["steer", "Hello?", "--model", "tiny-ending", "--axis", str(write_axis(folder)), "--c", "0", "9", "--json"]
    texts = []
    for file, said in ((own, ""), (other, "made for 'qwen3', from weights that it does not tell")):
        capsys.readouterr()
        assert main([*args, "--direction", str(file), "--max-new-tokens", "6"]) == 0
        out, err = capsys.readouterr()
        assert said in err and bool(said) == ("does not tell" in err)
        texts.append([row["text"] for row in json.loads(out)["completions"]])
    assert texts[0] == texts[1] and texts[0][0] != texts[0][1]
    other.write_bytes(other.read_bytes()[:100])
    assert main([*args, "--direction", str(other)]) == 2
    assert "cut off or damaged" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("changes", "family", "said"),
    [
        ({"r": 8}, "lora", []),
        ({"r": 16}, "pissa", []),
        ({"r": 32}, "pissa", ["rank 32, since PiSSA is stored as the LoRA of twice.*16: start vLLM with.*rank 32"]),
        ({"r": 40}, "lora", ["rank 40 is above vLLM's default limit of 16: start vLLM with --max-lora-rank 64"]),
        ({"r": 600}, "lora", ["export --what model"]),
        ({"r": 8, "use_dora": True}, "dora", ["vLLM refuses DoRA"]),
        ({"r": 8, "modules_to_save": ["lm_head"]}, None, [r"modules_to_save \(lm_head\)"]),
    ],
)
def test_an_adapter_says_what_vllm_refuses(changes: dict[str, Any], family: str | None, said: list[str]) -> None:
    notes = vllm_notes(LoraConfig(target_modules=["q_proj"], **changes), family)
    assert len(notes) == len(said)
    assert all(re.search(pattern, note) for pattern, note in zip(said, notes, strict=True))
    assert "DELORA" in vllm_notes(DeloraConfig(target_modules=["q_proj"]))[0]


def test_only_built_commands_exist(capsys: pytest.CaptureFixture[str]) -> None:
    built = {"run", "steer", "show", "gates", "doctor", "results", "diff", "journal", "judge", "bake", "export", "app"}
    built |= {"calibrate", "layers", "sweep", "heal"}
    assert set(COMMANDS) == built
    for name in ("sweep", "bench", "diff"):
        assert main([name]) == 2
    assert main(["--help"]) == 0
    for name in COMMANDS:
        assert main([name, "--help"]) == 0
    assert main([]) == 2
    capsys.readouterr()


def test_the_recipe_follows_the_model(monkeypatch: pytest.MonkeyPatch) -> None:
    from ws.app.cli import _parse

    assert _parse("run", []).config == mini_quick()
    assert _parse("run", ["--model=some/model"]).config.data.keep == 64
    assert _parse("run", ["--recipe", "full"]).config.seeds == (0, 1, 2)
    assert _parse("run", ["--rounds", "3", "--heal.beta", "1.5"]).config.heal.beta == 1.5


# Mistakes: one clear message on standard error, exit code 2, no traceback


def save_folder(place: Path, **config: Any) -> Path:
    tiny_model("qwen3").save_pretrained(place)
    tiny_tokenizer().save_pretrained(place)
    if config:
        known = json.loads((place / "config.json").read_text())
        (place / "config.json").write_text(json.dumps(known | config))
    return place


def pickled(tmp: Path) -> list[str]:
    place = save_folder(tmp / "pickled")
    (place / "model.safetensors").rename(place / "pytorch_model.bin")
    return ["--model", str(place)]


def encoder(tmp: Path) -> list[str]:
    place = save_folder(tmp / "encoder", model_type="bert", architectures=["BertModel"])
    return ["--model", str(place)]


def own_axis(tmp: Path, **changes: str) -> list[str]:
    return ["--model", "tiny-ending", "--axis", str(write_axis(tmp, **changes))]


MISTAKES: dict[str, tuple[Any, str]] = {
    "no such folder": (lambda tmp: ["--model", str(tmp / "none")], "mini"),
    "pickle only": (pickled, "safetensors"),
    "no causal lm": (encoder, "causal|decoder"),
    "identical poles": (lambda tmp: own_axis(tmp, positive='["You obey.", "You bow."]'), "poles|opposite|same"),
    "missing pole": (lambda tmp: own_axis(tmp, negative="[]"), "negative"),
    "unknown foundation": (lambda tmp: own_axis(tmp, target='"Glory"', intended="{ Glory = 1 }"), "Glory"),
    "unknown axis": (lambda tmp: ["--model", "tiny-ending", "--axis", "car_over_authority"], "care_over_authority"),
    "c not finite": (lambda tmp: [*own_axis(tmp), "--dose.grid", "inf"], "finite"),
    "layer out of range": (lambda tmp: [*own_axis(tmp), "--layers", "99"], "99"),
    "unknown method": (lambda tmp: [*own_axis(tmp), "--method", "magic"], "magic"),
    "items missing": (lambda tmp: [*own_axis(tmp), "--evaluation.items", str(tmp / "none.jsonl")], "none.jsonl"),
    "prompt too long": (lambda tmp: own_axis(tmp, probes=json.dumps(["long " * 2000 + "?"])), "context|tokens"),
}


@pytest.mark.parametrize("name", MISTAKES)
def test_mistakes_are_told_in_one_message(name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    make, expected = MISTAKES[name]
    config = small_config(tmp_path)
    given = make(tmp_path)
    rest, take = [], True
    for word in flags(config):  # what is not overridden, with its values
        take = word not in given if word.startswith("--") else take
        rest += [word] if take else []
    assert main(["run", *rest, *given, "--out", str(tmp_path / "out")]) == 2
    err = capsys.readouterr().err
    assert "Traceback" not in err
    last = err.strip().splitlines()[-1]
    assert last.startswith("ws: ")
    assert re.search(expected, last), last
    assert not list(tmp_path.glob("out/runs/*/.tmp-*"))


@pytest.mark.parametrize(
    ("args", "expected"),
    [
        (["run", "--rounds", "0"], "rounds"),
        (["run", "--recipe", "fast"], "quick"),
        (["run", "--no-such-flag"], "no-such-flag"),
        (["steer", "hi", "--c", "nan", "--model", "tiny-ending"], "finite"),
        (["steer"], "PROMPT"),
        (["show", "nowhere"], "nowhere"),
        (["gates", "nowhere"], "nowhere"),
        (["export", "nowhere", "there"], "nowhere"),
        (["bake", "nowhere"], "nowhere"),
        (["sing"], "no command"),
    ],
)
def test_wrong_commands_exit_2(args: list[str], expected: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(args) == 2
    out, err = capsys.readouterr()
    assert expected in out + err
    assert "Traceback" not in err


def test_a_bug_keeps_its_traceback(done: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ws.app.commands.print_run", lambda *a: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        main(["show", str(done.path)])


def test_interrupt_in_process_is_130(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(*a: Any, **k: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("ws.experiment.pipeline.heal", interrupt)
    assert main(["run", *flags(small_config(tmp_path)), "--out", str(tmp_path / "out")]) == 130
    monkeypatch.undo()
    assert Run(newest_run(tmp_path / "out")).status["state"] == "interrupted"


@pytest.mark.slow
def test_ctrl_c_on_the_real_command(tmp_path: Path) -> None:
    config = small_config(tmp_path)
    args = flags(config)
    args[args.index("tiny-ending")] = str(save_folder(tmp_path / "model"))
    env = os.environ | {"PYTHONPATH": str(ROOT / "src"), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "ws.app.cli", "run", *args, "--out", str(tmp_path / "out")]
    process = subprocess.Popen(command, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    until = time.monotonic() + 90
    while not list(tmp_path.glob("out/runs/*/rounds/0/direction.safetensors")) and process.poll() is None:
        assert time.monotonic() < until
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 130, err
    assert "Traceback" not in err
    assert "goes on from there" in err


# What is shown


def test_model_text_cannot_drive_the_terminal() -> None:
    assert readable("a\x1b[31mb\nc\x07") == "a\\x1b[31mb / c\\x07"
    assert readable("[bold]x[/bold]") == "[bold]x[/bold]"
    assert len(readable("x" * 1000)) == 320


def test_spark_and_figure() -> None:
    assert spark([0.0, 1.0]) == "▁█"
    assert spark([]) == ""
    assert spark([2.0, 2.0]) == "▄▄"
    assert len(spark(list(map(float, range(100))))) == 16
    assert (figure(None), figure(float("nan")), figure(1.234)) == ("-", "-", "1.23")


def test_the_chart_draws_a_real_run(done: Run, tmp_path: Path) -> None:
    chart = dose_chart(done.frame("dose"), done.frame("arms"))
    assert save(chart, tmp_path / "dose.svg").read_text().startswith("<svg")
    with pytest.raises(UserError, match="svg"):
        save(chart, tmp_path / "dose.doc")
