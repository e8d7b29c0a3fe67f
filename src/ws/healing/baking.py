"""Bake: adapters merged into the weights, as a new model in memory or as a folder that plain transformers loads.

student = bake(lm, [a0, a1])              # lm is as it was; student has its own fingerprint
error = export(lm, [a0, a1], "student")   # AutoModelForCausalLM.from_pretrained("student")
"""

from __future__ import annotations

import dataclasses
import json
import shutil
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from transformers import GenerationConfig, PreTrainedModel

from ws.errors import UserError
from ws.files import write_atomic
from ws.models.adapters.adapter import Adapter, Stack, as_stack, checked
from ws.models.adapters.attaching import attached, put_on
from ws.models.architecture import fingerprint_of
from ws.models.attachments import private_copy
from ws.models.lm import LM
from ws.models.loading import processor_files
from ws.models.published import as_published

__all__ = ["bake", "export"]

# Largest difference of a logit between the exported model and the attached adapters. The second figure leaves room for
# the rounding of a merged half-precision weight (2^-8 of it in bf16).
EXACT, ROUNDED = 1e-3, 1.0
RECORD = "ws.json"
PROBE = "Is it ever right to break a promise?"


def bake(lm: LM, adapters: Stack) -> LM:
    """A new LM with weights of its own, the adapters merged in, in order; `lm` is untouched.

    Merged in float32, rounded once to the weight's own dtype. UserError: quantized weights, adapters of another model.
    """
    return _merged(lm, adapters, own_weights=True)


def _merged(lm: LM, adapters: Stack, own_weights: bool) -> LM:
    stack = checked(lm, adapters)
    with lm.lock, torch.inference_mode(False), torch.no_grad():
        _check_floats(lm, stack)
        baked = private_copy(lm, own_weights)
        put_on(baked, stack)
    digests = "+".join(f"{adapter.digest[:4]}" for adapter, _ in stack)
    merged = (*lm.merged, *(f"{adapter.digest} {c:g}" for adapter, c in stack))
    name, own = f"{lm.name}+{digests}", fingerprint_of(baked.model)
    return dataclasses.replace(baked, name=name, fingerprint=own, merged=merged)


def export(lm: LM, adapters: Stack, folder: str | Path) -> float:
    """Write base + adapters as one folder of plain weights, in one step; returns the largest absolute error of a logit.

    The folder is loaded back with plain transformers and held against the attached adapters on a probe prompt.
    UserError: quantized weights, a folder that is there and is no earlier export. RuntimeError: the error is too large.
    """
    folder = Path(folder)
    if folder.exists() and not (folder / RECORD).is_file():
        raise UserError(f"{folder} exists and is no earlier export. Name a folder that does not exist.")
    baked = _merged(lm, adapters, own_weights=False)
    record: dict[str, Any] = {"base": lm.fingerprint, "adapters": [[a.digest, c] for a, c in as_stack(adapters)]}

    def write(place: Path) -> None:
        with as_published(baked.model, lm.published):
            _save(baked.model, place)
        baked.tok.save_pretrained(place)
        for file in processor_files(lm.files):
            shutil.copyfile(file, place / file.name)
        record["error"] = _error(lm, adapters, place)
        (place / RECORD).write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")

    write_atomic(folder, write)
    return float(record["error"])


def _save(model: PreTrainedModel, place: Path) -> None:
    """Weights and configurations. The generation config is written as it is: transformers refuses to save many that are
    published (do_sample=false beside a temperature)."""
    generation = model.generation_config
    model.generation_config = GenerationConfig()
    try:
        model.save_pretrained(place)
    finally:
        model.generation_config = generation
    generation.to_json_file(place / "generation_config.json")


def _error(lm: LM, adapters: Stack, folder: Path) -> float:
    ids = torch.tensor([lm.prompt_ids(PROBE)], device=lm.device)
    # its own class: AutoModelForCausalLM does not know every one that can write text (Mistral 3 with its images)
    loaded: Any = type(lm.model).from_pretrained(folder, dtype=lm.dtype)
    loaded.to(lm.device).eval()
    with torch.inference_mode(), attached(lm, adapters):
        expected: Tensor = lm.model(input_ids=ids, use_cache=False).logits.float()
    with torch.inference_mode():
        error = (loaded(input_ids=ids, use_cache=False).logits.float() - expected).abs().max().item()
    if not error <= (EXACT if lm.dtype == torch.float32 else ROUNDED):
        raise RuntimeError(f"the exported model differs from the attached adapters by {error:.3g} in a logit")
    return error


def _check_floats(lm: LM, stack: list[tuple[Adapter, float]]) -> None:
    for name in {n for adapter, _ in stack for n in adapter.modules}:
        weight = lm.model.get_submodule(name).weight
        if not isinstance(weight, Tensor) or not weight.is_floating_point():
            raise UserError(
                f"{lm.name} holds {name} quantized ({weight.dtype}). Load the same checkpoint without quantize= and"
                " bake that: the adapter fits it."
            )
