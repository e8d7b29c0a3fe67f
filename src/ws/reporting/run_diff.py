"""Two runs side by side: what was asked differently, what came out differently, with paired intervals if possible."""

from __future__ import annotations

from typing import Any

import polars as pl

from ws.errors import UserError
from ws.evaluation.comparison import compare, refuse_unlike, summary
from ws.gating.arm_table import BASE, HEALED, STEER, short_words
from ws.runs.arms import Arm, reports_of
from ws.runs.config import flat, to_dict
from ws.runs.reader import Run

__all__ = ["headline_diff", "settings_diff", "verdict_diff"]

# of env.json: what changes a number
PLACE = ("ws", "python", "device", "dtype", "threads", "fingerprint", "axis", "items", "branch", "commit", "versions")
HEADLINE: dict[str, pl.DataType | type[pl.DataType]] = {
    "arm": pl.String, "measure": pl.String, "a": pl.Float64, "b": pl.Float64,
    "difference": pl.Float64, "low": pl.Float64, "high": pl.Float64, "note": pl.String,
}  # fmt: skip
PAIRED = {"d_target": "paired over items", "coherence": "items paired, texts not"}
ARMS = {name: short_words()[name] for name in (STEER, HEALED)}


def settings_diff(a: Run, b: Run) -> pl.DataFrame:
    """Every setting in which two runs differ (setting, a, b as text): configuration, versions, weights, axis."""
    mine, theirs = ({**flat(to_dict(r.config)), **_place(r)} for r in (a, b))
    names = [name for name in {**mine, **theirs} if mine.get(name) != theirs.get(name)]
    rows = [(name, _text(mine.get(name)), _text(theirs.get(name))) for name in names]
    return pl.DataFrame(rows, schema={"setting": pl.String, "a": pl.String, "b": pl.String}, orient="row")


def _place(run: Run) -> dict[str, Any]:
    return flat({f"env.{name}": run.env.get(name) for name in PLACE})


def _text(value: Any) -> str:
    return "-" if value is None else str(value)


def verdict_diff(a: Run, b: Run) -> pl.DataFrame:
    """Every gate of the two best rounds: gate, a, b as "outcome (colour)", differs."""
    mine, theirs = ({g.gate: f"{g.outcome} ({g.colour})" for g in _gates(r)} for r in (a, b))
    rows = [(n, mine.get(n, "-"), theirs.get(n, "-"), mine.get(n) != theirs.get(n)) for n in sorted({*mine, *theirs})]
    schema = {"gate": pl.Int32, "a": pl.String, "b": pl.String, "differs": pl.Boolean}
    return pl.DataFrame(rows, schema=schema, orient="row")


def _gates(run: Run) -> list[Any]:
    return run.gates(run.best) if run.has("gates.json", run.best) else []


def headline_diff(a: Run, b: Run) -> pl.DataFrame:
    """Shift of the target and coherence of the steered and healed models of the best rounds (columns HEADLINE).

    difference = b - a with a paired 95 % bootstrap over the items where instrument and base weights agree; else the
    note says why there is no interval. Dose, kept share and retain stand beside them without an interval of the
    difference.
    """
    rows = [row for arm in ARMS for row in _arm_rows(a, b, arm)]
    for name, pick in COUNTS.items():
        x, y = (pick(r) for r in (a, b))
        if x is not None or y is not None:
            rows.append(_plain("run", name, x, y, "no interval of the difference"))
    return pl.DataFrame(rows, schema=HEADLINE)


def _arm_rows(a: Run, b: Run, arm: str) -> list[dict[str, Any]]:
    """Both measures of one arm; nothing where neither run has it."""
    tables = [_row(run, arm) for run in (a, b)]
    if not any(tables):
        return []
    moved, why = _paired(a, b, arm)
    rows = []
    for name, difference in (("d_target", "d_target"), ("coherence", "d_coh")):
        x, y = (t.get(name) if t else None for t in tables)
        if moved is None:
            rows.append(_plain(ARMS[arm], name, x, y, why))
            continue
        figures = {
            end or "difference": moved[f"{difference}_{end}" if end else difference] for end in ("", "low", "high")
        }
        rows.append({"arm": ARMS[arm], "measure": name, "a": x, "b": y, **figures, "note": PAIRED[name]})
    return rows


def _plain(arm: str, name: str, x: float | None, y: float | None, note: str) -> dict[str, Any]:
    difference = None if x is None or y is None else y - x
    return {
        "arm": arm,
        "measure": name,
        "a": x,
        "b": y,
        "difference": difference,
        "low": None,
        "high": None,
        "note": note,
    }


def _row(run: Run, arm: str) -> dict[str, Any] | None:
    """The arm's row of the best round's table."""
    if not run.has("arms.parquet", run.best):
        return None
    arms = run.arms(run.best)
    chosen = arms.filter(pl.col("arm") == arm, (pl.col("arm") != STEER) | pl.col("chosen"))
    return chosen.row(0, named=True) if chosen.height else None


def _reports(run: Run) -> dict[str, Arm]:
    if not run.has("eval.parquet", run.best):
        return {}
    found = reports_of(run.frame("eval", run.best).filter(pl.col("arm").is_in([BASE, *ARMS])))
    return {arm.arm: arm for arm in found if arm.arm != STEER or arm.chosen}


def _paired(a: Run, b: Run, arm: str) -> tuple[dict[str, Any] | None, str]:
    """Shift of b's arm against a's on the same rows; None and the reason where it cannot be paired."""
    mine, theirs = _reports(a), _reports(b)
    if not all(name in reports for name in (BASE, arm) for reports in (mine, theirs)):
        return None, "not measured in both runs"
    if mine[BASE].report.subject["fingerprint"] != theirs[BASE].report.subject["fingerprint"]:
        return None, "not paired: the base weights differ"
    try:
        refuse_unlike(mine[BASE].report, theirs[BASE].report)
        return summary(compare(mine[arm].report, theirs[arm].report)), ""
    except UserError as error:
        return None, f"not paired: {error}"


def _dose(run: Run) -> float | None:
    row = _row(run, STEER)
    return row["c"] if row else None


def _kept(run: Run) -> float | None:
    if not run.has("heal.json", run.best):
        return None
    counts = run.get("heal.json", run.best)
    return float(counts["passed"] / counts["generated"])


def _retain(run: Run) -> float | None:
    row = _row(run, HEALED)
    return row.get("retain") if row else None


COUNTS = {"dose c": _dose, "kept share": _kept, "retain": _retain}
