"""Results by question: planted figures give the answer that they hold, too few seeds none, and nothing is hidden."""

from __future__ import annotations

import json
import math
import tomllib
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from ws.experiment.examples import LOOPS, shipped
from ws.reporting.leaderboard import POINTS
from ws.reporting.questions.answers import (
    QUESTIONS,
    does_the_barrier_pay,
    mean_or_rmse,
    which_barrier,
    which_family,
)
from ws.reporting.questions.evidence import Stored
from ws.reporting.questions.page import section
from ws.reporting.questions.ranking import compare, holm, sentence
from ws.runs.grid import arms_of
from ws.runs.reader import Run

ROOT = Path(__file__).parents[2]
NOISE = (0.0, 0.002, -0.001, 0.001)


class Planted(Stored):
    """Arms as they would be read from runs."""

    def __init__(self, *rows: dict[str, Any]) -> None:
        self.runs = []
        self.__dict__["points"] = pl.DataFrame(list(rows), schema=POINTS)


def arm(seed: int, settings: dict[str, Any], **figures: Any) -> dict[str, Any]:
    """One healed arm of the axis a on the model m."""
    fixed = {"run": f"r{seed}", "axis": "a", "model": "m", "instrument": "i", "kind": "healed", "round": 0,
             "barrier": "kl", "beta": 0.1}  # fmt: skip
    return dict.fromkeys(POINTS) | fixed | {"seed": str(seed), "settings": json.dumps(settings)} | figures


def families(better: float, seeds: int, coherence: float = 0.97) -> Planted:
    """Two families of which one retains `better` more."""
    levels = (("lora", 0.0, 0.97), ("oft", better, coherence))
    rows = [arm(s, {"heal.adapter": name}, retain=0.5 + gain + NOISE[s] * (1 + gain), coherence=level)
            for s in range(seeds) for name, gain, level in levels]  # fmt: skip
    return Planted(*rows)


def test_holm_is_the_step_down_of_1979() -> None:
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.5, 0.9]) == [1.0, 1.0]
    assert holm([0.02]) == [0.02] and holm([]) == []
    found = holm([0.01, math.nan])
    assert found[0] == 0.02 and math.isnan(found[1])


def test_a_planted_winner_is_found_with_its_interval() -> None:
    answer = which_family(families(0.2, 3))
    assert answer is not None and ": oft is best" in answer.sentence
    best, other = answer.table.rows(named=True)
    assert best["level"] == "oft" and best["low"] < 0.7 < best["high"] and other["p"] < 0.05
    assert (best["place"], other["place"]) == ("best", "behind the best")


def test_no_winner_where_there_is_none_too_few_seeds_or_no_equals() -> None:
    rng = np.random.default_rng(0)
    rows = [arm(s, {"heal.adapter": name}, retain=0.5 + 0.1 * rng.normal(), coherence=0.97)
            for s in range(4) for name in ("lora", "oft")]  # fmt: skip
    null = which_family(Planted(*rows))
    assert null is not None and "no difference that the seeds can tell" in null.sentence
    few = which_family(families(0.2, 2))
    assert few is not None and "not ranked: 2 of 3 seeds" in few.sentence and few.table["low"].null_count() == 2
    unequal = which_family(families(0.2, 3, coherence=0.8))
    assert unequal is not None and "not at equals (they differ by 0.17)" in unequal.sentence
    assert which_family(Planted(arm(0, {"heal.adapter": "lora"}, retain=0.5, coherence=0.97))) is None


def test_more_levels_need_more() -> None:
    """The same difference, held against one other level and against nine."""
    def rows(others: int) -> pl.DataFrame:
        shift = {"best": 0.05, **{f"o{i}": 0.0 for i in range(others)}}
        jitter = {"best": (0.0, 0.012, -0.01), **{f"o{i}": (0.0, 0.0, 0.0) for i in range(others)}}
        told = [("c", n, str(s), 0.5 + shift[n] + jitter[n][s]) for n in shift for s in range(3)]
        return pl.DataFrame(told, schema=["context", "level", "seed", "x"], orient="row")

    assert "best is best" in sentence(compare(rows(1), "x"), "x")
    assert "no difference" in sentence(compare(rows(9), "x"), "x")


def test_barriers_are_compared_at_equal_shift() -> None:
    """The one that reads better at every beta is worse where both moved the target as far."""
    points = [("kl_rev", 0.1, 1.0, 0.90), ("kl_rev", 1.0, 0.6, 0.94)]
    points += [("kl_fwd", 0.1, 0.8, 0.90), ("kl_fwd", 1.0, 0.2, 0.97)]
    rows = []
    for seed in range(3):
        for name, beta, shift, level in points:
            noise = NOISE[seed] * (1.0 if name == "kl_rev" else 0.5)
            rows.append(arm(seed, {"heal.barrier": name}, beta=beta, d_target=shift, coherence=level + noise))
    answer = which_barrier(Planted(*rows))
    assert answer is not None and "at 0.70 nat: kl_rev is best" in answer.sentence
    assert answer.table["mean"].to_list() == pytest.approx([0.93, 0.9117], abs=1e-3)


def test_a_barrier_is_held_against_none_where_it_keeps_as_much() -> None:
    rows = []
    for seed in range(3):
        rows.append(arm(seed, {"heal.barrier": "nll"}, kind="trained without barrier", barrier="none", beta=0.0,
                        retain=0.6, coherence=0.90 + NOISE[seed]))  # fmt: skip
        rows.append(arm(seed, {"heal.barrier": "kl_rev"}, retain=0.58, coherence=0.96 - NOISE[seed]))
        rows.append(arm(seed, {"heal.barrier": "kl_rev"}, beta=9.0, retain=0.1, coherence=1.0))  # undone
    answer = does_the_barrier_pay(Planted(*rows))
    assert answer is not None and "kl, beta 0.1 is best" in answer.sentence
    assert answer.table["level"].to_list() == ["kl, beta 0.1", "without barrier"]


def test_the_two_by_two_needs_all_four_and_a_second_round() -> None:
    cells = [(a, r) for a in ("mean", "rmse") for r in ("base", "prev")]

    def planted(cells: list[tuple[str, str]], round: int) -> Planted:
        return Planted(*[
            arm(s, {"heal.aggregate": a, "heal.reference": r}, round=round, d_target=1.0,
                coherence=0.9 + 0.05 * (r == "prev") + NOISE[s] * (1 + len(a) / 4 + (r == "prev")))
            for s in range(4) for a, r in cells
        ])  # fmt: skip

    assert mean_or_rmse(planted(cells, 0)) is None and mean_or_rmse(planted(cells[:3], 1)) is None
    answer = mean_or_rmse(planted(cells, 1))
    assert answer is not None and answer.table.height == 4
    assert {level.split()[-1] for level in answer.table["level"][:2]} == {"prev"}


def test_every_question_has_its_section_answered_or_not(tmp_path: Path) -> None:
    """Over the runs that ship; a question without a run names a command whose grid is a grid."""
    stored = Stored([Run(path) for path in (*shipped().values(), *shipped(LOOPS).values())])
    texts = {question.name: section(question, question.ask(stored), tmp_path) for question in QUESTIONS}
    assert "yes, the filter works" in texts["q0"] and "not ranked: 1 of 3 seeds" in texts["q1-barrier"]
    assert "coherent over 3 rounds" in texts["q2"] and "commit" in texts["q2"]
    assert "**No stored run answers this.** Would answer it: `ws sweep" in texts["method"]
    assert (tmp_path / "results-q0.svg").read_text().startswith("<svg")
    page = (ROOT / "docs/results.md").read_text(encoding="utf-8")
    assert all(question.title in page for question in QUESTIONS)


@pytest.mark.parametrize("grid", sorted((ROOT / "docs/grids").glob("*.toml")), ids=lambda path: path.stem)
def test_the_grids_of_the_questions_are_grids(grid: Path) -> None:
    arms = arms_of(tomllib.loads(grid.read_text(encoding="utf-8")))
    assert len(arms) > 2 and any(f"docs/grids/{grid.name}" in question.command for question in QUESTIONS)
