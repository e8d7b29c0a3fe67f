"""Finds what a model is made of, by structure and not by name: decoder blocks, body and head, experts, a hash."""

from __future__ import annotations

import hashlib
import inspect
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel
from transformers.modeling_outputs import BaseModelOutputWithPast
from transformers.pytorch_utils import Conv1D

from ws.errors import UserError

__all__ = [
    "body_name", "cache_name", "entrance_of", "find_blocks", "fingerprint_of", "fused_experts", "hash_of", "is_linear",
    "logits_of", "run_body", "shape_of",
]  # fmt: skip

# accelerate puts a forward that is bound to the original module here when a model is spread over devices
_WRAPPERS = {"forward", "_hf_hook", "_old_forward"}


def find_blocks(model: PreTrainedModel, layers_path: str | None = None) -> nn.ModuleList:
    """The decoder blocks: the one ModuleList as long as num_hidden_layers, in the text model where a tower has one too.

    layers_path: says it by hand ("model.layers"). UserError names every list of modules that was found.
    """
    if layers_path is not None:
        return _blocks_at(model, layers_path)
    lists = {name: m for name, m in model.named_modules() if isinstance(m, nn.ModuleList)}
    depth = getattr(model.config.get_text_config(), "num_hidden_layers", None)
    found = _outermost({name: m for name, m in lists.items() if len(m) == depth})
    if len(found) > 1:
        inside = {id(m) for m in model.get_decoder().modules()}
        found = {name: m for name, m in found.items() if id(m) in inside}
    if len(found) != 1:
        raise UserError(
            f"found {len(found)} lists of {depth} modules in {type(model).__name__}, expected one: the decoder blocks."
            f" {_seen(lists)} Say which it is, for example layers_path='model.layers'."
        )
    return next(iter(found.values()))


def body_name(model: PreTrainedModel, blocks: nn.ModuleList) -> str:
    """Name of the model's child that holds the blocks: everything in front of the LM head."""
    return next(name for name, child in model.named_children() if any(m is blocks for m in child.modules()))


def entrance_of(model: PreTrainedModel, blocks: nn.ModuleList) -> nn.Module:
    """The module that every forward enters with token ids and a 2-D mask: the blocks' parent; a multimodal body.

    OPT's forward skips the body and calls its decoder; a multimodal body gives the parent embeddings and made masks.
    """
    whole = model.config.get_text_config() is not model.config
    inside = nn.Module.modules if whole else nn.Module.children
    return next(m for m in list(model.modules())[1:] if any(b is blocks for b in inside(m)))


def run_body(body: nn.Module, cache: str, one_by_one: bool, kw: dict[str, Any]) -> BaseModelOutputWithPast:
    """The body's forward, its cache under the name that it knows (`cache_name`).

    one_by_one: several tokens behind a cache are read one after another, for bodies that would forget the cache.
    """
    if cache != "past_key_values" and "past_key_values" in kw:
        kw[cache] = kw.pop("past_key_values")
    output: BaseModelOutputWithPast
    if not one_by_one or kw.get(cache) is None:
        output = body(**kw)
        return output
    ids, mask, places = kw["input_ids"], kw["attention_mask"], kw["position_ids"]
    past, states = mask.shape[1] - ids.shape[1], list[Any]()
    step = 1 if past else ids.shape[1]
    for low in range(0, ids.shape[1], step):
        at = slice(low, low + step)
        part = {"input_ids": ids[:, at], "attention_mask": mask[:, : past + at.stop], "position_ids": places[:, at]}
        output = body(**{**kw, **part})
        states.append(output.last_hidden_state)
    output["last_hidden_state"] = torch.cat(states, 1)
    return output


def cache_name(body: nn.Module) -> str:
    """What the body calls its cache: Mamba's say cache_params."""
    known = inspect.signature(body.forward).parameters
    return "cache_params" if "cache_params" in known and "past_key_values" not in known else "past_key_values"


def logits_of(model: PreTrainedModel, body: str, hidden: Tensor) -> Tensor:
    """Logits (..., V) of final hidden states (..., d): the model's own forward, the state standing for the body."""
    flat = hidden.reshape(1, -1, hidden.shape[-1])  # (1, n, d)
    shell = object.__new__(type(model))
    shell.__dict__ = {k: v for k, v in model.__dict__.items() if k not in _WRAPPERS}
    shell.__dict__["_modules"] = {**model._modules, body: _Given(flat, model._modules[body])}
    logits: Tensor = shell.forward(inputs_embeds=flat, use_cache=False).logits
    return logits.reshape(*hidden.shape[:-1], logits.shape[-1])


def fused_experts(blocks: nn.ModuleList, width: int) -> list[str]:
    """Names of expert weights that no Linear holds, so that an adapter skips them: 3-D (Mixtral, Qwen3-MoE), or all of
    them under each other, at least as wide and high as the stream's `width` (DBRX)."""
    held = {name for name, m in blocks.named_modules() if is_linear(m) or isinstance(m, nn.modules.conv._ConvNd)}
    stacks = {name for name, w in blocks.named_parameters() if w.ndim == 3 and min(w.shape) > 1}
    stacks |= {name for name, w in blocks.named_parameters() if w.ndim == 2 and min(w.shape) >= width}
    return sorted(name for name in stacks if name.rpartition(".")[0] not in held)


def fingerprint_of(model: PreTrainedModel) -> str:
    """16 hex characters of sha256 over names, dtypes, shapes and bytes of the weights, sorted; tied weights count once.

    UserError where weights were offloaded and cannot be read.
    """
    shared: dict[int, tuple[str, Tensor]] = {}
    for name, value in sorted(model.state_dict().items()):
        if isinstance(value, Tensor):
            shared.setdefault(value.data_ptr() if value.numel() else id(value), (name, value))
    return hash_of({name: partial(_itself, value) for name, value in shared.values()})


def hash_of(tensors: Mapping[str, Callable[[], Tensor]]) -> str:
    """16 hex characters of sha256 over tensors by name, each read when its turn comes. UserError for an offloaded one.
    """
    # hashlib lets go of the interpreter lock: threads hash several tensors at once
    with ThreadPoolExecutor() as pool:
        digests = list(pool.map(lambda name: _digest((name, tensors[name]())), sorted(tensors)))
    return hashlib.sha256(b"".join(digests)).hexdigest()[:16]


def _itself(value: Tensor) -> Tensor:
    return value


def _digest(named: tuple[str, Tensor]) -> bytes:
    name, value = named
    if value.is_meta:
        raise UserError(f"the weight {name} was offloaded: the model does not fit. Pass quantize='4bit'.")
    data = hashlib.sha256(f"{name} {value.dtype} {tuple(value.shape)}".encode())
    data.update(value.detach().reshape(-1).contiguous().cpu().view(torch.uint8).numpy().data)
    return data.digest()


def _blocks_at(model: PreTrainedModel, path: str) -> nn.ModuleList:
    try:
        found = model.get_submodule(path)
    except AttributeError:
        found = None
    if not isinstance(found, nn.ModuleList):
        lists = {name: m for name, m in model.named_modules() if isinstance(m, nn.ModuleList)}
        what = "nothing" if found is None else f"a {type(found).__name__}"
        raise UserError(f"layers_path={path!r} is {what} in {type(model).__name__}, not the blocks. {_seen(lists)}")
    return found


def _outermost(lists: dict[str, nn.ModuleList]) -> dict[str, nn.ModuleList]:
    """Without those inside another (as many experts in a block as there are blocks)."""
    return {n: m for n, m in lists.items() if not any(n.startswith(f"{other}.") for other in lists)}


def _seen(lists: dict[str, nn.ModuleList]) -> str:
    """Lists of modules by name, those inside a block left out."""
    names = ", ".join(f"{name} ({len(m)})" for name, m in _outermost(lists).items())
    return f"Found: {names or 'no list of modules'}."


class _Output(BaseModelOutputWithPast):
    """A body's output; what a multimodal wrapper asks for beyond it (image features, rope deltas) is None."""

    def __getattr__(self, name: str) -> None:
        if name.startswith("__"):
            raise AttributeError(name)


class _Given(nn.Module):
    """Stands where the body stands and returns a hidden state that is already there."""

    def __init__(self, hidden: Tensor, body: nn.Module | None) -> None:
        super().__init__()
        self.hidden = hidden
        self.__dict__["body"] = body  # not a child: nothing of it runs

    def __getattr__(self, name: str) -> Any:
        # Falcon-H1's head reads a multiplier of its body
        return getattr(self.__dict__["body"], name)

    @property
    def decoder(self) -> _Given:
        # OPT's forward calls model.decoder
        return self

    def forward(self, *_: Any, **__: Any) -> _Output:
        return _Output(last_hidden_state=self.hidden)  # type: ignore[arg-type]


def is_linear(module: nn.Module) -> bool:
    """A weight matrix that PEFT can adapt: Linear (the quantized ones are subclasses) or GPT-2's transposed Conv1D."""
    return isinstance(module, nn.Linear | Conv1D)


def shape_of(module: nn.Module) -> tuple[int, int]:
    """(in, out) of a linear module, whichever way its weight lies."""
    if isinstance(module, Conv1D):
        return int(module.weight.shape[0]), int(module.weight.shape[1])
    assert isinstance(module, nn.Linear)
    return module.in_features, module.out_features
