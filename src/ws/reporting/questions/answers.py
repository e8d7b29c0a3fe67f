"""The questions of the project, one function each: what stored runs say, by a rule from figures, null results kept.

    for question in QUESTIONS:
        answer = question.ask(Stored(runs))     # None where no stored run answers it

A new question is one function and its line of QUESTIONS.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import polars as pl

from ws.gating.arm_table import HEALED, PERSONA, PERSONA_ENGINEERED, SFT, STEER, short_words, words_of
from ws.gating.thresholds import DEFAULTS
from ws.reporting.questions.evidence import LEVELS, Stored, at_equal_kl, at_equal_shift, levels_of, place_of_run
from ws.reporting.questions.ranking import compare, sentence
from ws.runs.reader import Run

__all__ = ["QUESTIONS", "Answer", "Question"]

Settings = dict[str, Any]
HEALED_ARM = short_words()[HEALED]
BARE = "without barrier"


@dataclass(frozen=True)
class Answer:
    """A sentence that is computed, the table that it comes from, and the runs behind it. bars: (text, value, low, high,
    of) of the picture: columns of the table; "of" colours."""

    sentence: str
    table: pl.DataFrame
    runs: list[Run]
    bars: tuple[str, str, str, str, str]


@dataclass(frozen=True)
class Question:
    """One section: its name (of its picture, too), the question, the rule in words, the command that answers it."""

    name: str
    title: str
    rule: str
    command: str
    ask: Callable[[Stored], Answer | None]


COMPARISON = ("level", "mean", "low", "high", "context")


def can_filter(stored: Stored) -> Answer | None:
    """Gate 2 of every first round; runs that share their data count once."""
    rows, behind, seen = [], [], set()
    for run in stored.runs:
        gate = next((gate for gate in run.gates(0) if gate.gate == 2), None)
        data = run.status["stages"].get("0/data", {}).get("key")
        if gate is not None and gate.value is not None and (data, gate.value) not in seen:
            behind.append(run)
            seen.add((data, gate.value))
            rows.append({"run": run.path.name, "context": place_of_run(run),
                         "outcome": gate.outcome, "kept": gate.value, "kept_low": gate.low, "kept_high": gate.high,
                         "evidence": gate.evidence})  # fmt: skip
    if not rows:
        return None
    table = pl.DataFrame(rows)
    said = []
    for (context,), part in table.group_by("context", maintain_order=True):
        works = part.filter(outcome="works").height
        word = "yes" if works == part.height else "no" if not works else "sometimes"
        said.append(f"{context}: {word}, the filter works on {works} of {part.height} sets of data")
    return Answer("; ".join(said) + ".", table, behind, ("run", "kept", "kept_low", "kept_high", "outcome"))


def can_heal(stored: Stored) -> Answer | None:
    """Every first heal beside the strongest steered dose that is no stronger than its data's: what it keeps of the
    shift, and whether its coherence is nearer to base's."""
    healed = stored.points.filter(pl.col("kind") == HEALED_ARM, round=0).drop_nulls(["retain", "coherence"])
    if not healed.height:
        return None
    steered = {run.path.name: _steered_coherence(run) for run in stored.runs}
    names = {"heal": pl.format("{}, {}, beta {}", "adapter", "barrier", "beta"),
             "steered": pl.col("run").replace_strict(steered, default=None, return_dtype=pl.Float64)}  # fmt: skip
    columns = [f"{name}{end}" for name in ("d_target", "coherence", "retain") for end in ("", "_low", "_high")]
    table = healed.with_columns(**names).select("run", "axis", "model", "heal", "seed", *columns, "steered", "verdict")
    said = []
    for (axis, model), part in table.group_by("axis", "model", maintain_order=True):
        good = part.filter(pl.col("coherence") >= DEFAULTS.coherent, pl.col("retain") >= DEFAULTS.retain)
        harmed = good.filter(pl.col("steered") < DEFAULTS.coherent)
        said.append(f"{axis} on {model}: {good.height} of {part.height} heals retain {DEFAULTS.retain:g} or more at"
                    f" coherence {DEFAULTS.coherent:g} or more (retain {_range(good['retain'])}), {harmed.height} of"
                    f" them on data from a dose whose own coherence is less")  # fmt: skip
    bars = ("heal", "retain", "retain_low", "retain_high", "verdict")
    return Answer("; ".join(said) + ".", table, stored.named(table["run"].to_list()), bars)


def _steered_coherence(run: Run) -> float | None:
    """Coherence at the strongest steered dose of the report: the strongest of the data, or the knee."""
    arms = run.arms(0).filter(pl.col("arm") == STEER, pl.col("c") > 0).drop_nulls("coherence").sort("c")
    return float(arms["coherence"][-1]) if arms.height else None


def does_the_barrier_pay(stored: Stored) -> Answer | None:
    """Barriers beside the training without one on the same data, those that keep as much as it does."""
    fields = tuple(f"heal.{name}" for name in ("barrier", "beta", "tau", "aggregate", "reference"))

    def level(row: Settings) -> str:
        return f"{row['barrier']}, beta {row['beta']:g}" if row["kind"] == HEALED_ARM and row["beta"] else BARE

    trained = stored.points.filter(pl.col("kind").is_in([HEALED_ARM, short_words()[SFT]]), round=0)
    rows = levels_of(trained.drop_nulls(["retain", "beta"]), level, fields)
    bare = pl.col("retain").filter(pl.col("level") == BARE).mean().over("context")
    near = (pl.col("retain").mean().over("context", "level") - bare).abs() <= DEFAULTS.equal
    return _compared(stored, rows.filter(near), "coherence", "coherence at equal retain")


def stays_coherent(stored: Stored) -> Answer | None:
    """Runs of several rounds, round after round."""
    rows, said, behind = [], [], []
    for run in stored.runs:
        if run.rounds < 2:
            continue
        name = place_of_run(run)
        mine = [row | {"run": run.path.name, "round": number, "context": name}
                for number in range(run.rounds) for row in _healed_rows(run, number)]  # fmt: skip
        if len(mine) < 2:
            continue  # it ended before a second heal
        gate = next((gate for gate in run.gates(run.rounds - 1) if gate.gate == 4), None)
        lowest = min(row["coherence"] for row in mine)
        word = "coherent" if lowest >= DEFAULTS.coherent else "not coherent"
        said.append(f"{name}: {word} over {run.rounds} rounds (lowest coherence {lowest:.2f}), the target moves from"
                    f" {mine[0]['d_target']:.2f} to {mine[-1]['d_target']:.2f} nat"
                    + (f"; gate 4 says {gate.outcome}" if gate else ""))  # fmt: skip
        rows += mine
        behind.append(run)
    if not rows:
        return None
    bars = ("round", "coherence", "coherence_low", "coherence_high", "context")
    return Answer("; ".join(said) + ".", pl.DataFrame(rows), behind, bars)


def _healed_rows(run: Run, number: int) -> list[dict[str, Any]]:
    """The healed model of a round; none where the round ended before it."""
    names = [f"{name}{end}" for name in ("d_target", "coherence") for end in ("", "_low", "_high")]
    return run.arms(number).filter(arm=HEALED).select(names).rows(named=True)


def which_barrier(stored: Stored) -> Answer | None:
    """Kinds of barrier over their betas, at equal shift."""
    fields = ("heal.barrier", "heal.beta")
    rows = levels_of(stored.healed, lambda s: s.get("heal.barrier"), fields)
    return _compared(stored, at_equal_shift(rows), "coherence", "coherence")


def mean_or_rmse(stored: Stored) -> Answer | None:
    """Aggregate crossed with reference, in rounds after the first, where the two references differ."""
    later = stored.healed.filter(pl.col("round") > 0, pl.col("beta") > 0)
    fields = ("heal.aggregate", "heal.reference")
    rows = levels_of(later, lambda s: f"{s.get('heal.aggregate')} to {s.get('heal.reference')}", fields)
    rows = rows.filter(pl.col("level").n_unique().over("context") == 4) if rows.height else rows
    return _compared(stored, rows, "coherence", "coherence at equal shift", "d_target", DEFAULTS.shift)


def which_method(stored: Stored) -> Answer | None:
    """Steering methods at equal KL, and what their heals keep of it."""
    rows = at_equal_kl(stored.runs, lambda run: run.config.method)
    steers = _compared(stored, rows, "d_target", "shift of the target at equal KL, nat")
    learned = compare(rows, "retain")
    if steers is None or not learned.height:
        return steers
    said = f"{steers.sentence} Learned: {sentence(learned, 'shift of the healed model, nat')}"
    both = pl.concat([steers.table.with_columns(what=pl.lit("steers")), learned.with_columns(what=pl.lit("learned"))])
    return Answer(said, both, steers.runs, ("level", "mean", "low", "high", "what"))


def which_family(stored: Stored) -> Answer | None:
    """Adapter families at equal coherence; ranks and learning rates may be each family's own."""
    fields = ("heal.adapter", "heal.rank", "heal.alpha", "heal.lr")
    rows = levels_of(stored.healed, lambda s: s.get("heal.adapter"), fields)
    return _compared(stored, rows, "retain", "retain at equal coherence", "coherence", DEFAULTS.decline)


def constant_or_scheduled(stored: Stored) -> Answer | None:
    """Doses of the data that stay or change along a text, where runs have such a setting."""
    rows = levels_of(stored.healed, lambda s: str(s.get("schedule") or "constant"), ("schedule",))
    return _compared(stored, rows, "coherence", "coherence at equal shift", "d_target", DEFAULTS.shift)


def is_a_prompt_better(stored: Stored) -> Answer | None:
    """The persona as a system prompt beside steering and the healed model: shift of those that are coherent."""
    rows = []
    for run in stored.runs:
        arms = run.arms(0)
        if not {PERSONA, HEALED} <= set(arms["arm"]):
            continue
        asked = pl.col("arm").is_in([PERSONA, PERSONA_ENGINEERED, HEALED])
        asked |= pl.col("chosen") & (pl.col("arm") == STEER)
        for row in arms.filter(asked).rows(named=True):
            made = {"context": f"{place_of_run(run)} [{row['identity'][:8]}]", "level": words_of(row["arm"])}
            made |= {"run": run.path.name, "seed": str(run.config.seeds[0])}
            rows.append(dict.fromkeys(LEVELS) | made | {name: row[name] for name in ("d_target", "coherence")})
    coherent = pl.col("coherence").mean().over("context", "level") >= DEFAULTS.coherent
    return _compared(stored, pl.DataFrame(rows, schema=LEVELS).filter(coherent), "d_target", "shift of the target, nat")


def pair_or_base(stored: Stored) -> Answer | None:
    """Directions against the opposite persona or against the neutral prompt, at equal KL."""
    rows = at_equal_kl(stored.runs, lambda run: run.config.contrast)
    return _compared(stored, rows, "d_target", "shift of the target at equal KL, nat")


def not_measured(stored: Stored) -> None:
    """A question that no run of this version can answer."""
    return


def _compared(
    stored: Stored, rows: pl.DataFrame, measure: str, words: str, equal: str | None = None, within: float = 0.0
) -> Answer | None:
    """A comparison as an answer; None where there is nothing to compare."""
    table = compare(rows, measure, equal, within) if rows.height else rows
    if not table.height:
        return None
    kept = rows.filter(pl.col("context").is_in(table["context"].unique().to_list()))
    return Answer(sentence(table, words), table, stored.named(kept["run"].to_list()), COMPARISON)


def _range(values: pl.Series) -> str:
    found = values.drop_nulls().to_list()
    if not found:
        return "none"
    return f"{min(found):.2f} to {max(found):.2f}, median {statistics.median(found):.2f}"


RANKED = "Means over seeds; a paired t test against the best, corrected by Holm; fewer than three seeds are not ranked."
GRID = "ws sweep docs/grids/{}.toml"
QUESTIONS: Sequence[Question] = (
    Question("q0", "Q0. Can we filter?", "Gate 2 of first rounds, each set of data once: yes where it works on all.",
             "ws run", can_filter),
    Question("q1-heal", "Q1. Can we heal incoherence?",
             "Every first heal, its retain and coherence; steered: coherence at the data's strongest dose.",
             "ws run", can_heal),
    Question("q1-barrier", "Q1. Does the barrier pay?",
             "Coherence on the same data, of barriers that retain as much as training without one, within"
             f" {DEFAULTS.equal:g}. {RANKED}",
             GRID.format("barriers"), does_the_barrier_pay),
    Question("q2", "Q2. Does it stay coherent over a loop?",
             f"Coherent where no round's healed model is under {DEFAULTS.coherent:g}.", "ws run --rounds 3",
             stays_coherent),
    Question("barrier", "Which barrier heals best at equal shift?",
             f"Coherence at the middle of the shifts that all reached, linear between betas. {RANKED}",
             GRID.format("barriers"), which_barrier),
    Question("aggregate-reference", "Mean or rmse, against the base or the previous round?",
             f"Coherence in rounds after the first, where shifts agree within {DEFAULTS.shift:g} nat. {RANKED}",
             GRID.format("two_by_two"), mean_or_rmse),
    Question("method", "Which steering method moves the target most at equal KL, and what of it can be learned?",
             "Shift at the largest KL that all reached, linear between doses; the healed model's shift beside it. "
             f"{RANKED}",
             GRID.format("methods"), which_method),
    Question("family", "Which adapter family keeps most trait per coherence?",
             f"Retain where coherences agree within {DEFAULTS.decline:g}. {RANKED}",
             GRID.format("families"), which_family),
    Question("schedule", "Constant or scheduled dose?",
             f"Coherence of heals on data of either, where shifts agree within {DEFAULTS.shift:g} nat. {RANKED}",
             GRID.format("schedules"), constant_or_scheduled),
    Question("prompt", "Is a prompt better?",
             f"Shift of arms at coherence {DEFAULTS.coherent:g} or more; heals of one seed are averaged. {RANKED}",
             GRID.format("seeds"), is_a_prompt_better),
    Question("contrast", "Is one direction from the base as good as a pair?",
             f"Shift at the largest KL that both reached. {RANKED}", GRID.format("contrasts"), pair_or_base),
    Question("distil", "Does distilling beat the difference of two adapters?", "", "", not_measured),
)  # fmt: skip
"""Every section of docs/results.md, in its order."""
