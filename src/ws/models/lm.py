"""The LM: a model with its tokenizer, chat template and lock, loaded once per process (embedded, hub id or folder).

lm = ws.load_model("mini")                       # or "google/gemma-3-4b-it", "./my-model"
ids = lm.prompt_ids("May a nurse lie?")          # neutral system prompt, default form
logits = lm.head(lm.body(input_ids=...).last_hidden_state)
"""

from __future__ import annotations

import dataclasses
import os
import threading
import warnings
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel, PreTrainedTokenizerBase
from transformers.modeling_outputs import BaseModelOutputWithPast

from ws.errors import UserError
from ws.files import digest
from ws.models.architecture import (
    body_name,
    cache_name,
    find_blocks,
    fingerprint_of,
    logits_of,
    run_body,
)
from ws.models.chat import Chat, chat_of, set_template
from ws.models.gguf.preparing import spoiled
from ws.models.loading import Source, folder_of, foreign_errors, quantization_of, read_model, source_of
from ws.models.origin import Origin, Stamp, checkpoint_of, stamps_of
from ws.models.probing import TOKENS, is_proven, probe
from ws.models.published import Published, switch_cache_on
from ws.models.recipe import OTHER, ModelRecipe, SamplingDefaults

__all__ = ["LM", "check_length", "load_model", "one_thread", "positions", "unload_models", "wrap_model"]

if not torch.cuda.is_available():
    # attention on the key/value heads as they are: transformers would copy them for every query head, which on a CPU
    # takes longer than the attention. The numbers are the same.
    os.environ.setdefault("TRANSFORMERS_SDPA_FORCE_GQA", "1")


@dataclass(eq=False)
class LM:
    """A model with its tokenizer, its decoder blocks and its lock; pristine between calls.

    model: eval(), no parameter requires grad; blocks: decoder blocks, len == num_hidden_layers; fingerprint: 16 hex
    characters of the weights; chat: how prompts are rendered; recipe: in what this model differs from others; neutral:
    the neutral system prompt; why_dtype: where its number type comes from; one_by_one: tokens behind a cache are read
    one by one, since a block of them would forget it; gaps: padding may stand between tokens; lock: re-entrant, held by
    whoever attaches anything; files: of its weights, none where it was built in code; merged: adapters baked in, in
    order; published: settings that `wrap_model` changed, as they were.
    """

    name: str
    model: PreTrainedModel
    tok: PreTrainedTokenizerBase
    blocks: nn.ModuleList
    fingerprint: str
    chat: Chat
    recipe: ModelRecipe = OTHER
    neutral: str = OTHER.neutral
    why_dtype: str = ""
    one_by_one: bool = False
    gaps: bool = True
    lock: threading.RLock = field(default_factory=threading.RLock)
    files: tuple[Stamp, ...] = ()
    merged: tuple[str, ...] = ()
    published: Published = ()

    @property
    def device(self) -> torch.device:
        """Where token ids go: the device of the embedding."""
        return next(self.model.get_input_embeddings().parameters()).device

    @property
    def dtype(self) -> torch.dtype:
        return self.model.dtype

    @cached_property
    def origin(self) -> Origin:
        """The checkpoint, the same in every dtype and quantization, and how it was loaded. Reads the files once."""
        files = checkpoint_of(self.files)
        checkpoint = digest([files, *self.merged]) if files and self.merged else files
        return Origin(checkpoint, str(self.dtype).removeprefix("torch."), quantization_of(self.model))

    @property
    def n_layers(self) -> int:
        return len(self.blocks)

    @property
    def d_model(self) -> int:
        """Width of the residual stream."""
        return int(self._text.hidden_size)

    @property
    def vocab_size(self) -> int:
        """Width of the logits; may be larger than the tokenizer's vocabulary."""
        return int(self._text.vocab_size)

    @property
    def rows(self) -> int:
        """Rows of the embedding: an id from here on cannot be read."""
        return int(next(self.model.get_input_embeddings().parameters()).shape[0])

    @property
    def max_context(self) -> int | None:
        """Longest sequence the model was made for, in tokens; None where the config sets no limit."""
        return getattr(self._text, "max_position_embeddings", None)

    @cached_property
    def eos_ids(self) -> frozenset[int]:
        """Ids that end a completion: the generation config's, the tokenizer's, and what the template writes behind a
        reply."""
        return self.named_ends | ({self.chat.end} if self.chat.end is not None else set())

    @cached_property
    def named_ends(self) -> frozenset[int]:
        """Those that the generation config and the tokenizer name."""
        ends = self.model.generation_config.eos_token_id
        ends = ends if isinstance(ends, list) else [ends]
        return frozenset(int(i) for i in [*ends, self.tok.eos_token_id] if i is not None)

    @property
    def pad_id(self) -> int:
        """Id for padding; any will do, since padding is masked."""
        pad = self.tok.pad_token_id
        return int(pad) if pad is not None and 0 <= pad < self.rows else min(self.eos_ids, default=0)

    @property
    def sampling(self) -> SamplingDefaults:
        """How it samples unless asked otherwise: by its recipe, else by its own generation config."""
        if self.recipe.sampling is not None:
            return self.recipe.sampling
        return dataclasses.replace(SamplingDefaults(), **self._brought)

    @property
    def sampling_from(self) -> str:
        """Where `sampling` comes from, in words."""
        if self.recipe.sampling is not None:
            return "the model's recipe"
        said = "the model's generation config" if self._brought else "the model brings no settings of it"
        return f"{said}, which asks for greedy decoding: do_sample=false; T 0 is that" if self._greedy else said

    @property
    def _brought(self) -> dict[str, Any]:
        """What the model's own generation config says of sampling."""
        config, names = self.model.generation_config, dataclasses.asdict(SamplingDefaults())
        return {name: value for name in names if (value := getattr(config, name, None)) is not None}

    @property
    def _greedy(self) -> bool:
        return self.model.generation_config.do_sample is False

    @property
    def has_chat(self) -> bool:
        """False: no chat template, the system prompt is plain text in front of the prompt."""
        return self.chat.has_chat

    def is_stopped(self, ids: Sequence[int]) -> bool:
        """Whether a completion's last tokens hold the text that ends it (`chat.stop`)."""
        stop = self.chat.stop
        return bool(stop) and stop in self.tok.decode(list(ids[-len(stop) - 1 :]))

    def text_of(self, ids: Sequence[int], finished: bool) -> str:
        """A completion's text, without the token or the stop text that ended it."""
        if finished and ids[-1] not in self.eos_ids:
            return str(self.tok.decode(list(ids))).rpartition(self.chat.stop)[0].rstrip("\n")
        return str(self.tok.decode(list(ids[:-1] if finished else ids)))

    @property
    def thinks(self) -> bool:
        """The template has think markers."""
        return "open" in self.forms

    @property
    def forms(self) -> tuple[str, ...]:
        """("closed", "open") for a thinking template, ("plain",) otherwise; the first is the default."""
        return self.chat.names

    def prompt_ids(
        self,
        user: str | Sequence[dict[str, str]],
        *,
        system: str | None = None,
        form: str | None = None,
        prefix: str = "",
    ) -> list[int]:
        """Token ids of the prompt up to the assistant tag, and of `prefix`, the reply's first words, behind it.

        user: one user text, or turns [{"role", "content"}] that end with the user's. system: None is the neutral prompt
        (turns may bring their own), "" no system turn of ours: a template that puts in a prompt of its own does so
        (`chat.own_system`), and a warning says it. UserError for a form that the template lacks.
        """
        return [*self.chat.render(self._turns(user, system), form), *self.encode(prefix)]

    def assistant_start(self, ids: Sequence[int]) -> int:
        """Index of the last assistant turn's tag in `ids`. UserError without a template or without such a turn."""
        return self.chat.tag(ids)

    def encode(self, text: str) -> list[int]:
        """Token ids of a text that continues another (a prefill, a completion): no special tokens are added."""
        return self.chat.encode(text)

    def body(self, **kw: Any) -> BaseModelOutputWithPast:
        """The model without its LM head: last_hidden_state (B, T, d) after the final norm. Keeps the graph."""
        return run_body(getattr(self.model, self._body), self._cache, self.one_by_one, kw)

    def head(self, hidden: Tensor) -> Tensor:
        """Final hidden states (..., d), as the body returns them -> logits (..., V). Keeps the graph.

        The model's own forward runs with the body replaced by the given state: softcap, bias and scale are as there.
        """
        return logits_of(self.model, self._body, hidden)

    @cached_property
    def _body(self) -> str:
        return body_name(self.model, self.blocks)

    @cached_property
    def _cache(self) -> str:
        return cache_name(getattr(self.model, self._body))

    @property
    def _text(self) -> Any:
        return self.model.config.get_text_config()

    def _turns(self, user: str | Sequence[dict[str, str]], system: str | None) -> list[dict[str, str]]:
        turns = [{"role": "user", "content": user}] if isinstance(user, str) else [dict(t) for t in user]
        if not turns or turns[-1]["role"] != "user":
            raise UserError("a prompt's last turn must be the user's. Pass the reply's first words as prefix=.")
        if turns[0]["role"] != "system":
            text = self.neutral if system is None else system
            if not text and self.chat.own_system:
                warnings.warn(
                    f"no system prompt was given, and the chat template of {self.name} puts in its own:"
                    f" {self.chat.own_system[:80]!r}. Pass system= to replace it.",
                    stacklevel=3,
                )
            return [{"role": "system", "content": text}, *turns] if text else turns
        if system is not None:
            raise UserError("the turns bring a system prompt and system= gives another. Leave one of them out.")
        return turns


PROBE = "The quick brown fox jumps over the lazy dog, and then it goes on to the river to drink some cold water."
_LOADED: dict[tuple[object, ...], LM] = {}
_LOADING = threading.Lock()


def load_model(
    name: str | os.PathLike[str] = "mini",
    *,
    device: str | torch.device | None = None,
    dtype: str | torch.dtype | None = None,
    quantize: str | None = None,
    layers_path: str | None = None,
    template: str | None = None,
) -> LM:
    """A model by name ("mini", "smollm2"), a GGUF file, a folder or a hub id; the same call gives the same instance.

    device: the first GPU, else the CPU; "auto", the default beyond one GPU, spreads the blocks over all of them.
    dtype: bf16 on a GPU and on a CPU that multiplies faster in it, else fp32; fp32 for the embedded model. quantize:
    "4bit" (bitsandbytes). layers_path: the decoder blocks by hand, for example "model.layers". template: "question"
    gives a base model the form "Question: ... Answer:", which the next question ends; None is the model's own.
    UserError: unknown model, no network, no causal LM, pickled weights, weights missing, bitsandbytes missing, no or
    several candidates for the blocks, a GGUF file that cannot be unpacked, no room for its copy, another template.
    """
    name = str(name)
    source = source_of(name, device, dtype, quantize)
    with _LOADING:
        if (source, layers_path, template) not in _LOADED:
            lm = _load(name, source, layers_path, template)
            if _is_spoiled(source, lm):
                source = source_of(name, device, dtype, quantize)  # makes the copy again
                lm = _load(name, source, layers_path, template)
                if _is_spoiled(source, lm):
                    raise UserError(
                        f"the copy of {name} in {source.place} reads otherwise than it was written, twice: look at the"
                        " disk, or set WS_MODELS to a folder on another one."
                    )
            _LOADED[source, layers_path, template] = lm
        return _LOADED[source, layers_path, template]


def _load(name: str, source: Source, layers_path: str | None, template: str | None) -> LM:
    with foreign_errors(source):
        model, tok = read_model(source)
        set_template(tok, template)
        lm = wrap_model(model, tok, name, layers_path=layers_path, recipe=source.recipe)
        lm.why_dtype, lm.files = source.why, stamps_of(folder_of(source))
        _refuse_unfit(lm)
    return lm


def _refuse_unfit(lm: LM) -> None:
    """UserError where tokenizer, template or generation config name tokens that the model does not have, or no end."""
    mend = "Set eos_token_id in its generation_config.json, or eos_token in its tokenizer_config.json."
    if not lm.eos_ids:
        raise UserError(f"{lm.name} names no token that ends a text: every completion would run to its limit. {mend}")
    if beyond := [i for i in sorted(lm.eos_ids) if not 0 <= i < lm.vocab_size]:
        last = lm.vocab_size - 1
        raise UserError(f"{lm.name} names the token {beyond[0]} as an end, and has tokens 0 to {last}. {mend}")
    check_length(lm, lm.prompt_ids("a"))


def _is_spoiled(source: Source, lm: LM) -> bool:
    """Whether a GGUF file's copy holds other weights than were written; it is removed if so."""
    exact = source.copy and source.quantize is None
    return exact and spoiled(Path(source.place), lm.dtype, lm.fingerprint)


def one_thread(lm: LM) -> LM:
    """The model; on a CPU with one thread where it is so small that a second one only waits."""
    if lm.recipe.one_thread and lm.device.type == "cpu":
        torch.set_num_threads(1)
    return lm


def unload_models() -> None:
    """Forget the shared instances: their memory is free once nobody else holds them."""
    with _LOADING:
        _LOADED.clear()


def wrap_model(
    model: PreTrainedModel,
    tok: PreTrainedTokenizerBase,
    name: str = "in code",
    *,
    layers_path: str | None = None,
    recipe: ModelRecipe = OTHER,
    neutral: str | None = None,
) -> LM:
    """An LM around a model built in code. The model is set to eval(), frozen, and its cache is switched on.

    neutral: None takes the recipe's. UserError for an architecture that would be steered or read wrongly, with the
    reason (`ws.models.probing`).
    """
    model.eval().requires_grad_(False)
    blocks, chat = find_blocks(model, layers_path), chat_of(tok)
    said = recipe.neutral if neutral is None else neutral
    published = switch_cache_on(model)
    lm = LM(name, model, tok, blocks, fingerprint_of(model), chat, recipe, said, published=published)
    if layers_path is not None or not is_proven(lm.model):
        _find_out(lm)
    return lm


def _find_out(lm: LM) -> None:
    """Whether it works, only token by token, only without gaps. UserError where it does not."""
    ids = [i % lm.vocab_size for i in lm.tok.encode(PROBE, add_special_tokens=False)]
    verdict = probe(lm.model, lm.blocks, (ids * TOKENS)[:TOKENS])
    if not verdict.works:
        raise UserError(
            f"{lm.name} ({type(lm.model).__name__}) cannot be used here: {verdict.reason}. docs/models.md lists"
            " families that work."
        )
    lm.one_by_one, lm.gaps = verdict.one_by_one, verdict.gaps


def positions(mask: Tensor) -> Tensor:
    """Position ids (B, T) from an attention mask (B, T): the first attended token is 0, whatever the padding."""
    return (mask.long().cumsum(-1) - 1).clamp(min=0)


def check_length(lm: LM, ids: Sequence[int], new: int = 0) -> None:
    """UserError where a prompt and `new` tokens behind it are longer than the model's context, or a token has no row
    in its embedding."""
    if ids and max(ids) >= lm.rows:
        raise UserError(
            f"the token {lm.tok.convert_ids_to_tokens(max(ids))!r} ({max(ids)}) has no row in the embedding of"
            f" {lm.name}, which has {lm.rows}: model and tokenizer do not belong together. Use its own tokenizer."
        )
    if lm.max_context is not None and len(ids) + new > lm.max_context:
        raise UserError(
            f"a prompt of {len(ids)} tokens and {new} new ones exceed the context of {lm.name}, {lm.max_context}."
            " Shorten the prompt or lower max_new_tokens."
        )
