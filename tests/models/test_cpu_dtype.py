"""The number type of a CPU: bfloat16 where it is faster, measured once per machine, never guessed."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from tests.builders.tiny_models import tiny_lm
from ws.errors import UserError
from ws.models import cpu_dtype as module
from ws.models.cpu_dtype import bf16_gain, cpu_dtype
from ws.models.lm import load_model


@pytest.fixture(autouse=True)
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A machine that was not measured yet."""
    monkeypatch.setenv("WS_MODELS", str(tmp_path / "copies"))
    monkeypatch.delenv("WS_CPU_DTYPE")
    return tmp_path / "copies"


GAINS = [(0.2, "float32"), (1.29, "float32"), (1.3, "bfloat16"), (4.0, "bfloat16")]


@pytest.mark.parametrize(("gain", "wanted"), GAINS)
def test_bfloat16_is_taken_where_it_is_faster(gain: float, wanted: str) -> None:
    assert cpu_dtype(lambda: gain) == (wanted, f"bfloat16 multiplies {gain:.1f} times as fast here")


def test_a_machine_is_measured_once(machine: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = cpu_dtype(lambda: 2.0)
    assert cpu_dtype(lambda: pytest.fail("measured again")) == first
    monkeypatch.setattr(module, "_processor", lambda: "another one")
    assert cpu_dtype(lambda: 0.5)[0] == "float32", "another processor is measured for itself"
    (stored,) = [path for path in machine.glob("machine/*.json") if "another" not in path.read_text()]
    stored.write_text("{")
    monkeypatch.undo()


def test_a_damaged_answer_is_measured_again(machine: Path) -> None:
    cpu_dtype(lambda: 2.0)
    next(machine.glob("machine/*.json")).write_text("{")
    assert cpu_dtype(lambda: 0.5)[0] == "float32"


def test_it_can_be_said_by_hand(monkeypatch: pytest.MonkeyPatch, machine: Path) -> None:
    monkeypatch.setenv("WS_CPU_DTYPE", "bf16")
    assert cpu_dtype(lambda: pytest.fail("measured")) == ("bfloat16", "WS_CPU_DTYPE")
    assert not machine.exists()
    monkeypatch.setenv("WS_CPU_DTYPE", "int3")
    with pytest.raises(UserError, match=r"WS_CPU_DTYPE='int3' is unknown.*bf16"):
        cpu_dtype()


def test_the_measurement_is_short_and_leaves_the_threads() -> None:
    torch.set_num_threads(2)
    try:
        assert 0.01 < bf16_gain() < 100 and torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(1)


def test_a_model_says_where_its_number_type_comes_from(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lm = tiny_lm("qwen3")
    lm.model.save_pretrained(tmp_path / "saved")
    lm.tok.save_pretrained(tmp_path / "saved")
    monkeypatch.setattr(module, "bf16_gain", lambda: 3.0)
    taken = load_model(tmp_path / "saved", device="cpu")
    assert (taken.dtype, taken.why_dtype) == (torch.bfloat16, "bfloat16 multiplies 3.0 times as fast here")
    asked = load_model(tmp_path / "saved", device="cpu", dtype="float32")
    assert (asked.dtype, asked.why_dtype) == (torch.float32, "asked for")
    assert taken is load_model(tmp_path / "saved", device="cpu", dtype="bf16"), "one model, however it was asked for"


def test_the_embedded_model_stays_in_float32(monkeypatch: pytest.MonkeyPatch) -> None:
    from ws.models.loading import source_of

    monkeypatch.setattr(module, "bf16_gain", lambda: 3.0)
    source = source_of("mini", "cpu", None, None)
    assert (source.dtype, source.why) == (torch.float32, "the embedded model's own")
