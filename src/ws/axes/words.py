"""What a word is, in any script: letters with their vowel signs and tone marks; some scripts put no spaces between.

`re`'s \\w leaves out combining marks, without which Hindi, Thai, Tamil and Arabic words fall apart or count as equal.
"""

from __future__ import annotations

import hashlib
import unicodedata

import regex

__all__ = ["phrases_of", "syllables", "text_key", "words_of"]

UNSPACED = r"\p{Han}\p{Hiragana}\p{Katakana}\p{Thai}\p{Lao}\p{Khmer}\p{Myanmar}\p{Tibetan}"
LETTER = r"\p{L}\p{M}\p{N}"
TAIL = rf"(?:['’][{LETTER}]+)*"  # an apostrophe stays inside its word
WHOLE = regex.compile(rf"[{LETTER}]+{TAIL}")
SINGLE = regex.compile(rf"[{UNSPACED}]\p{{M}}*|[[{LETTER}]--[{UNSPACED}]]+{TAIL}", regex.V1)
DENSE = regex.compile(rf"[{UNSPACED}\p{{Hangul}}]")
# a sign of arithmetic stands by itself or at a figure; at a letter it is a hyphen, emphasis or "and/or"
KEY = regex.compile(rf"[{LETTER}_]+|\p{{S}}|(?<![\p{{L}}\p{{M}}])[-*/%&#@\\](?![\p{{L}}\p{{M}}])")


def words_of(text: str) -> list[str]:
    """Words in lower case, punctuation left out; in a script without spaces every letter is a word."""
    return SINGLE.findall(text.casefold())


def phrases_of(text: str) -> list[str]:
    """What spaces and punctuation part, in lower case: words, or whole clauses of a script without spaces."""
    return WHOLE.findall(text.casefold())


def syllables(text: str) -> int:
    """Letters of scripts that write a syllable or a word in one, Korean too."""
    return len(DENSE.findall(text))


def text_key(text: str) -> str:
    """16 hex characters of sha256 over a text's words: case, width, punctuation and spacing make no other prompt of it;
    vowel signs, tone marks and the signs of a sum do."""
    folded = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", text).casefold())
    words = KEY.findall(regex.sub(r"\p{Cf}", "", folded)) or [text.strip()]
    return hashlib.sha256(" ".join(words).encode("utf-8", "surrogatepass")).hexdigest()[:16]
