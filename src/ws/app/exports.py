"""What `ws export` and `ws bake` write of a run: merged weights, a PEFT folder, a GGUF adapter, a GGUF control vector.

A model is loaded for merged weights alone; an adapter and a direction are files of the run.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from ws.errors import UserError
from ws.runs.reader import Run

__all__ = ["write_adapter", "write_direction", "write_gguf_adapter", "write_model"]

RANKS = (1, 8, 16, 32, 64, 128, 256, 320, 512)  # what vLLM's --max-lora-rank takes
DEFAULT_RANK = 16


def write_model(found: Run, folder: Path, number: int) -> dict[str, Any]:
    """Base and every adapter up to a round, merged; the largest error of a logit beside it."""
    from ws.experiment.identity import load_configured
    from ws.healing.baking import export

    _check_healed(found, number)
    # merged into full precision: quantized weights cannot take a sum
    lm = load_configured(replace(found.config, quantize=None))
    return {"max_logit_error": export(lm, [found.get("adapter", i) for i in range(number + 1)], folder)}


def write_adapter(found: Run, folder: Path, number: int) -> dict[str, Any]:
    """The round's PEFT folder, and what vLLM makes of it."""
    _check_healed(found, number)
    adapter = found.get("adapter", number)
    adapter.save(folder)
    family = adapter.meta.get("config", {}).get("adapter")
    return _noted([*_earlier(number), *vllm_notes(adapter.config, family)])


def write_gguf_adapter(found: Run, file: Path, number: int) -> dict[str, Any]:
    """The round's LoRA for llama.cpp."""
    from ws.models.adapters.gguf_lora import write_gguf_lora
    from ws.models.outline import outline_of

    _check_healed(found, number)
    write_gguf_lora(found.get("adapter", number), file, outline_of(found.config.model))
    return _noted(_earlier(number))


def write_direction(found: Run, file: Path, number: int, drop_block_0: bool) -> dict[str, Any]:
    """The round's direction for llama.cpp; nothing of a heal is asked for."""
    from ws.models.outline import outline_of

    if not found.has("direction.safetensors", number):
        raise UserError(f"Round {number} of {found.path} has no direction: it ended before one was extracted.")
    v, model = found.get("direction.safetensors", number), outline_of(found.config.model)
    v.save_gguf(file, model.architecture, model.blocks, drop_block_0=drop_block_0)
    last = number - 1
    notes = [f"it was read with the adapters of rounds 0 to {last} on, and steers the student that"
             f" `ws export --what model --round {last}` writes"] if number else []  # fmt: skip
    if 0 in v.layers:
        notes.append(f"block 0 is left out: {v.share(0):.2%} of the direction's squared norm")
    return _noted(notes)


def vllm_notes(config: Any, family: str | None = None) -> list[str]:
    """What vLLM refuses of a PEFT configuration by its own published checks; empty where it takes it as it is."""
    kind = str(getattr(config.peft_type, "value", config.peft_type))
    if kind != "LORA":
        return [f"vLLM refuses {kind} adapters, it serves plain LoRA only; export --what model"]
    notes = []
    if config.use_dora:
        notes.append("vLLM refuses DoRA adapters; export --what model")
    if config.modules_to_save:
        notes.append(f"vLLM refuses modules_to_save ({', '.join(config.modules_to_save)}); export --what model")
    rank = max([config.r, *(config.rank_pattern or {}).values()])
    if rank > DEFAULT_RANK:
        room = next((r for r in RANKS if r >= rank), None)
        way = f"start vLLM with --max-lora-rank {room}" if room else "export --what model"
        why = ", since PiSSA is stored as the LoRA of twice its rank that it is," if family == "pissa" else ""
        notes.append(f"rank {rank}{why} is above vLLM's default limit of {DEFAULT_RANK}: {way}")
    return notes


def _check_healed(found: Run, number: int) -> None:
    if not found.has("adapter", number):
        raise UserError(f"Round {number} of {found.path} has no adapter: it was not healed.")


def _earlier(number: int) -> list[str]:
    """A later round's adapter was trained on top of the earlier ones."""
    return [f"it belongs on top of the adapters of rounds 0 to {number - 1}: export those too"] if number else []


def _noted(notes: list[str]) -> dict[str, Any]:
    return {"notes": notes} if notes else {}
