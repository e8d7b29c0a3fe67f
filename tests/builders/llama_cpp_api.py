"""llama.cpp's own C interface, in the library that xllamacpp brings: control vectors, adapters, the logits of a text.

    with engine(path) as run:
        run.logits(ids)                                  # (S, vocabulary)
        run.steer([(file, 1.0)]); run.adapt([(file, 1.0)])

xllamacpp's Python face takes no control vector. Every file is read here by the code that the command line of llama.cpp
reads it with (`common_control_vector_load`, `llama_adapter_lora_init`).
"""

from __future__ import annotations

import ctypes
import importlib.util
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from ctypes import POINTER, Structure, byref, c_char_p, c_float, c_int32, c_size_t, c_void_p
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from tests.builders.llama_cpp import MISSING

Scaled = Sequence[tuple[Path, float]]
F32, F16 = 0, 1  # ggml's numbers for its types
LOADER = "_Z26common_control_vector_loadRKSt6vectorI31common_control_vector_load_infoSaIS0_EE"


class Settings(Structure):
    """A structure of settings whose fields are of no matter here, longer than any: it travels behind the other
    arguments, so that what is too much is not read."""

    _fields_ = (("bytes", c_int32 * 256),)


class Batch(Structure):
    _fields_ = (("n", c_int32), *((name, c_void_p) for name in ("token", "embd", "pos", "n_seq", "seq", "logits")))


class Vector(Structure):
    """std::vector."""

    _fields_ = (("begin", c_void_p), ("end", c_void_p), ("room", c_void_p))


class LoadInfo(Structure):
    """common_control_vector_load_info: a strength and a std::string, in the package's old C++ ABI one pointer."""

    _fields_ = (("strength", c_float), ("name", c_char_p))


class Loaded(Structure):
    """common_control_vector_data."""

    _fields_ = (("width", c_int32), ("data", Vector))


class Engine:
    """A model file in llama.cpp, on one thread, in float32 throughout."""

    def __init__(self, lib: ctypes.CDLL, path: Path, context: int) -> None:
        self.lib = lib
        self.model = c_void_p(lib.llama_model_load_from_file(str(path).encode(), lib.llama_model_default_params()))
        assert self.model, f"llama.cpp does not load {path}"
        settings = lib.llama_context_default_params()
        settings.bytes[0], settings.bytes[1], settings.bytes[2] = context, context, context  # n_ctx, n_batch, n_ubatch
        _exact(settings)
        self.context = c_void_p(lib.llama_init_from_model(self.model, settings))
        lib.llama_set_n_threads(self.context, 1, 1)
        self.blocks = lib.llama_model_n_layer(self.model)
        self.width = lib.llama_model_n_embd(self.model)
        self.vocabulary = lib.llama_vocab_n_tokens(c_void_p(lib.llama_model_get_vocab(self.model)))

    def steer(self, files: Scaled) -> None:
        """Control vectors as `--control-vector-scaled FILE:SCALE` sets them, one call of it; none: off."""
        if not files:
            assert self.lib.llama_set_adapter_cvec(self.context, None, 0, 0, 0, 0) == 0
            return
        infos = (LoadInfo * len(files))()
        for info, (path, scale) in zip(infos, files, strict=True):
            info.strength, info.name = scale, str(path).encode()
        start = ctypes.addressof(infos)
        end = start + ctypes.sizeof(infos)
        found = Loaded()
        getattr(self.lib, LOADER)(byref(found), byref(Vector(start, end, end)))
        if found.width == -1:
            raise ValueError("llama.cpp does not read this control vector")
        length = (found.data.end - found.data.begin) // ctypes.sizeof(c_float)
        done = self.lib.llama_set_adapter_cvec(
            self.context, c_void_p(found.data.begin), length, found.width, 1, self.blocks
        )
        if done != 0:
            raise ValueError("llama.cpp does not take this control vector")

    def adapt(self, files: Scaled) -> None:
        """LoRA adapters with their scales, as `--lora-scaled`; none: off."""
        found = [self.lib.llama_adapter_lora_init(self.model, str(path).encode()) for path, _ in files]
        if not all(found):
            raise ValueError("llama.cpp does not take this adapter")
        pointers = (c_void_p * len(found))(*found)
        scales = (c_float * len(found))(*(scale for _, scale in files))
        assert self.lib.llama_set_adapters_lora(self.context, pointers, len(found), scales) == 0

    def logits(self, ids: Sequence[int]) -> Tensor:
        """(S, vocabulary), read from the start of the text."""
        n = len(ids)
        arrays = [(c_int32 * n)(*ids), (c_int32 * n)(*range(n)), (c_int32 * n)(*[1] * n), (ctypes.c_int8 * n)(*[1] * n)]
        own = (c_int32 * 1)(0)
        rows = (POINTER(c_int32) * n)(*[own] * n)
        token, pos, counts, wanted = (ctypes.addressof(a) for a in arrays)
        self.lib.llama_memory_clear(c_void_p(self.lib.llama_get_memory(self.context)), True)
        done = self.lib.llama_decode(
            self.context, Batch(n, token, None, pos, counts, ctypes.addressof(rows), wanted)
        )
        assert done == 0, done
        numbers = ctypes.cast(self.lib.llama_get_logits(self.context), POINTER(c_float))
        return torch.from_numpy(np.ctypeslib.as_array(numbers, (n, self.vocabulary)).copy())

    def close(self) -> None:
        self.lib.llama_free(self.context)
        self.lib.llama_model_free(self.model)


def _exact(settings: Settings) -> None:
    """Plain attention over keys and values in float32: the defaults, flash attention and float16, cost .003 of a logit.

    The fields are found by their defaults: four "auto" in a row, of which flash attention is the last; two types.
    """
    numbers = list(settings.bytes)
    (auto,) = (i for i in range(60) if numbers[i : i + 4] == [-1] * 4)
    (types,) = (i for i in range(12, 60) if numbers[i : i + 2] == [F16, F16])
    settings.bytes[auto + 3] = 0
    settings.bytes[types], settings.bytes[types + 1] = F32, F32


@contextmanager
def engine(path: Path, context: int = 512) -> Iterator[Engine]:
    """Skips the test, loudly, where the package is not installed."""
    found = importlib.util.find_spec("xllamacpp")
    if found is None or found.origin is None:
        pytest.skip(MISSING)
    (file,) = Path(found.origin).parent.glob("xllamacpp*.so")
    lib = ctypes.CDLL(str(file))
    pointers = ("llama_model_load_from_file", "llama_init_from_model", "llama_model_get_vocab", "llama_get_memory",
                "llama_get_logits", "llama_adapter_lora_init")  # fmt: skip
    for name in pointers:
        getattr(lib, name).restype = c_void_p
    lib.llama_model_default_params.restype = lib.llama_context_default_params.restype = Settings
    lib.llama_model_load_from_file.argtypes = (c_char_p, Settings)
    lib.llama_adapter_lora_init.argtypes = (c_void_p, c_char_p)
    lib.llama_init_from_model.argtypes = (c_void_p, Settings)
    lib.llama_decode.argtypes = (c_void_p, Batch)
    lib.llama_set_adapter_cvec.argtypes = (c_void_p, c_void_p, c_size_t, c_int32, c_int32, c_int32)
    lib.llama_set_adapters_lora.argtypes = (c_void_p, c_void_p, c_size_t, c_void_p)
    getattr(lib, LOADER).argtypes = (c_void_p, c_void_p)
    lib.llama_memory_clear.argtypes = (c_void_p, ctypes.c_bool)
    lib.llama_log_set(SILENT, None)
    lib.llama_backend_init()
    run = Engine(lib, path, context)
    try:
        yield run
    finally:
        run.close()


SILENT = ctypes.CFUNCTYPE(None, c_int32, c_char_p, c_void_p)(lambda *_: None)
"""Where llama.cpp's log goes."""
