"""Questions with two answer sentences, read by their mean log-probability, and by yes/no tokens where answers begin so.

logratio = label * (mean log p(yes sentence) - mean log p(no sentence)), nats per token: positive = the trait's
answer; logratio_answer sums over an answer's tokens instead. positive, negative: mean log p(that pole's answer) -
mean log p(the plain answer), nats per token; null where there is no plain answer. Yes/no reading: yesno = label *
(logsumexp log p(yes tokens) - logsumexp log p(no tokens)) at the reply's first token, pmass = total probability on
them. Letters (A/B) are not offered: small models never learn them.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl
import torch
from numpy.typing import ArrayLike
from torch import Tensor

from ws.errors import UserError
from ws.evaluation.prompt_cache import Cached, log_softmax, steered_rows, token_logps
from ws.evaluation.readings import Request
from ws.models.adapters.attaching import attached
from ws.models.batching import by_length
from ws.models.lm import LM

if TYPE_CHECKING:
    from ws.axes.axis_file import Question

__all__ = [
    "COLUMNS", "asks", "figures", "frac_low_pmass", "gain", "mean_shift", "monotone", "read", "read_dilemmas",
    "t_statistic", "yes_no_ids",
]  # fmt: skip

COLUMNS: dict[str, Any] = {
    "question": pl.String,
    "label": pl.Int32,
    "logp_yes": pl.Float64,
    "logp_no": pl.Float64,
    "logratio": pl.Float64,
    "yesno": pl.Float64,
    "pmass": pl.Float64,
    "logratio_answer": pl.Float64,
    "positive": pl.Float64,
    "negative": pl.Float64,
}
LOW_PMASS = 0.75


def asks(request: Request) -> list[dict[str, Any]]:
    """The axis's questions."""
    return [question.to_dict() for question in request.axis.questions]


def read(request: Request, asked: Sequence[dict[str, Any]]) -> list[pl.DataFrame]:
    """The questions at every dose."""
    lm, adapters, questions = request.lm, request.adapters, request.axis.questions
    with lm.lock, attached(lm, adapters):
        how: dict[str, Any] = {"stale": bool(adapters), "batch_size": request.batch_size}
        return read_dilemmas(lm, questions, **request.treatment, **how)


def figures(frame: pl.DataFrame) -> dict[str, float]:
    """Mean logratio, nats per token."""
    values = frame["logratio"].to_numpy()
    return {"logratio": float(values.mean()) if len(values) else math.nan}


def read_dilemmas(
    lm: LM,
    questions: Sequence[Question],
    *,
    direction: Any = None,
    cs: Sequence[float] = (0.0,),
    persona: str | None = None,
    stale: bool = False,
    batch_size: int = 64,
) -> list[pl.DataFrame]:
    """One frame (COLUMNS, rows in the questions' order) per dose; adapters are the caller's to attach.

    direction: a Direction, or pairs (Direction, c_i) where c_i may be one number for each of `cs`: several directions
    side by side in one batch.
    """
    prompts = [lm.prompt_ids(q.text, system=persona) for q in questions]
    words = yes_no_ids(lm) if all(_starts_so(q) for q in questions) else None
    plain = all(q.plain is not None for q in questions)
    answers = [[lm.encode(text) for text in (q.yes, q.no, q.plain) if text is not None][: 2 + plain] for q in questions]
    read = torch.full((len(questions), len(cs), len(PARTS)), torch.nan)
    with lm.lock, torch.inference_mode():
        for chosen in by_length([len(ids) for ids in prompts], max(1, batch_size // ((2 + plain) * len(cs)))):
            told = [answers[i] for i in chosen]
            read[chosen] = _batch(lm, [prompts[i] for i in chosen], told, direction, cs, stale, words).cpu()
    return [_frame(questions, read[:, k].double().numpy()) for k in range(len(cs))]


PARTS = ("yes", "no", "plain", "yes_sum", "no_sum", "told_yes", "told_no")
"""What is read of a question at a dose: mean log p of the answers, its sum over their tokens, logsumexp log p of the
yes and the no tokens; NaN where there is none."""


def _batch(
    lm: LM,
    prompts: Sequence[list[int]],
    answers: Sequence[Sequence[list[int]]],
    direction: Any,
    cs: Sequence[float],
    stale: bool,
    words: tuple[list[int], list[int]] | None,
) -> Tensor:
    """(prompts, doses, PARTS). answers: two or three token lists per prompt."""
    width, n = max(len(ids) for told in answers for ids in told), len(answers[0])
    rows = Cached(lm, [ids[:-1] for ids in prompts], 1 + width)
    doses = torch.tensor(list(cs) * len(prompts), dtype=torch.float32).repeat_interleave(n)
    last = torch.tensor([ids[-1] for ids in prompts], device=lm.device).repeat_interleave(n * len(cs))
    padded = [ids + [-1] * (width - len(ids)) for told in answers for _ in cs for ids in told]
    sentences = torch.tensor(padded, device=lm.device)
    rows.repeat(n * len(cs))
    found = torch.full((len(prompts), len(cs), len(PARTS)), torch.nan, device=lm.device)
    with steered_rows(lm, _by_row(direction, len(prompts), n), doses, rows.columns, stale):
        hidden = rows.block(torch.cat([last[:, None], sentences[:, :-1].clamp(min=0)], 1))
        logps = token_logps(lm, hidden, sentences)
        sums = logps.sum(1)
        found[..., :n] = (sums / (sentences >= 0).sum(1)).reshape(len(prompts), len(cs), n)
        found[..., 3:5] = sums.reshape(len(prompts), len(cs), n)[..., :2]
        if words is not None:
            first = log_softmax(lm, hidden[::n, 0])
            told = torch.stack([first[:, ids].logsumexp(-1) for ids in words], -1)
            found[..., 5:] = told.reshape(len(prompts), len(cs), 2)
    return found


def _by_row(direction: Any, prompts: int, answers: int) -> Any:
    """The pairs with a coefficient for every row of a batch, where they had one for every dose."""
    if not isinstance(direction, list):
        return direction
    return [(v, _repeated(share, prompts, answers)) for v, share in direction]


def _repeated(share: Any, prompts: int, answers: int) -> Any:
    """A coefficient for every dose as one for every row; a number stays what it is."""
    rows = torch.as_tensor(share, dtype=torch.float32)
    return rows.repeat(prompts).repeat_interleave(answers) if rows.ndim else share


def _frame(questions: Sequence[Question], read: np.ndarray[Any, Any]) -> pl.DataFrame:
    labels = np.array([q.label for q in questions], dtype=np.float64)
    yes, no, plain, yes_sum, no_sum, told_yes, told_no = read.T
    frame = pl.DataFrame(
        {
            "question": [q.text for q in questions],
            "label": labels.astype(int),
            "logp_yes": yes,
            "logp_no": no,
            "logratio": labels * (yes - no),
            "yesno": labels * (told_yes - told_no),
            "pmass": np.exp(told_yes) + np.exp(told_no),
            "logratio_answer": labels * (yes_sum - no_sum),
            "positive": np.where(labels > 0, yes, no) - plain,
            "negative": np.where(labels > 0, no, yes) - plain,
        },
        schema=COLUMNS,
    )
    if all(q.plain is not None for q in questions):
        return frame
    return frame.with_columns(pl.lit(None, pl.Float64).alias(name) for name in ("positive", "negative"))


def yes_no_ids(lm: LM) -> tuple[list[int], list[int]] | None:
    """Ids of the single tokens that say yes and no at a reply's start; None where the tokenizer has none for one of
    them."""
    spelled = [
        {tuple(lm.encode(space + form)) for form in (word, word.lower(), word.upper()) for space in ("", " ")}
        for word in ("Yes", "No")
    ]
    yes, no = ([ids[0] for ids in sorted(forms) if len(ids) == 1] for forms in spelled)
    return (yes, no) if yes and no else None


def _starts_so(question: Question) -> bool:
    return question.yes.casefold().startswith("yes") and question.no.casefold().startswith("no")


def t_statistic(c: ArrayLike, logratio: ArrayLike) -> float:
    """`T` = |slope / se| of logratio on c, paired by item: c (D,), logratio (items, D); each item has its own
    level."""
    x, y = np.asarray(c, dtype=np.float64), np.asarray(logratio, dtype=np.float64)
    x = x - x.mean()
    slopes = (y - y.mean(1, keepdims=True)) @ x / (x @ x)
    error = slopes.std(ddof=1) / math.sqrt(len(slopes))
    return float(abs(slopes.mean()) / error) if error > 0 else math.nan


def mean_shift(frame: pl.DataFrame, other: pl.DataFrame, reading: str = "logratio") -> float:
    """Mean over the same questions of other - frame, nats: `dd_delta` for c = 0 and c = 1, `spread` for -c and +c."""
    if frame["question"].to_list() != other["question"].to_list():
        raise UserError("the two frames hold other questions. Compare readings of one axis.")
    return float((other[reading].to_numpy() - frame[reading].to_numpy()).mean())


def frac_low_pmass(frame: pl.DataFrame) -> float:
    """Share of questions whose yes and no tokens hold less than 0.75 together; NaN where they were not read."""
    pmass = frame["pmass"].to_numpy()
    return float((pmass < LOW_PMASS).mean()) if len(pmass) and np.isfinite(pmass).all() else math.nan


def gain(t: float, d_nll: float) -> float:
    """100 T / (1 + max(0, d_nll)); d_nll: rise of the mean NLL of neutral text, nats per token."""
    return 100 * t / (1 + max(0.0, d_nll))


def monotone(means: Sequence[float]) -> bool:
    """Whether mean logratios, in the order of their doses, only rise or only fall."""
    steps = np.diff(np.asarray(means, dtype=np.float64))
    return bool((steps >= 0).all() or (steps <= 0).all())
