"""Baking: merged weights give the attached logits, the base stays, plain transformers loads the folder."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoConfig, AutoModelForCausalLM, AutoModelForImageTextToText, AutoTokenizer

from tests.builders.adapters import IDS, logits, made, weights_hash
from tests.builders.tiny_models import VOCAB, tiny_lm, tiny_model, tiny_tokenizer
from ws.errors import UserError
from ws.healing.baking import bake, export
from ws.models.adapters.attaching import attached
from ws.models.lm import LM, load_model, wrap_model


def test_baked_is_attached(arch_lm: LM) -> None:
    stack = [made(arch_lm, seed=1), (made(arch_lm, seed=2), -0.5)]
    before, hashed = logits(arch_lm), weights_hash(arch_lm)
    with attached(arch_lm, stack):
        expected = logits(arch_lm)
    baked = bake(arch_lm, stack)
    torch.testing.assert_close(logits(baked), expected, rtol=0, atol=1e-5)
    assert (expected - before).abs().max() > 0.05
    assert torch.equal(logits(arch_lm), before) and weights_hash(arch_lm) == hashed


def test_a_baked_model_is_a_model_of_its_own(tiny: LM) -> None:
    adapter = made(tiny)
    baked = bake(tiny, [adapter])
    assert baked.fingerprint != tiny.fingerprint and bake(tiny, [adapter]).fingerprint == baked.fingerprint
    assert baked.name.startswith("tiny-qwen3+") and baked.recipe == tiny.recipe and baked.lock is not tiny.lock
    before = logits(tiny)
    with torch.no_grad():
        for p in baked.model.parameters():
            p.zero_()
    baked.model.to(torch.bfloat16)
    assert torch.equal(logits(tiny), before)
    with pytest.raises(UserError, match=r"after ws.bake"), attached(baked, [adapter]):
        pass


def test_mixed_families_bake(tiny: LM) -> None:
    stack = [made(tiny, "dora", seed=1), made(tiny, "delora", seed=2)]
    with attached(tiny, stack):
        expected = logits(tiny)
    assert torch.equal(logits(bake(tiny, stack)), expected)


def test_tied_embeddings_stay_tied() -> None:
    lm = tiny_lm("qwen3", tie_word_embeddings=True)
    baked = bake(lm, [made(lm)])
    assert baked.model.get_input_embeddings().weight is baked.model.get_output_embeddings().weight


@pytest.mark.parametrize("arch", ["qwen3", "gemma2", "gpt2"])
def test_export_loads_with_plain_transformers(arch: str, tmp_path: Path) -> None:
    lm = tiny_lm(arch)
    adapter = made(lm)
    error = export(lm, [adapter], tmp_path / "student")
    assert 0 <= error < 1e-4
    model = AutoModelForCausalLM.from_pretrained(tmp_path / "student").eval()
    with attached(lm, [adapter]):
        expected = logits(lm)
    with torch.no_grad():
        torch.testing.assert_close(model(input_ids=IDS, use_cache=False).logits, expected, rtol=0, atol=1e-4)
    assert model.generation_config.use_cache is not False
    tok = AutoTokenizer.from_pretrained(tmp_path / "student")
    assert tok.encode("Hello there") == lm.tok.encode("Hello there")
    assert tok.get_chat_template() == lm.tok.get_chat_template()


def test_export_overwrites_only_exports(tiny: LM, tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "config.json").write_text("{}")
    with pytest.raises(UserError, match="no earlier export"):
        export(tiny, [made(tiny)], tmp_path / "mine")
    export(tiny, [made(tiny)], tmp_path / "student")
    export(tiny, [made(tiny, seed=1)], tmp_path / "student")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["mine", "student"]


# --- what was published stays as it was published


@pytest.mark.parametrize(
    "published",
    [
        {"do_sample": False, "temperature": 0.9, "top_p": 0.6},  # Vicuna, Llama-2-chat
        {"do_sample": False, "temperature": 0.9, "use_cache": False},
        {"cache_implementation": "hybrid", "do_sample": True, "top_k": 64},  # Gemma
        {"num_beams": 1, "early_stopping": True},
    ],
)
def test_an_odd_generation_config_is_written_as_it_was(published: dict[str, Any], tmp_path: Path) -> None:
    lm = tiny_lm("llama")
    lm.model.save_pretrained(tmp_path / "m")
    lm.tok.save_pretrained(tmp_path / "m")
    stored = {"eos_token_id": lm.tok.eos_token_id, **published}
    (tmp_path / "m" / "generation_config.json").write_text(json.dumps(stored))
    lm = load_model(tmp_path / "m", device="cpu")
    assert lm.model.generation_config.use_cache is not False and lm.model.config.use_cache is not False
    assert export(lm, [made(lm)], tmp_path / "student") < 1e-4
    written = json.loads((tmp_path / "student" / "generation_config.json").read_text())
    assert {name: written.get(name) for name in stored} == stored
    assert lm.model.generation_config.use_cache is not False


def test_a_cache_that_was_off_is_off_in_what_is_written(tmp_path: Path) -> None:
    model = tiny_model("llama")
    model.config.use_cache = False
    lm = wrap_model(model, tiny_tokenizer(), "trained")
    assert lm.model.config.use_cache
    export(lm, [made(lm)], tmp_path / "student")
    assert json.loads((tmp_path / "student" / "config.json").read_text())["use_cache"] is False
    assert lm.model.config.use_cache


SHAPES = {"num_attention_heads": 2, "num_key_value_heads": 1, "intermediate_size": 48, "max_position_embeddings": 512}
SHAPES |= {"vocab_size": VOCAB, "hidden_size": 32, "num_hidden_layers": 4, "head_dim": 16}
EYE = {"hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 48, "image_size": 28}
EYE |= {"patch_size": 14}
SEEING: dict[str, dict[str, Any]] = {
    "mistral3": {"text_config": {**SHAPES, "model_type": "mistral"}, "vision_config": {**EYE, "model_type": "pixtral"},
                 "image_token_index": 1},
    "smolvlm": {"text_config": {**SHAPES, "model_type": "llama"}, "vision_config": EYE, "image_token_id": 1},
    "llava": {"text_config": {**SHAPES, "model_type": "llama"}, "image_token_index": 1,
              "vision_config": {**EYE, "model_type": "clip_vision_model"}},
    "gemma3": {"text_config": {**SHAPES, "query_pre_attn_scalar": 16, "sliding_window": 8}, "vision_config": EYE,
               "image_token_index": 1},
}  # fmt: skip
PROCESSOR = ("preprocessor_config.json", "processor_config.json", "video_preprocessor_config.json")


@pytest.mark.parametrize("kind", SEEING)
def test_a_vision_language_model_is_exported_whole(kind: str, tmp_path: Path) -> None:
    model = AutoModelForImageTextToText.from_config(AutoConfig.for_model(kind, **SEEING[kind]))
    tok = tiny_tokenizer()
    model.generation_config.eos_token_id = tok.eos_token_id
    model.save_pretrained(tmp_path / kind)
    tok.save_pretrained(tmp_path / kind)
    for name in PROCESSOR:
        (tmp_path / kind / name).write_text(json.dumps({"image_processor_type": "CLIPImageProcessor"}))
    lm = load_model(tmp_path / kind, device="cpu")
    assert export(lm, [made(lm)], tmp_path / "student") < 1e-4
    again = load_model(tmp_path / "student", device="cpu")
    assert type(again.model) is type(lm.model)
    for name in PROCESSOR:
        assert (tmp_path / "student" / name).read_bytes() == (tmp_path / kind / name).read_bytes()
