"""A GGUF file as a model: loaded by its path, its copy checked and made again, and every file that cannot be one."""

from __future__ import annotations

import json
import os
import shutil
import signal
import struct
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gguf
import numpy as np
import pytest
import torch
from safetensors import SafetensorError
from tokenizers import Tokenizer
from tokenizers.models import BPE

from tests.builders.gguf_files import write_gguf
from tests.builders.tiny_models import CHATML, tiny_lm
from ws.app.cli import main
from ws.errors import UserError
from ws.models.gguf import preparing, unpacking
from ws.models.gguf.header import read_header
from ws.models.gguf.pre_tokenizers import PRE_TOKENIZERS, set_pre_tokenizer
from ws.models.lm import load_model, unload_models

ROOT = Path(__file__).parents[2]


@pytest.fixture
def copies(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where this test's copies are kept."""
    monkeypatch.setenv("WS_MODELS", str(tmp_path / "copies"))
    return tmp_path / "copies"


@pytest.fixture
def file(tmp_path: Path, copies: Path) -> Path:
    return write_gguf(tmp_path / "tiny.gguf")


def leftovers(copies: Path) -> list[str]:
    """What lies among the copies beside whole ones, their names, what was measured, and the lock."""
    found = list(copies.iterdir()) if copies.is_dir() else []
    whole = {note.parent for note in copies.glob("*/prepared.json")}
    return [path.name for path in found if path not in whole and path.name not in ("files", "machine", ".lock")]


def of(copies: Path) -> Path:
    (note,) = copies.glob("*/prepared.json")
    return note.parent


# --- a file is a model ----------------------------------------------------------------------------------------------


def test_a_file_loads_and_says_one_line(file: Path, copies: Path, capfd: pytest.CaptureFixture[str]) -> None:
    capfd.readouterr()
    lm = load_model(file, device="cpu")
    said = capfd.readouterr()
    assert said.out == "" and said.err.splitlines() == [
        f"tiny.gguf: preparing a safetensors copy in {of(copies)} (once)"
    ]
    unload_models()
    again = load_model(file, device="cpu")
    assert capfd.readouterr() == ("", "")
    assert again is not lm and again.fingerprint == lm.fingerprint and again.name == str(file)
    assert leftovers(copies) == []
    with torch.inference_mode():
        assert lm.model(input_ids=torch.tensor([lm.prompt_ids("Hi.")])).logits.isfinite().all()


def test_weights_tokens_and_ends_are_the_files(file: Path) -> None:
    lm, own = load_model(file, device="cpu"), tiny_lm("llama")
    values = {tensor.name: tensor.data for tensor in gguf.GGUFReader(file).tensors}
    embedded = lm.model.get_input_embeddings().weight.detach().numpy()
    assert np.array_equal(embedded, values["token_embd.weight"])
    gate = lm.model.get_submodule("model.layers.1.mlp.gate_proj").weight.detach().numpy()
    assert np.array_equal(gate, values["blk.1.ffn_gate.weight"])
    text = "the and in\n\n12 thé"
    assert lm.prompt_ids(text)[:20] == own.prompt_ids(text)[:20]
    assert lm.tok.decode(lm.encode(text)) == text
    assert lm.tok.convert_ids_to_tokens(sorted(lm.eos_ids)) == ["<|im_end|>"]


def test_padding_is_not_the_end_of_a_turn(file: Path) -> None:
    """A stock collator masks padding out of the loss."""
    lm = load_model(file, device="cpu")
    assert lm.tok.pad_token == "<|endoftext|>" and lm.pad_id not in lm.eos_ids
    assert lm.model.config.pad_token_id == lm.model.generation_config.pad_token_id == lm.pad_id


def test_quantized_weights_are_unpacked(tmp_path: Path, copies: Path) -> None:
    file = write_gguf(tmp_path / "q8.gguf", number="Q8_0")
    header = read_header(file)
    assert header.quantization == {"F32": 5, "Q8_0": 15}
    lm = load_model(file, device="cpu")
    weight = lm.model.get_submodule("model.layers.0.mlp.up_proj").weight
    plain = load_model(write_gguf(tmp_path / "plain.gguf"), device="cpu")
    error = (weight - plain.model.get_submodule("model.layers.0.mlp.up_proj").weight).abs().max()
    assert weight.dtype == torch.float32 and 0 < error < 0.02


def test_a_file_without_a_template_is_a_base_model(tmp_path: Path, copies: Path) -> None:
    lm = load_model(write_gguf(tmp_path / "base.gguf", template=None), device="cpu")
    assert not lm.has_chat and lm.eos_ids
    assert lm.tok.decode(lm.prompt_ids("Hi.", system="Be brief.")) == "Be brief.\n\nHi.\n"


def test_a_folder_that_holds_one_file_is_that_file(file: Path, tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    shutil.copy(file, tmp_path / "folder")
    lm = load_model(tmp_path / "folder", device="cpu")
    assert lm.fingerprint == load_model(file, device="cpu").fingerprint
    assert len(list(preparing.models_folder().glob("*/prepared.json"))) == 1, "one copy for equal files"


def test_a_file_written_anew_is_another_model(file: Path) -> None:
    before = load_model(file, device="cpu").fingerprint
    write_gguf(file, seed=1)
    os.utime(file, ns=(1, 1))
    assert load_model(file, device="cpu").fingerprint != before


# --- its copy -------------------------------------------------------------------------------------------------------


def cut_weights(copy: Path) -> None:
    weights = copy / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-100])


def flip_a_weight(copy: Path) -> None:
    """One bit of the last number: the size stays."""
    with (copy / "model.safetensors").open("r+b") as data:
        data.seek(-1, os.SEEK_END)
        last = data.read(1)[0]
        data.seek(-1, os.SEEK_END)
        data.write(bytes([last ^ 0x40]))


def spoil_the_tokenizer(copy: Path) -> None:
    text = (copy / "tokenizer.json").read_text()
    (copy / "tokenizer.json").write_text(text.replace("<|im_end|>", "<|im_enx|>"))


SPOILT: dict[str, Callable[[Path], object]] = {
    "cut": cut_weights,
    "flipped": flip_a_weight,
    "tokenizer": spoil_the_tokenizer,
    "gone": lambda copy: (copy / "config.json").unlink(),
    "note": lambda copy: (copy / "prepared.json").write_text("{"),
    "all": shutil.rmtree,
}


@pytest.mark.parametrize("how", SPOILT)
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_a_damaged_copy_is_made_again(
    file: Path, copies: Path, how: str, dtype: str, capfd: pytest.CaptureFixture[str]
) -> None:
    before = load_model(file, device="cpu", dtype=dtype).fingerprint
    unload_models()
    SPOILT[how](of(copies))
    capfd.readouterr()
    lm = load_model(file, device="cpu", dtype=dtype)
    assert "preparing a safetensors copy" in capfd.readouterr().err
    assert lm.fingerprint == before and lm.tok.convert_ids_to_tokens(min(lm.eos_ids)) == "<|im_end|>"
    assert leftovers(copies) == []


def test_a_copy_that_is_damaged_twice_is_said(file: Path, monkeypatch: pytest.MonkeyPatch, copies: Path) -> None:
    write = preparing._write

    def spoil(*given: Any) -> None:
        write(*given)
        flip_a_weight(given[-1])

    monkeypatch.setattr(preparing, "_write", spoil)
    with pytest.raises(UserError, match=r"reads otherwise than it was written, twice.*WS_MODELS"):
        load_model(file, device="cpu")
    assert not list(copies.glob("*/prepared.json"))


PREPARE = "import sys, ws; print(ws.load_model(sys.argv[1], device='cpu').fingerprint)"


def started(file: Path, code: str = PREPARE) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", code, str(file)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=ROOT / "src")


@pytest.mark.slow
def test_two_processes_prepare_one_file_once(file: Path, copies: Path) -> None:
    ended = [process.communicate(timeout=300) for process in [started(file), started(file)]]
    prints = {out for out, _ in ended}
    assert len(prints) == 1 and prints != {""}
    assert "".join(err for _, err in ended).count("preparing a safetensors copy") == 1
    assert leftovers(copies) == []


HANG = """
import sys, time, ws
from ws.models.gguf import preparing
preparing._contents = lambda folder: (print("half", file=sys.__stdout__, flush=True), time.sleep(600))
ws.load_model(sys.argv[1], device="cpu")
"""


@pytest.mark.slow
def test_a_process_that_is_killed_leaves_nothing_that_counts(file: Path, copies: Path) -> None:
    process = started(file, HANG)
    assert process.stdout is not None and process.stdout.readline() == "half\n"
    process.send_signal(signal.SIGKILL)
    process.wait(timeout=60)
    assert not list(copies.glob("*/prepared.json")) and len(leftovers(copies)) == 1
    start = time.monotonic()
    load_model(file, device="cpu")
    assert leftovers(copies) == [] and time.monotonic() - start < 60, "its lock went with it"


def test_other_peoples_temporaries_are_left_alone(file: Path, copies: Path) -> None:
    """WS_MODELS may name a folder in which others write, further down."""
    other, own = copies / "runs" / "a" / ".tmp-1", copies / "files" / ".tmp-2"
    for place in (other, own):
        place.parent.mkdir(parents=True)
        place.write_text("half")
    load_model(file, device="cpu")
    assert other.exists() and not own.exists()


def test_a_spoiled_copy_that_another_process_has_mended(file: Path, copies: Path) -> None:
    lm = load_model(file, device="cpu")
    copy = of(copies)
    assert not preparing.spoiled(copy, lm.dtype, lm.fingerprint)
    shutil.rmtree(copy)
    assert preparing.spoiled(copy, lm.dtype, "other"), "it is gone: to be made again, and no traceback"


def test_no_room_for_the_copy(file: Path, copies: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    usage = shutil.disk_usage(file.parent)._replace(free=1 << 20)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage)
    with pytest.raises(UserError, match=r"no room for the copy of .*tiny.gguf.*64 MiB, 1 MiB are free.*WS_MODELS"):
        load_model(file, device="cpu")
    assert leftovers(copies) == [] and not list(copies.glob("*/prepared.json"))


def test_a_disk_that_fills_up_meanwhile(file: Path, copies: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: Any) -> None:
        raise SafetensorError("Error while serializing: I/O error: No space left on device (os error 28)")

    monkeypatch.setattr(preparing, "unpacked", full)
    with pytest.raises(UserError, match=r"The disk is full: .*Nothing half written.*WS_MODELS"):
        load_model(file, device="cpu")
    assert leftovers(copies) == []


@pytest.mark.parametrize("error", [PermissionError(13, "Permission denied"), OSError(30, "Read-only file system")])
def test_a_folder_that_cannot_be_written(
    error: OSError, file: Path, copies: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: Any, **__: Any) -> None:
        raise error

    monkeypatch.setattr(preparing, "folder_lock", refuse)
    with pytest.raises(UserError, match=rf"could not be written: {error.strerror}.*WS_MODELS"):
        load_model(file, device="cpu")


# --- what is no model -----------------------------------------------------------------------------------------------


def text_file(path: Path) -> Path:
    path.write_text("# a model card\n")
    return path


def empty_file(path: Path) -> Path:
    path.write_bytes(b"")
    return path


def unknown_type(path: Path, kind: int = 77) -> Path:
    """The type of the first tensor overwritten."""
    data = bytearray(write_gguf(path).read_bytes())
    name = b"token_embd.weight"
    struct.pack_into("<I", data, data.index(name) + len(name) + 4 + 16, kind)
    path.write_bytes(bytes(data))
    return path


def old_version(path: Path) -> Path:
    data = bytearray(write_gguf(path).read_bytes())
    struct.pack_into("<I", data, 4, 1)
    path.write_bytes(bytes(data))
    return path


BAD: dict[str, tuple[Callable[[Path], Path], str]] = {
    "text": (text_file, r"is no GGUF file: it begins with b'# a '"),
    "empty": (empty_file, r"cannot be read: cannot mmap an empty file"),
    "version": (old_version, r"is GGUF version 1"),
    "architecture": (lambda p: write_gguf(p, arch="rwkv7"), r"'rwkv7', which transformers cannot read.*hub id"),
    "projector": (lambda p: write_gguf(p, arch="clip", kind=None), r"is a vision projector, not a language model.*own"),
    "mmproj": (lambda p: write_gguf(p, kind="mmproj"), r"is a vision projector, not a language model"),
    "adapter": (lambda p: write_gguf(p, kind="adapter"), r"holds a 'adapter', not a whole model"),
    "type": (unknown_type, r"quantization that ws cannot unpack \(type 77\).*Q8_0"),
    "integers": (lambda p: unknown_type(p, 26), r"quantization that ws cannot unpack \(I32\)"),
    "endless": (lambda p: write_gguf(p, template=None, eos=False), r"neither a chat template nor a token that ends"),
    "pre": (lambda p: write_gguf(p, pre="tekken"), r"pre-tokenizer 'tekken', which ws does not know \(gpt-2, smollm"),
    "no pre": (lambda p: write_gguf(p, pre=None), r"pre-tokenizer 'default', which ws does not know"),
    "pieces": (lambda p: write_gguf(p, tokenizer="llama"), r"'llama' tokenizer of llama.*only Gemma"),
    "weight": (lambda p: write_gguf(p, leave_out="blk.1.ffn_up.weight"), r"lacks 1 weights .*layers.1.mlp.up_proj"),
}


@pytest.mark.parametrize("what", BAD)
def test_what_is_no_model_is_said_in_one_line(
    what: str, tmp_path: Path, copies: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    make, said = BAD[what]
    file = make(tmp_path / "bad.gguf")
    with pytest.raises(UserError, match=said) as caught:
        load_model(file, device="cpu")
    assert "\n" not in str(caught.value) and str(caught.value).endswith(".")
    assert leftovers(copies) == [] and not list(copies.glob("*/prepared.json"))
    capsys.readouterr()
    assert main(["steer", "Hi.", "--model", str(file)]) == 2
    lines = [line for line in capsys.readouterr().err.splitlines() if "preparing a safetensors" not in line]
    assert len(lines) == 1 and str(caught.value) in lines[0]


def cuts() -> list[int]:
    """Inside the magic, the counts, a key, the tokens, the table of tensors, the first and the last weight."""
    return [3, 6, 20, 40, 3000, 5200, 8000, 20000, -1]


@pytest.mark.parametrize("at", cuts())
def test_a_file_that_is_cut_off(at: int, file: Path, copies: Path) -> None:
    file.write_bytes(file.read_bytes()[:at])
    with pytest.raises(UserError, match=r"is cut off|is no GGUF file") as caught:
        load_model(file, device="cpu")
    assert "Download it again." in str(caught.value) or at < 4
    assert leftovers(copies) == []


def test_noise_in_the_header_is_a_clear_error_or_a_model(file: Path) -> None:
    """Any byte of the header overwritten: never a traceback, never an endless loop."""
    whole = file.read_bytes()
    rng = np.random.default_rng(0)
    for at in rng.integers(4, 6000, 150):
        data = bytearray(whole)
        data[at : at + 8] = b"\xff" * 8
        file.write_bytes(bytes(data))
        try:
            read_header(file)
        except UserError:
            continue


def test_which_file_of_a_folder(file: Path, tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    shutil.copy(file, folder / "a.gguf")
    (folder / "model.safetensors").touch()
    with pytest.raises(UserError, match=r"holds both safetensors and a.gguf.*Name the file itself, .*a.gguf"):
        load_model(folder)
    (folder / "model.safetensors").unlink()
    shutil.copy(file, folder / "b.gguf")
    with pytest.raises(UserError, match=r"holds 2 GGUF files \(a.gguf, ...\). Name one of them"):
        load_model(folder)
    with pytest.raises(UserError, match=r"is no model. Name a .gguf file"):
        load_model(text_file(tmp_path / "notes.txt"))
    with pytest.raises(UserError, match=r"there is no folder or file '.*gone.gguf'"):
        load_model("gone.gguf")


CUT = {  # "Ġ" is a space, "Ċ" the end of a line
    "gpt-2": ["DON", "'", "T", "Ġ12345", "ĠĠ", "Ġx", "Ċ", "Ċ", "1", "."],
    "smollm": ["DON", "'", "T", "Ġ", "1", "2", "3", "4", "5", "ĠĠ", "Ġx", "ĊĊ", "1", "."],
    "qwen2": ["DON", "'T", "Ġ", "1", "2", "3", "4", "5", "ĠĠ", "Ġx", "ĊĊ", "1", "."],
    "llama-bpe": ["DON", "'T", "Ġ", "123", "45", "ĠĠ", "Ġx", "ĊĊ", "1", "."],
}


@pytest.mark.parametrize("pre", PRE_TOKENIZERS)
def test_every_known_cut(pre: str) -> None:
    backend = Tokenizer(BPE())
    set_pre_tokenizer(backend, pre)
    found = [piece for piece, _ in backend.pre_tokenizer.pre_tokenize_str("DON'T 12345   x\n\n1.")]
    assert found == CUT[pre]
    assert backend.model.ignore_merges == (pre == "llama-bpe")


def test_transformers_is_left_as_it_was(file: Path) -> None:
    names = "GGUFReader", "get_tensor_name_map"
    before = [getattr(gguf, name) for name in names]
    load_model(file, device="cpu")
    assert [getattr(gguf, name) for name in names] == before
    assert json.loads((of(preparing.models_folder()) / "prepared.json").read_text())["source"] == "tiny.gguf"
    assert unpacking.check_tokenizer(file, read_header(file)) is None and read_header(file).template == CHATML
