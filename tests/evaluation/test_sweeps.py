"""Dilemmas over personas and doses: rows keyed once, figures as their formulas say."""

from __future__ import annotations

import math

import numpy as np
import polars as pl
import pytest

from tests.builders.vignettes import QUESTIONS, direction
from ws.errors import UserError
from ws.evaluation.readings.dilemmas import read_dilemmas
from ws.evaluation.sweeps import FIGURES, SWEEP, read_sweep, sweep_figures
from ws.models.lm import LM

PERSONAS = {"neutral": None, "pirate": "You are a pirate."}


def test_rows_are_keyed_once_and_are_those_of_single_calls(tiny: LM) -> None:
    v, cs = direction(tiny), [-1.0, 0.0, 1.0]
    table = read_sweep(tiny, QUESTIONS, PERSONAS, direction=v, cs=cs)
    assert table.schema == pl.Schema(SWEEP)
    assert table.height == 12 == table.select("persona", "c", "question").n_unique()
    for name, persona in PERSONAS.items():
        for c in cs:
            alone = read_dilemmas(tiny, QUESTIONS, direction=v, cs=[c], persona=persona)[0]
            here = table.filter(pl.col("persona") == name, pl.col("c") == c)
            assert np.abs(here["logratio"].to_numpy() - alone["logratio"].to_numpy()).max() < 1e-4
    figures = sweep_figures(table)
    assert figures.schema == pl.Schema(FIGURES) and figures["persona"].to_list() == list(PERSONAS)
    assert figures["T"].is_finite().all() and abs(figures["spread"][0]) > 1e-3


def planted(levels: dict[float, list[float]]) -> pl.DataFrame:
    """A table of one persona: logratio of each question by dose, doses out of order."""
    rows = [
        {"persona": "p", "c": c, "question": f"q{i}", "label": 1, "logratio": value, "pmass": 0.5 + i / 2}
        for c, values in levels.items()
        for i, value in enumerate(values)
    ]
    return pl.DataFrame(rows, schema={**SWEEP})


def test_figures_are_their_formulas() -> None:
    row = sweep_figures(planted({1.0: [3.0, 4.0], 0.0: [2.0, 2.0], -1.0: [1.0, 0.0], 2.0: [9.0, 9.0]}), 1.0).row(
        0, named=True
    )
    assert (row["doses"], row["means"], row["n"]) == ([-1.0, 0.0, 1.0, 2.0], [0.5, 2.0, 3.5, 9.0], 2)
    slopes = np.array([1.0, 2.0])
    assert row["T"] == pytest.approx(slopes.mean() / (slopes.std(ddof=1) / math.sqrt(2)))
    assert row["gain"] == pytest.approx(row["T"] * 50)
    assert (row["dd_delta"], row["spread"], row["monotone"], row["frac_low_pmass"]) == (1.5, 3.0, True, 0.5)


def test_what_lacks_its_doses_is_nan() -> None:
    row = sweep_figures(planted({0.0: [1.0, 2.0], 2.0: [0.0, 1.0], 3.0: [5.0, 5.0]})).row(0, named=True)
    assert all(math.isnan(row[name]) for name in ("T", "gain", "dd_delta", "spread")) and row["monotone"] is False


def test_sweeps_that_cannot_be_keyed_are_refused(tiny: LM) -> None:
    with pytest.raises(UserError, match=r"doses of a sweep repeat \(\[0.0, 0.0\]\)"):
        read_sweep(tiny, QUESTIONS, PERSONAS, cs=[0.0, 0.0])
    with pytest.raises(UserError, match="questions of a sweep repeat"):
        read_sweep(tiny, [QUESTIONS[0]] * 2, PERSONAS)
    with pytest.raises(UserError, match=r"personas \(0\)"):
        read_sweep(tiny, QUESTIONS, {})
