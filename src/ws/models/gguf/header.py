"""What a GGUF file says of itself, and what is refused before anything is unpacked.

The header is read here, in a tenth of a second where the gguf package takes six: a file that is cut off is then known
by its size, and a kind of number by its name, before transformers sees it. Layout: ggml's docs/gguf.md, versions 2, 3.
"""

from __future__ import annotations

import mmap
import struct
from collections import Counter
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any, NamedTuple

import gguf
import numpy as np
from transformers.integrations.ggml import GGUF_CONFIG_MAPPING
from transformers.integrations.gguf import GGUF_CONFIG_ARCHS

from ws.errors import UserError

__all__ = ["BYTE_PAIRS", "Header", "read_header"]

BYTE_PAIRS = "gpt2"  # the kind of tokenizer that cuts by an expression; the others merge SentencePiece's pieces
VERSIONS = (2, 3)
NUMBERS = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?", 10: "Q", 11: "q", 12: "d"}
STRING, ARRAY = 8, 9
KINDS = ("model", "finetune", "merge")
SPELLED = {"qwen2moe": "qwen2_moe", "qwen3moe": "qwen3_moe", "gpt-oss": "gpt_oss", "minimax-m2": "minimax_m2"}
WAY_OUT = "Use the model's safetensors folder or hub id."


@dataclass(frozen=True)
class Header:
    """architecture: as llama.cpp names it; tokenizer: "gpt2", "llama", ...; pre: name of its cut; parameters: how many;
    quantization: type -> tensors; template: the chat template, None for a base model; eos: id of its end; blocks,
    heads, kv_heads: how many, None where the file does not say it in one number."""

    architecture: str
    tokenizer: str
    pre: str
    parameters: int
    quantization: dict[str, int]
    template: str | None
    eos: int | None
    blocks: int | None = None
    heads: int | None = None
    kv_heads: int | None = None


class _Tensor(NamedTuple):
    name: str
    shape: tuple[int, ...]
    kind: int
    offset: int  # from where the data begins


class _Cut(Exception):
    """The file ends inside its header, or holds there what cannot be."""


def read_header(path: Path) -> Header:
    """The header of a file. UserError for one that is no GGUF, is cut off, or holds what is no causal LM."""
    try:
        with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
            _check_magic(path, data)
            try:
                fields, tensors, start = _parse(data)
            except (_Cut, struct.error, UnicodeDecodeError, OverflowError) as error:
                raise UserError(
                    f"{path} is cut off or damaged: its header cannot be read to the end ({error}; {len(data)} bytes)."
                    " Download it again."
                ) from error
            size = len(data)
    except (OSError, ValueError) as error:  # mmap refuses an empty file with a ValueError
        raise UserError(f"{path} cannot be read: {error}. Name a GGUF file.") from error
    _check_kind(path, fields)
    kinds = _check_tensors(path, tensors, size - start)
    return _checked(path, fields, tensors, kinds)


def _checked(path: Path, fields: dict[str, Any], tensors: list[_Tensor], kinds: dict[str, int]) -> Header:
    """The header as a value. UserError where a completion would never end."""
    template, eos = fields.get("tokenizer.chat_template"), fields.get("tokenizer.ggml.eos_token_id")
    if template is None and eos is None:
        raise UserError(
            f"{path} has neither a chat template nor a token that ends a text: a completion would never end."
            " Use a file with tokenizer.ggml.eos_token_id."
        )
    model, pre = fields.get("tokenizer.ggml.model"), fields.get("tokenizer.ggml.pre", "default")
    if model is None:
        raise UserError(f"{path} holds no tokenizer (tokenizer.ggml.model). {WAY_OUT}")
    size = sum(prod(tensor.shape) for tensor in tensors)
    name = fields["general.architecture"]
    blocks, heads = fields.get(f"{name}.block_count"), fields.get(f"{name}.attention.head_count")
    kv_heads = fields.get(f"{name}.attention.head_count_kv", heads)  # None where it holds one number per block
    return Header(name, model, pre, size, kinds, template, eos, blocks, heads, kv_heads)


# What is refused


def _check_magic(path: Path, data: mmap.mmap) -> None:
    if data[:4] != b"GGUF":
        raise UserError(f"{path} is no GGUF file: it begins with {bytes(data[:4])!r}. Name another file.")
    version = int.from_bytes(data[4:8], "little")
    if len(data) >= 8 and version not in VERSIONS:
        raise UserError(f"{path} is GGUF version {version}; ws reads {VERSIONS}. Convert it with llama.cpp's tools.")


def _check_kind(path: Path, fields: dict[str, Any]) -> None:
    architecture, kind = fields.get("general.architecture"), fields.get("general.type", "model")
    if architecture == "clip" or kind in ("mmproj", "projector"):
        raise UserError(f"{path} is a vision projector, not a language model. Name the model's own GGUF file.")
    if kind not in KINDS:
        raise UserError(f"{path} holds a {kind!r}, not a whole model. Name the model's own GGUF file.")
    known = {*GGUF_CONFIG_MAPPING, *GGUF_CONFIG_ARCHS} - {"general", "tokenizer"}
    if SPELLED.get(str(architecture), architecture) not in known:
        raise UserError(
            f"{path} has the architecture {architecture!r}, which transformers cannot read from GGUF. {WAY_OUT}"
        )


def _check_tensors(path: Path, tensors: list[_Tensor], held: int) -> dict[str, int]:
    """Type of number -> tensors. UserError for a type that cannot be unpacked, and for weights that are cut off."""
    if not tensors:
        raise UserError(f"{path} holds no weights, only a vocabulary. Name the model's own GGUF file.")
    counts = Counter(tensor.kind for tensor in tensors)
    odd = [_type_name(kind) for kind in sorted(counts) if not _unpacks(kind)]
    if odd:
        raise UserError(
            f"{path} holds tensors of a quantization that ws cannot unpack ({', '.join(odd)})."
            " Take a file of another quantization, Q8_0 or Q4_K_M for example."
        )
    need = max(tensor.offset + _bytes_of(tensor) for tensor in tensors)
    if need > held:
        raise UserError(
            f"{path} is cut off: its tensors take {need} bytes and {max(held, 0)} are there. Download it again."
        )
    return {_type_name(kind): n for kind, n in sorted(counts.items())}


def _type_name(kind: int) -> str:
    known = {int(member): member.name for member in gguf.GGMLQuantizationType}
    return known.get(kind, f"type {kind}")


def _unpacks(kind: int) -> bool:
    """Whether the gguf package can: one block of zeros is tried."""
    try:
        member = gguf.GGMLQuantizationType(kind)
        gguf.dequantize(np.zeros((1, gguf.GGML_QUANT_SIZES[member][1]), np.uint8), member)
    except (ValueError, KeyError, NotImplementedError):
        return False
    return True


def _bytes_of(tensor: _Tensor) -> int:
    block, size = gguf.GGML_QUANT_SIZES[gguf.GGMLQuantizationType(tensor.kind)]
    return prod(tensor.shape) // block * size


# How it is laid out


def _parse(data: mmap.mmap) -> tuple[dict[str, Any], list[_Tensor], int]:
    """Fields, tensors and where the data begins. Arrays are passed over: nothing here is asked of one."""
    count, pairs = struct.unpack_from("<QQ", data, 8)
    fields: dict[str, Any] = {}
    at = 24
    for _ in range(pairs):
        key, at = _string(data, at)
        (kind,) = struct.unpack_from("<I", data, at)
        fields[key], at = _value(data, at + 4, kind)
    tensors = []
    for _ in range(count):
        tensor, at = _tensor(data, at)
        tensors.append(tensor)
    step = fields.get("general.alignment", 32)
    if not isinstance(step, int) or step < 1:
        raise _Cut(f"an alignment of {step!r}")
    return fields, tensors, -(-at // step) * step


def _tensor(data: mmap.mmap, at: int) -> tuple[_Tensor, int]:
    name, at = _string(data, at)
    (dims,) = struct.unpack_from("<I", data, at)
    if dims > 8:
        raise _Cut(f"a tensor of {dims} dimensions")
    shape = struct.unpack_from(f"<{dims}Q", data, at + 4)
    kind, offset = struct.unpack_from("<IQ", data, at + 4 + 8 * dims)
    return _Tensor(name, shape, kind, offset), at + 16 + 8 * dims


def _string(data: mmap.mmap, at: int) -> tuple[str, int]:
    (length,) = struct.unpack_from("<Q", data, at)
    end = at + 8 + length
    if end > len(data):
        raise _Cut(f"a text of {length} bytes")
    return data[at + 8 : end].decode("utf-8"), end


def _value(data: mmap.mmap, at: int, kind: int) -> tuple[Any, int]:
    if kind == STRING:
        return _string(data, at)
    if kind == ARRAY:
        return None, _behind_array(data, at)
    if kind not in NUMBERS:
        raise _Cut(f"a value of type {kind}")
    form = "<" + NUMBERS[kind]
    return struct.unpack_from(form, data, at)[0], at + struct.calcsize(form)


def _behind_array(data: mmap.mmap, at: int) -> int:
    kind, length = struct.unpack_from("<IQ", data, at)
    at += 12
    if kind in NUMBERS:
        return at + length * struct.calcsize("<" + NUMBERS[kind])
    if kind not in (STRING, ARRAY):
        raise _Cut(f"an array of type {kind}")
    for _ in range(length):  # a length that cannot be ends with the file
        at = at + 8 + struct.unpack_from("<Q", data, at)[0] if kind == STRING else _behind_array(data, at)
    return at
