"""TODO."""

from __future__ import annotations

from ws.models.lm import LM

USERS = ("Hi", "May a nurse lie to a patient about the bill?", "Is it fair to jump the queue when late?", "x")


TIE = 1e-4


def prompts(lm: LM, users: tuple[str, ...] = USERS) -> list[list[int]]:
    return [lm.prompt_ids(user) for user in users]
