"""Chat templates: a text that depends on the turns alone, the turn's own end, a system prompt of the template's."""

from __future__ import annotations

import datetime
import locale
import warnings
from collections.abc import Iterator
from unittest import mock

import polars as pl
import pytest
import transformers.utils.chat_template_utils as transformers_templates

from tests.builders.tiny_models import CHATML, tiny_lm, tiny_model, tiny_tokenizer
from ws.errors import UserError
from ws.generation.decoding import decode
from ws.healing.dataset import training_rows
from ws.models.chat import chat_of
from ws.models.chat_template import FROZEN, rendered
from ws.models.lm import LM, wrap_model

TURNS = [{"role": "user", "content": "Hi."}]
# in front of the turns, as Mistral Small 3, Granite 3, SmolLM3 and gpt-oss write it
DATED = "{%- set today = strftime_now('%d %B %Y') %}{{ 'Today: ' + today + '\n' }}" + CHATML
INSIDE = "{% macro head(f) %}{{ strftime_now(format=f) }}{% endmacro %}{{ head('%A, %-d. %b, 100%%') }}" + CHATML


@pytest.fixture(params=[1, 2])
def day(request: pytest.FixtureRequest) -> Iterator[int]:
    """Two days, by transformers' own clock."""

    class Day(datetime.datetime):
        @classmethod
        def now(cls, tz: datetime.tzinfo | None = None) -> Day:
            return cls(2026, 3, request.param, 9, 30, tzinfo=tz)

    with mock.patch.object(transformers_templates, "datetime", Day):
        yield request.param


def test_a_template_that_asks_the_clock_is_the_same_every_day(day: int) -> None:
    lm = tiny_lm("llama", template=DATED, fresh=True)
    assert lm.tok.decode(lm.prompt_ids("Hi.")).startswith("Today: 26 July 2024\n<|im_start|>system"), day
    assert rendered(tiny_tokenizer(INSIDE), TURNS).startswith("Friday, 26. Jul, 100%<|im_start|>user")
    assert lm.tok.chat_template == DATED  # what others do with the tokenizer is theirs


def test_the_frozen_day_is_a_day() -> None:
    before = locale.setlocale(locale.LC_TIME)
    locale.setlocale(locale.LC_TIME, "C")
    then = datetime.datetime(2024, 7, 26)
    try:
        known = {name: then.strftime(f"%{name}") for name in FROZEN if name != "s"}
    finally:
        locale.setlocale(locale.LC_TIME, before)
    assert known == {name: text for name, text in FROZEN.items() if name != "s"}
    assert float(FROZEN["s"]) == then.replace(tzinfo=datetime.UTC).timestamp()


@pytest.mark.parametrize("dice", ["{{ ['a', 'b'] | random }}", "{{ lipsum(1) }}", "{{ [[1]] | map('random') | list }}"])
def test_a_template_that_draws_is_refused(dice: str) -> None:
    with pytest.raises(UserError, match="draws at random"):
        chat_of(tiny_tokenizer(dice + CHATML))


@pytest.mark.parametrize(
    "broken",
    ["{{ messages[0]['content'] + 1 }}", "{{ 1 / 0 }}", "{{ now() }}", "{% for m in", "{{ messages.x.y }}",
     "{{ ''.__class__.mro() }}", "{{ range(9999999) }}", "{{ messages | nofilter }}", "{% include 'a' %}"],
)  # fmt: skip
def test_a_broken_template_is_the_users_to_mend(broken: str) -> None:
    with pytest.raises(UserError, match="the chat template"):
        chat_of(tiny_tokenizer(broken + CHATML))


def test_several_templates_without_a_default() -> None:
    tok = tiny_tokenizer()
    tok.chat_template = {"rag": CHATML, "tool_use": CHATML}
    with pytest.raises(UserError, match=r"templates \(rag, tool_use\) have no default"):
        chat_of(tok)


# --- the end of a turn


@pytest.fixture
def kept_end() -> LM:
    """A ChatML fine-tune whose end of sequence stayed <|endoftext|>, in the tokenizer and in the generation config."""
    tok = tiny_tokenizer(CHATML)
    tok.eos_token = "<|endoftext|>"
    model = tiny_model("llama")
    model.generation_config.eos_token_id = tok.eos_token_id
    return wrap_model(model, tok, "fine-tune")


def test_the_token_behind_a_reply_ends_it(kept_end: LM) -> None:
    end = kept_end.tok.convert_tokens_to_ids("<|im_end|>")
    assert kept_end.eos_ids == {end, kept_end.tok.eos_token_id}
    row = kept_end.prompt_ids("Hi.")
    done = decode(kept_end, [row], max_new_tokens=6, forced=[[*kept_end.encode("Bye"), end]])[0]
    assert done.finished and done.token_ids[-1] == end


def test_own_texts_are_taught_the_templates_end(kept_end: LM) -> None:
    row = training_rows(kept_end, pl.DataFrame({"prompt": ["Hi."], "completion": ["Bye"]}))[0]
    assert kept_end.tok.decode(row.ids[row.start :]) == "Bye<|im_end|>"


@pytest.mark.parametrize(
    ("behind", "end"),
    [("</s>", None), ("\n<end_of_turn>", "<end_of_turn>"), ("<|im_end|><|endoftext|>", "<|im_end|>"), ("", None)],
)
def test_only_a_token_of_its_own_is_an_end(behind: str, end: str | None) -> None:
    tok = tiny_tokenizer("{% for m in messages %}{{ m.role + ':' + m.content + '" + behind + "' }}{% endfor %}")
    assert chat_of(tok).end == (None if end is None else tok.convert_tokens_to_ids(end))


# --- a system prompt that the template adds

OWN = (
    "{% if messages[0].role != 'system' %}{{ '<|im_start|>system\nYou are Own, made by us.<|im_end|>\n' }}{% endif %}"
    + CHATML
)


def test_a_template_that_adds_its_own_system_prompt_says_so() -> None:
    lm = tiny_lm("llama", template=OWN)
    assert lm.chat.own_system == "You are Own, made by us."
    with pytest.warns(UserWarning, match="puts in its own: 'You are Own, made by us.'"):
        ids = lm.prompt_ids("Hi.", system="")
    assert "You are Own" in lm.tok.decode(ids)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert "You are Own" not in lm.tok.decode(lm.prompt_ids("Hi."))
        assert tiny_lm("llama").chat.own_system == "" == chat_of(tiny_tokenizer(None)).own_system
        tiny_lm("llama").prompt_ids("Hi.", system="")
