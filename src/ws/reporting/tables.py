"""Frames as notebooks show them: words for heads, numbers with their intervals in one cell."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import polars as pl

from ws.gating import Gate
from ws.gating.arm_table import BASE
from ws.intervals import interval_of, with_interval
from ws.reporting.visible import visible

if TYPE_CHECKING:
    from ws.runs.reader import Run

__all__ = ["arms_shown", "diary_table", "equal_shown", "rounds_table", "sweep_shown", "verdict_text", "verdicts_table",
           "visible_frame", "who"]  # fmt: skip


def who(row: dict[str, Any]) -> str:
    """A step of a run (a row with kind, round, c) in words."""
    dose = f", c {row['c']:+.3g}" if row["c"] is not None else ""
    return str(row["kind"]) if row["kind"] == BASE else f"{row['kind']}, round {row['round']}{dose}"


def sweep_shown(table: pl.DataFrame) -> pl.DataFrame:
    """ws.runs.sweeps.sweep_table as a notebook shows it: means over seeds, their spread beside them."""

    def figure(row: dict[str, Any], name: str) -> str:
        spread = row[f"{name}_sd"]
        return with_interval(row[name], None, None) + ("" if spread is None else f" +- {spread:.2f}")

    rows = [
        {
            "arm": row["arm"],
            "state": row["state"],
            "seeds": row["seeds"],
            "healed (nat)": figure(row, "d_target"),
            "retain": figure(row, "retain"),
            "coherence": figure(row, "coherence"),
            "verdict": row["verdict"] or row["said"] or "",
            "stages": "" if row["computed"] is None else f"{row['computed']} computed, {row['taken']} taken",
        }
        for row in table.rows(named=True)
    ]
    return visible_frame(pl.DataFrame(rows))


def verdict_text(gate: Gate) -> str:
    """A verdict in four lines of plain text."""
    also = f"\nalso: {', '.join(gate.also)}" if gate.also else ""
    but = f"\nbut: {'; '.join(gate.caveats)}" if gate.caveats else ""
    note = f"\nresearcher: {gate.note}" if gate.note else ""
    head = f"Gate {gate.gate} {gate.name}: {gate.outcome} ({gate.colour})"
    return visible(f"{head}\n{gate.evidence}{also}{but}\nnext: {gate.next}{note}")


def rounds_table(rounds: pl.DataFrame, unit: str) -> pl.DataFrame:
    """ws.runs.round_tables.rounds_frame with each interval beside its number. unit: of the shifts (`Trait.unit`)."""
    rows = [
        {
            "round": row["round"],
            "dose c": with_interval(row["c"], None, None),
            "kept": f"{row['kept']} ({with_interval(row['survival'], None, None)} passed)",
            "steered coherence": with_interval(row["coherence_steered"], None, None),
            f"healed ({unit})": interval_of(row, "d_target"),
            "healed coherence": interval_of(row, "coherence"),
            "cosine to round 0": with_interval(row["cos_v0"], None, None, 3),
            "KL to base": with_interval(row["kl_base"], None, None),
            "to the round before": with_interval(row["kl_prev"], None, None),
        }
        for row in rounds.rows(named=True)
    ]
    return pl.DataFrame(rows)


def diary_table(texts: pl.DataFrame) -> pl.DataFrame:
    """ws.runs.round_tables.diary_frame as model, prompt (where there are several), tail_ppl, readable, text."""
    several = texts["prompt_id"].n_unique() > 1
    rows = [
        {"model": who(row)} | ({"prompt": row["prompt"]} if several else {})
        | {"tail_ppl": with_interval(row["tail_ppl"], None, None, 1), "readable": row["readable"], "text": row["text"]}
        for row in texts.rows(named=True)
    ]  # fmt: skip
    return visible_frame(pl.DataFrame(rows))


MEASURED = {"shift": "d_target", "coherence": "coherence", "retain": "retain"}


def _spread(row: dict[str, Any], name: str) -> str:
    """A mean with its interval, and its spread over seeds where there are several."""
    sd = row[f"{name}_sd"]
    return interval_of(row, name) + ("" if sd is None else f", sd {sd:.3f}")


def arms_shown(arms: pl.DataFrame) -> pl.DataFrame:
    """ws.reporting.leaderboard.arms_table: one line per arm, `#` its row."""
    rows = [
        {
            "#": i, "arm": row["label"], "seeds": row["seeds"],
            **{title: _spread(row, name) for title, name in MEASURED.items()}, "note": row["note"],
        }
        for i, row in enumerate(arms.rows(named=True))
    ]  # fmt: skip
    return visible_frame(pl.DataFrame(rows))


def equal_shown(found: pl.DataFrame) -> pl.DataFrame:
    """ws.reporting.leaderboard.equal_shift: one line per family."""
    rows = [
        {
            "rank": "-" if row["rank"] is None else str(row["rank"]), "family": row["label"],
            "coherence": _spread(row, "coherence"), "seeds": row["seeds"],
            "measured": f"{row['from']:.2f} to {row['to']:.2f}", "note": row["note"],
        }
        for row in found.rows(named=True)
    ]  # fmt: skip
    return visible_frame(pl.DataFrame(rows))


def verdicts_table(run: Run) -> pl.DataFrame:
    """The verdicts of a run's best round, with the researcher's notes."""
    rows = [
        {
            "gate": f"{g.gate} {g.name}", "colour": g.colour, "outcome": g.outcome,
            "value": with_interval(g.value, g.low, g.high),
            "evidence": g.evidence, "next": g.next, "note": g.note,
        }
        for g in run.gates(run.best)
    ]  # fmt: skip
    return visible_frame(pl.DataFrame(rows))


def visible_frame(frame: pl.DataFrame) -> pl.DataFrame:
    """A table to be shown, each of its texts as `visible` gives it."""
    return frame.with_columns(pl.col(pl.String).map_elements(visible, return_dtype=pl.String))
