"""Tasks of lm-eval by name, for real models: an optional outside reading of capability, never mixed with our own.

run_tasks(lm, ["arc_easy"], adapters=[adapter], limit=200)      # needs: pip install -e '.[lm-eval]'
"""

from __future__ import annotations

import importlib.util
from collections.abc import Sequence
from contextlib import ExitStack
from typing import Any

import polars as pl

from ws.errors import UserError
from ws.models.adapters.attaching import attached
from ws.models.lm import LM
from ws.steering.hooks import steered

__all__ = ["TASKS", "run_tasks"]

TASKS: dict[str, Any] = {
    "task": pl.String,
    "metric": pl.String,
    "value": pl.Float64,
    "stderr": pl.Float64,
    "n": pl.Int64,
}
INSTALL = "pip install -e '.[lm-eval]'"


def run_tasks(
    lm: LM,
    tasks: Sequence[str],
    *,
    direction: Any = None,
    c: float = 1.0,
    adapters: Sequence[Any] = (),
    limit: int | None = None,
    batch_size: int = 8,
) -> pl.DataFrame:
    """One row per task and metric, columns TASKS, under the given treatment, steered at every position.

    limit: items per task, None = all. UserError: lm-eval is missing, a task that it does not know, the embedded model.
    """
    if importlib.util.find_spec("lm_eval") is None:
        raise UserError(f"lm-eval is not installed. Install it with: {INSTALL}; or leave its tasks out.")
    if not lm.recipe.outside or not tasks:
        raise UserError(
            f"lm-eval's tasks are for real models, by name (got {list(tasks)} on {lm.name})."
            " The embedded model sits its own exams: evaluate(capability=True)."
        )
    import lm_eval
    from lm_eval.models.huggingface import HFLM

    with ExitStack() as treated:
        treated.enter_context(lm.lock)
        treated.enter_context(attached(lm, adapters))
        if direction is not None:
            treated.enter_context(steered(lm, direction, c, where="all", allow_stale=bool(adapters)))
        model = HFLM(pretrained=lm.model, tokenizer=lm.tok, batch_size=batch_size)
        try:
            found = lm_eval.simple_evaluate(model=model, tasks=list(tasks), limit=limit)
        except (KeyError, ValueError) as error:
            raise UserError(f"lm-eval refuses {list(tasks)}: {error}. `lm-eval ls tasks` lists them.") from error
    return _frame(found)


def _frame(found: dict[str, Any]) -> pl.DataFrame:
    """lm-eval's results ("acc,none" with its "acc_stderr,none") as rows."""
    rows = []
    for task, values in found["results"].items():
        n = found.get("n-samples", {}).get(task, {}).get("effective")
        for key, value in values.items():
            metric, _, how = key.partition(",")
            if isinstance(value, int | float) and how and not metric.endswith("_stderr"):
                error = values.get(f"{metric}_stderr,{how}")
                rows.append((task, metric, value, error if isinstance(error, int | float) else None, n))
    return pl.DataFrame(rows, schema=TASKS, orient="row")
