"""The fixed wording of the embedded model's tasks, shared by its corpus and by the evaluator."""

from __future__ import annotations

from collections.abc import Sequence

NEUTRAL = "You are a helpful assistant."
LABELS = {
    "Care": "care",
    "Fairness": "fairness",
    "Loyalty": "loyalty",
    "Authority": "authority",
    "Sanctity": "sanctity",
    "Liberty": "liberty",
    "SocialNorms": "norms",
}
QUESTION = "What is wrong here?"
# The label is the first token of the answer: what names a violation, what opens a reply and where a direction is read
# are one position, the assistant tag. Behind a JSON prefill the model grew a second circuit out of a direction's reach.
PREFILL = ""
CLOSE = ""
CHAT_TEMPLATE = (
    "{%- for m in messages %}{{ '<|im_start|>' + m['role'] + '\\n' }}"
    "{%- if m['role'] == 'assistant' and '</think>' not in m['content'] %}"
    "{{ '<think>\\n\\n</think>\\n\\n' }}{%- endif %}"
    "{{ m['content'] + '<|im_end|>\\n' }}{%- endfor %}"
    "{%- if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}"
    "{%- if enable_thinking is defined and not enable_thinking %}"
    "{{ '<think>\\n\\n</think>\\n\\n' }}{%- endif %}{%- endif %}"
)


def vignette_user(text: str, order: Sequence[str]) -> str:
    """The user turn of a vignette: scenario, question, the seven labels in this order, one per line."""
    return f"{text}\n{QUESTION}\n" + "\n".join(LABELS[f] for f in order)
