"""TODO."""

from __future__ import annotations

from typing import Any

import polars as pl

from ws.gating import Trait
from ws.gating.foundations import FOUNDATIONS
from ws.gating.schemas import DRIFT, ROUNDS, arms_frame

TRAIT = Trait("Authority", {"Authority": -1, "Care": 1})


def arm(
    name: str, c: float = 0.0, shift: float = 0.0, half: float = 0.1, coherence: float = 0.98, **more: Any
) -> dict[str, Any]:
    """An arm whose target moved by `shift` as intended: Authority falls, Care rises half as much, the rest stays."""
    moved = {"Authority": -shift, "Care": shift / 2}
    row: dict[str, Any] = {
        "arm": name, "split": "report", "c": c, "chosen": name == "steer", "identity": "same", "stale": False,
        "think": "0",
        "d_target": shift, "d_target_low": shift - half, "d_target_high": shift + half, "d_diag": shift,
        "profile_target": 0.5, "order_gap": 0.02, "nonfinite": 0, "n_items": 100, "n_text": 200,
        "p_ans_any": 0.99, "p_ans_free": 0.9, "coh_text": coherence * 0.98,
        "coherence": coherence, "coherence_low": coherence - 0.02, "coherence_high": min(1.0, coherence + 0.02),
        "capability": 0.95, "capability_low": 0.92, "capability_high": 0.98, "tail_ppl": 3.0, "rep": 0.05, "kl": 0.1,
    }  # fmt: skip
    for f in FOUNDATIONS:
        d = moved.get(f, 0.0)
        row |= {f"d_{f}": d, f"d_{f}_low": d - half, f"d_{f}_high": d + half}
    return row | more


def steer(**changes: Any) -> list[dict[str, Any]]:
    """The report arms of a good knee; `changes` go to the chosen dose."""
    return [
        arm("base"),
        arm("steer", 1.0, **({"shift": 1.2} | changes)),
        arm("steer", -1.0, shift=-1.0, chosen=False),
        arm("persona", shift=0.8),
        *[arm("random", 1.0, shift=0.1 * (-1) ** k, draw=k) for k in range(8)],
    ]


def grid(*points: tuple[float, float, float]) -> pl.DataFrame:
    """Dose grid from (c, shift, coherence)."""
    points = points or ((0.5, 0.6, 0.98), (1.0, 1.2, 0.97), (2.0, 2.5, 0.6))
    rows = [arm("base", split="select")] + [
        arm("steer", c, s, coherence=k, split="select", chosen=False) for c, s, k in points
    ]
    return arms_frame([row | {"n_text": 5000} for row in rows])


def swap(arms: list[dict[str, Any]], name: str, **changes: Any) -> list[dict[str, Any]]:
    return [row | changes if row["arm"] == name and row["c"] >= 0 else row for row in arms]


def texts(kept: dict[float, int], n: int = 40, **columns: Any) -> pl.DataFrame:
    """`n` completions per dose of which kept[c] survive; the dropped fell for their tail. c > 0 is data."""
    rows = []
    for c, k in kept.items():
        for i in range(n):
            good = i < k
            rows.append({
                "split": "train" if 0 < c <= 1 else "select", "c": c, "text": f"reply {c} {i}", "n_tokens": 30,
                "tail_ppl": 3.0 + c if good else 80.0, "rep": 0.05, "distinct3": 0.95, "bite": 0.2 * c,
                "narrates": False, "refuses": False, "finished": True, "dropped": None if good else "tail_ppl",
            })  # fmt: skip
    frame = pl.DataFrame(rows, schema_overrides={"dropped": pl.String})
    return frame.with_columns(**columns) if columns else frame


FALLING = {0.0: 40, 0.5: 40, 1.0: 36, 2.0: 8}


def heal(**changes: Any) -> list[dict[str, Any]]:
    """base, a damaged steered arm, a healed arm (`changes` go to it), and its controls, which it beats: without the
    barrier as much trait at less coherence, on unsteered text no trait, under a prompt less of it."""
    interval = {"retain_low": 0.6, "retain_high": 0.9}
    healed = {"shift": 0.9, "coherence": 0.98, "retain": 0.75} | interval | changes
    lesser = round(healed.get("coherence", 0.98) - 0.08, 6)
    return [
        arm("base", coherence=0.99), arm("steer", 1.0, 1.2, coherence=0.95), arm("healed", chosen=None, **healed),
        arm("sft", chosen=None, shift=healed["shift"], coherence=lesser, retain=healed["retain"], **interval),
        arm("sft_base", chosen=None, shift=0.05, retain=0.05, retain_low=0.0, retain_high=0.1),
        arm("persona", chosen=None, shift=0.1),
    ]  # fmt: skip


def curve(n: int = 40, **changes: Any) -> pl.DataFrame:
    """A training curve that learns: nll 2 -> 1, validation follows, the barrier works now and then."""
    down = [2.0 - i / n for i in range(n)]
    columns: dict[str, Any] = {
        "step": range(n), "nll": down, "val_nll": [v if i % 8 == 0 else None for i, v in enumerate(down)],
        "D": [0.3] * n, "pressure": [0.4] * n, "active": [0.5] * n, "update_norm": [0.1 * (i + 1) for i in range(n)],
    }  # fmt: skip
    return pl.DataFrame(columns | changes)


def bet(**changes: Any) -> pl.DataFrame:
    """Drift as the bet has it: the barrier pushes dropped text, what is orthogonal goes and what is along stays."""
    values = {
        ("barrier_mass", "dropped", "before"): 0.8, ("tokens", "dropped", "before"): 0.3,
        ("left", "along", "after/before"): 0.8, ("left", "orthogonal", "after/before"): 0.4,
        ("left", "gap", "after/before"): 0.4,
    }  # fmt: skip
    names = {"mass": ("barrier_mass", "dropped", "before"), "tokens": ("tokens", "dropped", "before"),
             "gap": ("left", "gap", "after/before")}  # fmt: skip
    values |= {names[name]: value for name, value in changes.items()}
    return pl.DataFrame([(*key, v, v - 0.1, v + 0.1, 50) for key, v in values.items()], schema=DRIFT, orient="row")


def loop(*rounds: dict[str, Any]) -> pl.DataFrame:
    """Rounds of a loop that accumulates, 0.6 nat a round; each may change its own columns."""
    rows = []
    for i, changes in enumerate(rounds):
        d = changes.get("d_target", 0.6 * (i + 1))
        coherence = changes.get("coherence", 0.985)
        rows.append({
            "round": i, "d_target": d, "d_target_low": d - 0.1, "d_target_high": d + 0.1, "coherence": coherence,
            "coherence_low": coherence - 0.02, "coherence_high": coherence + 0.01, "nonfinite": 0,
            "coherence_base": 0.99, "coherence_steered": 0.96, "surgical": True, "c": 1.0, "cos_v0": 0.9 - 0.1 * i,
            "kl_base": 0.2 * (i + 1), "kl_prev": 0.2, "reference": "prev", "kept": 48, "survival": 0.8,
        } | changes)  # fmt: skip
    return pl.DataFrame(rows, schema=ROUNDS)
