"""A model's shape from its configuration alone: what an export for llama.cpp must know, without loading weights."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ws.errors import UserError
from ws.models.gguf.header import read_header
from ws.models.gguf.preparing import file_of
from ws.models.recipe import recipe_of, weights_of

__all__ = ["Outline", "outline_of", "outline_of_config"]

# transformers' model_type -> llama.cpp's architecture, where they differ
LLAMA_CPP = {"mistral": "llama", "gemma3_text": "gemma3", "gemma4_text": "gemma4", "gpt_neox": "gptneox",
             "qwen2_moe": "qwen2moe", "qwen3_moe": "qwen3moe", "qwen3_5_text": "qwen35"}  # fmt: skip


@dataclass(frozen=True)
class Outline:
    """architecture: llama.cpp's name of it; blocks; heads, kv_heads: of attention; None: not told."""

    architecture: str
    blocks: int
    heads: int | None = None
    kv_heads: int | None = None


def outline_of(name: str) -> Outline:
    """The outline of a model by the name that it is loaded under: a GGUF file's header, else config.json alone.

    UserError where the model is not there.
    """
    recipe = recipe_of(name)
    packaged = weights_of(recipe)
    place = packaged or Path(name).expanduser()
    if packaged is not None and not packaged.exists():
        raise UserError(f"{recipe.title}'s weights are missing: there is no {packaged}. {recipe.missing}")
    file = file_of(place) if place.exists() else None
    return _of_file(file) if file is not None else outline_of_config(_config(str(place) if place.exists() else name))


def outline_of_config(config: Any) -> Outline:
    """The outline of a model whose configuration is at hand (`lm.model.config`)."""
    text = config.get_text_config()
    heads = getattr(text, "num_attention_heads", None)
    kv_heads = getattr(text, "num_key_value_heads", None) or heads
    return Outline(LLAMA_CPP.get(text.model_type, text.model_type), int(text.num_hidden_layers), heads, kv_heads)


def _of_file(file: Path) -> Outline:
    header = read_header(file)
    if header.blocks is None:
        raise UserError(f"{file} does not say how many blocks it has ({header.architecture}.block_count).")
    return Outline(header.architecture, header.blocks, header.heads, header.kv_heads)


def _config(name: str) -> Any:
    from transformers import AutoConfig

    try:
        return AutoConfig.from_pretrained(name, trust_remote_code=False)
    except (OSError, ValueError) as error:
        said = (str(error).strip().splitlines() or [type(error).__name__])[0][:160]
        raise UserError(
            f"the model {name!r} is not there ({said}): its config.json says how many blocks a control vector is for."
            " Put the model where the run found it."
        ) from error
