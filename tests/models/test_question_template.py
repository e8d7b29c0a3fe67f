"""A base model asked as "Question: ... Answer:": rendered, steered, ended; plain text stays the default."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest
import torch

from tests.builders.directions import direction
from tests.builders.gguf_files import write_gguf
from tests.builders.tiny_models import tiny_lm, tiny_model, tiny_tokenizer
from ws.errors import UserError
from ws.generation.completions import generate
from ws.generation.decoding import decode
from ws.healing.config import HealConfig
from ws.healing.dataset import training_rows
from ws.healing.training import heal
from ws.models.chat import set_template
from ws.models.lm import LM, load_model, wrap_model
from ws.runs.config import RunConfig, from_dict, to_dict
from ws.steering.hooks import steered


def asked(arch: str = "qwen3", bos: bool = False) -> LM:
    tok = tiny_tokenizer(None, bos=bos)
    set_template(tok, "question")
    model = tiny_model(arch)
    model.generation_config.eos_token_id = tok.eos_token_id
    return wrap_model(model, tok)


@pytest.mark.parametrize("bos", [False, True])
def test_how_it_is_rendered(bos: bool) -> None:
    lm = asked(bos=bos)
    text = "<bos>" * bos + "Be brief.\n\nQuestion: Hi?\nAnswer:\n"
    ids = lm.prompt_ids("Hi?", system="Be brief.")
    assert lm.tok.decode(ids) == text and ids.count(lm.tok.bos_token_id) == bos
    assert lm.assistant_start(ids) == len(ids) - 1 and lm.has_chat and not lm.thinks
    said = (("user", "A?"), ("assistant", "B."), ("user", "C?"))
    turns = [{"role": role, "content": text} for role, text in said]
    assert lm.tok.decode(lm.prompt_ids(turns, system="")).removeprefix("<bos>") == (
        "Question: A?\nAnswer:\nB.\n\nQuestion: C?\nAnswer:\n"
    )


def test_it_is_steered_from_the_answer_on() -> None:
    lm = asked()
    ids = torch.tensor([lm.prompt_ids("Hi?") + lm.encode("Yes.")])
    with torch.inference_mode():
        plain = lm.model(input_ids=ids).logits[0]
        with steered(lm, direction(lm), 2.0):
            pushed = lm.model(input_ids=ids).logits[0]
    tag = len(lm.prompt_ids("Hi?")) - 1
    changed = ((plain - pushed).abs().amax(-1) > 1e-3).tolist()
    assert changed == [i >= tag for i in range(ids.shape[1])]


@pytest.mark.parametrize("said", ["No.\nQuestion:", "No.\n\nQuestion: And", "Question:\nno\n\nQuestion:"])
def test_the_next_question_ends_a_completion(said: str) -> None:
    lm = asked()
    ids = lm.encode(said)
    end = next(k for k in range(1, len(ids) + 1) if "\nQuestion:" in lm.tok.decode(ids[:k]))
    (row,) = decode(lm, [lm.prompt_ids("Hi?")], forced=[ids[:end]], max_new_tokens=60)
    assert row.finished and row.token_ids == ids[:end]
    assert lm.text_of(row.token_ids, True) == said.rpartition("\nQuestion:")[0].rstrip("\n")
    (other,) = decode(tiny_lm(chat=False), [lm.prompt_ids("Hi?")], forced=[ids[:end]], max_new_tokens=60)
    assert not other.finished or len(other.token_ids) > end, "the plain text has no such end"


def test_its_own_end_still_ends_it() -> None:
    lm = asked()
    ids = [*lm.encode("No."), lm.tok.eos_token_id]
    (row,) = decode(lm, [lm.prompt_ids("Hi?")], forced=[ids], max_new_tokens=60)
    assert row.finished and lm.text_of(row.token_ids, True) == "No."


def test_texts_of_ones_own_are_trained_with_that_end() -> None:
    lm = asked()
    (row,) = training_rows(lm, pl.DataFrame({"prompt": ["Hi?"], "completion": ["No."]}))
    assert lm.tok.decode(row.ids[row.start :]) == "No.\nQuestion:"


def test_it_is_asked_for_by_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WS_MODELS", str(tmp_path / "copies"))
    base = write_gguf(tmp_path / "base.gguf", template=None)
    lm, plain = load_model(base, device="cpu", template="question"), load_model(base, device="cpu")
    assert lm.tok.decode(lm.prompt_ids("Hi.", system="Be brief.")) == "Be brief.\n\nQuestion: Hi.\nAnswer:\n"
    assert plain.tok.decode(plain.prompt_ids("Hi.", system="Be brief.")) == "Be brief.\n\nHi.\n" and not plain.has_chat
    assert load_model(base, device="cpu", template="question") is lm
    with pytest.raises(UserError, match="brings a chat template"):
        load_model(write_gguf(tmp_path / "chat.gguf"), device="cpu", template="question")
    with pytest.raises(UserError, match="no prompt template 'exam'"):
        load_model(base, device="cpu", template="exam")
    lm.model.save_pretrained(tmp_path / "student")
    lm.tok.save_pretrained(tmp_path / "student")
    again = load_model(tmp_path / "student", device="cpu")
    assert again.chat.stop == "\nQuestion:" and again.prompt_ids("Hi.") == lm.prompt_ids("Hi.")


def test_a_configuration_names_it_where_it_is_not_the_default() -> None:
    config = RunConfig(model="base", template="question")
    assert from_dict(to_dict(config)) == config and "template" not in to_dict(RunConfig())


def test_starvation_says_where_its_cause_is_named() -> None:
    lm = tiny_lm(chat=False)
    texts = generate(lm, ["Hi?"] * 2, max_new_tokens=4)
    with pytest.raises(UserError, match=r"starvation: 2 rows kept.*ws\.reasons names it.*unfinished.*finished=False"):
        heal(lm, texts, HealConfig(min_rows=30))
