#!/usr/bin/env bash
# transformers 5.23.0: apply_chat_template(..., continue_final_message=True) with an empty assistant message is not the
# generation prompt. Where the template trims its contents (Llama 3's and Gemma's do), the line break behind the
# assistant's header is cut off with the rest.
#
# Guess: a prefill of "" is the same prompt as add_generation_prompt=True, the natural first row of a sweep over prefills.
# Seen:  "...<|im_start|>assistant" without its line break where the template says `content | trim`, and with it where it
#        does not; "\n" as a prefill gives the same. Every other prefill keeps the header whole.
set -euo pipefail
work=$(mktemp -d); trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install -q transformers==5.23.0 jinja2
"$work/venv/bin/python" - 2>"$work/log" <<'PY' || { tail -5 "$work/log"; exit 1; }
from tokenizers import Tokenizer, models
from transformers import PreTrainedTokenizerFast

tok = PreTrainedTokenizerFast(tokenizer_object=Tokenizer(models.WordLevel({"a": 0}, unk_token="a")))
template = (
    "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ CONTENT }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
user = [{"role": "user", "content": "hi"}]


def prompt(kind: str, prefill: str | None) -> str:
    asked = user if prefill is None else [*user, {"role": "assistant", "content": prefill}]
    how = {"add_generation_prompt": True} if prefill is None else {"continue_final_message": True}
    return tok.apply_chat_template(asked, chat_template=template.replace("CONTENT", kind), tokenize=False, **how)


for kind in ("m.content", "m.content | trim"):
    for prefill in (None, "", "\n", "I am"):
        print(f"{kind:17} {prefill!r:7} ...{prompt(kind, prefill)[-24:]!r}")
plain, trimmed = "m.content", "m.content | trim"
assert prompt(plain, "") == prompt(plain, None) and prompt(trimmed, "") == prompt(trimmed, None).rstrip("\n")
assert prompt(trimmed, "") == prompt(trimmed, "\n") and prompt(trimmed, "I am") == prompt(trimmed, None) + "I am"
PY
echo "as described"
