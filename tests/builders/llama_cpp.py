"""llama.cpp on a GGUF file, through the package xllamacpp: its token ids and its most likely next token.

    with llama_cpp(path) as ask:
        ask.ids("12 apples"); ask.top(ids)
"""

from __future__ import annotations

import importlib
import importlib.util
import json
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

MISSING = "LLAMA.CPP IS MISSING: pip install xllamacpp==2026.10.11549 (or the extra llama-cpp) compares with it"


@dataclass(frozen=True)
class LlamaCpp:
    """A server of llama.cpp in this process."""

    address: str

    def ids(self, text: str, special: bool = False) -> list[int]:
        """Token ids of a text; special: with what the file puts in front of one."""
        found: list[int] = self._ask("/tokenize", {"content": text, "add_special": special, "parse_special": True})[
            "tokens"
        ]
        return found

    def top(self, ids: list[int]) -> int:
        """The most likely token behind these."""
        asked = {"prompt": ids, "n_predict": 1, "n_probs": 1, "temperature": 0.0, "cache_prompt": True}
        return int(self._ask("/completion", asked)["completion_probabilities"][0]["id"])

    def chances(self, ids: list[int], **how: Any) -> dict[int, float]:
        """Log-probabilities of the three likeliest tokens behind these; how: further fields of the request."""
        asked = {"prompt": ids, "n_predict": 1, "n_probs": 3, "temperature": 0.0, "cache_prompt": True, **how}
        found = self._ask("/completion", asked)["completion_probabilities"][0]["top_logprobs"]
        return {int(one["id"]): float(one["logprob"]) for one in found}

    def _ask(self, where: str, what: dict[str, Any]) -> Any:
        head = {"Content-Type": "application/json"}
        with urllib.request.urlopen(urllib.request.Request(self.address + where, json.dumps(what).encode(), head)) as r:
            return json.load(r)


@contextmanager
def llama_cpp(path: Path, context: int = 1024, lora: Path | None = None) -> Iterator[LlamaCpp]:
    """Skips the test, loudly, where the package is not installed. lora: an adapter, on at scale 1."""
    if importlib.util.find_spec("xllamacpp") is None:
        pytest.skip(MISSING)
    package = importlib.import_module("xllamacpp")
    settings = package.CommonParams()
    settings.model.path, settings.n_ctx, settings.warmup = str(path), context, False
    settings.cpuparams.n_threads = settings.cpuparams_batch.n_threads = 1
    if lora is not None:
        settings.lora_adapters, settings.n_parallel = [package.CommonAdapterLoraInfo(str(lora), 1.0)], 1
    server = package.Server(settings)
    try:
        yield LlamaCpp(server.listening_address)
    finally:
        del server
