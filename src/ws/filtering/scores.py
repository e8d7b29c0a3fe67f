"""Scores of completions: repetition, narration, refusal from the text; perplexity and bite from probabilities.

    df = ws.score(lm, df, axis)

They come from the frame's own text, token ids and log-probabilities: no model is called and no text is encoded again.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import polars as pl

from ws.axes.words import phrases_of, syllables, words_of
from ws.errors import UserError
from ws.filtering.phrases import NARRATION, REFUSAL

if TYPE_CHECKING:
    from ws.axes.axis import Axis
    from ws.models.lm import LM

__all__ = ["SCORES", "STRETCH", "distinct_trigrams", "looping", "narrates", "refuses", "repetition", "score"]

FEW = 10  # n-grams; among fewer a pair says nothing
STRETCH = 24
"""Tokens of the stretch that `worst_ppl` is read over."""
SPAN = 48  # tokens of the stretch that `looping` is read over


def repetition(text: str) -> float:
    """`rep`: max over n = 2, 3, 4 of the share of the most frequent n-gram, over words and characters; 1.0: too
    short.

    Only an n-gram that repeats counts (twice; three times where there are fewer than 10 n-grams): six distinct
    words would score 0.33 otherwise, four 1.0. Too short: one word of fewer than 12 characters, or nothing; one of a
    script that writes a syllable as a letter counts as three.
    """
    words, letters = words_of(text), " ".join(text.casefold().split())
    if len(phrases_of(text)) < 2 and len(letters) + 2 * syllables(text) < 12:
        return 1.0
    return max(_top_share(units, n) for units in (words, list(letters)) for n in (2, 3, 4))


def _top_share(units: Sequence[str], n: int) -> float:
    grams = Counter(zip(*(units[i:] for i in range(n)), strict=False))
    total, most = grams.total(), max(grams.values(), default=0)
    return most / total if most >= (2 if total >= FEW else 3) else 0.0


def distinct_trigrams(text: str) -> float:
    """`distinct3`: unique word trigrams / all; 1.0 below three words, where none repeats."""
    words = words_of(text)
    grams = list(zip(words, words[1:], words[2:], strict=False))
    return len(set(grams)) / len(grams) if grams else 1.0


def looping(ids: Sequence[int], span: int = SPAN) -> float:
    """`loop`: share of token trigrams that stood before within the same `span` tokens, over the stretch with the most.

    Over the model's own tokens, so that marks and line breaks count like words; 0 below three tokens. A stretch of
    fixed length: late loops of long texts are seen, and long prose does not repeat more than short prose.
    """
    grams = list(zip(ids, ids[1:], ids[2:], strict=False))
    width = min(len(grams), span - 2)
    inside = Counter(grams[:width])
    most = width - len(inside)
    for old, new in zip(grams, grams[width:], strict=False):
        inside[new] += 1
        inside[old] -= 1
        if not inside[old]:
            del inside[old]
        most = max(most, width - len(inside))
    return most / width if width else 0.0


def worst_nll(logps: Sequence[float], stretch: int = STRETCH) -> float:
    """Mean NLL of the worst `stretch` tokens in a row, of the whole where it is shorter; NaN for no tokens."""
    width = min(len(logps), stretch)
    if not width or any(map(math.isnan, logps)):
        return math.nan
    return max(-math.fsum(logps[i : i + width]) / width for i in range(len(logps) - width + 1))


def narrates(text: str, patterns: Sequence[str] = ()) -> bool:
    """First-person verbalising of the trait instead of enacting it: the general patterns and the given ones."""
    return _any((*NARRATION, *patterns)).search(_plain(text)) is not None


def refuses(text: str, patterns: Sequence[str] = ()) -> bool:
    """Refusal or assistant-identity boilerplate: specific phrases ("I cannot assist"), not a bare "I cannot"; and the
    given patterns. The general ones, as those of narration, are English."""
    return _any((*REFUSAL, *patterns)).search(_plain(text)) is not None


def _plain(text: str) -> str:
    """One line, straight apostrophes; what stands in double quotes is somebody else's, unless nothing else is there."""
    line = " ".join(text.replace("’", "'").split())
    own = re.sub(r'"[^"]*"|“[^”]*”|«[^»]*»|「[^」]*」', " ", line)
    return own if re.search(r"\w", own) else line


@lru_cache(maxsize=64)
def _any(patterns: tuple[str, ...]) -> re.Pattern[str]:
    return re.compile("|".join(f"(?:{p})" for p in patterns), re.IGNORECASE)


SCORES: dict[str, Any] = {
    "n_tokens": pl.Int32,
    "tail_ppl": pl.Float64,
    "rep": pl.Float64,
    "distinct3": pl.Float64,
    "bite": pl.Float64,
    "narrates": pl.Boolean,
    "refuses": pl.Boolean,
    "worst_ppl": pl.Float64,
    "neutral_ppl": pl.Float64,
    "loop": pl.Float64,
}


TEXTUAL = {name: SCORES[name] for name in ("rep", "distinct3", "narrates", "refuses")}


def score(lm: LM | None, df: pl.DataFrame, axis: Axis | None = None) -> pl.DataFrame:
    """The completions frame with the columns SCORES added (or replaced).

    neutral_ppl: exp(mean NLL under the unsteered base) of the worst 24 tokens in a row, and worst_ppl the same until
    ws.generation.second_look has read the text under a persona, too; tail_ppl: of the last max(1, n//4) tokens. bite:
    mean per token of log p_steered - log p_base, nats. All NaN where the frame holds no
    log-probabilities. loop, rep, distinct3: repetition. lm picks the axis's variant.
    """
    _need(df, ("text", "token_ids", "logp_steered", "logp_base"))
    _same_lengths(df)
    if axis is not None and lm is not None:
        axis = axis.on(lm)
    n = pl.col("token_ids").list.len().fill_null(0)
    base, steered = (pl.col(name).cast(pl.List(pl.Float64)) for name in ("logp_base", "logp_steered"))
    tail = base.list.tail(pl.max_horizontal(n // 4, pl.lit(1, dtype=pl.UInt32)))
    numbers = df.select(
        n_tokens=n.cast(pl.Int32),
        tail_ppl=(-tail.list.mean()).exp().fill_null(math.nan),
        bite=(steered.list.mean() - base.list.mean()).fill_null(math.nan),
    )
    stretches = [(worst_nll(b or []), looping(ids or [])) for b, ids in df.select(base, "token_ids").iter_rows()]
    ppl = pl.col("nll").exp()
    worst = pl.DataFrame(stretches, schema={"nll": pl.Float64, "loop": pl.Float64}, orient="row")
    scores = numbers.hstack(_textual(df["text"], axis)).hstack(worst.select("loop", worst_ppl=ppl, neutral_ppl=ppl))
    typed = scores.select(pl.col(name).cast(kind) for name, kind in SCORES.items())
    return df.drop(*SCORES, strict=False).hstack(typed)


def _textual(texts: pl.Series, axis: Axis | None) -> pl.DataFrame:
    own, no = (axis.narration, axis.refusal) if axis is not None else ((), ())
    rows = [(repetition(t), distinct_trigrams(t), narrates(t, own), refuses(t, no)) for t in texts.fill_null("")]
    return pl.DataFrame(rows, schema=TEXTUAL, orient="row")


def _same_lengths(df: pl.DataFrame) -> None:
    lengths = df.select(pl.col("token_ids", "logp_steered", "logp_base").list.len().fill_null(0))
    odd = [row for row in lengths.iter_rows() if any(k not in (0, row[0]) for k in row[1:])]
    if odd:
        raise UserError(
            f"token ids and log-probabilities differ in length in {len(odd)} rows (lengths {odd[0]})."
            " Generate them again: a completion's ids are never re-encoded."
        )


def _need(df: pl.DataFrame, columns: Sequence[str]) -> None:
    missing = [c for c in columns if c not in df.columns]
    if missing:
        raise UserError(
            f"the frame lacks {', '.join(missing)} (it has {', '.join(df.columns) or 'no columns'})."
            " Make it with ws.generate, then add scores with ws.score."
        )
