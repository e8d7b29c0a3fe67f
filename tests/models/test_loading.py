"""Checkpoints that ask for what is not here, or are odd: one line that says what and the way out, exit code 2."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.builders.tiny_models import tiny_lm
from ws.app.cli import main
from ws.errors import UserError
from ws.models.lm import LM, load_model


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A model as save_pretrained writes it."""
    lm = tiny_lm("llama")
    lm.model.save_pretrained(tmp_path / "saved")
    lm.tok.save_pretrained(tmp_path / "saved")
    return tmp_path / "saved"


def changed(folder: Path, file: str = "config.json", **values: Any) -> Path:
    """The folder with these values in its file."""
    stored = json.loads((folder / file).read_text())
    (folder / file).write_text(json.dumps(stored | values))
    return folder


QUANTIZED = {
    "awq": {"quant_method": "awq", "bits": 4},
    "gptq": {"quant_method": "gptq", "bits": 4, "group_size": 128},
    "bitsandbytes": {"quant_method": "bitsandbytes", "load_in_4bit": True},
    "compressed": {"quant_method": "compressed-tensors", "config_groups": {}, "format": "int-quantized"},
    "hqq": {"quant_method": "hqq", "quant_config": {}},
    "torchao": {"quant_method": "torchao", "quant_type": {"default": {}}},
    "quanto": {"quant_method": "quanto", "weights": "int8"},
    "eetq": {"quant_method": "eetq", "weights": "int8"},
    "no table": "4bit",
}


@pytest.mark.parametrize("how", QUANTIZED.values(), ids=QUANTIZED)
def test_a_quantized_checkpoint_whose_library_is_missing(folder: Path, how: Any) -> None:
    with pytest.raises(UserError, match="could not load"):
        load_model(changed(folder, quantization_config=how), device="cpu")


ODD: dict[str, dict[str, Any]] = {
    "flash attention": {"_attn_implementation": "flash_attention_2"},
    "attention of next year": {"attn_implementation": "next"},
    "rope": {"rope_scaling": {"rope_type": "next", "factor": 2.0}, "rope_parameters": {"rope_type": "next"}},
    "activation": {"hidden_act": "next"},
    "type": {"model_type": "next"},
    "text for a number": {"hidden_size": "wide"},
    "no heads": {"num_attention_heads": 0},
    "heads that do not fit": {"num_attention_heads": 7},
    "depth": {"num_hidden_layers": -1},
    "vocabulary": {"vocab_size": 0},
    "architectures": {"architectures": 3},
    "dtype": {"dtype": "float7"},
    "quantization that transformers skips": {"quantization_config": {"quant_method": "next"}},
    "auto_map": {"model_type": None, "auto_map": {"AutoModelForCausalLM": "mine.Model"}},
}


@pytest.mark.parametrize("values", ODD.values(), ids=ODD)
def test_a_config_that_is_odd(folder: Path, values: dict[str, Any]) -> None:
    try:
        lm = load_model(changed(folder, **values), device="cpu")
    except UserError as error:
        assert "\n" not in str(error) and len(str(error)) < 700
    else:
        assert lm.model(lm.model.dummy_inputs["input_ids"] % 300).logits.isfinite().all()


@pytest.mark.parametrize("text", ["", "{", "[]", "null", '"config"', '{"model_type": {}}', "\x00\xff"])
@pytest.mark.parametrize("file", ["config.json", "generation_config.json", "tokenizer.json", "tokenizer_config.json"])
def test_a_file_that_is_broken(folder: Path, file: str, text: str) -> None:
    (folder / file).write_text(text, encoding="latin-1")
    try:
        load_model(folder, device="cpu")
    except UserError as error:
        assert "\n" not in str(error)


def test_weights_that_are_not_the_weights_are_told_apart(folder: Path) -> None:
    file = folder / "model.safetensors"
    file.write_bytes(file.read_bytes()[:5000])
    with pytest.raises(UserError, match=r"[^.]\. Use a folder"):
        load_model(folder, device="cpu")
    file.write_text("version https://git-lfs.github.com/spec/v1\noid sha256:ab\nsize 12\n")
    with pytest.raises(UserError, match=r"model.safetensors is a Git LFS pointer.*git lfs pull"):
        load_model(folder, device="cpu")


def test_the_command_line_says_it_in_one_line(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    changed(folder, quantization_config=QUANTIZED["awq"])
    assert main(["doctor", "--model", str(folder), "--axis", "care_over_authority"]) == 2
    said = capsys.readouterr().err.strip().splitlines()
    assert said[-1].startswith("ws: could not load") and "Install what it names" in said[-1]


def test_greedy_decoding_in_the_generation_config_is_said(folder: Path) -> None:
    assert "greedy" not in load_model(folder, device="cpu").sampling_from
    lm: LM = load_model(changed(folder, "generation_config.json", do_sample=False, temperature=0.9), device="cpu")
    assert lm.sampling.temperature == 0.9
    assert lm.sampling_from.endswith("which asks for greedy decoding: do_sample=false; T 0 is that")
