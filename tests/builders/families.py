"""Tiny random models of the families that `ws.load_model` may meet, four blocks wide 32, by transformers' own names.

DENSE: attention, one mlp a block. EXPERTS: attention and fused experts. STATES: linear attention, state spaces,
convolutions. REFUSED: what cannot be used.
"""

from __future__ import annotations

from typing import Any

from transformers import AutoConfig, AutoModelForCausalLM, AutoModelForImageTextToText, PreTrainedModel

from tests.builders.tiny_models import VOCAB, lively, tiny_tokenizer
from ws.models.lm import LM, wrap_model

BASE: dict[str, Any] = {
    "vocab_size": VOCAB, "hidden_size": 32, "num_hidden_layers": 4, "num_attention_heads": 4, "num_key_value_heads": 2,
    "intermediate_size": 48, "head_dim": 8, "max_position_embeddings": 512, "bos_token_id": None, "eos_token_id": None,
    "pad_token_id": None,
}  # fmt: skip
MOE: dict[str, Any] = {"num_experts_per_tok": 2, "moe_intermediate_size": 16}
MAMBA: dict[str, Any] = {
    "mamba_n_heads": 4, "mamba_d_head": 16, "mamba_d_state": 8, "mamba_n_groups": 1, "mamba_d_conv": 4,
    "mamba_expand": 2, "mamba_chunk_size": 8,
}  # fmt: skip
GATED: dict[str, Any] = {
    "linear_num_key_heads": 2, "linear_num_value_heads": 4, "linear_key_head_dim": 8, "linear_value_head_dim": 8,
    "layer_types": ["linear_attention", "full_attention"] * 2,
}  # fmt: skip
WINDOW: dict[str, Any] = {"sliding_window": 8, "layer_types": ["sliding_attention", "full_attention"] * 2}
MLA: dict[str, Any] = {
    "q_lora_rank": 16, "kv_lora_rank": 16, "qk_nope_head_dim": 8, "qk_rope_head_dim": 8, "v_head_dim": 8,
    "num_key_value_heads": 4,
}  # fmt: skip
VISION: dict[str, Any] = {
    "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 48, "head_dim": 16,
    "image_size": 28, "patch_size": 14,
}  # fmt: skip

DENSE: dict[str, dict[str, Any]] = {
    "apertus": {}, "arcee": {}, "ernie4_5": {}, "granite": {"logits_scaling": 4.0}, "glm": {}, "glm4": {},
    "helium": {}, "ministral3": {}, "nemotron": {}, "olmo": {}, "olmo2": {}, "olmo3": WINDOW, "cohere": {},
    "cohere2": WINDOW, "seed_oss": {}, "smollm3": {}, "stablelm": {}, "starcoder2": {}, "phi": {}, "exaone4": WINDOW,
    "ministral": WINDOW, "gemma": {},
    "gemma4_text": {**WINDOW, "hidden_size_per_layer_input": 8, "vocab_size_per_layer_input": VOCAB},
    "hunyuan_v1_dense": {}, "nanochat": {}, "vaultgemma": WINDOW, "diffllama": {}, "doge": {}, "jais2": {},
    "internlm3": {}, "minicpm3": MLA, "persimmon": {},
    "falcon": {"new_decoder_architecture": True, "num_kv_heads": 2, "without": ("head_dim",)},
    "bloom": {"n_head": 4, "n_layer": 4},
    "gptj": {"n_embd": 32, "n_layer": 4, "n_head": 4, "rotary_dim": 4, "n_positions": 512},
    "gpt_neo": {"attention_types": [[["global", "local"], 2]], "num_layers": 4, "num_heads": 4, "window_size": 8},
    "gpt_bigcode": {"n_embd": 32, "n_layer": 4, "n_head": 4, "n_positions": 512, "n_inner": 48},
    "codegen": {"n_embd": 32, "n_layer": 4, "n_head": 4, "rotary_dim": 4, "n_positions": 512},
    "llama4_text": {
        "num_local_experts": 2, "interleave_moe_layer_step": 99, "intermediate_size_mlp": 48, "moe_layers": [],
    },
    "xglm": {"d_model": 32, "ffn_dim": 48, "num_layers": 4, "attention_heads": 4}, "biogpt": {},
    "mpt": {"d_model": 32, "n_heads": 4, "n_layers": 4, "max_seq_len": 512},
    "mistral3": {"text_config": {"model_type": "mistral"}, "vision_config": {"model_type": "pixtral", **VISION}},
}  # fmt: skip
EXPERTS: dict[str, dict[str, Any]] = {
    "mixtral": {"num_local_experts": 4, "num_experts_per_tok": 2},
    "phimoe": {"num_local_experts": 4, "num_experts_per_tok": 2},
    "qwen2_moe": {**MOE, "num_experts": 4, "shared_expert_intermediate_size": 16},
    "qwen3_moe": {**MOE, "num_experts": 4}, "gpt_oss": {"num_local_experts": 4, "num_experts_per_tok": 2, **WINDOW},
    "olmoe": {"num_experts": 4, "num_experts_per_tok": 2},
    "deepseek_v2": {
        **MLA, **MOE, "n_routed_experts": 4, "n_shared_experts": 1, "first_k_dense_replace": 1, "n_group": 1,
        "topk_group": 1,
    },
    "deepseek_v3": {
        **MLA, **MOE, "n_routed_experts": 4, "n_shared_experts": 1, "first_k_dense_replace": 1, "n_group": 1,
        "topk_group": 1,
    },
    "deepseek_v32": {
        **MLA, **MOE, "n_routed_experts": 4, "n_shared_experts": 1, "first_k_dense_replace": 1, "n_group": 1,
        "topk_group": 1, "index_n_heads": 8, "index_head_dim": 16, "index_topk": 4,
    },
    "glm4_moe": {
        **MOE, "n_routed_experts": 4, "n_shared_experts": 1, "first_k_dense_replace": 1, "n_group": 1,
        "topk_group": 1,
    },
    "minimax_m2": {"num_local_experts": 4, "num_experts_per_tok": 2},
    "ernie4_5_moe": {**MOE, "moe_num_experts": 4, "moe_k": 2},
    "granitemoe": {"num_local_experts": 4, "num_experts_per_tok": 2},
    "granitemoeshared": {"num_local_experts": 4, "num_experts_per_tok": 2, "shared_intermediate_size": 16},
    "jetmoe": {"num_local_experts": 4, "num_experts_per_tok": 2, "kv_channels": 8},
    "dbrx": {
        "d_model": 32, "n_heads": 4, "n_layers": 4, "max_seq_len": 512, "attn_config": {"kv_n_heads": 2,
        "clip_qkv": 8, "rope_theta": 10000.0}, "ffn_config": {"ffn_hidden_size": 16, "moe_num_experts": 4,
        "moe_top_k": 2, "hidden_size": 32},
    },
    "hunyuan_v1_moe": {"num_experts": 4, "moe_topk": [2] * 4},
    "flex_olmo": {"num_experts": 4, "num_experts_per_tok": 2},
    "solar_open": {**MOE, "n_routed_experts": 4, "n_shared_experts": 1},
}  # fmt: skip
STATES: dict[str, dict[str, Any]] = {
    "qwen3_5_text": GATED,
    "qwen3_5_moe_text": {**GATED, **MOE, "num_experts": 4, "shared_expert_intermediate_size": 16},
    "qwen3_next": {**GATED, **MOE, "num_experts": 4, "shared_expert_intermediate_size": 16},
    "qwen3_next_dense": {
        **GATED, **MOE, "num_experts": 4, "shared_expert_intermediate_size": 16, "mlp_only_layers": [0, 1, 2, 3],
    },
    "olmo_hybrid": {**GATED, "linear_num_key_heads": 4, "linear_num_value_heads": 4},
    "granitemoehybrid": {
        **MAMBA, "num_local_experts": 0, "shared_intermediate_size": 32, "layer_types": ["mamba", "attention"] * 2,
    },
    "granitemoehybrid_experts": {
        **MAMBA, "num_local_experts": 4, "num_experts_per_tok": 2, "shared_intermediate_size": 32,
        "layer_types": ["mamba", "attention"] * 2,
    },
    "falcon_h1": {**MAMBA, "mamba_d_ssm": 64, "lm_head_multiplier": 0.5},
    "bamba": {**MAMBA, "attn_layer_indices": [1, 3]},
    "lfm2": {"layer_types": ["conv", "full_attention"] * 2, "conv_L_cache": 3, "block_multiple_of": 8},
    "lfm2_moe": {
        "layer_types": ["conv", "full_attention"] * 2, "conv_L_cache": 3, **MOE, "num_experts": 4,
        "num_dense_layers": 1,
    },
    "nemotron_h": {
        "layers_block_type": ["mamba", "attention", "mamba", "mlp"], "mamba_num_heads": 4, "mamba_head_dim": 16,
        "ssm_state_size": 8, "n_groups": 1, "chunk_size": 8, "mlp_hidden_act": "relu2",
    },
    "jamba": {
        "attn_layer_period": 2, "attn_layer_offset": 1, "expert_layer_period": 2, "expert_layer_offset": 1,
        "num_experts": 4, "mamba_d_state": 8, "mamba_dt_rank": 4, "use_mamba_kernels": False,
    },
    "zamba": {
        "attn_layer_period": 2, "attn_layer_offset": 1, "mamba_d_state": 8, "mamba_dt_rank": 4, "n_mamba_heads": 2,
        "use_mamba_kernels": False, "layers_block_type": ["mamba", "hybrid"] * 2,
    },
    "zamba2": {
        "without": ("head_dim", "num_key_value_heads"), "mamba_d_state": 8,
        "n_mamba_heads": 4, "mamba_headdim": 16, "mamba_ngroups": 1, "chunk_size": 8, "num_mem_blocks": 1,
        "layers_block_type": ["mamba", "hybrid"] * 2, "use_shared_attention_adapter": True, "adapter_rank": 4,
    },
    "kimi_linear": {
        **MLA, **MOE, "layer_types": ["linear_attention", "full_attention"] * 2, "linear_head_dim": 8,
        "linear_num_heads": 4, "num_local_experts": 4, "q_lora_rank": None, "without": ("head_dim",),
    },
    "lfm3": {"layer_types": ["conv", "full_attention"] * 2, "conv_L_cache": 3, "sliding_window": 8},
    "mamba2": {"state_size": 8, "num_heads": 4, "head_dim": 16, "n_groups": 1, "chunk_size": 8},
}  # fmt: skip
REFUSED: dict[str, dict[str, Any]] = {
    "deepseek_v4": {
        **MOE, "n_routed_experts": 4, "num_key_value_heads": 1, "q_lora_rank": 16, "o_groups": 2, "o_lora_rank": 8,
        "hc_mult": 2, "index_n_heads": 4, "index_head_dim": 8, "index_topk": 8, "sliding_window": 8,
        "layer_types": ["sliding_attention"] * 4, "bos_token_id": 0, "eos_token_id": 1, "partial_rotary_factor": 0.5,
    },
    "mamba": {"state_size": 8, "time_step_rank": 4}, "falcon_mamba": {"state_size": 8, "time_step_rank": 4},
    "rwkv": {"attention_hidden_size": 32, "context_length": 512}, "xlstm": {"num_heads": 4, "num_blocks": 4},
    "recurrent_gemma": {"lru_width": 32, "attention_window_size": 16},
    "minimax": {
        "num_local_experts": 4, "num_experts_per_tok": 2, "layer_types": ["linear_attention", "full_attention"] * 2,
        "block_size": 8,
    },
    "gemma3n_text": {
        "hidden_size_per_layer_input": 8, "vocab_size_per_layer_input": VOCAB, "laurel_rank": 4,
        "num_kv_shared_layers": 2, "activation_sparsity_pattern": [0.0] * 4, **WINDOW,
    },
}  # fmt: skip

FAMILIES = {**DENSE, **EXPERTS, **STATES, **REFUSED}


def family_model(name: str, seed: int = 0) -> PreTrainedModel:
    """A causal LM of the family, random weights by the seed. "x_dense", "x_experts": another configuration of x."""
    own = FAMILIES[name]
    made = {key: value for key, value in {**BASE, **own}.items() if key not in own.get("without", ())}
    made.pop("without", None)
    if "text_config" in own:
        made = {**own, "text_config": {**BASE, **own["text_config"]}}
    kind = name if name == "hunyuan_v1_dense" else name.removesuffix("_dense").removesuffix("_experts")
    auto: Any = AutoModelForImageTextToText if "text_config" in own else AutoModelForCausalLM
    model: PreTrainedModel = auto.from_config(AutoConfig.for_model(kind, **made))
    return lively(model, seed)


def family_lm(name: str, seed: int = 0) -> LM:
    """The family's model with a thinking ChatML template. UserError for the refused ones."""
    model, tok = family_model(name, seed), tiny_tokenizer()
    model.generation_config.eos_token_id = tok.eos_token_id
    model.generation_config.pad_token_id = tok.pad_token_id
    return wrap_model(model, tok, name=f"tiny-{name}")
