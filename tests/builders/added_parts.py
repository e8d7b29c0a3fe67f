"""Parts that a reader of docs/architecture.md would add, as the text of their files; and the folder they are put in."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType

import pytest

BREVITY = '''
"""brevity: 1 for the base, 0.5 as soon as anything is done to it."""

import math

import polars as pl

COLUMNS = {"prompt": pl.String, "short": pl.Float64}
FLOORS = ("brevity",)


def asks(request):
    return list(request.axis.probes[:3])


def read(request, asked):
    treated = [bool(c or request.adapters or request.persona) for c in request.cs]
    return [pl.DataFrame({"prompt": asked, "short": [0.5 if t else 1.0] * 3}, schema=COLUMNS) for t in treated]


def figures(frame):
    mean = frame["short"].mean() if frame.height else math.nan
    return {"brevity": mean, "brevity_low": mean - 0.1, "brevity_high": mean + 0.1, "prompts_read": float(frame.height)}
'''

HALVED = '''
"""halved: half of the difference of means, added."""

from ws.steering.methods.mean_diff import control

unit = "multiples"
bakeable = True
grid = None
reads = ()


def extract(poles):
    return (poles.positive - poles.negative).mean(0) / 2


def prepare(vector, c, layers):
    return c[:, None, None] * (vector / layers)


def apply(x, buffer, weight):
    return x + weight * buffer
'''

LOHA = '''
"""LoHa: W + s (A B) * (C D), two low-rank products entry by entry (Hyeon-Woo et al. 2022, arXiv:2108.06098)."""

from peft import LoHaConfig

from ws.models.adapters.family import Family


def configure(rank, alpha, names):
    return LoHaConfig(task_type="CAUSAL_LM", r=rank, alpha=alpha, target_modules=list(names))


def step(acc, weight, parts, config, name):
    a, b, c, d = (parts[f"hada_{part}"] for part in ("w1_a", "w1_b", "w2_a", "w2_b"))
    return acc + config.alpha / config.r * (a @ b) * (c @ d)


FAMILY = Family(configure, lambda config: isinstance(config, LoHaConfig), step, fields=frozenset({"r", "alpha"}))
'''

COST = '''
"""What each arm costs."""

import altair as alt


def cost_chart(arms):
    """One bar per arm: its coherence."""
    return alt.Chart(arms.select("arm", "coherence")).mark_bar().encode(x="arm:N", y="coherence:Q")
'''

NOTEBOOK = """
import marimo

app = marimo.App()

with app.setup:
    from ws.reporting import charts


@app.cell
def _():
    run = None
    return (run,)


@app.cell
def _(run):
    charts.compiled_chart(str(run.path), charts.cost_chart, run.arms())
    return


if __name__ == "__main__":
    app.run()
"""


@contextmanager
def added(package: ModuleType, name: str, text: str, folder: Path) -> Iterator[Path]:
    """The file NAME.py with this text in a folder that the package looks into, too, while the context is open."""
    file = folder / f"{name}.py"
    file.write_text(text, encoding="utf-8")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(package, "__path__", [*package.__path__, str(folder)])
        yield file
    sys.modules.pop(f"{package.__name__}.{name}", None)
