"""Fixtures that all test files share."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import torch

from tests.builders.tiny_models import ARCHS, tiny_lm
from ws.models.lm import LM, load_model
from ws.models.recipe import MINI, SMOLLM2, weights_of

# tests change their folder: a copy of a GGUF file is made once for all of them, and for the processes they start
os.environ.setdefault("WS_CPU_DTYPE", "float32")  # else numbers would depend on the machine
os.environ.setdefault("WS_MODELS", str(Path(__file__).parents[1] / "out" / "models"))


@pytest.fixture(scope="session", autouse=True)
def one_thread() -> None:
    """Thread counts change numbers, and tiny models gain nothing from threads."""
    torch.set_num_threads(1)


@pytest.fixture
def tiny() -> LM:
    """A tiny Qwen3 with a thinking template. Shared: leave it as it was."""
    return tiny_lm("qwen3")


@pytest.fixture(params=ARCHS)
def arch_lm(request: pytest.FixtureRequest) -> LM:
    """A tiny model of each architecture in turn. Shared: leave it as it was."""
    return tiny_lm(request.param)


@pytest.fixture(scope="session")
def mini() -> LM:
    """The embedded model, once its weights exist."""
    weights = weights_of(MINI)
    if weights is None or not (weights / "model.safetensors").is_file():
        pytest.skip(f"THE EMBEDDED MODEL IS MISSING: no weights in {weights}")
    return load_model("mini", device="cpu")


@pytest.fixture(scope="session")
def smollm2() -> LM:
    """The real chat model, where its package is installed. Shared: leave it as it was."""
    weights = weights_of(SMOLLM2)
    if weights is None or not weights.is_file():
        pytest.skip(f"THE REAL MODEL IS NOT INSTALLED: {SMOLLM2.missing}")
    return load_model("smollm2", device="cpu")
