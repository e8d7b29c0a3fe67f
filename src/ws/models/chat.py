"""Chat rendering: from turns of text to the token ids that the model is about to continue.

The *assistant tag* is the last token of the generation prompt, the form of a thinking template included. A form is
appended as ids of its own, so that prefill and generation prompt tokenise alike whatever the merges do at the seam.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

from transformers import PreTrainedTokenizerBase

from ws.errors import UserError, whole_text
from ws.models.chat_template import TemplateRefusal, rendered

__all__ = ["QUESTION", "Chat", "chat_of", "set_template"]

Turns = list[dict[str, str]]
CLOSED = "<think>\n\n</think>\n\n"
OPEN = "<think>\n"
# Endings of different kinds: what all these renderings share at their end is nothing of the user's.
ENDINGS = ("a", "b.", "c?", "d1", "e)")
QUESTION = (
    "{% for m in messages %}{% if m.role == 'system' %}{{ m.content + '\\n\\n' }}"
    "{% elif m.role == 'user' %}{{ 'Question: ' + m.content + '\\n' }}"
    "{% else %}{{ 'Answer:\\n' + m.content + '\\n\\n' }}{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}{{ 'Answer:\\n' }}{% endif %}"
)
"""A base model's prompt as an exam has it, the system text as the document's first line."""
STOP = "\nQuestion:"
# stands for a text, to find what a template writes around it
MARK = "zxq"


@dataclass(frozen=True)
class Chat:
    """What a tokenizer's template does, found by rendering it.

    takes_system: the template knows the system role; header, header_ids: what stands in front of the form; forms: name
    of a form -> its text; bos: ids that a plain text starts with; dummy: the tokenizer puts a space before a text; end:
    the special token that the template writes behind a reply, None where it writes none; own_system: the system prompt
    that the template puts in where none is given, empty where it puts in none; stop: a text that ends a completion,
    beside the model's own tokens for that; "" for none.
    """

    tok: PreTrainedTokenizerBase
    has_chat: bool
    takes_system: bool = False
    header: str = ""
    header_ids: tuple[int, ...] = ()
    forms: dict[str, str] | None = None
    bos: tuple[int, ...] = ()
    dummy: bool = False
    end: int | None = None
    own_system: str = ""
    stop: str = ""

    @cached_property
    def _forms(self) -> dict[str, list[int]]:
        return {name: self.encode(text) for name, text in (self.forms or {"plain": ""}).items()}

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(self.forms or ("plain",))

    def form_ids(self, name: str | None) -> list[int]:
        """Ids of a form's text; None is the default, the first. UserError for a form that the template lacks."""
        if name is not None and name not in self.names:
            raise UserError(f"this model has no prompt form {name!r}. Use one of: {', '.join(self.names)}.")
        return list(self._forms[name or self.names[0]])

    def encode(self, text: str) -> list[int]:
        """Ids of a text that continues another: no BOS, no space that SentencePiece would put before a text."""
        if self.dummy:
            return _ids(self.tok, "\n" + text)[len(_ids(self.tok, "\n")) :]
        return _ids(self.tok, text)

    def render(self, turns: Turns, form: str | None) -> list[int]:
        """Ids of the turns up to and including the assistant tag; without a template the turns' texts, BOS once."""
        tail = self.form_ids(form)
        if not self.has_chat:
            return [*self.bos, *_ids(self.tok, "\n\n".join(t["content"] for t in turns) + "\n")]
        turns = turns if self.takes_system else _fold_system(turns)
        text = _template(self.tok, turns, thinking=(form or self.names[0]) != "closed")
        return [*_ids(self.tok, text[: text.rfind(self.header) + len(self.header)]), *tail]

    def tag(self, ids: Sequence[int]) -> int:
        """Index in `ids` of the last assistant turn's tag: the end of its header and of the longest form behind it."""
        if not self.has_chat:
            raise UserError("without a chat template a prompt has no assistant tag to find. Pass starts=.")
        end = _end_of_last(list(ids), list(self.header_ids))
        if end is None:
            raise UserError(f"no assistant turn in these {len(ids)} tokens (header {self.header!r}). Pass starts=.")
        behind = [len(f) for f in self._forms.values() if list(ids[end : end + len(f)]) == f]
        return end + max(behind, default=0) - 1


def chat_of(tok: PreTrainedTokenizerBase) -> Chat:
    """Find by rendering what the template does: header, forms, system role. UserError: it writes no assistant turn."""
    bos, dummy = _bos(tok), _ids(tok, "\na")[len(_ids(tok, "\n")) :] != _ids(tok, "a")
    if not tok.chat_template:
        return Chat(tok, False, bos=bos, dummy=dummy)
    _refuse_mute(tok)
    prompts = {flag: _generation_prompt(tok, flag) for flag in (True, False)}
    header = prompts[True].split("<think>")[0].split("</think>")[0]
    ids, forms = tuple(_header_ids(tok, header)), _forms(tok, header, prompts)
    end, stop = _end_of_reply(tok), STOP if str(tok.chat_template).endswith(QUESTION) else ""
    return Chat(tok, True, _takes_system(tok), header, ids, forms, bos, dummy, end, _own_system(tok), stop)


def set_template(tok: PreTrainedTokenizerBase, name: str | None) -> None:
    """Give a base model's tokenizer a form by name; None leaves it as it is. UserError for another name, and for a
    model that brings a template."""
    if name is None:
        return
    if name != "question":
        raise UserError(f"there is no prompt template {name!r}. Use 'question', or None for the model's own.")
    if tok.chat_template:
        raise UserError("template='question' is for base models, and this one brings a chat template. Leave it out.")
    tok.chat_template = str(tok.decode(list(_bos(tok)))) + QUESTION


def _refuse_mute(tok: PreTrainedTokenizerBase) -> None:
    """UserError for a template that leaves out what the assistant says: there is no turn to steer or to read."""
    turns = [{"role": "user", "content": "a"}, {"role": "assistant", "content": MARK}]
    text = _template(tok, turns, thinking=True, generation=False)
    if MARK not in text:
        raise UserError(
            f"the chat template writes no assistant turn (user and assistant become {text[:80]!r})."
            " Set tok.chat_template to one that does, or to None for plain text."
        )


def _forms(tok: PreTrainedTokenizerBase, header: str, prompts: dict[bool, str]) -> dict[str, str]:
    """Closed and open think of a thinking template, spelled as the template does where it does; "plain" otherwise."""
    closed, opened = prompts[False][len(header) :], prompts[True][len(header) :]
    if "<think>" not in tok.get_chat_template() and "</think>" not in closed:
        return {"plain": ""}
    spelled = opened.startswith("<think>") and "</think>" not in opened
    return {"closed": closed if "</think>" in closed else CLOSED, "open": opened if spelled else OPEN}


def _generation_prompt(tok: PreTrainedTokenizerBase, thinking: bool) -> str:
    """What the template appends for the assistant to continue; empty where it appends nothing (Mistral, Llama 2)."""
    turns = [{"role": "user", "content": "a"}]
    full, bare = (_template(tok, turns, thinking=thinking, generation=g) for g in (True, False))
    return full[len(bare) :] if full.startswith(bare) else ""


def _header_ids(tok: PreTrainedTokenizerBase, header: str) -> list[int]:
    """Ids in front of the form in every prompt: those of the header, or what all prompts share at their end."""
    prompts = []
    for ending in ENDINGS:
        text = _template(tok, [{"role": "user", "content": ending}], thinking=True)
        prompts.append(_ids(tok, text[: text.rfind(header) + len(header)]))
    own = _ids(tok, header)
    if own and all(p[-len(own) :] == own for p in prompts):
        return own
    shared = 0
    while len({tuple(p[-shared - 1 :]) for p in prompts}) == 1 and shared < min(map(len, prompts)):
        shared += 1
    return prompts[0][len(prompts[0]) - shared :]


def _takes_system(tok: PreTrainedTokenizerBase) -> bool:
    """Whether a system turn is rendered: some templates raise (Gemma 2), some drop it."""
    turns = [{"role": "system", "content": MARK}, {"role": "user", "content": "a"}]
    try:
        return MARK in _template(tok, turns, thinking=True)
    except TemplateRefusal:
        return False


def _own_system(tok: PreTrainedTokenizerBase) -> str:
    """What stands where a system prompt would, in a prompt that brings none: the template's own prompt, or nothing."""
    user = {"role": "user", "content": "a"}
    try:
        given = _template(tok, [{"role": "system", "content": MARK}, user], thinking=True)
    except TemplateRefusal:
        return ""
    before, found, behind = given.partition(MARK)
    bare = _template(tok, [user], thinking=True)
    inside = found and bare.startswith(before) and bare.endswith(behind) and len(bare) > len(before) + len(behind)
    return bare[len(before) : len(bare) - len(behind)].strip() if inside else ""


def _end_of_reply(tok: PreTrainedTokenizerBase) -> int | None:
    """The first special or added token that the template writes behind the last reply."""
    turns = [{"role": "user", "content": "a"}, {"role": "assistant", "content": MARK}]
    behind = _template(tok, turns, thinking=True, generation=False).rpartition(MARK)[2]
    marks = {*tok.all_special_ids, *tok.get_added_vocab().values()}
    return next((i for i in _ids(tok, behind) if i in marks), None)


def _fold_system(turns: Turns) -> Turns:
    """The system text goes before the first user text, an empty line between."""
    if not turns or turns[0]["role"] != "system":
        return turns
    system, user, *rest = turns
    return [{"role": "user", "content": f"{system['content']}\n\n{user['content']}"}, *rest]


def _template(tok: PreTrainedTokenizerBase, turns: Turns, *, thinking: bool, generation: bool = True) -> str:
    return rendered(tok, turns, add_generation_prompt=generation, enable_thinking=thinking)


def _ids(tok: PreTrainedTokenizerBase, text: str) -> list[int]:
    # A template writes its own BOS, so special tokens are never added here: Gemma and Llama would get two.
    return list(tok.encode(whole_text(text, "a prompt"), add_special_tokens=False)) if text else []


def _bos(tok: PreTrainedTokenizerBase) -> tuple[int, ...]:
    """What the tokenizer itself puts in front of a plain text (OPT: </s>, GPT-2: nothing)."""
    bare, full = _ids(tok, "a"), list(tok.encode("a"))
    return tuple(full[: next(i for i in range(len(full)) if full[i : i + len(bare)] == bare)])


def _end_of_last(ids: list[int], part: list[int]) -> int | None:
    """Index behind the last occurrence of `part` in `ids`, None where there is none."""
    starts = range(len(ids) - len(part), -1, -1)
    return next((i + len(part) for i in starts if ids[i : i + len(part)] == part), None)
