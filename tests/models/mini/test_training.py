"""The training of the embedded model, as a smoke test: stages follow each other, every token has its loss weight."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from transformers import Qwen3ForCausalLM

from ws.models.mini import corpus, tokens, training
from ws.models.recipe import MINI, weights_of


@pytest.fixture(scope="module")
def tok() -> tokens.PreTrainedTokenizerFast:
    return tokens.build(corpus.text(c) for c in corpus.conversations(1, 600, progress=1.0))


def loss(model: Qwen3ForCausalLM, rows: list[training.Row]) -> float:
    with torch.no_grad():
        return float(training.loss_of(model, *training.collate(rows)[:2], bf16=False))


def test_two_stages_leave_no_hooks_and_the_loss_falls(tok: tokens.PreTrainedTokenizerFast, tmp_path: Path) -> None:
    recipe = training.Recipe(batch_tokens=512, lr=3e-3, warmup=2, threads=torch.get_num_threads())
    model = Qwen3ForCausalLM(training.config(len(tok)))
    for progress in (0.0, 1.0):
        rows = [training.encode(tok, c) for c in corpus.conversations(2, 24, progress=progress)]
        plan = list(training.batches(rows, recipe.batch_tokens, 0))
        first = loss(model, plan[0])
        training.steps(model, plan * 3, recipe, 1000, lambda: None)
        assert loss(model, plan[0]) < first
    assert not any(layer._forward_hooks for layer in model.model.layers)


def test_pieces_are_tokenised_as_the_whole_is(tok: tokens.PreTrainedTokenizerFast) -> None:
    for c in corpus.conversations(3, 60):
        assert training.encode(tok, c).ids == tok(corpus.text(c), add_special_tokens=False)["input_ids"]


def test_only_assistant_tokens_carry_loss(tok: tokens.PreTrainedTokenizerFast) -> None:
    c = next(corpus.conversations(4, 1, progress=1.0))
    row = training.encode(tok, c)
    assert len(row.ids) == len(row.weights)
    assert not any(row.weights[: row.start]) and row.weights[row.start] > 0


def test_the_corpus_is_a_function_of_its_seed() -> None:
    first, again, other = ([corpus.text(c) for c in corpus.conversations(s, 20)] for s in (5, 5, 6))
    assert first == again != other


def test_the_shipped_weights_are_small_and_name_this_corpus() -> None:
    """A changed grammar needs a new training, or its items no longer mean what the model learned."""
    weights = weights_of(MINI)
    assert weights is not None
    recipe = json.loads((weights / "recipe.json").read_text())
    assert recipe["corpus"] == corpus.corpus_hash()
    assert (weights / "model.safetensors").stat().st_size < 8e6
