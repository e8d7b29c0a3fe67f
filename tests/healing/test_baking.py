"""Baking: merged weights give the attached logits, the base stays, plain transformers loads the folder."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from tests.builders.adapters import IDS, logits, made, weights_hash
from tests.builders.tiny_models import tiny_lm
from ws.errors import UserError
from ws.healing.baking import bake, export
from ws.models.adapters.attaching import attached
from ws.models.lm import LM


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
