"""The leaderboard: arms over runs, which recipe buys more of the trait for less coherence. From stored files only.

    runs, skipped = finished_runs(Path("out"))
    points = points_frame(runs)         # one row per run, round, kind of arm, beta and seed
    arms = arms_table(points)           # mean and spread over seeds
    equal_shift(arms, at=1.0)           # coherence where every family moved the target by 1 nat

Two rows belong to one arm when everything but the seed agrees, the round too; to one family when everything but seed
and beta does. They are compared at all only within one instrument (items, axis, weights).
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from typing import Any

import polars as pl

from ws.errors import UserError
from ws.files import digest
from ws.gating import Gate
from ws.gating.arm_table import HEALED, HEALED_SEED, STEER, seed_arms, short_words, trained_arms
from ws.gating.thresholds import DEFAULTS
from ws.healing.divergences import holds
from ws.runs.config import RunConfig, flat, to_dict
from ws.runs.heal_variants import variant_gate, variants_of
from ws.runs.reader import Run

__all__ = [
    "MIN_SEEDS",
    "POINTS",
    "arms_table",
    "common_shift",
    "equal_shift",
    "instruments",
    "points_frame",
]

MIN_SEEDS = DEFAULTS.ranked  # fewer than this are shown and not ranked
ENDS = ("", "_low", "_high")
POINTS: dict[str, pl.DataType | type[pl.DataType]] = {
    "run": pl.String, "time": pl.String, "axis": pl.String, "model": pl.String, "instrument": pl.String,
    "arm": pl.String, "family": pl.String, "kind": pl.String, "method": pl.String, "adapter": pl.String,
    "barrier": pl.String, "beta": pl.Float64, "seed": pl.String, "round": pl.Int32, "settings": pl.String,
    **{f"{name}{end}": pl.Float64 for name in ("d_target", "coherence", "retain") for end in ENDS},
    "capability": pl.Float64, "verdict": pl.String, "label": pl.String,
}  # fmt: skip
MEASURES = ("d_target", "coherence", "retain")
SHOWN = ("instrument", "arm", "family", "kind", "method", "adapter", "barrier", "beta", "label")


def points_frame(runs: Sequence[Run]) -> pl.DataFrame:
    """One row (columns POINTS) per run, round, kind of arm, beta and seed. A round is part of what makes an arm: round
    0 of a long run stands beside runs of one round. The same seed of the same arm counts once: its newest run."""
    rows = [row for run in runs for n in range(run.rounds) if run.has("arms.parquet", n) for row in _rows(run, n)]
    points = pl.DataFrame(rows, schema=POINTS)
    newest = points.sort("time", maintain_order=True).unique(
        ["instrument", "arm", "seed"], keep="last", maintain_order=True
    )
    order = ("kind", "round", "barrier", "beta", "arm", "seed")
    return _labelled(newest.sort(*order, maintain_order=True))


def _rows(run: Run, number: int) -> list[dict[str, Any]]:
    """The round's own arms, and its heal at every other beta that was trained beside it."""
    arms, heal = run.arms(number), _heal(run, number)
    judged = pl.col("chosen") & (pl.col("arm") == STEER)
    gates = {gate.gate: gate for gate in run.gates(number)}
    repeats = iter(run.config.seeds[1:])
    rows = []
    for arm in arms.filter(judged | pl.col("arm").is_in([k for k in short_words() if k != STEER])).rows(named=True):
        seed = next(repeats) if arm["arm"] == HEALED_SEED else run.config.seeds[0]
        gate = gates.get(1) if arm["arm"] == STEER else gates.get(3) if arm["arm"] in seed_arms() else None
        rows.append(_row(run, number, arm, heal, seed, gate))
    for variant in variants_of(run, number, own=False):
        facts, gate = heal | {"beta": variant.settings.beta}, variant_gate(run, variant, number)
        rows.append(_row(run, number, variant.arm.row(0, named=True), facts, run.config.seeds[0], gate))
    return rows


def _row(
    run: Run, number: int, arm: dict[str, Any], heal: dict[str, Any], seed: int, gate: Gate | None
) -> dict[str, Any]:
    kind, config, env = short_words()[arm["arm"]], run.config, run.env
    made = _recipe(heal, kind)
    settings = _settings(config, heal, kind)
    place = {"fingerprint": env.get("fingerprint"), "axis": env.get("axis"), "rows": arm["identity"]}
    place |= {name: env[name] for name in ("sampling",) if name in env}  # where texts were not drawn as the model does
    family = [kind, number, settings, place]
    return {
        "run": run.path.name,
        "time": str(run.status.get("started", "")),
        "axis": run.axis["name"],
        "model": config.model,
        "instrument": digest(place, 8),
        "family": digest(family, 8),
        "arm": digest([family, made["beta"]], 8),
        "kind": kind,
        "method": config.method,
        **made,
        "seed": str(seed) if not config.heal.seed else f"{seed}+{config.heal.seed}",
        "round": number,
        "settings": json.dumps(settings, sort_keys=True),
        **{f"{name}{end}": arm.get(f"{name}{end}") for name in MEASURES for end in ENDS},
        "capability": arm["capability"],
        "verdict": f"{gate.outcome} ({gate.colour})" if gate else None,
    }


def _recipe(heal: dict[str, Any], kind: str) -> dict[str, Any]:
    """Adapter, barrier and beta of an arm in words; dashes where nothing was trained."""
    if not _is_trained(kind):
        return {"adapter": "-", "barrier": "-", "beta": None}
    beta, rank = heal["beta"], heal["rank"]
    held = kind == HEALED and holds(heal["barrier"]) and bool(beta)
    barrier = f"{heal['barrier']} {heal['aggregate']}, tau {_short(heal['tau'])}, to {heal['reference']}"
    decay = [f"{name} {_short(heal[name])}" for name in ("weight_decay", "l2", "spectral") if heal.get(name)]
    decay += [] if heal.get("objective", "nll") == "nll" else [str(heal["objective"])]
    return {
        "adapter": heal["adapter"] + (f" r{rank}" if rank else ""),
        "barrier": ", ".join([barrier if held else "none", *decay]),
        "beta": float(beta or 0.0) if held else 0.0,
    }


def _is_trained(kind: str) -> bool:
    """Whether the arms of this kind have the round's training in their weights."""
    words = short_words()
    return any(words.get(arm) == kind for arm in trained_arms())


def _heal(run: Run, number: int) -> dict[str, Any]:
    """The heal's settings with the model's recipe filled in, as it was trained; as configured where it was not."""
    asked: dict[str, Any] = to_dict(run.config.heal)
    trained = run.get("heal.json", number)["meta"]["config"] if run.has("heal.json", number) else {}
    return asked | trained


def _short(value: Any) -> str:
    return "-" if value is None else f"{value:g}"


def _settings(config: RunConfig, heal: dict[str, Any], kind: str) -> dict[str, Any]:
    """The configuration that makes an arm: without seeds and beta, which are columns, and what cannot matter to it."""
    found = flat(to_dict(config) | {"heal": heal})
    for name in ("seeds", "rounds", "heal.seed", "heal.beta", "threads", "device", "axis", "model"):
        found.pop(name, None)
    idle: tuple[str, ...] = ("controls.",) if kind == HEALED else ("controls.", "heal.barrier")
    idle = idle if _is_trained(kind) else ("heal.", "data.", "controls.")
    return {name: value for name, value in found.items() if not name.startswith(idle)}


def _labelled(points: pl.DataFrame) -> pl.DataFrame:
    """`label`: what an arm is, in words, with every other setting in which the arms of its kind differ."""
    labels: dict[str, str] = {}
    several = points["round"].n_unique() > 1
    for (kind,), part in points.group_by("kind", maintain_order=True):
        settings = {arm: json.loads(text) for arm, text in part.select("arm", "settings").iter_rows()}
        names = sorted({name for each in settings.values() for name in each})
        differ = [n for n in names if len({json.dumps(each.get(n)) for each in settings.values()}) > 1]
        for row in part.unique("arm", keep="first", maintain_order=True).rows(named=True):
            parts = [kind, *([f"round {row['round']}"] if several else []), row["method"]]
            parts += [] if not _is_trained(kind) else [row["adapter"], row["barrier"], f"beta {_short(row['beta'])}"]
            parts += [f"{n} {settings[row['arm']].get(n)}" for n in differ if n != "method"]
            labels[row["arm"]] = " · ".join(str(p) for p in parts)
    return points.with_columns(label=pl.col("arm").replace_strict(labels, return_dtype=pl.String, default=None))


def instruments(points: pl.DataFrame) -> dict[str, str]:
    """What a reader calls each instrument -> its id; the one with most runs first."""
    sizes = points.group_by("instrument", "axis", "model", maintain_order=True).agg(runs=pl.col("run").n_unique())
    named = sizes.sort("runs", descending=True, maintain_order=True).rows(named=True)
    return {
        f"{r['axis']} on {r['model']}: {r['runs']} run(s), instrument {r['instrument']}": r["instrument"] for r in named
    }


def arms_table(points: pl.DataFrame) -> pl.DataFrame:
    """One row per instrument and arm: seeds, and of each measure the mean, the spread (`_sd`, null for one seed) and
    the mean ends of the seeds' own intervals; runs; a note where seeds are too few to rank."""
    found = points.group_by("instrument", "arm", maintain_order=True).agg(
        *(pl.col(name).first() for name in SHOWN[2:]),
        pl.col("seed").n_unique().alias("seeds"),
        *(pl.col(f"{m}{end}").mean() for m in MEASURES for end in ENDS),
        *(pl.when(pl.len() > 1).then(pl.col(m).std()).alias(f"{m}_sd") for m in MEASURES),
        pl.col("run").unique(maintain_order=True).alias("runs"),
    )
    few = pl.col("seeds") < MIN_SEEDS
    said = pl.format("{} of {} seeds: not ranked", "seeds", pl.lit(MIN_SEEDS))
    return found.with_columns(note=pl.when(few).then(said).otherwise(pl.lit("")))


def common_shift(arms: pl.DataFrame) -> float | None:
    """A shift (nats) that every family with a range has measured, the middle of it; None where there is none."""
    reached = [part["d_target"].to_list() for part in _families(arms) if part.height > 1]
    if not reached:
        return None
    low, high = max(shifts[0] for shifts in reached), min(shifts[-1] for shifts in reached)
    return (low + high) / 2 if low <= high else None


def _families(arms: pl.DataFrame) -> list[pl.DataFrame]:
    """The arms of each family that have both figures, by rising shift."""
    whole = arms.drop_nulls(["d_target", "coherence"]).sort("d_target", maintain_order=True)
    return [part for _, part in whole.group_by("family", maintain_order=True)]


EQUAL: dict[str, pl.DataType | type[pl.DataType]] = {
    "family": pl.String, "label": pl.String, "from": pl.Float64, "to": pl.Float64, "points": pl.Int32,
    "seeds": pl.Int32, "coherence": pl.Float64, "coherence_low": pl.Float64, "coherence_high": pl.Float64,
    "coherence_sd": pl.Float64, "rank": pl.Int32, "note": pl.String,
}  # fmt: skip


def equal_shift(arms: pl.DataFrame, at: float) -> pl.DataFrame:
    """Coherence of every family where it moved the target by `at` nats, columns EQUAL, best first.

    Linear between the two neighbouring betas, never beyond the measured range. Ranked only where every beta that the
    figure rests on has three seeds. UserError for a shift that is not finite, or arms of several instruments.
    """
    if not math.isfinite(at):
        raise UserError(f"The shift to compare at must be a number of nats (got {at}).")
    if arms["instrument"].n_unique() > 1:
        raise UserError("These arms were read by different instruments (items, axis or weights): choose one of them.")
    rows = [_at(part, at) for part in _families(arms)]
    measured = sorted((r for r in rows if r["coherence"] is not None), key=lambda r: -r["coherence"])
    _rank([row for row in measured if row["seeds"] >= MIN_SEEDS])
    return pl.DataFrame([*measured, *(r for r in rows if r["coherence"] is None)], schema=EQUAL)


def _at(part: pl.DataFrame, at: float) -> dict[str, Any]:
    """One family at one shift; no figure outside of what was measured."""
    shifts = part["d_target"].to_list()
    named = part.sort("beta")["label"][-1].rsplit(" · beta", 1)[0]  # at beta 0 there is no barrier to name
    row: dict[str, Any] = dict.fromkeys(EQUAL) | {
        "family": part["family"][0], "label": named, "points": part.height,
        "from": shifts[0], "to": shifts[-1], "seeds": min(part["seeds"].to_list()),
    }  # fmt: skip
    if not shifts[0] <= at <= shifts[-1]:
        reach = f"{shifts[0]:.2f} to {shifts[-1]:.2f} nat" if part.height > 1 else f"one point at {shifts[0]:.2f} nat"
        return row | {"note": f"outside the measured range ({reach})"}
    right = next(i for i, shift in enumerate(shifts) if shift >= at)
    left = right if shifts[right] == at else right - 1
    pair = part.slice(left, right - left + 1)
    weight = 0.0 if left == right else (at - shifts[left]) / (shifts[right] - shifts[left])
    columns = ("coherence", "coherence_low", "coherence_high", "coherence_sd")
    found = {name: _between(pair[name].to_list(), weight) for name in columns}
    seeds = min(pair["seeds"].to_list())
    note = "" if seeds >= MIN_SEEDS else f"{seeds} of {MIN_SEEDS} seeds: not ranked"
    return row | found | {"seeds": seeds, "note": note}


def _between(ends: list[float | None], weight: float) -> float | None:
    """Linear between the two ends; None where either is missing."""
    if any(end is None for end in ends):
        return None
    first, last = float(ends[0] or 0.0), float(ends[-1] or 0.0)
    return first + weight * (last - first)


def _rank(rows: list[dict[str, Any]]) -> None:
    """Number the rows, best first, and say where the seeds spread more than two neighbours differ."""
    for i, row in enumerate(rows):
        row["rank"] = i + 1
        if i and rows[i - 1]["coherence"] - row["coherence"] < max(row["coherence_sd"], rows[i - 1]["coherence_sd"]):
            row["note"] = f"not told apart from rank {i}: the seeds spread more than the two differ"
