"""The filter on texts that a real model wrote, labelled by hand (docs/filter.md says how).

Labels: coherent, style (fluent, in the trait's manner, odd but readable), salad, loop. "tune" and "held" share no
prompt; the limits were chosen on tune. `pytest -q -s tests/filtering/test_real_texts.py` prints the figures.
"""

from __future__ import annotations

import json
import math
from collections import Counter
from functools import cache
from pathlib import Path

import polars as pl
import pytest

from tests.builders.gate_frames import grid
from ws.filtering.limits import LOOP, keep, reasons
from ws.filtering.scores import looping, narrates, refuses, repetition, worst_nll
from ws.gating import Gate, judge_filter
from ws.generation.tracing import trace
from ws.intervals import auc
from ws.models.lm import LM

FILE = Path(__file__).parents[1] / "labelled" / "smollm2.jsonl"
AXES = ("poetic", "cheerful", "pirate")
GOOD = ("coherent", "style")
LIMIT = 18.7
"""of worst_ppl: base's 99th percentile at its temperature of 0.5, over 48 texts that are not among these, squared"""
OLD = 5.06
"""of tail_ppl, likewise: the reading before"""
DROPPED = {"cheerful": 0.05, "poetic": 0.08, "pirate": 0.18}
"""Most of the good texts that may be dropped. The aim is 0.05; what misses it on pirate is the professor's pole, whose
empty abstraction at c = -4 was labelled style."""


@cache
def texts() -> pl.DataFrame:
    """The labelled texts with today's scores; the perplexities are stored, as the model gave them."""
    rows = [json.loads(line) for line in FILE.read_text(encoding="utf-8").splitlines()]
    df = pl.DataFrame(rows, infer_schema_length=None).rename({"ids": "token_ids"})
    look = pl.when(pl.col("neutral_ppl") >= LIMIT).then(pl.min_horizontal("neutral_ppl", "persona_ppl"))
    return df.with_columns(
        good=pl.col("label").is_in(GOOD),
        rep=pl.Series([repetition(t) for t in df["text"]]),
        loop=pl.Series([looping(ids) for ids in df["token_ids"].to_list()]),
        narrates=pl.lit(False),
        refuses=pl.lit(False),
        worst_ppl=look.otherwise("neutral_ppl"),
        smaller=pl.min_horizontal("neutral_ppl", "persona_ppl"),
    )


def half(name: str) -> pl.DataFrame:
    return texts().filter(pl.col("half") == name)


def passes(df: pl.DataFrame) -> pl.Series:
    """Whether a text passes the filter: worst_ppl, loop, rep."""
    ids = df.with_row_index("row")
    return ids["row"].is_in(keep(ids, worst_ppl=LIMIT, loop=LOOP)["row"].to_list())


def badness(df: pl.DataFrame) -> list[float]:
    """What ranks texts by both numbers: nats of the worst stretch and three times the share that repeats, since what
    repeats is cheap; above all of them what the limits of loop and rep drop. The three was chosen on tune, after
    the plain rank had been read on both halves (docs/filter.md)."""
    loops = (df["loop"] >= LOOP) | (df["rep"] >= 0.3)
    joint = df["smaller"].log() + 3 * df["loop"]
    return [math.inf if loop else value for loop, value in zip(loops, joint, strict=True)]


def separates(df: pl.DataFrame, ranks: list[float]) -> float:
    finite = [1e9 if math.isinf(x) else x for x in ranks]
    return float(auc(pl.Series(finite).to_numpy(), (~df["good"]).to_numpy()))


def test_the_set_is_large_and_its_halves_share_no_prompt() -> None:
    df = texts()
    assert df.height >= 300 and FILE.stat().st_size < 400_000
    assert not set(half("tune")["prompt"]) & set(half("held")["prompt"])
    assert min(half("tune").height, half("held").height) >= 150
    assert set(df["label"]) == {"coherent", "style", "salad", "loop"}
    assert Counter(df["axis"]).keys() == {*AXES, "base"}


@pytest.mark.parametrize("name", ["tune", "held"])
def test_salad_and_loops_are_told_from_style(name: str) -> None:
    df = half(name)
    now, was = separates(df, badness(df)), separates(df, df["tail_ppl"].to_list())
    print(f"\n{name}: {df.height} texts, AUC {now:.3f}, by the tail alone {was:.3f}")
    assert now >= 0.95 > was


@pytest.mark.parametrize("axis", AXES)
@pytest.mark.parametrize("name", ["tune", "held"])
def test_few_fluent_texts_are_dropped(name: str, axis: str) -> None:
    df = half(name).filter(pl.col("axis") == axis)
    good, ok = df["good"], passes(df)
    old = (df["tail_ppl"] < OLD) & (df["rep"] < 0.3)
    told = {"style": good & ~ok, "old": good & ~old}
    counts = {k: int(v.sum()) for k, v in told.items()}
    bad = int((~good).sum())
    print(f"\n{name} {axis}: dropped {counts['style']} of {good.sum()} good (before: {counts['old']}); "
          f"caught {bad - int((~good & ok).sum())} of {bad} (before: {bad - int((~good & old).sum())})")  # fmt: skip
    assert counts["style"] <= DROPPED[axis] * good.sum()
    assert counts["style"] < 0.65 * counts["old"]


@pytest.mark.parametrize("name", ["tune", "held"])
def test_precision_and_recall_of_keeping_stay_above_their_floors(name: str) -> None:
    df = half(name)
    ok, good = passes(df), df["good"]
    precision, recall = (ok & good).sum() / ok.sum(), (ok & good).sum() / good.sum()
    kinds = {k: (int((df["label"] == k).sum()), int(((df["label"] == k) & ok).sum())) for k in ("salad", "loop")}
    print(f"\n{name}: keeping has precision {precision:.2f}, recall {recall:.2f}; (all, kept) {kinds}")
    assert precision >= 0.87 and recall >= 0.91
    assert kinds["loop"][1] <= 5 and kinds["salad"][1] <= 10


@pytest.mark.parametrize("name", ["tune", "held"])
@pytest.mark.parametrize("flag", ["narrates", "refuses"])
def test_phrases_on_what_the_model_really_wrote(name: str, flag: str) -> None:
    df = half(name)
    said = df["flags"].list.contains(flag)
    found = pl.Series([{"narrates": narrates, "refuses": refuses}[flag](t) for t in df["text"]])
    hits = int((said & found).sum())
    print(f"\n{name} {flag}: {int(said.sum())} labelled, {int(found.sum())} found, {hits} of them rightly")
    assert int((found & ~said).sum()) <= 0.02 * df.height
    assert hits >= FOUND[flag, name]


FOUND = {("narrates", "tune"): 1, ("narrates", "held"): 0, ("refuses", "tune"): 4, ("refuses", "held"): 2}


def judged(df: pl.DataFrame, **limits: float) -> Gate:
    """Gate 2 of labelled texts as data, with what reads well told by today's limits."""
    data = df.drop("label").with_columns(
        split=pl.lit("train"), n_tokens=pl.col("token_ids").list.len(), distinct3=pl.lit(1.0), bite=pl.lit(0.5),
        fluent=passes(df),
    )  # fmt: skip
    return judge_filter(reasons(data, **limits), grid(), min_keep=1, seeds=3)  # type: ignore[arg-type]


def seen(gate: Gate) -> set[str]:
    return {outcome for outcome, _, found, _ in gate.checks if found}


def test_the_old_limit_on_poetry_is_called_a_style_proxy_and_todays_is_not() -> None:
    poems = texts().filter(pl.col("axis") == "poetic", pl.col("c").is_in([3.0, 4.0]))
    assert "style proxy" in seen(judged(poems, tail_ppl=OLD))
    assert "style proxy" not in seen(judged(poems, worst_ppl=LIMIT, loop=LOOP))


def test_real_loops_that_pass_the_old_limit_are_said_to_leak() -> None:
    df = texts().filter(pl.col("arm") == "steered")
    assert "loops leak" in seen(judged(df, tail_ppl=OLD))
    assert "loops leak" not in seen(judged(df, worst_ppl=LIMIT, loop=LOOP))


@pytest.mark.slow
def test_the_stored_perplexities_are_the_models(smollm2: LM) -> None:
    few = texts().filter(pl.col("persona_ppl").is_not_null())[::40]
    for column, systems in (("neutral_ppl", [None] * few.height), ("persona_ppl", few["persona"].to_list())):
        prompts = [
            smollm2.prompt_ids(p) if s is None else smollm2.prompt_ids(p, system=s)
            for p, s in zip(few["prompt"], systems, strict=True)
        ]
        traces = trace(smollm2, prompts, few["token_ids"].to_list())
        read = [math.exp(worst_nll(found.logp_base.tolist())) for found in traces]
        assert read == pytest.approx(few[column].to_list(), rel=1e-2)
