"""Hand labels of completions, coherent or not, enacting or narrating: stored with the run, compared with the scores."""

from __future__ import annotations

import threading
from typing import Any

import numpy as np
import polars as pl

from ws.app.access import AppSettings
from ws.app.views.stored_runs import home_of
from ws.errors import UserError
from ws.files import folder_lock, read_sealed_frame, write_sealed_frame
from ws.filtering.limits import KEY, MIN_LABELS
from ws.runs.reader import Run

__all__ = ["ACTS", "COHERENT", "LABELS", "agreement", "label_of", "read_labels", "roc", "save_label",
           "store_label"]  # fmt: skip

LABELS: dict[str, Any] = {
    "prompt_id": pl.String, "c": pl.Float64, "sample": pl.Int32, "seed": pl.Int64,
    "coherent": pl.Boolean, "acts": pl.String,
}  # fmt: skip
COHERENT = {"coherent": True, "not coherent": False}
ACTS = ("enacts", "narrates", "neither")
FILE = "labels.parquet"
_LOCK = threading.Lock()


def read_labels(run: Run) -> pl.DataFrame:
    """The run's labels, one row per labelled completion; no rows where none is stored. UserError for a damaged file."""
    path = run.path / FILE
    if not path.exists():
        return pl.DataFrame(schema=LABELS)
    return read_sealed_frame(path, "Move it aside and label again.").select(list(LABELS))


def label_of(labels: pl.DataFrame, row: dict[str, Any]) -> dict[str, Any]:
    """coherent and acts of a completion; None where it has no such label."""
    found = labels.filter(*(pl.col(name) == row[name] for name in KEY))
    return found.row(0, named=True) if found.height else {"coherent": None, "acts": None}


def save_label(run: Run, row: dict[str, Any], coherent: bool | None = None, acts: str | None = None) -> pl.DataFrame:
    """Store a label of one completion in the run's labels.parquet and return all; None leaves what was there.

    UserError for another word than those of ACTS.
    """
    if acts is not None and acts not in ACTS:
        raise UserError(f"a completion {', '.join(ACTS)}; {acts!r} is none of them.")
    with _LOCK, folder_lock(run.path, wait=True):
        labels = read_labels(run)
        was = label_of(labels, row)
        new = {name: row[name] for name in KEY} | {
            "coherent": was["coherent"] if coherent is None else coherent,
            "acts": was["acts"] if acts is None else acts,
        }
        others = labels.filter(~pl.all_horizontal(pl.col(name) == row[name] for name in KEY))
        labels = pl.concat([others, pl.DataFrame([new], schema=LABELS)])
        write_sealed_frame(run.path / FILE, labels)
    return labels


def store_label(run: Run, access: AppSettings, row: dict[str, Any], **label: Any) -> None:
    """`save_label` in the run's home. UserError where this app does not write."""
    access.check_write("Saving labels")
    save_label(home_of(run, access.out, create=True), row, **label)


def _labelled(frame: pl.DataFrame, labels: pl.DataFrame) -> pl.DataFrame:
    """Completions with a label of coherence, as `good`."""
    known = labels.select(*KEY, good=pl.col("coherent")).drop_nulls()
    return frame.join(known, on=list(KEY), how="inner")


def agreement(frame: pl.DataFrame, labels: pl.DataFrame) -> dict[str, Any]:
    """How the filter in force agrees with the labels: n, coherent, precision and recall of keeping; NaN: undefined."""
    rows = _labelled(frame, labels)
    kept = rows["dropped"].is_null().to_numpy() if rows.height else np.zeros(0, bool)
    good = rows["good"].to_numpy() if rows.height else np.zeros(0, bool)
    hits = int((kept & good).sum())
    return {
        "n": rows.height, "coherent": int(good.sum()),
        "precision": hits / int(kept.sum()) if kept.any() else float("nan"),
        "recall": hits / int(good.sum()) if good.any() else float("nan"),
        "narrates": labels.filter(pl.col("acts") == "narrates").height, "needed": MIN_LABELS,
    }  # fmt: skip


def roc(frame: pl.DataFrame, labels: pl.DataFrame, name: str = "tail_ppl") -> pl.DataFrame:
    """Per threshold on a score: share of incoherent (fpr) and of coherent (tpr) rows kept; empty without both kinds."""
    rows = _labelled(frame, labels)
    good = rows["good"].to_numpy() if rows.height else np.zeros(0, bool)
    if not good.any() or good.all():
        return pl.DataFrame(schema={"threshold": pl.Float64, "fpr": pl.Float64, "tpr": pl.Float64})
    value = rows[name].fill_null(np.inf).fill_nan(np.inf).to_numpy()
    limits = [0.0, *sorted(set(value[np.isfinite(value)])), np.inf]
    kept = [value <= limit for limit in limits]
    return pl.DataFrame(
        {
            "threshold": limits,
            "fpr": [float((k & ~good).sum() / (~good).sum()) for k in kept],
            "tpr": [float((k & good).sum() / good.sum()) for k in kept],
        }
    )
