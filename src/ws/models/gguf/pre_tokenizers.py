"""How a text is cut before byte pairs are merged, by the name in a file's `tokenizer.ggml.pre`.

transformers knows some of the names and takes GPT-2's cut for every other one, silently: "\n\n1." of a smollm file
then becomes other ids than those the model was trained on. Here an unknown name is refused. The expressions are those
of llama.cpp's own table (src/llama-vocab.cpp); tests/models/test_gguf_tokens.py compares ids with it.
"""

from __future__ import annotations

from tokenizers import Regex, Tokenizer, pre_tokenizers

from ws.errors import UserError

__all__ = ["PRE_TOKENIZERS", "set_pre_tokenizer"]

GPT2 = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"
DIGIT = r"\p{N}"
MODERN = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{{L}}\p{{N}}]?\p{{L}}+|{digits}| ?[^\s\p{{L}}\p{{N}}]+[\r\n]*"
    r"|\s*[\r\n]+|\s+(?!\S)|\s+"
)

PRE_TOKENIZERS: dict[str, tuple[str, ...]] = {
    "gpt-2": (GPT2,),
    "smollm": (DIGIT, GPT2),
    "qwen2": (MODERN.format(digits=r"\p{N}"),),
    "llama-bpe": (MODERN.format(digits=r"\p{N}{1,3}"),),
}
"""Name in the file -> expressions; each cuts the pieces that the one before has left."""


def set_pre_tokenizer(tokenizer: Tokenizer, name: str) -> None:
    """Cut as the file says. UserError for a name that is not in the table."""
    if name not in PRE_TOKENIZERS:
        raise UserError(
            f"its text is cut by the pre-tokenizer {name!r}, which ws does not know ({', '.join(PRE_TOKENIZERS)},"
            " gemma): guessed ids would be wrong without a sign. Use the model's safetensors folder."
        )
    cuts = [pre_tokenizers.Split(Regex(cut), behavior="isolated") for cut in PRE_TOKENIZERS[name]]
    bytes_ = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([*cuts, bytes_])  # type: ignore[assignment]
