"""Tiny GGUF files, written with the gguf package: a Llama of two blocks over a byte-level vocabulary of 304 tokens.

`write_gguf(path)` writes a whole one; every argument spoils something. What it holds is `tiny_lm`'s tokenizer, so that
texts, template and ends of turns are those of the other tests.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import gguf
import numpy as np

from tests.builders.tiny_models import CHATML, MERGES, VOCAB, tiny_tokenizer
from ws.models.lm import LM
from ws.models.outline import outline_of_config

WIDTH, BLOCKS, HEADS, INNER = 32, 2, 4, 64
NORMAL, CONTROL = 1, 3


def write_gguf(
    path: Path,
    *,
    arch: str = "llama",
    kind: str | None = "model",
    pre: str | None = "smollm",
    tokenizer: str = "gpt2",
    template: str | None = CHATML,
    eos: bool = True,
    pad: str | None = "<|im_end|>",
    number: Any = np.float32,
    leave_out: str = "",
    seed: int = 0,
) -> Path:
    """Write the file and return its path. leave_out: a tensor's name; number: F32's dtype or a gguf type by name."""
    writer = gguf.GGUFWriter(path, arch)
    if kind is not None:
        writer.add_type(kind)
    _add_shape(writer)
    _add_tokenizer(writer, tokenizer, pre, template, eos, pad)
    for name, shape in _shapes().items():
        if name != leave_out:
            _add_weight(writer, name, shape, number, seed)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def _add_shape(writer: gguf.GGUFWriter, vocab: int = VOCAB) -> None:
    writer.add_name("tiny")
    writer.add_context_length(512)
    writer.add_embedding_length(WIDTH)
    writer.add_block_count(BLOCKS)
    writer.add_feed_forward_length(INNER)
    writer.add_head_count(HEADS)
    writer.add_head_count_kv(HEADS)
    writer.add_rope_dimension_count(WIDTH // HEADS)
    writer.add_rope_freq_base(10000.0)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_vocab_size(vocab)


def _add_tokenizer(
    writer: gguf.GGUFWriter, model: str, pre: str | None, template: str | None, eos: bool, pad: str | None
) -> None:
    tok = tiny_tokenizer()
    tokens = tok.convert_ids_to_tokens(list(range(len(tok))))
    tokens += [f"<unused{i}>" for i in range(VOCAB - len(tokens))]
    writer.add_tokenizer_model(model)
    if pre is not None:
        writer.add_tokenizer_pre(pre)
    writer.add_token_list(tokens)
    writer.add_token_types([CONTROL if len(t) > 2 and t[0] == "<" and t[-1] == ">" else NORMAL for t in tokens])
    writer.add_token_merges([" ".join(pair) for pair in MERGES])
    writer.add_bos_token_id(tokens.index("<bos>"))
    writer.add_unk_token_id(tokens.index("<|endoftext|>"))
    if eos:
        writer.add_eos_token_id(tokens.index("<|im_end|>"))
    if pad is not None:
        writer.add_pad_token_id(tokens.index(pad))
    writer.add_add_bos_token(False)
    if template is not None:
        writer.add_chat_template(template)


def _shapes(vocab: int = VOCAB) -> dict[str, tuple[int, ...]]:
    block = {
        "attn_norm": (WIDTH,), "attn_q": (WIDTH, WIDTH), "attn_k": (WIDTH, WIDTH), "attn_v": (WIDTH, WIDTH),
        "attn_output": (WIDTH, WIDTH), "ffn_norm": (WIDTH,), "ffn_gate": (INNER, WIDTH), "ffn_up": (INNER, WIDTH),
        "ffn_down": (WIDTH, INNER),
    }  # fmt: skip
    shapes: dict[str, tuple[int, ...]] = {"token_embd.weight": (vocab, WIDTH), "output_norm.weight": (WIDTH,)}
    return shapes | {f"blk.{i}.{name}.weight": shape for i in range(BLOCKS) for name, shape in block.items()}


def _add_weight(writer: gguf.GGUFWriter, name: str, shape: tuple[int, ...], number: Any, seed: int) -> None:
    values = np.random.default_rng([seed, *name.encode()]).normal(0, 0.3, shape).astype(np.float32)
    if "norm" in name:
        values = np.abs(values) + 0.5
    if isinstance(number, str) and "norm" not in name:
        member = gguf.GGMLQuantizationType[number]
        writer.add_tensor(name, gguf.quants.quantize(values, member), raw_dtype=member)
    else:
        writer.add_tensor(name, values if isinstance(number, str) else values.astype(number))


def write_vocabulary(path: Path, source: Path, pre: str) -> Path:
    """A whole tiny Llama over the byte-level vocabulary of another file, cut another way."""
    fields = gguf.GGUFReader(source).fields
    tokens, types, merges = (fields[f"tokenizer.ggml.{name}"].contents() for name in ("tokens", "token_type", "merges"))
    writer = gguf.GGUFWriter(path, "llama")
    _add_shape(writer, len(tokens))
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre(pre)
    writer.add_token_list(tokens)
    writer.add_token_types(types)
    writer.add_token_merges(merges)
    writer.add_bos_token_id(1)
    writer.add_eos_token_id(2)
    writer.add_add_bos_token(False)
    for name, shape in _shapes(len(tokens)).items():
        _add_weight(writer, name, shape, np.float32, 0)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def write_model(path: Path, lm: LM) -> Path:
    """A tiny model of tiny_models in float32 as llama.cpp lays it out: Llama's q and k reordered, Gemma's norms plus 1.

    Architectures: llama, mistral, qwen2, qwen3, gemma3.
    """
    config, shape = lm.model.config, outline_of_config(lm.model.config)
    writer = gguf.GGUFWriter(path, shape.architecture)
    writer.add_type("model")
    _add_config(writer, config)
    _add_tokenizer(writer, "gpt2", "smollm", CHATML, True, "<pad>")
    (kind,) = (key for key, name in gguf.MODEL_ARCH_NAMES.items() if name == shape.architecture)
    table = gguf.get_tensor_name_map(kind, shape.blocks)
    for name, weight in lm.model.state_dict().items():
        values = weight.float().numpy()
        role = name.split(".")[-2]
        if shape.architecture == "llama" and role in ("q_proj", "k_proj"):
            heads = config.num_attention_heads if role == "q_proj" else config.num_key_value_heads
            halves = values.reshape(heads, 2, -1, *values.shape[1:])
            values = halves.swapaxes(1, 2).reshape(values.shape)
        if shape.architecture.startswith("gemma") and role.endswith("norm"):
            values = values + 1
        own = table.get_name(name, try_suffixes=(".weight", ".bias"))
        if not (role == "lm_head" and config.tie_word_embeddings):
            writer.add_tensor(str(own), np.ascontiguousarray(values))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def _add_config(writer: gguf.GGUFWriter, config: Any) -> None:
    head = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
    writer.add_context_length(config.max_position_embeddings)
    writer.add_embedding_length(config.hidden_size)
    writer.add_block_count(config.num_hidden_layers)
    writer.add_feed_forward_length(config.intermediate_size)
    writer.add_head_count(config.num_attention_heads)
    writer.add_head_count_kv(config.num_key_value_heads)
    writer.add_key_length(head)
    writer.add_value_length(head)
    writer.add_rope_dimension_count(head)
    ropes = config.rope_parameters
    writer.add_rope_freq_base(float(ropes.get("full_attention", ropes)["rope_theta"]))
    writer.add_layer_norm_rms_eps(config.rms_norm_eps)
    writer.add_vocab_size(config.vocab_size)
    if getattr(config, "sliding_window", None):
        writer.add_sliding_window(config.sliding_window)
