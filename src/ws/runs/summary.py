"""A run in a few numbers: the object that `ws run --json` prints, and its line in the ledger."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import polars as pl

from ws.gating import Gate, Thresholds
from ws.gating.arm_table import BASE, HEALED, STEER
from ws.intervals import as_float, finite_or_none
from ws.runs.verdicts import judge_rounds

if TYPE_CHECKING:
    from ws.runs.reader import Run

__all__ = ["best_round", "gates_of", "ledger_row", "seconds_of", "summarise"]

SHIFT = {"d_target": "d_target", "low": "d_target_low", "high": "d_target_high"}


def summarise(run: Run) -> dict[str, Any]:
    """What `ws run --json` prints: every round, and the best round's steer, filter, heal and gates again outside."""
    rounds = [_round(run, number) for number in range(run.rounds)]
    plain = {
        "run": str(run.path),
        "seconds": round(seconds_of(run), 1),
        "seeds": list(run.config.seeds),
        "rounds": rounds,
    }
    best = rounds[best_round(plain)] if rounds else {}
    return plain | {name: best.get(name, {}) for name in ("steer", "filter", "heal")} | {"gates": best.get("gates", [])}


def seconds_of(run: Run) -> float:
    """Seconds over all stages; 0 for stages that were taken from another run."""
    return sum(float(stage["seconds"]) for stage in run.status["stages"].values())


def gates_of(run: Run) -> list[Gate]:
    """The best round's gates; gate 4 over all rounds, with the note that belongs to it."""
    gates = [gate for gate in run.gates(run.best) if gate.gate != 4]
    return gates + [gate.with_note(run.notes(run.best).get("4", "")) for gate in judge_rounds(run)]


def best_round(summary: dict[str, Any]) -> int:
    """The coherent round whose healed model moved furthest; without one, the most coherent round."""

    def rank(entry: dict[str, Any]) -> tuple[bool, float]:
        heal = entry["heal"]
        coherence, moved = _number(heal.get("coherence")), _number(heal.get("d_target"))
        return (True, moved) if coherence >= Thresholds().coherent else (False, coherence)

    entries = summary["rounds"]
    return max(range(len(entries)), key=lambda i: rank(entries[i])) if entries else 0


def _number(value: float | None) -> float:
    return -math.inf if value is None else value


def _round(run: Run, number: int) -> dict[str, Any]:
    arms = run.arms(number)
    steer = arms.filter(pl.col("arm") == STEER, pl.col("chosen"))
    healed = arms.filter(pl.col("arm") == HEALED)
    counts = run.get("heal.json", number) if run.has("heal.json", number) else {}
    gates = [
        {name: getattr(gate, name) for name in ("gate", "name", "outcome", "also", "colour", "value", "low", "high")}
        for gate in run.gates(number)
    ]
    return {
        "round": number,
        "steer": _steer(steer.row(0, named=True)) if steer.height else {},
        "filter": {name: counts.get(name) for name in ("generated", "passed", "kept")},
        "heal": _heal(healed.row(0, named=True), arms, counts) if healed.height else {},
        "gates": gates,
    }


def _steer(row: dict[str, Any]) -> dict[str, Any]:
    figures = {"c": "c"} | SHIFT | {name: name for name in ("coherence", "p_ans_any", "coh_text")}
    return {name: finite_or_none(as_float(row[column])) for name, column in figures.items()}


def _heal(row: dict[str, Any], arms: pl.DataFrame, counts: dict[str, Any]) -> dict[str, Any]:
    base = arms.filter(pl.col("arm") == BASE)["coherence"][0]
    names = {"d_target": "d_target", "low": "d_target_low", "high": "d_target_high", "retain": "retain"}
    figures = {name: finite_or_none(as_float(row[column])) for name, column in names.items()}
    d_coh = finite_or_none(as_float(row["coherence"]) - as_float(base))
    return (
        {"beta": counts.get("beta")}
        | figures
        | {"d_coh": d_coh, "coherence": finite_or_none(as_float(row["coherence"]))}
    )


def ledger_row(run: Run, summary: dict[str, Any]) -> dict[str, Any]:
    """The run's line in out/results.tsv."""
    config, env, steer, heal = run.config, run.env, summary["steer"], summary["heal"]
    best = best_round(summary)
    trained = run.get("heal.json", best)["meta"]["config"] if run.has("heal.json", best) else {}
    judged = run.arms(best).filter(pl.col("arm") == STEER, pl.col("chosen"))
    return {
        "time": run.status.get("updated"),
        "run": str(run.path),
        "axis": config.axis,
        "model": config.model,
        "method": config.method,
        "seeds": ",".join(map(str, config.seeds)),
        "rounds": len(summary["rounds"]),
        "best_round": best,
        **{k: steer.get(k) for k in ("c", *SHIFT, "coherence", "p_ans_any", "coh_text")},
        "generated": summary["filter"].get("generated"),
        "kept": summary["filter"].get("kept"),
        "beta": heal.get("beta"),
        "healed_d_target": heal.get("d_target"),
        "retain": heal.get("retain"),
        "healed_coherence": heal.get("coherence"),
        "gates": "; ".join(f"{g['gate']} {g['outcome']} ({g['colour']})" for g in summary["gates"]),
        "seconds": summary["seconds"],
        "commit": env.get("commit"),
        "argv": " ".join(env.get("argv", [])),
        **{name: trained.get(name) for name in ("adapter", "barrier", "tau", "aggregate", "reference")},
        "sampling": run.sampling,
        "kl": judged["kl"][0] if judged.height else None,
    }
