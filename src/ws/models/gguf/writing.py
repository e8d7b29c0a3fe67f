"""Writes a GGUF file of plain fields and float32 tensors, in one step: control vectors and adapters for llama.cpp."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from torch import Tensor

from ws.files import write_atomic

__all__ = ["Fields", "write_gguf"]


Fields = Mapping[str, str | int | float]


def write_gguf(path: Path, architecture: str, fields: Fields, tensors: Mapping[str, Tensor]) -> None:
    """Texts stay texts, int becomes uint32 and float float32, as llama.cpp asks for them."""
    from gguf import GGUFWriter

    def write(temporary: Path) -> None:
        writer = GGUFWriter(temporary, architecture)
        for key, value in fields.items():
            if isinstance(value, str):
                writer.add_string(key, value)
            elif isinstance(value, int):
                writer.add_uint32(key, value)
            else:
                writer.add_float32(key, value)
        for name, tensor in tensors.items():
            writer.add_tensor(name, tensor.detach().contiguous().float().numpy())
        for step in (writer.write_header_to_file, writer.write_kv_data_to_file, writer.write_tensors_to_file):
            step()
        writer.close()

    write_atomic(path, write)
