"""The dice: exact sampling whose noise is a function of (seed, prompt, sample, step, token id) and of nothing else.

Gumbel-max (Gumbel 1954; Maddison et al. 2014): argmax_x(logit_x / T + g_x) with independent g ~ Gumbel(0, 1) is a draw
from softmax(logits / T). Here g comes from an integer hash (SplitMix64, Steele et al. 2014) and not from a generator's
state, so that
  - rows at different doses share their noise and differ only where the dose matters (same dice at every dose),
  - a row's result does not depend on the batch size or on its neighbours,
  - a rolled-back row can be resumed at any step.
Trap: float32 uniforms next to 1 give infinite noise, and int64 `>>` is arithmetic, so every shift is masked.
"""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["choose", "gumbel_at", "row_keys"]

WORD = (1 << 64) - 1
CHUNK = 1 << 22  # noise values held at once: 32 MB of float64
WIDE = 4096  # candidates looked at before a whole large vocabulary is sorted for top-p


def _signed(word: int) -> int:
    """The int64 with the same 64 bits."""
    word &= WORD
    return word - (1 << 64) if word >> 63 else word


GOLDEN = _signed(0x9E3779B97F4A7C15)
MIX1, MIX2 = _signed(0xBF58476D1CE4E5B9), _signed(0x94D049BB133111EB)


def _mix(z: Tensor) -> Tensor:
    """SplitMix64's finaliser, a bijection of 64-bit words; products wrap, the mask makes shifts logical."""
    z = (z ^ ((z >> 30) & (WORD >> 30))) * MIX1
    z = (z ^ ((z >> 27) & (WORD >> 27))) * MIX2
    return z ^ ((z >> 31) & (WORD >> 31))


def _noise(words: Tensor) -> Tensor:
    """Gumbel(0, 1) noise in float64 from uniform 64-bit words; finite for every word, in [-3.63, 36.74]."""
    bits = (words >> 11) & ((1 << 53) - 1)
    uniform = bits.to(torch.float64).add_(0.5).mul_(2.0**-53).clamp_(max=1.0 - 2.0**-53)
    return uniform.log_().neg_().log_().neg_()


def row_keys(seed: int, prompts: Tensor, samples: Tensor, step: Tensor) -> Tensor:
    """int64 (B,): one hash key per row; prompts, samples, step are int64 (B,)."""
    key = _mix(torch.full_like(prompts, _signed(seed)) + GOLDEN)
    for part in (prompts, samples, step):
        key = _mix((key ^ part) + GOLDEN)
    return key


def gumbel_at(keys: Tensor, tokens: Tensor) -> Tensor:
    """float64 noise of the given token ids; keys (B,), tokens (K,) or (B, K) -> (B, K)."""
    return _noise(_mix(keys[:, None] + tokens * GOLDEN))


def choose(logits: Tensor, keys: Tensor, temperature: float = 1.0, top_k: int = 0, top_p: float = 1.0) -> Tensor:
    """int64 (B,): one token per row of logits (B, V), drawn with the row's key; temperature 0 is greedy.

    As in transformers: temperature, then top-k, then top-p (the smallest set whose probability reaches top_p).
    """
    if temperature == 0:
        return logits.argmax(-1)
    scaled = logits.to(torch.float64) / temperature if temperature != 1 else logits
    if top_k or top_p < 1:
        values, tokens = _candidates(scaled, top_k, top_p)
        return tokens.gather(1, (values + gumbel_at(keys, tokens)).argmax(-1, keepdim=True))[:, 0]
    return _argmax_with_noise(scaled, keys)


def _argmax_with_noise(scaled: Tensor, keys: Tensor) -> Tensor:
    """argmax over the vocabulary of scaled (B, V) + noise, the noise held for one slice of the vocabulary at a time."""
    width = max(1, CHUNK // max(1, scaled.shape[0]))
    keys, rows = keys.unique(return_inverse=True)  # a row's dice are the same at every dose: roll them once
    best, where = [], []
    for low in range(0, scaled.shape[1], width):
        part = scaled[:, low : low + width]
        tokens = torch.arange(low, low + part.shape[1], device=part.device)
        value, index = gumbel_at(keys, tokens)[rows].add_(part).max(-1)
        best.append(value)
        where.append(index + low)
    if len(best) == 1:
        return where[0]
    winner = torch.stack(best).argmax(0, keepdim=True)  # (1, B)
    return torch.stack(where).gather(0, winner)[0]


def _candidates(scaled: Tensor, top_k: int, top_p: float) -> tuple[Tensor, Tensor]:
    """(values, tokens), each (B, K) and sorted: what top-k and top-p leave; values outside are -inf."""
    vocab = scaled.shape[1]
    if not top_k:
        return _nucleus(scaled, scaled.logsumexp(-1, keepdim=True), top_p)
    values, tokens = scaled.topk(min(top_k, vocab))
    return (_cut(values, values.logsumexp(-1, keepdim=True), top_p), tokens)


def _nucleus(scaled: Tensor, total: Tensor, top_p: float) -> tuple[Tensor, Tensor]:
    """Top-p of all tokens; total (B, 1) is their logsumexp. A large vocabulary is sorted only if its head is flat."""
    vocab = scaled.shape[1]
    for width in (min(WIDE, vocab), vocab):
        values, tokens = scaled.topk(width)
        if width == vocab or bool(((values - total).exp().sum(-1) >= top_p).all()):
            break
    return _cut(values, total, top_p), tokens


def _cut(values: Tensor, total: Tensor, top_p: float) -> Tensor:
    """Sorted values (B, K), -inf behind the smallest head whose probability reaches top_p; the first always stays."""
    if top_p >= 1:
        return values
    probability = (values - total).exp()
    before = probability.cumsum(-1) - probability  # exactly 0 for the first
    return values.masked_fill(before >= top_p, float("-inf"))
