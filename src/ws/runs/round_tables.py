"""A run's rounds as frames, for gate 4 and for pictures of the loop. Stored files only, no model."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import polars as pl

from ws.errors import UserError
from ws.evaluation.llm_judge import PAIRS
from ws.evaluation.readings import READINGS
from ws.evaluation.report import Report, cell_of
from ws.gating import foundations
from ws.gating.arm_table import BASE, HEALED, STEER, STEERED
from ws.gating.facts import row_of, surgical_of
from ws.gating.foundations import FOUNDATIONS
from ws.gating.schemas import ROUNDS
from ws.intervals import as_float, finite_or_none
from ws.steering.direction import Direction

if TYPE_CHECKING:
    from ws.runs.reader import Run

if TYPE_CHECKING:
    from ws.runs.reader import Run

__all__ = [
    "COSINES",
    "DIARY",
    "STEPS",
    "base_said",
    "cosines_frame",
    "diary_frame",
    "pairs_of",
    "plane_of",
    "rounds_frame",
    "steps_frame",
]

TAIL = 0.1  # share of a heal's last steps whose mean is its KL

ENDS = ("", "_low", "_high")
# One row per step of a run: base at 0, round r's steered model at r + 0.5, its healed student at r + 1.
STEPS: dict[str, pl.DataType | type[pl.DataType]] = {
    "at": pl.Float64, "round": pl.Int32, "kind": pl.String, "c": pl.Float64,
    **{f"{name}{end}": pl.Float64 for name in ("d_target", "coherence") for end in ENDS},
    **{f"d_{f}{end}": pl.Float64 for f in FOUNDATIONS for end in ENDS},
}  # fmt: skip
COSINES: dict[str, pl.DataType | type[pl.DataType]] = {"round": pl.Int32, "line": pl.String, "value": pl.Float64}
DIARY: dict[str, pl.DataType | type[pl.DataType]] = {
    "at": pl.Float64, "round": pl.Int32, "kind": pl.String, "c": pl.Float64,
    "prompt_id": pl.String, "prompt": pl.String, "text": pl.String, "tail_ppl": pl.Float64, "readable": pl.Boolean,
}  # fmt: skip


def rounds_frame(run: Run, last: int | None = None) -> pl.DataFrame:
    """One row (columns ROUNDS) for every round up to `last` whose healed model was measured, first to last.

    d_target and coherence are the healed model's against the pristine base; kl_base and kl_prev: D at the end of the
    heal; cos_v0: cosine of the round's concatenated direction with round 0's.
    """
    rows: list[dict[str, Any]] = []
    number = 0
    while run.has("healed.parquet", number) and run.has("arms.parquet", number) and (last is None or number <= last):
        rows.append(_row(run, number))
        number += 1
    return pl.DataFrame(rows, schema=ROUNDS)


def _row(run: Run, number: int) -> dict[str, Any]:
    arms, counts, curve = run.arms(number), run.get("heal.json", number), run.frame("heal", number)
    healed, base = row_of(arms, HEALED), row_of(arms, BASE)
    steer = row_of(arms.filter(pl.col("chosen")), STEER)
    same = ("d_target", "d_target_low", "d_target_high", "coherence", "coherence_low", "coherence_high", "nonfinite")
    return {
        "round": number,
        **{name: healed[name] for name in same},
        "coherence_base": base["coherence"],
        "coherence_steered": steer["coherence"],
        "surgical": surgical_of(healed, run.trait),
        "c": steer["c"],
        "cos_v0": _cosine(run.get("direction.safetensors", 0), run.get("direction.safetensors", number)),
        "kl_base": _end(curve["kl_base"]),
        "kl_prev": _end(curve["kl_prev"]),
        "reference": run.config.heal.reference,
        "kept": counts["kept"],
        "survival": counts["passed"] / counts["generated"],
    }


def _end(values: pl.Series) -> float | None:
    """Mean over the last tenth of the steps."""
    logged = values.drop_nulls()
    return finite_or_none(as_float(logged.tail(max(1, round(TAIL * logged.len()))).mean()))


def _cosine(first: Direction, other: Direction) -> float | None:
    """None where the two rounds steer different blocks."""
    return other.cosine(first) if first.layers.keys() == other.layers.keys() else None


def _kinds(arms: pl.DataFrame) -> list[tuple[float, str, pl.DataFrame]]:
    """(place within the round, kind, the one row) of the steered and the healed arm, where they were measured."""
    steered = arms.filter(pl.col("arm") == STEER, pl.col("chosen"))
    found = [(0.5, STEERED, steered), (1.0, HEALED, arms.filter(pl.col("arm") == HEALED))]
    return [(offset, kind, rows.head(1)) for offset, kind, rows in found if rows.height]


def steps_frame(run: Run) -> pl.DataFrame:
    """Base, then every round's steered and healed model (columns STEPS), shifts against the pristine base."""
    rows: list[dict[str, Any]] = []
    for number in range(run.rounds):
        if not run.has("arms.parquet", number):
            break
        arms = run.arms(number)
        if not number:
            rows.append(_step(row_of(arms, BASE), 0, 0.0, BASE))
        rows += [_step(part.row(0, named=True), number, number + at, kind) for at, kind, part in _kinds(arms)]
    return pl.DataFrame(rows, schema=STEPS)


def _step(arm: dict[str, Any], number: int, at: float, kind: str) -> dict[str, Any]:
    place = {"at": at, "round": number, "kind": kind, "c": arm["c"] if kind == STEERED else None}
    return place | {name: arm[name] for name in STEPS if name not in place}


def base_said(run: Run, number: int) -> list[str]:
    """What the round's readings say that base can and cannot do, a line each; nothing where no report is stored."""
    if not run.has("eval.parquet", number):
        return []
    named = {"arm", "identity", "subject", *map(cell_of, READINGS)}
    base = run.frame("eval", number, named).filter(pl.col("arm") == BASE)
    return Report.from_frame(base.head(1)).said if base.height else []


def plane_of(run: Run) -> tuple[str, str]:
    """The two foundations of the run's plane (ws.gating.foundations.plane_of): x should fall, y should rise."""
    return foundations.plane_of(run.axis["target"], run.axis["intended"])


def cosines_frame(run: Run) -> pl.DataFrame:
    """Cosine of every round's direction with round 0's and with the round before's (columns COSINES)."""
    numbers = [n for n in range(run.rounds) if run.has("direction.safetensors", n)]
    found = [run.get("direction.safetensors", n) for n in numbers]
    rows = [(n, "to round 0", _cosine(found[0], v)) for n, v in zip(numbers, found, strict=True)]
    rows += [(numbers[i], "to the round before", _cosine(found[i - 1], found[i])) for i in range(1, len(found))]
    return pl.DataFrame([row for row in rows if row[2] is not None], schema=COSINES, orient="row")


def diary_frame(run: Run) -> pl.DataFrame:
    """What base, every round's steered model and every healed student answer to the same probe prompts, same dice.

    Columns DIARY, the first sample of each prompt, in the order of the run.
    """
    parts: list[pl.DataFrame] = []
    for number in range(run.rounds):
        if not run.has("eval.parquet", number):
            break
        reports = run.frame("eval", number).select("arm", "c", "chosen", "text")
        if not number:
            parts.append(_answers(reports.filter(pl.col("arm") == BASE), 0, 0.0, BASE))
        parts += [_answers(part, number, number + at, kind) for at, kind, part in _kinds(reports)]
    return pl.concat(parts) if parts else pl.DataFrame(schema=DIARY)


def _answers(report: pl.DataFrame, number: int, at: float, kind: str) -> pl.DataFrame:
    """The texts of one report."""
    said = report.select("c", "text").head(1).explode("text")
    texts = pl.DataFrame(said["text"].drop_nulls().to_list())
    if not texts.height:
        return pl.DataFrame(schema=DIARY)
    first = texts.filter(pl.col("sample") == 0).with_columns(
        at=pl.lit(at), round=number, kind=pl.lit(kind), c=pl.lit(report["c"][0] if kind == STEERED else None)
    )
    return first.select(pl.col(name).cast(kind) for name, kind in DIARY.items())


def pairs_of(run: Run, arm: str = HEALED, against: str = BASE, round: int | None = None) -> pl.DataFrame:
    """Texts of two arms of a run's report on the same prompts and dice: columns PAIRS, a = against, b = arm.

    round: None takes the best. UserError where the round has no report, or an arm in it has no texts.
    """
    number = run.best if round is None else round
    if not run.has("eval.parquet", number):
        raise UserError(
            f"Round {number} of {run.path} has no report to judge. Finish it with the same `ws run` command."
        )
    reports = run.frame("eval", number)
    a, b = (_texts(reports, name) for name in (against, arm))
    b = b.rename({"text": "b"}).drop("prompt")
    joined = a.rename({"text": "a"}).join(b, on=["prompt_id", "sample"], maintain_order="left")
    return joined.select(pl.col(name).cast(kind) for name, kind in PAIRS.items())


def _texts(reports: pl.DataFrame, arm: str) -> pl.DataFrame:
    """prompt_id, sample, prompt, text of an arm: of its chosen dose, and of its first seed where there are several."""
    found = reports.filter(pl.col("arm") == arm, pl.col("chosen").fill_null(True), pl.col("text").list.len() > 0)
    if not found.height:
        have = reports.filter(pl.col("text").list.len() > 0)["arm"].unique(maintain_order=True)
        raise UserError(f"no arm {arm!r} with texts in this report. Arms with texts: {', '.join(have) or 'none'}.")
    return pl.DataFrame(found["text"][0].to_list()).select("prompt_id", "sample", "prompt", "text")
