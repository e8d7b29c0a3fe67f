"""A GGUF file through transformers: the model in float32 and the tokenizer, as the file has them, without its noise."""

from __future__ import annotations

import functools
import io
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Any

import gguf
import numpy as np
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer, GgufConfig, PreTrainedTokenizerBase
from transformers.utils import logging

from ws.errors import UserError
from ws.models.gguf.header import BYTE_PAIRS, Header
from ws.models.gguf.pre_tokenizers import check_pre_tokenizer, set_pre_tokenizer

__all__ = ["check_tokenizer", "quiet", "unpacked"]


def check_tokenizer(file: Path, header: Header) -> None:
    """UserError for a tokenizer whose ids would have to be guessed."""
    if header.tokenizer == BYTE_PAIRS:
        try:
            check_pre_tokenizer(header.pre)
        except UserError as error:
            raise UserError(f"{file}: {error}") from error
    elif not (header.architecture.startswith("gemma") and header.tokenizer == "llama"):
        raise UserError(
            f"{file} has a {header.tokenizer!r} tokenizer of {header.architecture}: of SentencePiece's, only Gemma's is"
            " read from GGUF. Use the model's safetensors folder."
        )


def unpacked(file: Path, header: Header) -> tuple[Any, PreTrainedTokenizerBase]:
    """(model in float32, tokenizer). UserError for what transformers cannot unpack."""
    with _read_once():
        try:
            tok = _tokenizer(file, header)
            model = _model(file)
        except (ValueError, NotImplementedError, RuntimeError, KeyError, IndexError, OSError) as error:
            said = (str(error).strip().splitlines() or [type(error).__name__])[0][:160]
            raise UserError(
                f"{file} cannot be unpacked by transformers ({said}). Use the model's safetensors folder."
            ) from error
    for config in (model.config, model.generation_config):
        config.pad_token_id = tok.pad_token_id
    return model, tok


def _model(file: Path) -> Any:
    auto: Any = AutoModelForCausalLM
    model, info = auto.from_pretrained(
        file.parent,
        gguf_file=file.name,
        quantization_config=GgufConfig(dequantize=True),
        dtype=torch.float32,
        output_loading_info=True,
    )
    lost = sorted(info["missing_keys"]) + sorted(str(key) for key in info["mismatched_keys"])
    if lost:
        raise ValueError(f"it lacks {len(lost)} weights of {type(model).__name__}, the first is {lost[0]}")
    return model.eval()


def _tokenizer(file: Path, header: Header) -> PreTrainedTokenizerBase:
    """The file's own tokenizer: cut as it says, padding apart from the end of a turn."""
    tok: Any = AutoTokenizer.from_pretrained(file.parent, gguf_file=file.name)
    if header.tokenizer == BYTE_PAIRS:
        set_pre_tokenizer(tok.backend_tokenizer, header.pre)
    if tok.pad_token_id == tok.eos_token_id and tok.unk_token_id not in (None, tok.eos_token_id):
        # a stock collator masks padding out of the loss: the end of a turn would never be learnt
        tok.pad_token = tok.unk_token
    return tok


@contextmanager
def quiet() -> Iterator[None]:
    """transformers' bars and warnings are of no use to whoever named a file; what is wrong is raised."""
    level, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        with warnings.catch_warnings(), redirect_stderr(io.StringIO()), redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.set_verbosity(level)
        if bars:
            logging.enable_progress_bar()


class _Reader(gguf.GGUFReader):
    """Slices a plain array: of a numpy.memmap each of the millions of slices costs three times as much."""

    def __setattr__(self, name: str, value: Any) -> None:
        super().__setattr__(name, value.view(np.ndarray) if isinstance(value, np.memmap) else value)


@contextmanager
def _read_once() -> Iterator[None]:
    """transformers parses the file anew for every question and builds gguf's table of names anew for every module:
    more than half of the time. A version that asks elsewhere is as right, and slower."""
    faster = {"GGUFReader": functools.cache(_Reader), "get_tensor_name_map": functools.cache(gguf.get_tensor_name_map)}
    own = {name: getattr(gguf, name) for name in faster}
    for name in faster:
        setattr(gguf, name, faster[name])
    try:
        yield
    finally:
        for name in own:
            setattr(gguf, name, own[name])
