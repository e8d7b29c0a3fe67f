"""What a GGUF file says of itself, and what is refused before anything is unpacked."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from transformers.integrations.ggml import GGUF_CONFIG_MAPPING

from ws.errors import UserError

__all__ = ["Header", "read_header"]

CUT = "gpt2"  # the kind of tokenizer that cuts by an expression; the others merge SentencePiece's pieces
DTYPES = {"F64", "I8", "I16", "I32", "I64"}  # number types that hold no weights of a language model


@dataclass(frozen=True)
class Header:
    """architecture: as llama.cpp names it; tokenizer: "gpt2", "llama", ...; pre: name of its cut; parameters: how many;
    quantization: type -> tensors; template: the chat template, None for a base model; eos: id of its end."""

    architecture: str
    tokenizer: str
    pre: str
    parameters: int
    quantization: dict[str, int]
    template: str | None
    eos: int | None


def read_header(path: Path) -> Header:
    """The header of a file. UserError for one that is no GGUF, is cut off, or holds what is no causal LM."""
    with _said(path):
        from gguf import GGUFReader

        reader = GGUFReader(path)
    field = lambda name: _value(reader, name)  # noqa: E731
    architecture = str(field("general.architecture"))
    _check_kind(path, architecture, str(field("general.type") or "model"))
    kinds: dict[str, int] = {}
    for tensor in reader.tensors:
        kinds[tensor.tensor_type.name] = kinds.get(tensor.tensor_type.name, 0) + 1
    header = Header(
        architecture,
        str(field("tokenizer.ggml.model")),
        str(field("tokenizer.ggml.pre") or "default"),
        sum(int(tensor.n_elements) for tensor in reader.tensors),
        kinds,
        field("tokenizer.chat_template"),
        field("tokenizer.ggml.eos_token_id"),
    )
    _check_whole(path, header)
    return header


def _check_kind(path: Path, architecture: str, kind: str) -> None:
    if architecture == "clip" or kind in ("mmproj", "projector"):
        raise UserError(f"{path} is a vision projector, not a language model. Name the model's own GGUF file.")
    if kind not in ("model", "finetune", "merge"):
        raise UserError(f"{path} holds a {kind!r}, not a whole model. Name the model's own GGUF file.")
    if architecture not in GGUF_CONFIG_MAPPING:
        raise UserError(
            f"{path} has the architecture {architecture!r}, which transformers cannot read from GGUF. Use the model's"
            " safetensors folder or hub id."
        )


def _check_whole(path: Path, header: Header) -> None:
    odd = sorted(DTYPES & set(header.quantization))
    if odd or not header.parameters:
        raise UserError(f"{path} holds no weights that ws can unpack ({', '.join(odd) or 'no tensors'}).")
    if header.template is None and header.eos is None:
        raise UserError(
            f"{path} has neither a chat template nor a token that ends a text: a completion would never end."
            " Use a file with tokenizer.ggml.eos_token_id."
        )


def _value(reader: Any, name: str) -> Any:
    found = reader.fields.get(name)
    return None if found is None else found.contents()


@contextmanager
def _said(path: Path) -> Iterator[None]:
    """A reader's complaint as one line: of a file that ends early it is a shape that does not fit."""
    try:
        yield
    except (ValueError, IndexError, KeyError, OverflowError, OSError) as error:
        with path.open("rb") as file:
            magic = file.read(4)
        if magic != b"GGUF":
            raise UserError(f"{path} is no GGUF file: it begins with {magic!r}.") from error
        said = (str(error).strip().splitlines() or [type(error).__name__])[0][:120]
        raise UserError(
            f"{path} cannot be read: it is cut off, damaged, or holds tensors of an unknown quantization ({said})."
            " Download it again, or take one of another quantization."
        ) from error
