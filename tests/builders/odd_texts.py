"""200 texts on which tokenizers part: lists, tables, code, scripts, runs of spaces and newlines, numbers, emoji."""

from __future__ import annotations

import random

__all__ = ["odd_texts"]

PIECES = (
    "The quick brown fox", "don't we'll I'VE they're IT'S", "1. First\n2. Second\n\n3. Third", "12345",
    "3.14159", "1,000,000", "| a | b |\n|---|---|\n| 1 | 22 |", "def f(x):\n    return x ** 2  # squared\n",
    "if (a<=b) { c[i++] += 0x1F; }", "\t\tindented\ttabs", "      six spaces", "trailing   ", "\n\n\n",
    "\r\nwindows\r\n", " \n \n", "naïve café déjà vu", "Straße über Öl", "Привет, мир!", "你好,世界", "こんにちは世界",
    "안녕하세요 세계", "مرحبا بالعالم", "שלום עולם", "नमस्ते दुनिया", "สวัสดีชาวโลก", "Γειά σου Κόσμε", "👍🏽 🎉🎉 👨‍👩‍👧",
    "x² + y² ≤ z₃ ½ ⅓ Ⅷ", "https://example.org/a?b=c&d=%20#e", "me@example.org", "<b>bold</b> &amp; more",
    "\"quoted\" — “typographic” … ‘single’", "!!!???...---===", "snake_case camelCase kebab-case",
    "A.B.C. e.g. i.e.", "٣٤٥ ४५६ 789", "e\u0301 n\u0303 (combining)", "\u00a0no-break\u2003em\u3000wide",
    "zero\u200bwidth", "$\\frac{1}{2}$ \\alpha", "a\u2028b", "SHOUTING lower Title",
    "10:30 2024-01-31 +1-555-0100", "- item\n  - nested\n    - deeper\n", "```python\nprint('hi')\n```",
)  # fmt: skip
GLUE = ("", " ", "  ", "\n", "\n\n", "\t", ", ", "\n   ")


def odd_texts(n: int = 200, seed: int = 0) -> list[str]:
    """Every piece alone, then pieces glued at random; the same each time."""
    rng = random.Random(seed)
    texts = list(PIECES)
    while len(texts) < n:
        text = rng.choice(PIECES)
        for _ in range(rng.randint(1, 5)):
            text += rng.choice(GLUE) + rng.choice(PIECES)
        texts.append(text)
    return texts[:n]
