"""TODO."""

from __future__ import annotations

from typing import Any

import numpy as np
import polars as pl
import torch

from ws.axes.axis_file import Question
from ws.evaluation.items import ItemSet, load_items
from ws.gating.foundations import FOUNDATIONS
from ws.models.lm import LM
from ws.steering.direction import Direction

LONG = " who has done it before, and will do it again"


def items(n: int = 1) -> ItemSet:
    """n items per foundation, of different lengths."""
    return load_items(
        {"id": f"{f}-{i}", "foundation": f, "other_violate": f"You see {f} go{LONG * i}.", "self_violate": "You do."}
        for i in range(n)
        for f in FOUNDATIONS
    )  # fmt: skip


def direction(lm: LM, size: float = 1.0) -> Direction:
    dice = torch.Generator().manual_seed(3)
    return Direction({k: size * torch.randn(lm.d_model, generator=dice) for k in (1, 2)}, "mean_diff", lm.fingerprint)


def scores(frame: pl.DataFrame) -> np.ndarray[Any, Any]:
    return frame.select(f"score_{f}" for f in FOUNDATIONS).to_numpy()


QUESTIONS = (
    Question("Would you stay?", "Yes, I would stay with him.", "No.", 1),
    Question("Would you obey the very old rule of the house?", "Yes, as told.", "No, I would go home at once.", -1),
)
