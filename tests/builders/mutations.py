"""Seeded damage to what a user writes: JSON values, texts, files. The same seed makes the same damage."""

from __future__ import annotations

import copy
import math
import random
import warnings
from collections.abc import Callable
from typing import Any

from ws.errors import UserError

__all__ = ["SCRIPTS", "mutated_bytes", "mutated_text", "mutated_value", "one_of_two", "texts_in_scripts"]

ODD: tuple[Any, ...] = (
    None, True, False, 0, -1, 1, 2, 7, 999, 1.5, -0.0, 1e300, float("nan"), "", " ", "x", "2", "auto", "ｘ", "\ud800",
    "\x00", "a\u2028b", [], ["x"], [None], [[1]], {}, {"x": 1}, {"": None},
)  # fmt: skip
"""Values of every kind; no large number, so that nothing is asked of memory that a mistake would not ask."""

SCRIPTS = {
    "Latin": "Is that well-known café déjà vu, isn't it?", "Greek": "Γειά σου, τι κάνεις σήμερα;",
    "Cyrillic": "Привет, как дела сегодня?", "Arabic": "مَرْحَبًا كَيْفَ حَالُكَ؟", "Hebrew": "שָׁלוֹם מַה שְׁלוֹמְךָ?",
    "Devanagari": "नमस्ते, आप कैसे हैं?", "Bengali": "আপনি কেমন আছেন?", "Tamil": "நீங்கள் எப்படி இருக்கிறீர்கள்?",
    "Thai": "คุณเป็นอย่างไรบ้างวันนี้", "Han": "你今天好吗？我很好。",
    "Kana": "こんにちは、お元気ですか。", "Hangul": "안녕하세요, 잘 지내요?",
}  # fmt: skip
BITS = ("\ufeff", "\u200b", "\u202e", "\u00ad", "\r\n", "\n\n", "\t", "\x00", "<|im_end|>", "<think>", "{{", "'", '"',
        "\u0301", "👍🏽", "\U0001d518", "٣", "½", "ﬃ", "-", "<", ">", "&amp;", "%s", "\\", "\ud83d", "  ")  # fmt: skip


def mutated_value(value: Any, dice: random.Random, times: int = 1) -> Any:
    """A JSON value with some of its parts dropped, replaced, added or put elsewhere."""
    value = copy.deepcopy(value)
    for _ in range(times):
        value = _one(value, dice)
    return value


def _one(value: Any, dice: random.Random) -> Any:
    inside = value if isinstance(value, dict) else dict(enumerate(value)) if isinstance(value, list) else {}
    if not inside or dice.random() < 0.02:
        return dice.choice(ODD)
    key, how = dice.choice(list(inside)), dice.random()
    if isinstance(inside[key], dict | list) and inside[key] and how < 0.5:
        value[key] = _one(inside[key], dice)
    elif how < 0.7:
        value[key] = dice.choice(ODD)
    elif how < 0.8:
        del value[key]
    elif how < 0.9 and isinstance(value, dict):
        value[dice.choice(("of_next_year", "", "x", f"{key}s"))] = dice.choice(ODD)
    else:
        value[key] = inside[dice.choice(list(inside))]
    return value


def mutated_text(text: str, dice: random.Random, bits: tuple[str, ...] = BITS) -> str:
    """A text that is cut, doubled in part, or has an odd bit put in."""
    for _ in range(dice.randint(1, 3)):
        i, j = sorted(dice.randrange(len(text) + 1) for _ in range(2))
        put_in = text[:i] + dice.choice(bits) + text[i:]
        text = dice.choice((text[:i] + text[j:], put_in, text[:j] + text[i:j] + text[j:]))
    return text


def mutated_bytes(data: bytes, dice: random.Random) -> bytes:
    """A file that is cut, has a bit flipped, or zeros in it."""
    if not data:
        return b"\xff"
    i, how = dice.randrange(len(data)), dice.random()
    if how < 0.4:
        return data[:i]
    if how < 0.8:
        return data[:i] + bytes([data[i] ^ 1 << dice.randrange(8)]) + data[i + 1 :]
    return data[:i] + bytes(dice.randrange(1, 64)) + data[i + 64 :]


def texts_in_scripts(n: int, dice: random.Random) -> list[str]:
    """Texts of twelve scripts, mixed and damaged."""
    return [
        mutated_text(" ".join(dice.sample(list(SCRIPTS.values()), dice.randint(1, 3))), dice) for _ in range(n)
    ]


def one_of_two(act: Callable[[], Any], what: str, longest: float = math.inf) -> bool:
    """Whether it works; a UserError of so many characters says why not. Anything else fails, and names the damage."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            act()
    except UserError as error:
        assert str(error).strip() and len(str(error)) < longest, what
        return False
    except Exception as error:
        raise AssertionError(f"{type(error).__name__} came out of {what}: {error}") from error
    return True
