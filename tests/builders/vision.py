"""TODO."""

from __future__ import annotations

from transformers import AutoConfig, AutoModelForCausalLM

from tests.builders.tiny_models import VOCAB, lively, tiny_tokenizer
from ws.models.lm import LM, wrap_model

TEXT = {"vocab_size": VOCAB, "hidden_size": 32, "num_hidden_layers": 4, "num_attention_heads": 2, "head_dim": 16}


TEXT |= {"num_key_value_heads": 1, "intermediate_size": 48, "max_position_embeddings": 64, "pad_token_id": 0}


def gemma3_with_vision(vision_layers: int = 4) -> LM:
    """A multimodal wrapper whose vision tower is as deep as its text model."""
    vision = {"hidden_size": 32, "num_hidden_layers": vision_layers, "num_attention_heads": 2, "intermediate_size": 48}
    config = AutoConfig.for_model(
        "gemma3",
        text_config={**TEXT, "model_type": "gemma3_text", "sliding_window": 8},
        vision_config={**vision, "image_size": 28, "patch_size": 14},
        mm_tokens_per_image=4,
    )
    return wrap_model(lively(AutoModelForCausalLM.from_config(config), 0), tiny_tokenizer(), "multimodal")
