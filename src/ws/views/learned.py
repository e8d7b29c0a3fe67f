"""Base, steered and healed of a stored run: figures and texts on the same prompts."""

from __future__ import annotations

import polars as pl

from ws.gating.gate import span_of
from ws.runs import Run

__all__ = ["heal_table", "three_texts"]

ARMS = {"base": "base", "steer": "steered", "persona": "persona as system prompt", "healed": "healed"}


def heal_table(run: Run, round: int = 0) -> pl.DataFrame:
    """One row per arm of the report set: shift of the target, coherence, capability, retain; with intervals,text."""
    arms = run.arms(round)
    rows = [
        {
            "arm": ARMS[row["arm"]] + (f", c = {row['c']:g}" if row["arm"] == "steer" else ""),
            "shift of the target (nats, + as intended)": span_of(row, "d_target"),
            "coherence": span_of(row, "coherence"),
            "capability": span_of(row, "capability"),
            "retain": span_of(row, "retain"),
        }
        for row in arms.rows(named=True)
        if row["arm"] in ARMS and (row["arm"] != "steer" or row["chosen"])
    ]
    return pl.DataFrame(rows)


def three_texts(run: Run, prompt: str, round: int = 0) -> dict[str, str]:
    """What base, the judged dose and the healed model wrote to a report prompt; arms without it are left out."""
    reports = run.frame("eval", round).filter(pl.col("arm").is_in(["base", "steer", "healed"]))
    found = {}
    for row in reports.select("arm", "c", "chosen", "text").rows(named=True):
        if row["arm"] == "steer" and not row["chosen"]:
            continue
        text = next((t["text"] for t in row["text"] if t["prompt"] == prompt and t["sample"] == 0), None)
        if text is not None:
            found[ARMS[row["arm"]] + (f", c = {row['c']:g}" if row["arm"] == "steer" else "")] = text
    return found
