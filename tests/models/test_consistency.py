"""Model, tokenizer, template, generation config against each other: what cannot work is refused, the rest is said."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.builders.tiny_models import CHATML, VOCAB, tiny_lm, tiny_model, tiny_tokenizer
from ws.errors import UserError
from ws.generation.completions import generate
from ws.models.consistency import findings
from ws.models.lm import LM, load_model, wrap_model


def odd(template: str | None = CHATML, **tokenizer: Any) -> LM:
    """The tiny llama beside a tokenizer with these settings."""
    tok = tiny_tokenizer(template)
    for name, value in tokenizer.items():
        setattr(tok, name, value)
    model = tiny_model("llama")
    model.generation_config.eos_token_id = tok.eos_token_id
    return wrap_model(model, tok, "odd")


@pytest.mark.parametrize("name", ["mini", "llama"])
def test_what_agrees_has_nothing_to_say(name: str) -> None:
    lm = load_model("mini") if name == "mini" else tiny_lm("llama")
    assert findings(lm) == []


def test_an_end_that_nobody_else_knows() -> None:
    (line,) = findings(odd(eos_token="<|endoftext|>"))
    assert line.startswith("the chat template ends a reply with '<|im_end|>', which neither")
    (line,) = findings(odd("{% for m in messages %}{{ m.role + ': ' + m.content }}{% endfor %}"))
    assert line.startswith("the chat template writes no token of its own behind a reply")
    assert findings(odd(None)) == []


def test_a_system_prompt_and_a_length() -> None:
    own = "{% if messages[0].role != 'system' %}{{ '<|im_start|>system\nI am Own.<|im_end|>\n' }}{% endif %}" + CHATML
    (line,) = findings(odd(own, eos_token="<|im_end|>"))
    assert line == "the chat template puts in a system prompt where none is given: 'I am Own.'"
    assert findings(odd(model_max_length=64)) == [
        "the tokenizer says 64 tokens at most, the model's config 512: the config's is kept to"
    ]


def test_tokens_without_a_row_are_named_and_refused_where_they_stand() -> None:
    tok = tiny_tokenizer()
    tok.add_tokens([f"<new{i}>" for i in range(VOCAB - len(tok) + 3)])
    lm = wrap_model(tiny_model("llama"), tok, "grown")
    said = f"the tokenizer has {len(tok)} tokens and the embedding {VOCAB} rows: 3 tokens"
    assert any(line.startswith(said) for line in findings(lm))
    assert generate(lm, "Hi", max_new_tokens=2).height == 1
    with pytest.raises(UserError, match=rf"{len(tok) - 1}\) has no row in the embedding of grown, which has {VOCAB}"):
        generate(lm, f"Hi {tok.convert_ids_to_tokens(len(tok) - 1)}", max_new_tokens=2)


def test_a_padding_token_without_a_row() -> None:
    tok = tiny_tokenizer()
    tok.add_tokens([f"<new{i}>" for i in range(VOCAB - len(tok) + 3)])
    tok.pad_token = tok.convert_ids_to_tokens(len(tok) - 1)
    lm = wrap_model(tiny_model("llama"), tok, "grown")
    assert any(line.startswith(f"the padding token's id is {len(tok) - 1}") for line in findings(lm))
    assert generate(lm, ["Hi", "Hi there, you"], max_new_tokens=2).height == 2


@pytest.mark.parametrize("eos", [VOCAB, 10**6, [3, -1]])
def test_an_end_that_the_model_lacks(tmp_path: Path, eos: int | list[int]) -> None:
    lm = tiny_lm("llama")
    lm.model.save_pretrained(tmp_path)
    lm.tok.save_pretrained(tmp_path)
    config = tmp_path / "generation_config.json"
    config.write_text(json.dumps(json.loads(config.read_text()) | {"eos_token_id": eos}))
    with pytest.raises(UserError, match=rf"as an end, and has tokens 0 to {VOCAB - 1}"):
        load_model(tmp_path, device="cpu")
