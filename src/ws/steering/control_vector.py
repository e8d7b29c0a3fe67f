"""The file of a GGUF control vector, as llama.cpp and repeng read and write it: one vector a block, added as it is.

    direction.3   float32 (d,)   scale * it is added behind block 3, counted from 0, at every position
    controlvector.model_hint     llama.cpp's name of the architecture (repeng writes transformers' model_type)

llama.cpp has no block 0, and behind blocks above the last one that a file names it keeps what an earlier, longer vector
has left there. So a file from here names every block from 1 to the last, with zeros where nothing is steered.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ws.errors import UserError
from ws.models.gguf.writing import Fields, write_gguf

__all__ = ["MAGIC", "read_control_vector", "write_control_vector"]

MAGIC = b"GGUF"
KIND = "controlvector"
PREFIX = "direction."
BYTES = 1 << 31  # more than the largest model's vector in float32, by a hundred


def write_control_vector(path: Path, added: Mapping[int, Tensor], hint: str, told: Mapping[str, str]) -> None:
    """Write what is added behind each block; zero vectors count. told: further texts for the file's head, by key."""
    fields: Fields = {f"{KIND}.model_hint": hint, f"{KIND}.layer_count": len(added), **told}
    write_gguf(path, KIND, fields, {f"{PREFIX}{block}": vector for block, vector in sorted(added.items())})


def read_control_vector(path: Path) -> tuple[dict[int, Tensor], dict[str, Any]]:
    """(what is added behind each block, zeros left out; the file's plain fields by key).

    UserError: the file is damaged, is GGUF of another kind, or names its vectors in another way.
    """
    size = path.stat().st_size
    if size > BYTES:
        raise UserError(f"{path} is no control vector: it has {size >> 20} MiB. A model goes to --model.")
    reader = _reader(path)
    told = {key: f.contents() for key, f in reader.fields.items() if not key.startswith("GGUF.")}
    kind = told.get("general.architecture")
    if kind != KIND:
        what = "a model" if told.get("general.type", "model") == "model" else f"an {told['general.type']}"
        raise UserError(
            f"{path} is no control vector but {what} of architecture {kind!r}. Name a file of llama.cpp's"
            " cvector-generator, of repeng or of `ws export --what direction`."
        )
    added = dict(_block(path, tensor) for tensor in reader.tensors)
    return {block: vector for block, vector in sorted(added.items()) if bool(vector.any())}, told


def _reader(path: Path) -> Any:
    """The gguf package's reader; what a damaged file makes it raise is one UserError."""
    from gguf import GGUFReader

    try:
        return GGUFReader(path)
    except (ValueError, KeyError, IndexError, OverflowError, MemoryError, AttributeError) as error:
        said = (str(error).strip().splitlines() or [type(error).__name__])[0][:120]
        raise UserError(f"{path} is GGUF, and cut off or damaged ({said}). Copy or write it again.") from error


def _block(path: Path, tensor: Any) -> tuple[int, Tensor]:
    """Block and vector of one tensor."""
    number = tensor.name.removeprefix(PREFIX)
    if not tensor.name.startswith(PREFIX) or not number.isdecimal():
        raise UserError(f"{path} holds a tensor {tensor.name!r}; a control vector's are named {PREFIX}1, {PREFIX}2 ...")
    if tensor.tensor_type.name != "F32" or len(tensor.shape) != 1:
        kind = f"{tensor.tensor_type.name} of shape {tuple(int(n) for n in tensor.shape)}"
        raise UserError(f"{path} holds {tensor.name} as {kind}; a control vector's are F32 of one dimension.")
    return int(number), torch.from_numpy(tensor.data.copy())
