"""Tiny models of ten architectures, built in code in milliseconds: lively random weights, a byte-level tokenizer.

`tiny_lm` hands out one shared instance per arguments; pass fresh=True for one that a test may change.
"""

from __future__ import annotations

import functools
from typing import Any

import torch
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, processors
from transformers import AutoConfig, AutoModelForCausalLM, PreTrainedModel, PreTrainedTokenizerFast

from ws.models.lm import LM, wrap_model

ARCHS = ("llama", "mistral", "qwen2", "qwen3", "gemma2", "gemma3", "phi3", "gpt2", "gpt_neox", "opt")
VOCAB = 304

# ChatML; with enable_thinking=False the generation prompt ends in a closed empty think, as Qwen3's does
CHATML = (
    "{% for m in messages %}{{ '<|im_start|>' + m.role + '\n' + m.content + '<|im_end|>\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}"
    "{% if enable_thinking is defined and not enable_thinking %}{{ '<think>\n\n</think>\n\n' }}{% endif %}{% endif %}"
)
# Gemma 2's: no system role, "model" for the assistant, a BOS of its own
GEMMA = (
    "{{ bos_token }}{% if messages[0].role == 'system' %}{{ raise_exception('System role not supported') }}{% endif %}"
    "{% for m in messages %}{{ '<start_of_turn>' + ('model' if m.role == 'assistant' else m.role) + '\n'"
    " + m.content | trim + '<end_of_turn>\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<start_of_turn>model\n' }}{% endif %}"
)
SPECIALS = ("<pad>", "<bos>", "<|endoftext|>", "<|im_start|>", "<|im_end|>", "<think>", "</think>")
SPECIALS += ("<start_of_turn>", "<end_of_turn>")
MERGES = (("Ċ", "Ċ"), ("t", "h"), ("th", "e"), ("Ġ", "the"), ("i", "n"), ("a", "n"), ("an", "d"), ("Ġ", "and"))


@functools.cache
def _backend(bos: bool) -> Tokenizer:
    """Bytes, a few merges and the special tokens; `bos` puts <bos> in front of a plain text, as Gemma and Llama do."""
    symbols = sorted(pre_tokenizers.ByteLevel.alphabet()) + ["".join(pair) for pair in MERGES]
    tok = Tokenizer(models.BPE(vocab={s: i for i, s in enumerate(symbols)}, merges=list(MERGES)))
    tok.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tok.decoder = decoders.ByteLevel()
    tok.add_special_tokens([AddedToken(s, special=True, normalized=False) for s in SPECIALS])
    if bos:
        tok.post_processor = processors.TemplateProcessing(
            single="<bos> $A", special_tokens=[("<bos>", tok.token_to_id("<bos>"))]
        )
    return tok


def tiny_tokenizer(template: str | None = CHATML, bos: bool = False) -> PreTrainedTokenizerFast:
    """A tokenizer of its own (settings can be changed) with the given chat template."""
    tok = PreTrainedTokenizerFast(
        tokenizer_object=_backend(bos),
        pad_token="<pad>",
        bos_token="<bos>",
        eos_token="<|im_end|>" if template == CHATML else "<|endoftext|>",
    )
    tok.chat_template = template
    return tok


def tiny_config(arch: str, **overrides: Any) -> Any:
    """Four layers, width 32, two heads (one of keys and values where the architecture shares them)."""
    shared: dict[str, Any] = {"vocab_size": VOCAB, "bos_token_id": None, "eos_token_id": None, "pad_token_id": None}
    wide = {"hidden_size": 32, "num_hidden_layers": 4, "num_attention_heads": 2, "max_position_embeddings": 512}
    grouped = {**wide, "num_key_value_heads": 1, "intermediate_size": 48}
    own: dict[str, dict[str, Any]] = {
        "qwen3": {**grouped, "head_dim": 16},
        "gemma2": {**grouped, "head_dim": 16, "sliding_window": 8, "query_pre_attn_scalar": 16},
        "gemma3": {**grouped, "head_dim": 16, "sliding_window": 8, "query_pre_attn_scalar": 16},
        "gpt2": {"n_embd": 32, "n_layer": 4, "n_head": 2, "n_inner": 48, "n_positions": 512},
        "gpt_neox": {**wide, "intermediate_size": 48},
        "opt": {**wide, "ffn_dim": 48, "word_embed_proj_dim": 32},
    }
    name = {"gemma3": "gemma3_text"}.get(arch, arch)
    return AutoConfig.for_model(name, **{**shared, **own.get(arch, grouped), **overrides})


def lively(model: PreTrainedModel, seed: int) -> PreTrainedModel:
    """Random weights under which blocks matter, norms and biases are not trivial and logits spread by about 1.5."""
    dice = torch.Generator().manual_seed(seed)
    embedding = {id(p) for m in (model.get_input_embeddings(), model.get_output_embeddings()) for p in m.parameters()}
    with torch.no_grad():
        for _, p in sorted(model.named_parameters()):
            noise = torch.randn(p.shape, generator=dice)
            if id(p) in embedding and p.ndim == 2:
                p.copy_(0.27 * noise)
            elif p.ndim >= 2:
                p.copy_(noise / p.shape[-1] ** 0.5)
            else:
                p.add_(0.1 * noise)
    return model


def tiny_model(arch: str, seed: int = 0, **overrides: Any) -> PreTrainedModel:
    """A causal LM of the architecture, random weights by the seed."""
    return lively(AutoModelForCausalLM.from_config(tiny_config(arch, **overrides)), seed)


def tiny_lm(
    arch: str = "qwen3",
    chat: bool = True,
    seed: int = 0,
    *,
    fresh: bool = False,
    template: str = CHATML,
    **overrides: Any,
) -> LM:
    """A tiny LM, shared between calls with equal arguments unless fresh; chat=False: no chat template."""
    key = (arch, chat, seed, template, tuple(sorted(overrides.items())))
    return _build(*key) if fresh else _shared(*key)


def _build(arch: str, chat: bool, seed: int, template: str, overrides: tuple[tuple[str, Any], ...]) -> LM:
    model = tiny_model(arch, seed, **dict(overrides))
    tok = tiny_tokenizer(template if chat else None, bos=arch.startswith("gemma") or arch == "llama")
    model.generation_config.eos_token_id = tok.eos_token_id
    model.generation_config.pad_token_id = tok.pad_token_id
    return wrap_model(model, tok, name=f"tiny-{arch}")


_shared = functools.cache(_build)
