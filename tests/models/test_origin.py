"""One checkpoint in several dtypes: what was made in one of them fits the others, and a refusal names what differs."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from tests.builders.adapters import logits, made
from tests.builders.tiny_models import tiny_lm
from ws.errors import UserError
from ws.files import SEAL
from ws.generation.completions import generate
from ws.healing.baking import bake, export
from ws.models.adapters.adapter import Adapter
from ws.models.adapters.attaching import attached
from ws.models.lm import LM, load_model, unload_models
from ws.models.origin import UNKNOWN, Origin
from ws.steering.direction import Direction


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A bf16 checkpoint, as most are."""
    lm = tiny_lm("llama", fresh=True)
    lm.model.bfloat16().save_pretrained(tmp_path / "m")
    lm.tok.save_pretrained(tmp_path / "m")
    return tmp_path / "m"


@pytest.fixture
def gpu(folder: Path) -> LM:
    """As it is loaded on a GPU."""
    return load_model(folder, device="cpu", dtype="bf16")


@pytest.fixture
def cpu(folder: Path) -> LM:
    """As it is loaded on a CPU."""
    return load_model(folder, device="cpu", dtype="fp32")


def test_checkpoint_and_dtype_are_known_apart(gpu: LM, cpu: LM) -> None:
    assert gpu.fingerprint != cpu.fingerprint
    assert gpu.origin == replace(cpu.origin, dtype="bfloat16") and cpu.origin.dtype == "float32"
    assert len(gpu.origin.checkpoint) == 16 and gpu.origin.quantization == ""
    assert tiny_lm("llama").origin == Origin(dtype="float32")


def test_an_adapter_of_bf16_works_in_fp32(gpu: LM, cpu: LM, tmp_path: Path) -> None:
    made(gpu).save(tmp_path / "a")
    adapter = Adapter.load(tmp_path / "a", lm=cpu)
    assert adapter.origin == gpu.origin
    before = logits(cpu)
    with attached(cpu, [adapter]):
        expected = logits(cpu)
    assert (expected - before).abs().max() > 0.05
    torch.testing.assert_close(logits(bake(cpu, [adapter])), expected, rtol=0, atol=1e-5)
    assert export(cpu, [adapter], tmp_path / "student") < 1e-4


def test_a_direction_of_bf16_works_in_fp32(gpu: LM, cpu: LM, tmp_path: Path) -> None:
    Direction({1: torch.ones(32)}, "mean_diff", gpu.fingerprint, origin=gpu.origin).save(tmp_path / "v.safetensors")
    v = Direction.load(tmp_path / "v.safetensors")
    assert v.origin == gpu.origin == (2 * v).origin == v.random_like(0).origin
    assert generate(cpu, "Hi", v, c=1.0, max_new_tokens=2).height == 1
    here = Direction({1: torch.ones(32)}, "mean_diff", cpu.fingerprint, origin=cpu.origin)
    assert torch.equal((v + here).layers[1], torch.full((32,), 2.0))


def test_another_checkpoint_is_refused_and_named(gpu: LM, folder: Path, tmp_path: Path) -> None:
    adapter = made(gpu)
    own = adapter.origin.checkpoint
    weights = load_file(folder / "model.safetensors")
    first = next(iter(weights))
    weights[first][0] += 1
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    other = load_model(folder, device="cpu", dtype="fp32")
    assert other.origin.checkpoint not in ("", own)
    with pytest.raises(UserError, match=rf"checkpoint {own}, bfloat16\), and .* float32\): two checkpoints"):
        checked_on(other, adapter)


def checked_on(lm: LM, adapter: Adapter) -> None:
    with attached(lm, [adapter]):
        pass


def test_merged_weights_are_a_checkpoint_of_their_own(gpu: LM, cpu: LM) -> None:
    adapter = made(gpu)
    one, other = bake(gpu, [adapter]), bake(cpu, [adapter])
    assert one.origin.checkpoint == other.origin.checkpoint != gpu.origin.checkpoint
    assert bake(cpu, [(adapter, 0.5)]).origin.checkpoint != other.origin.checkpoint
    with pytest.raises(UserError, match=r"; after ws\.bake, adapters"):
        checked_on(other, adapter)
    checked_on(other, made(one))


def test_files_from_before_fit_by_their_numbers(gpu: LM, cpu: LM, tmp_path: Path) -> None:
    made(cpu).save(tmp_path / "a")
    own = tmp_path / "a" / "ws.json"
    stored = json.loads(own.read_text())
    del stored["origin"], stored[SEAL]
    own.write_text(json.dumps(stored))
    assert Adapter.load(tmp_path / "a", cpu).origin == UNKNOWN
    with pytest.raises(UserError, match=r"dtype not known\), and .*Load the model that it was made on, with the dtype"):
        Adapter.load(tmp_path / "a", gpu)


def test_a_checkpoint_is_its_tensors_however_they_are_split(folder: Path, cpu: LM, tmp_path: Path) -> None:
    cpu.model.bfloat16().save_pretrained(tmp_path / "split", max_shard_size="10KB")
    cpu.tok.save_pretrained(tmp_path / "split")
    assert len(list((tmp_path / "split").glob("*.safetensors"))) > 2
    assert load_model(tmp_path / "split", device="cpu").origin.checkpoint == cpu.origin.checkpoint
    unload_models()


def test_a_file_that_was_written_anew_is_no_origin(folder: Path) -> None:
    lm = load_model(folder, device="cpu", dtype="fp32")
    save_file(load_file(folder / "model.safetensors") | {"more": torch.ones(1)}, folder / "model.safetensors")
    assert lm.origin.checkpoint == ""
