"""A LoRA as a GGUF file that llama.cpp takes with `--lora`, for the GGUF file of the model that it was made on.

    blk.3.attn_q.weight.lora_a (r, in), .lora_b (out, r); adapter.lora.alpha: what llama.cpp divides by r

Only architectures whose weights lie in a GGUF file as transformers has them, and Llama's, whose rows of q and k
llama.cpp keeps in another order within a head: what a rotary position turns together stands side by side there.
"""

from __future__ import annotations

from pathlib import Path

from peft import LoraConfig
from torch import Tensor

from ws.errors import UserError
from ws.models.adapters.adapter import Adapter
from ws.models.adapters.families import lora
from ws.models.gguf.writing import Fields, write_gguf
from ws.models.outline import Outline

__all__ = ["AS_THEY_ARE", "REORDERED", "write_gguf_lora"]

AS_THEY_ARE = ("qwen2", "qwen3", "gemma3")
REORDERED = ("llama",)
MERGE = "Export the merged model (--what model) and convert that with llama.cpp's convert_hf_to_gguf.py."


def write_gguf_lora(adapter: Adapter, path: str | Path, model: Outline) -> None:
    """Write the file, in float32. UserError: no plain LoRA, an architecture whose layout is not known here, a module
    that llama.cpp has no name for."""
    config = adapter.config
    if not isinstance(config, LoraConfig) or config.use_dora:
        kind = "DoRA" if isinstance(config, LoraConfig) else str(getattr(config.peft_type, "value", config.peft_type))
        raise UserError(f"a GGUF adapter is plain LoRA, and this is {kind}. {MERGE}")
    if model.architecture not in (*AS_THEY_ARE, *REORDERED):
        known = ", ".join((*REORDERED, *AS_THEY_ARE))
        raise UserError(f"how {model.architecture!r} lies in a GGUF file is not known here (known: {known}). {MERGE}")
    alpha = lora.scale(config, next(iter(adapter.modules))) * config.r
    names = _names(adapter, model)
    tensors: dict[str, Tensor] = {}
    for module, parts in adapter.modules.items():
        a, b = parts["lora_A"], parts["lora_B"]
        # one alpha for the whole file: what a module's own rank or alpha makes of its scale goes into b
        b = b * (lora.scale(config, module) * a.shape[0] / alpha)
        tensors[f"{names[module]}.weight.lora_a"] = a
        tensors[f"{names[module]}.weight.lora_b"] = _reordered(module, b, model)
    fields: Fields = {"general.type": "adapter", "adapter.type": "lora", "adapter.lora.alpha": float(alpha)}
    write_gguf(Path(path), model.architecture, fields, dict(sorted(tensors.items())))


def _names(adapter: Adapter, model: Outline) -> dict[str, str]:
    """Module -> llama.cpp's name of it."""
    import gguf

    (architecture,) = (key for key, name in gguf.MODEL_ARCH_NAMES.items() if name == model.architecture)
    table = gguf.get_tensor_name_map(architecture, model.blocks)
    names = {module: table.get_name(module) for module in adapter.modules}
    lost = [module for module, name in names.items() if name is None]
    if lost:
        raise UserError(f"llama.cpp has no name for {lost[0]} of {model.architecture!r}. {MERGE}")
    return {module: str(name) for module, name in names.items()}


def _reordered(module: str, b: Tensor, model: Outline) -> Tensor:
    """The rows of q and k as llama.cpp has Llama's: (heads, half, pair) -> (heads, pair, half)."""
    role = module.rpartition(".")[2]
    if model.architecture not in REORDERED or role not in ("q_proj", "k_proj"):
        return b
    heads = model.heads if role == "q_proj" else model.kv_heads
    if heads is None:
        raise UserError(f"the model's number of attention heads is not told, and {module} needs it. {MERGE}")
    return b.reshape(heads, 2, -1, b.shape[1]).transpose(1, 2).reshape(b.shape)
