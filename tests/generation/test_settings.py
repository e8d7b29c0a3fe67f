"""Sampling and Intervention: the same by keywords and as values, refused where both are given, never left unread."""

from __future__ import annotations

import inspect
import subprocess
import sys
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from polars.testing import assert_frame_equal

import ws
from tests.builders.directions import direction
from tests.builders.small_runs import ending_lm, write_axis
from ws.errors import UserError
from ws.generation.settings import Intervention, Sampling
from ws.models.lm import LM
from ws.steering.schedules import CosineGate, Window

ROOT = Path(__file__).parents[2]
PROMPTS = ["Hi", "May a nurse lie?"]


def test_keywords_and_values_write_the_same(tiny: LM) -> None:
    v, gate = direction(tiny), CosineGate(0.0)
    drawn = {"temperature": 0.8, "top_p": 0.9, "top_k": 40, "max_new_tokens": 9, "seed": 3}
    done = {"where": "generated", "schedule": "window:0:5", "gate": gate}
    words = ws.generate(tiny, PROMPTS, v, [0.0, 2.0], n=2, **drawn, **done)  # type: ignore[arg-type]
    push = Intervention(v, [0.0, 2.0], **done)  # type: ignore[arg-type]
    values = ws.generate(tiny, PROMPTS, n=2, sampling=Sampling(**drawn), intervention=push)  # type: ignore[arg-type]
    assert_frame_equal(words, values)
    plain = ws.generate(tiny, PROMPTS, v, [0.0, 2.0], n=2, max_new_tokens=9, seed=3)
    assert plain["text"].to_list() != words["text"].to_list(), "the settings did something"


def test_decode_takes_both_forms(tiny: LM) -> None:
    v, rows = direction(tiny), [tiny.prompt_ids("Hi"), tiny.prompt_ids("x")]
    words = ws.decode(tiny, rows, direction=v, c=[0.5, 1.0], temperature=0, max_new_tokens=7)
    push = Intervention(v, [0.5, 1.0])
    values = ws.decode(tiny, rows, sampling=Sampling(0.0, max_new_tokens=7), intervention=push)
    assert [row.token_ids for row in words] == [row.token_ids for row in values]


def test_what_is_left_out_is_the_models_own(tiny: LM) -> None:
    own = Sampling(seed=5).on(tiny)
    assert own == Sampling(1.0, 1.0, 0, tiny.recipe.new_tokens, 5)
    assert Sampling(0.0).on(tiny).temperature == 0.0, "greedy is a choice, not a gap"
    assert Sampling(0.3, top_k=4).unlike(tiny) == {"temperature": 0.3, "top_k": 4}
    same = Sampling(1.0, 1.0, 0, tiny.recipe.new_tokens, seed=9)
    assert same.unlike(tiny) == Sampling(seed=9).unlike(tiny) == {}, "asked for or not, it is what the model does"


@pytest.mark.parametrize(
    ("how", "said"),
    [
        ({"sampling": Sampling(seed=1), "seed": 2}, "sampling= was given and seed beside it"),
        ({"intervention": Intervention(), "where": "all"}, "intervention= was given and where beside it"),
        ({"intervention": Intervention(), "c": [1.0]}, "intervention= was given and c beside it"),
    ],
)
def test_a_setting_given_twice_is_refused(tiny: LM, how: dict[str, Any], said: str) -> None:
    with pytest.raises(UserError, match=said):
        ws.generate(tiny, "Hi", **how)


def test_a_word_that_nobody_knows_is_refused(tiny: LM) -> None:
    for call in (ws.generate, lambda lm, text, **how: ws.decode(lm, [lm.prompt_ids(text)], **how)):
        with pytest.raises(TypeError, match=r"'temprature'.*temperature"):
            call(tiny, "Hi", temprature=0.5)


def test_evaluate_takes_what_it_reads_and_refuses_the_rest(tmp_path: Path) -> None:
    lm, axis = ending_lm(), ws.load_axis(write_axis(tmp_path))
    v, how = direction(lm), {"capability": False, "texts": 8, "think": 0, "per_foundation": 1}
    words = ws.evaluate(lm, axis, direction=v, c=1.0, seed=2, temperature=0.5, max_new_tokens=6, **how)  # type: ignore
    push, drawn = Intervention(v, 1.0), Sampling(0.5, max_new_tokens=6, seed=2)
    values = ws.evaluate(lm, axis, intervention=push, sampling=drawn, **how)  # type: ignore[arg-type]
    assert isinstance(values, ws.Report) and values.identity == words.identity
    assert_frame_equal(values.text, words.text)
    assert words.identity["text"]["temperature"] == 0.5
    cut = ws.evaluate(lm, axis, seed=2, top_k=3, max_new_tokens=6, **how)  # type: ignore[arg-type]
    assert cut.identity["text"]["top_k"] == 3 and "temperature" not in cut.identity["text"]
    text = "give the text of it"
    refused = {"allow_stale": (True, "adapters="), "where": ("all", "shared among doses"),
               "gate": (CosineGate(0.0), text), "schedule": (Window(0, 5), text)}  # fmt: skip
    for name, (value, said) in refused.items():
        with pytest.raises(UserError, match=said):
            ws.evaluate(lm, axis, direction=v, c=1.0, **{name: value}, **how)  # type: ignore[arg-type]


@pytest.mark.parametrize("call", [ws.generate, ws.decode, ws.evaluate])
def test_signatures_stay_readable(call: Any) -> None:
    assert len(inspect.signature(call).parameters) <= 22


def test_settings_bring_no_torch() -> None:
    code = "import sys, ws.generation.settings; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT / "src", check=False).returncode == 0


def test_one_dose_gives_a_frame_of_the_contract(tiny: LM) -> None:
    df = ws.generate(tiny, "Hi", sampling=Sampling(max_new_tokens=3))
    assert df.schema["c"] == pl.Float64 and df["c"].to_list() == [0.0]
