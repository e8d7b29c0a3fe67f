"""How a text is cut before byte pairs are merged, by the name in a file's `tokenizer.ggml.pre`.

transformers knows some of the names and takes GPT-2's cut for every other one, silently: "\\n\\n1." of a smollm file
then becomes other ids than those the model was trained on. Here an unknown name is refused. The expressions are those
of llama.cpp's own table (src/llama-vocab.cpp); tests/models/test_gguf_tokens.py compares ids with it.
"""

from __future__ import annotations

from dataclasses import dataclass

from tokenizers import Regex, Tokenizer, pre_tokenizers

from ws.errors import UserError

__all__ = ["PRE_TOKENIZERS", "Cut", "check_pre_tokenizer", "set_pre_tokenizer"]

GPT2 = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"
DIGIT = r"\p{N}"
MODERN = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{{L}}\p{{N}}]?\p{{L}}+|{digits}| ?[^\s\p{{L}}\p{{N}}]+[\r\n]*"
    r"|\s*[\r\n]+|\s+(?!\S)|\s+"
)


@dataclass(frozen=True)
class Cut:
    """expressions: each cuts the pieces that the one before has left; whole: a piece that is a token stays one, whether
    or not merges lead to it."""

    expressions: tuple[str, ...]
    whole: bool = False


PRE_TOKENIZERS = {
    "gpt-2": Cut((GPT2,)),
    "smollm": Cut((DIGIT, GPT2)),
    "qwen2": Cut((MODERN.format(digits=r"\p{N}"),)),
    "llama-bpe": Cut((MODERN.format(digits=r"\p{N}{1,3}"),), whole=True),
}
"""Name in the file -> how it cuts."""


def check_pre_tokenizer(name: str) -> None:
    """UserError for a name that is not in the table."""
    if name not in PRE_TOKENIZERS:
        raise UserError(
            f"its text is cut by the pre-tokenizer {name!r}, which ws does not know ({', '.join(PRE_TOKENIZERS)},"
            " gemma): guessed ids would be wrong without a sign. Use the model's safetensors folder."
        )


def set_pre_tokenizer(tokenizer: Tokenizer, name: str) -> None:
    """Cut as the file says."""
    cut = PRE_TOKENIZERS[name]
    splits = [pre_tokenizers.Split(Regex(one), behavior="isolated") for one in cut.expressions]
    bytes_ = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([*splits, bytes_])  # type: ignore[assignment]
    tokenizer.model.ignore_merges = cut.whole
