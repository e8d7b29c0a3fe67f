"""Parity with llama.cpp on the same file: ids of odd texts under every known cut, and the likeliest next token."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from tests.builders.gguf_files import write_vocabulary
from tests.builders.llama_cpp import llama_cpp
from tests.builders.odd_texts import odd_texts
from ws.models.gguf.pre_tokenizers import PRE_TOKENIZERS
from ws.models.lm import LM, load_model
from ws.models.recipe import SMOLLM2, weights_of

pytestmark = pytest.mark.slow

# llama.cpp multiplies with activations rounded to 8 bits. Measured: .960, so .93 is three standard errors below; where
# the two differ, ours gives their token .91 nats less at most
AGREES, GAP = 0.93, 1.5
FORCED = 500


def weights() -> Path:
    found = weights_of(SMOLLM2)
    if found is None or not found.is_file():
        pytest.skip(f"THE REAL MODEL IS NOT INSTALLED: {SMOLLM2.missing}")
    return found


def test_ids_are_llama_cpps(smollm2: LM) -> None:
    texts = odd_texts()
    assert len(texts) == 200
    with llama_cpp(weights()) as ask:
        assert [text for text in texts if smollm2.encode(text) != ask.ids(text)] == []
        assert smollm2.prompt_ids("1. Hi", system="Be brief.") == ask.ids(
            "<|im_start|>system\nBe brief.<|im_end|>\n<|im_start|>user\n1. Hi<|im_end|>\n<|im_start|>assistant\n"
        )


@pytest.mark.parametrize("pre", PRE_TOKENIZERS)
def test_ids_are_llama_cpps_under_every_cut(pre: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """smollm2's vocabulary, cut as other families cut."""
    monkeypatch.setenv("WS_MODELS", str(tmp_path))
    file = write_vocabulary(tmp_path / "model.gguf", weights(), pre)
    lm = load_model(file, device="cpu")
    with llama_cpp(file) as ask:
        assert [text for text in odd_texts() if lm.encode(text) != ask.ids(text)] == []


def test_the_likeliest_token_is_llama_cpps(smollm2: LM) -> None:
    """Behind each of 500 tokens of plain English that the model did not write."""
    text = (Path(__file__).parents[2] / "LICENSE").read_text() + (Path(__file__).parents[2] / "README.md").read_text()
    ids = smollm2.encode(text)[: FORCED + 1]
    with torch.inference_mode():
        logits = smollm2.model(input_ids=torch.tensor([ids])).logits[0, :FORCED]
    with llama_cpp(weights()) as ask:
        theirs = torch.tensor([ask.top(ids[: k + 1]) for k in range(FORCED)])
    gaps = logits.amax(-1) - logits.gather(-1, theirs[:, None])[:, 0]  # nats; 0 where both choose the same token
    share = (gaps == 0).float().mean().item()
    print(f"top-1 agreement over {FORCED} forced tokens {share:.3f}; largest gap of the others {gaps.max():.2f} nats")
    assert share >= AGREES and gaps.max() < GAP
