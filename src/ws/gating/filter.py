"""Gate 2: can we filter? Read from the scored completions of the grid (split "select") and the data (split "train")."""

from __future__ import annotations

import itertools
import math
import re
from dataclasses import dataclass
from functools import cached_property

import polars as pl

from ws.gating.advice import ADVICE
from ws.gating.arm_table import STEER
from ws.gating.gate import Finding, Gate, Row, decide, seed_caveat, worst
from ws.gating.schemas import TEXTS
from ws.gating.thresholds import Thresholds
from ws.intervals import as_float, finite_or_none, wilson

SHOULD = "kept share falls and {} rises with dose; just-kept reads coherent and on-trait, just-dropped broken"
NARRATES = re.compile(
    r"\b(as someone who|i am (the (kind|sort) of )?(a )?(person|someone) who|i'm someone who)\b", re.IGNORECASE
)
REFUSES = re.compile(
    r"\b(i cannot (assist|help with)|i can't (assist|help with)|as an ai|i'm unable to)\b", re.IGNORECASE
)


@dataclass(frozen=True)
class FilterFacts:
    """Scored completions with `dropped`, and the dose grid's arms."""

    texts: pl.DataFrame
    grid: pl.DataFrame
    limits: Thresholds
    min_keep: int

    @cached_property
    def data(self) -> pl.DataFrame:
        """The completions that are candidates for training."""
        return self.texts.filter(pl.col("split") == "train")

    @cached_property
    def kept(self) -> pl.DataFrame:
        return self.data.filter(pl.col("dropped").is_null())

    @cached_property
    def lost(self) -> pl.DataFrame:
        return self.data.filter(pl.col("dropped").is_not_null())

    @cached_property
    def by_dose(self) -> pl.DataFrame:
        """Per dose >= 0 over grid and data: n, kept share, median perplexity (ppl), weakest first."""
        share = pl.col("dropped").is_null().mean().alias("share")
        return (
            self.texts.filter(pl.col("c") >= 0).group_by("c")
            .agg(pl.len().alias("n"), share, pl.col(self.perplexity).median().alias("ppl"))
            .sort("c")
        )  # fmt: skip

    @property
    def perplexity(self) -> str:
        """The perplexity that texts are told by: of the worst stretch, or of the tail where that was not read."""
        read = "worst_ppl" in self.texts.columns and self.texts["worst_ppl"].null_count() == 0
        return "worst_ppl" if read else "tail_ppl"

    @property
    def shares_text(self) -> str:
        parts = [f"{c:.3g}: {share:.2f}" for c, share in self.by_dose.select("c", "share").rows()]
        return "kept share by dose " + ", ".join(parts)


def _no_passing(f: FilterFacts) -> Finding:
    doses = f.grid.filter(pl.col("arm") == STEER, pl.col("c") > 0)
    if not doses.height:
        return None, "no dose grid"
    passing = doses.filter(pl.col("coherence") >= f.limits.coherent)
    table = ", ".join(
        f"{c:.3g}: {coh:.2f}" for c, coh in doses.sort("c").select("c", "coherence").rows() if coh is not None
    )
    return passing.height == 0, f"coherence by dose {table}"


def _starvation(f: FilterFacts) -> Finding:
    reasons = f.lost["dropped"].value_counts(sort=True).rows()
    why = ", ".join(f"{name} {n}" for name, n in reasons) or "nothing was dropped"
    return (
        f.kept.height < f.min_keep,
        f"kept {f.kept.height} of {f.data.height} (at least {f.min_keep} are needed); dropped: {why}",
    )


def _drop(f: FilterFacts) -> tuple[float, float]:
    """Kept share of the weakest dose minus the strongest's, and its half width (95 %)."""
    first, last = f.by_dose.row(0, named=True), f.by_dose.row(-1, named=True)
    var = sum(r["share"] * (1 - r["share"]) / max(r["n"], 1) for r in (first, last))
    return first["share"] - last["share"], 1.96 * math.sqrt(var)


def _inert(f: FilterFacts) -> Finding:
    if f.by_dose.height < 2:
        return None, "fewer than two doses"
    top = f.grid.filter(pl.col("arm") == STEER, pl.col("c") > 0).sort("c")
    strong = top.height > 0 and top["coherence"][-1] is not None and top["coherence"][-1] < f.limits.coherent
    drop, half = _drop(f)
    text = f"{f.shares_text}; it falls by {drop:.2f} (+-{half:.2f})"
    if not strong and drop - half < f.limits.survival_drop:
        return None, f"{text}; no dose on the grid is incoherent, so there was nothing to drop"
    return drop < f.limits.survival_drop, text


def _base_like(f: FilterFacts) -> Finding:
    if not f.kept.height or f.kept["bite"].is_null().all():
        return None, "nothing kept, or bite not measured"
    strongest = f.data.filter(pl.col("c") == pl.col("c").max())
    share, untouched = as_float(strongest["dropped"].is_null().mean()), f.by_dose.filter(pl.col("c") == 0)["share"]
    own = as_float(untouched[0]) if untouched.len() else 1.0
    bite = as_float(f.kept["bite"].median())
    text = (
        f"median bite of kept text {bite:.3f} nat per token; {share:.2f} survive at the strongest data dose, "
        f"{own:.2f} of base's own text"
    )
    return share >= f.limits.high_survival * own and bite < f.limits.bite, text


def _style(f: FilterFacts) -> Finding:
    if "label" in f.texts.columns and f.lost.filter(pl.col("label").is_not_null()).height >= f.limits.few:
        labelled = f.lost.filter(pl.col("label").is_not_null())
        fine = labelled.filter(pl.col("label") == "coherent")
        good = fine.height / labelled.height
        text = f"{good:.2f} of {labelled.height} labelled dropped texts read coherent{_ids(fine)}"
        return good > f.limits.fluent_drops, text
    by_score = f.lost.filter(pl.col("dropped").is_in(["worst_ppl", "tail_ppl", "rep", "loop"]))
    if "grammatical" in f.texts.columns and by_score.height >= f.limits.few:
        fine = by_score.filter(pl.col("grammatical") >= f.limits.fluent)
        good = fine.height / by_score.height
        text = f"{good:.2f} of {by_score.height} texts dropped for their scores are wholly grammatical{_ids(fine)}"
        return good > f.limits.fluent_drops, text
    known = by_score.filter(pl.col("fluent").is_not_null()) if "fluent" in f.texts.columns else by_score.clear()
    if known.height >= f.limits.few:
        fine, fluent = known.filter(pl.col("fluent")), f.data.filter(pl.col("fluent"))
        if not fine.height and f.kept["fluent"].all():
            return None, "what is dropped for its scores is what counts as unreadable here: only hand labels can tell"
        lost = fine.height / max(1, fluent.height)  # salad that it drops as well makes it no better
        text = f"{fine.height} of {fluent.height} texts that read well are dropped for their scores{_ids(fine)}"
        return lost > f.limits.fluent_lost, text
    return None, "needs hand labels, or at least five dropped texts with a reading of their grammar or fluency"


def _loops(f: FilterFacts) -> Finding:
    if not f.kept.height:
        return None, "nothing kept"
    long, again = pl.col("n_tokens") >= f.limits.loop_tokens, pl.col("distinct3") < f.limits.loop_distinct
    if "loop" in f.kept.columns:  # over tokens of any kind: words alone miss line after line of marks
        again |= (pl.col("loop") >= f.limits.loop).fill_null(False)
    looping = f.kept.filter(again & long)
    loops = looping.height
    # the same dice may write the same text at two doses; that is one text, not a copy
    written = f.kept.unique(["prompt_id", "sample", "text"]) if "prompt_id" in f.kept.columns else f.kept
    twice = written.height - written["text"].n_unique()
    share = (loops + twice) / f.kept.height
    return (
        share > f.limits.leak,
        f"{loops} kept texts repeat their trigrams, {twice} are copies of another ({share:.0%}){_ids(looping)}",
    )


def _mid_collapse(f: FilterFacts) -> Finding:
    need = {"logp_base", "tail_ppl"}
    if not need <= set(f.texts.columns):
        return None, "per-token log-probabilities are not in the frame"
    perplexities = [name for name in ("worst_ppl", "tail_ppl") if name in f.texts.columns]
    dropped = f.lost.filter(pl.col("dropped").is_in(perplexities))
    if dropped.height < f.limits.few:
        return None, "fewer than five texts were dropped for their tail"
    score = str(dropped["dropped"].mode().sort()[-1])
    dropped = dropped.filter(pl.col("dropped") == score)
    mean = dropped.select((-pl.col("logp_base").list.mean()).exp().alias("ppl"))["ppl"]
    limit = as_float(dropped[score].min())
    share = as_float((mean < limit).mean())
    part = "tail" if score == "tail_ppl" else "worst stretch"
    text = f"{share:.0%} of the texts dropped for their {part} have a mean perplexity under {limit:.1f}"
    return share >= f.limits.mid_collapse, text


def _leak(f: FilterFacts, column: str, pattern: re.Pattern[str]) -> Finding:
    if not f.kept.height:
        return None, "nothing kept"
    hits = f.kept.filter(pl.col(column) | pl.col("text").map_elements(lambda t: bool(pattern.search(t)), pl.Boolean))
    share, all_share = hits.height / f.kept.height, as_float(f.data[column].mean())
    return (
        share > f.limits.leak,
        f"{hits.height} of {f.kept.height} kept texts ({share:.1%}); {all_share:.1%} before the filter{_ids(hits)}",
    )


def _ids(rows: pl.DataFrame, n: int = 3) -> str:
    """The first samples among the rows, as prompt id, number and dose; "" for none, or for frames without ids."""
    if not rows.height or not {"prompt_id", "sample"} <= set(rows.columns):
        return ""
    named = (f"{prompt}#{sample} at c {c:.3g}" for prompt, sample, c in rows.select("prompt_id", "sample", "c").rows())
    return "; samples " + ", ".join(itertools.islice(named, n))


def _narration(f: FilterFacts) -> Finding:
    return _leak(f, "narrates", NARRATES)


def _refusal(f: FilterFacts) -> Finding:
    return _leak(f, "refuses", REFUSES)


def _confounds(f: FilterFacts) -> Finding:
    base = f.texts.filter(pl.col("c") == 0)
    if not base.height or not f.kept.height:
        return None, "no base texts beside the kept ones"
    was, now = as_float(base["n_tokens"].mean()), as_float(f.kept["n_tokens"].mean())
    ended = as_float(f.kept["finished"].mean()) - as_float(base["finished"].mean())
    text = f"kept texts are {now:.0f} tokens long, base's {was:.0f}; share that ended by itself {ended:+.2f}"
    return abs(now / max(was, 1e-9) - 1) > f.limits.confound, text


def _works(f: FilterFacts) -> Finding:
    if f.by_dose.height < 2:
        return None, "fewer than two doses"
    drop, half = _drop(f)
    first, last = f.by_dose["ppl"][0], f.by_dose["ppl"][-1]
    text = f"{f.shares_text}; median {f.perplexity} {first:.1f} -> {last:.1f}"
    return drop - half > 0 and drop >= f.limits.survival_drop and last > first, text


def _idle(f: FilterFacts) -> Finding:
    """Only reached when nothing else is seen: the data are clean because no dose was incoherent."""
    return True, f"{f.shares_text}; kept {f.kept.height} of {f.data.height}"


TABLE: tuple[Row[FilterFacts], ...] = (
    Row("no passing dose", _no_passing, red=True),
    Row("starvation", _starvation, red=True),
    Row("inert", _inert, red=True),
    Row("keeps base-like text", _base_like, yellow=True),
    Row("narration leaks", _narration, yellow=True),
    Row("refusal boilerplate", _refusal, yellow=True),
    Row("loops leak", _loops, yellow=True),
    Row("style proxy", _style, yellow=True),
    Row("works", _works),
    Row("mid-completion collapse", _mid_collapse, decides=False),
    Row("confounds", _confounds, decides=False),
)
OTHERWISE: Row[FilterFacts] = Row("unproven", _idle)


def judge_filter(
    texts: pl.DataFrame,
    grid: pl.DataFrame,
    limits: Thresholds | None = None,
    *,
    min_keep: int | None = None,
    seeds: int = 1,
) -> Gate:
    """Gate 2 from the scored completions (with `dropped`) and the dose grid. ValueError when a column is missing."""
    missing = set(TEXTS) - set(texts.columns)
    if missing:
        raise ValueError(f"the completions lack {sorted(missing)}; score them and mark the dropped first")
    limits = limits or Thresholds()
    f = FilterFacts(texts, grid, limits, limits.kept_least if min_keep is None else min_keep)
    primary, checks, seen = decide(TABLE, f, OTHERWISE)
    share = f.kept.height / f.data.height if f.data.height else math.nan
    low, high = wilson(f.kept.height, f.data.height)
    colour = worst("green" if primary.outcome == "works" else "yellow", seen)
    return Gate(
        gate=2,
        name="filter",
        outcome=primary.outcome,
        also=[row.outcome for row in seen if row is not primary],
        checks=checks,
        colour=colour,
        value=finite_or_none(share),
        low=finite_or_none(low),
        high=finite_or_none(high),
        should=SHOULD.format(f.perplexity),
        next=ADVICE[2][primary.outcome],
        caveats=seed_caveat(seeds, f.limits),
    )
