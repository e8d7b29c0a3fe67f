"""Reports of one treatment under several dice as one."""

from __future__ import annotations

import polars as pl

from tests.builders.small_runs import ending_lm, write_axis, write_items
from ws.axes.axis import load_axis
from ws.evaluation.evaluator import evaluate
from ws.evaluation.pooling import pooled


def test_the_texts_add_up_and_the_vignettes_stay(tmp_path: object) -> None:
    lm, axis = ending_lm(), load_axis(write_axis(tmp_path))  # type: ignore[arg-type]
    how = {"items": write_items(tmp_path), "split": "select", "texts": 8}  # type: ignore[arg-type]
    first, second = (evaluate(lm, axis, seed=seed, capability=False, **how) for seed in (0, 5))
    both = pooled([first, second])
    assert both.text.height == first.text.height + second.text.height
    assert both.text.select("prompt_id", "sample").is_unique().all()
    assert both.identity == first.identity and both.rows.equals(first.rows)
    read = pl.concat([first.text["readable"], second.text["readable"]])
    assert both.coh_text == read.cast(pl.Float64).mean()
