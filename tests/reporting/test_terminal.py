"""What is printed of a table of arms: intervals, self_violate beside the headline, and what may not be concluded."""

from __future__ import annotations

import html
import io
from collections.abc import Callable
from functools import partial
from typing import Any

import polars as pl
from rich.console import Console

from tests.builders.gate_frames import arm, steer
from ws.evaluation.definitions import DEFINITIONS
from ws.gating.schemas import TOPIC, arms_frame
from ws.reporting.journal.tables import arms_table
from ws.reporting.terminal import dose_table, print_cautions, print_knee
from ws.runs.config import DoseConfig


def printed(write: Callable[..., None], *args: Any) -> str:
    console = Console(record=True, width=160, file=io.StringIO())
    write(*args, console)
    return console.export_text()


def test_capability_and_self_violate_are_printed_with_their_intervals() -> None:
    beside = {"d_self": 0.7, "d_self_low": 0.5, "d_self_high": 0.9}
    text = printed(dose_table, arms_frame(steer(**beside)), "Report")
    assert "0.95 [0.92, 0.98]" in text
    assert "d_self (nat), beside d_target: steered c +1 0.70 [0.50, 0.90]" in text
    assert "d_self" not in printed(dose_table, arms_frame(steer()), "Report"), "not read, not said"


def test_the_number_of_comparisons_is_said() -> None:
    text = printed(print_cautions, arms_frame(steer()), 1)
    assert "of 77 shifts (11 arms x 7 foundations) about 4 miss by chance alone" in text
    assert "8 random directions: one more of them would beat them all in 1 of 9 tries" in text


def test_arms_are_not_ranked_before_three_seeds() -> None:
    seeds = [arm("healed", shift=1.0, chosen=None), arm("healed_seed", shift=1.4, chosen=None)]
    two = printed(print_cautions, arms_frame([arm("base"), *seeds]), 2)
    assert "2 seeds: arms are not ranked before 3" in two
    three = printed(print_cautions, arms_frame([arm("base"), *seeds, arm("healed_seed", shift=1.2, chosen=None)]), 3)
    assert "3 seeds: d_target of the healed model 1.00 to 1.40 (sd 0.20) nat" in three and "not ranked" not in three


def test_the_knee_is_printed_with_its_interval() -> None:
    rows = [arm("base", coherence=1.0), arm("steer", 1.0, 1.0, coherence=0.98), arm("steer", 2.0, 2.0, coherence=0.6)]
    arms = arms_frame(rows).with_columns(chosen=pl.col("c") == 1)
    assert "c 1 is the strongest coherent dose; coherence falls through 0.95 at c 1.22 [0.976, 1.51]" in printed(
        print_knee, arms, DoseConfig()
    )
    assert "No dose is coherent" in printed(print_knee, arms.with_columns(chosen=pl.lit(False)), DoseConfig())
    shown = printed(partial(print_knee, relative=0.07), arms, DoseConfig())
    assert "c 1 (7% of the residual stream's length) is the strongest coherent dose" in shown
    falling = {name: pl.when(pl.col("arm") == "base").then(1.0).otherwise(1 - pl.col("c") / 8) for name in TOPIC}
    shown = printed(print_knee, arms.with_columns(**falling, coherence=pl.lit(1.0)), DoseConfig())
    assert "c 1 is the strongest dose that keeps to its question; text leaves its question (its tie to the" in shown


def test_a_page_defines_its_columns_whatever_their_unit() -> None:
    arms = arms_frame([row | {"on_prompt": 1.3} if row["arm"] == "base" else row for row in steer()])
    shown = str(arms_table(arms, "Report", "nat per token"))
    for name, heading in (("d_target", "d_target (nat per token)"), ("on_prompt", "on_prompt")):
        assert f'title="{html.escape(DEFINITIONS[name])}"' in shown and f">{heading}</th>" in shown
