"""The prompt of tinymfv as it was in June 2026 (commit b726db9), for `strict_june`: its form and its faults, our words.

No system turn; "<think>\\n" behind every generation prompt; tokenised as a plain text, so that a tokenizer that puts a
BOS in front adds a second one to the template's. After the thinking: </think>, the end of the turn, a user turn that
asks for the answer at once (`Wording.nudge`), and an assistant turn that the prefill continues.
"""

from __future__ import annotations

from ws.errors import UserError
from ws.models.chat_template import rendered
from ws.models.lm import LM

__all__ = ["june_close", "june_prompt"]

MARK = "ZXQ-REPLY-ZXQ"  # stands for a reply, to find what a template writes around it
Turns = list[dict[str, str]]


def june_prompt(lm: LM, user: str, persona: str | None = None) -> list[int]:
    """Token ids up to the opened think."""
    system = [] if persona is None else [{"role": "system", "content": persona}]
    turns = [*system, {"role": "user", "content": user}]
    text = rendered(lm.tok, turns, add_generation_prompt=True)
    return list(lm.tok(f"{text}<think>\n")["input_ids"])


def june_close(lm: LM, nudge: str) -> list[int]:
    """Token ids between the last thought and the prefill: the think and its turn closed, a turn that asks, the next
    reply's opening. UserError for a model without a chat template."""
    if not lm.has_chat:
        raise UserError(f"strict_june needs a chat template, and {lm.name} has none. Leave strict_june out.")
    asked = {"role": "user", "content": nudge}
    ended = _around(lm, [{"role": "user", "content": "a"}])[1]
    opened = _around(lm, [asked], unfinished=True)[0]
    return list(lm.tok(f"</think>{ended}{opened}", add_special_tokens=False)["input_ids"])


def _around(lm: LM, turns: Turns, unfinished: bool = False) -> tuple[str, str]:
    """What the template writes before and behind a reply to these turns."""
    reply = {"role": "assistant", "content": MARK}
    text = rendered(lm.tok, [*turns, reply], continue_final_message=unfinished)
    before, _, behind = text.partition(MARK)
    return before, behind
