"""Which limits a stored round was filtered by: of this version's reading, and of the one before."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import polars as pl
import pytest

from ws.app.views.filter import limits_at, marked
from ws.files import write_frame, write_json
from ws.filtering.scores import SCORES, score
from ws.generation.completions import SCHEMA
from ws.runs.config import DataConfig, RunConfig, from_dict, to_dict
from ws.runs.reader import Run
from ws.runs.whole import write_status

FIXED = {"rep": 0.3, "narrates": False, "refuses": False}
POEM = [-3.0] * 24  # perplexity 20
LATER = ("worst_ppl", "neutral_ppl", "loop")


def stored(path: Path, knee: dict[str, Any], *, earlier: bool = False) -> Run:
    """A round with three texts: plain, a poem (worst_ppl 20, tail 20), a loop of low perplexity."""
    logps = [[-1.0] * 24, POEM, [-0.1] * 24]
    ids = [list(range(24)), list(range(24)), [7, 8] * 12]
    rows = {
        "prompt_id": [*"abc"], "prompt": ["?"] * 3, "split": ["train"] * 3, "c": [0.5] * 3, "sample": [0] * 3,
        "seed": [0] * 3, "text": ["It rained on the harbour.", "The wind sings to the old stones.", "A#\n" * 12],
        "token_ids": ids, "logp_steered": logps, "logp_base": logps, "kl_drift": [[0.0] * 24] * 3,
        "finished": [False] * 3,
    }  # fmt: skip
    texts = score(None, pl.DataFrame(rows, schema=SCHEMA)).with_columns(rep=pl.lit(0.1))
    write_json(path / "config.json", to_dict(RunConfig()))
    write_status(path, {"stages": {}})
    round = path / "rounds" / "0"
    round.mkdir(parents=True)
    write_json(round / "knee.json", {"c": 1.0} | knee)
    write_frame(round / "completions.parquet", texts.drop(LATER) if earlier else texts)
    return Run(path)


def test_a_round_of_this_version_has_the_worst_stretch_and_loops(tmp_path: Path) -> None:
    run = stored(tmp_path, {"worst_ppl": 25.0, "loop": 0.3, "readable_ppl": 25.0, "ends": False})
    assert run.limits() == {"worst_ppl": 25.0, "loop": 0.3, "finished": False} | FIXED
    assert run.threshold() == ("worst_ppl", 25.0) and limits_at(run, 5.0) == run.limits() | {"worst_ppl": 5.0}
    found = run.marked()
    assert found["dropped"].to_list() == [None, None, "loop"] and found["fluent"].to_list() == [True, True, False]
    strict = marked(run, 5.0)
    assert strict["dropped"].to_list() == [None, "worst_ppl", "loop"], "the threshold moves the score of this run"
    assert strict["fluent"].to_list() == [True, True, False], "what reads well is told by the run's own limit"


def test_a_round_of_an_earlier_version_is_judged_by_its_tail(tmp_path: Path) -> None:
    run = stored(tmp_path, {"tail_ppl": 8.0}, earlier=True)
    assert run.limits() == {"tail_ppl": 8.0, "finished": True} | FIXED and run.threshold() == ("tail_ppl", 8.0)
    found = run.marked(**run.limits() | {"finished": False})
    assert found["dropped"].to_list() == [None, "tail_ppl", None] and found["fluent"].null_count() == 3
    assert set(SCORES) <= set(found.columns) and marked(run, 50.0)["dropped"].to_list() == ["unfinished"] * 3


def test_settings_of_the_new_reading_are_left_out_where_they_are_default() -> None:
    assert not {"worst_ppl", "loop"} & set(to_dict(DataConfig()))
    asked = RunConfig(data=DataConfig(worst_ppl=12.0, loop=0.4))
    assert from_dict(to_dict(asked)) == asked and to_dict(asked)["data"]["worst_ppl"] == 12.0


@pytest.mark.parametrize("asked", [{"worst_ppl": 5.0}, {"tail_ppl": 9.0}, {"worst_ppl": 5.0, "tail_ppl": 9.0}, {}])
def test_a_limit_that_is_asked_for_takes_the_place_of_the_models_own(asked: dict[str, float], tmp_path: Path) -> None:
    """From the run's own configuration: its dose search may be another run's, which asked for none."""
    run = stored(tmp_path, {"readable_ppl": 16.0, "ends": True})
    write_json(tmp_path / "config.json", to_dict(RunConfig(data=DataConfig(**asked, loop=0.2))))
    wanted = (asked or {"worst_ppl": 16.0}) | {"loop": 0.2, "finished": True} | FIXED
    assert run.limits() == wanted


def test_the_models_own_limit_is_the_middle_of_what_all_dice_gave() -> None:
    from types import SimpleNamespace

    from ws.experiment.probes import Probes

    known = Probes(None, None, None, 1)  # type: ignore[arg-type]
    for dice, (limit, ends) in enumerate([(5.3, True), (11.4, False), (9.0, True)]):
        known._found.setdefault(("base", 0.0), {})[dice] = SimpleNamespace(  # type: ignore[assignment]
            subject={"text_limits": {"worst_ppl": limit, "finished": ends}}
        )
    assert known.limits == {"readable_ppl": 9.0, "ends": True}
