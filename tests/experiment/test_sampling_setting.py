"""Sampling as a setting: refused where it cannot be, part of a run's key, obeyed by every text, told on its page."""

from __future__ import annotations

import dataclasses
import math
from pathlib import Path
from typing import Any

import pytest

import ws
import ws.generation.completions
from tests.builders.small_runs import ending_lm, small_config, write_axis, write_items
from ws.app.cli import main
from ws.errors import UserError
from ws.experiment.identity import check_room, identity_of, sampling_said
from ws.experiment.loop import run
from ws.generation.settings import Sampling
from ws.models.lm import LM, wrap_model
from ws.models.recipe import OTHER, SamplingDefaults
from ws.reporting.journal.run_header import facts_of
from ws.reporting.leaderboard import points_frame
from ws.runs.config import RunConfig, SamplingConfig, from_dict, to_dict
from ws.runs.writer import run_key

BAD: list[dict[str, Any]] = [
    {"temperature": -0.1}, {"temperature": math.nan}, {"temperature": math.inf}, {"top_p": 0.0}, {"top_p": 1.2},
    {"top_p": math.nan}, {"top_k": -1}, {"max_new_tokens": 0},
]  # fmt: skip


@pytest.mark.parametrize("bad", BAD, ids=str)
def test_what_cannot_be_drawn_is_refused_when_it_is_built(bad: dict[str, Any]) -> None:
    with pytest.raises(UserError, match=rf"sampling\.{next(iter(bad))} must"):
        SamplingConfig(**bad)


@pytest.mark.parametrize("command", [["run", "--out"], ["steer", "Hi", "--axis"], ["doctor", "--items"]])
@pytest.mark.parametrize("bad", BAD, ids=str)
def test_on_the_command_line_it_exits_with_2_and_writes_nothing(
    command: list[str], bad: dict[str, Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (name, value), place = next(iter(bad.items())), tmp_path / "out"
    assert main([*command, str(place), f"--sampling.{name.replace('_', '-')}", str(value)]) == 2
    assert f"sampling.{name} must" in capsys.readouterr().err and not place.exists()


def test_more_tokens_than_the_context_are_refused_before_anything_is_written(tmp_path: Path) -> None:
    lm, config = ending_lm(), small_config(tmp_path, sampling=SamplingConfig(max_new_tokens=1024))
    with pytest.raises(UserError, match=r"1024 new ones exceed the context of tiny-ending, 1024"):
        run(config, out=tmp_path / "out", lm=lm)
    with pytest.raises(UserError, match="exceed the context"):
        run(small_config(tmp_path, max_new_tokens=1024), out=tmp_path / "out", lm=lm)
    assert not (tmp_path / "out").exists()
    check_room(lm, ws.load_axis(write_axis(tmp_path)), None, 900)


def test_the_default_changes_no_key_and_another_does(tmp_path: Path) -> None:
    lm, plain = ending_lm(), small_config(tmp_path)
    axis = ws.load_axis(plain.axis).on(lm)
    assert "sampling" not in to_dict(plain) and from_dict(to_dict(plain)) == plain
    assert "sampling" not in identity_of(lm, axis, plain)
    keys = set()
    for asked in ({}, {"temperature": 0.7}, {"temperature": 0.8}, {"top_p": 0.9}, {"top_k": 3}, {"max_new_tokens": 9}):
        config = dataclasses.replace(plain, sampling=SamplingConfig(**asked))
        keys.add(run_key(config, identity_of(lm, axis, config)))
        assert from_dict(to_dict(config)) == config
        assert identity_of(lm, axis, config).get("sampling", {}) == asked, "every stage depends on it"
    assert len(keys) == 6
    same = dataclasses.replace(plain, sampling=SamplingConfig(temperature=1.0, top_p=1.0, top_k=0))
    assert identity_of(lm, axis, same) == identity_of(lm, axis, plain), "as the model does by itself: the same stages"


def test_every_text_of_a_run_obeys_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked, seen = SamplingConfig(0.7, 0.9, 50, 60), []
    real = ws.generation.completions.decode

    def decode(lm: LM, rows: Any, *given: Any, sampling: Sampling, **how: Any) -> Any:
        seen.append(sampling)
        return real(lm, rows, *given, sampling=sampling, **how)

    monkeypatch.setattr(ws.generation.completions, "decode", decode)
    config = small_config(tmp_path, sampling=asked, max_new_tokens=5)
    done = run(config, out=tmp_path / "out", lm=ending_lm())
    assert {(s.temperature, s.top_p, s.top_k) for s in seen} == {(0.7, 0.9, 50)}
    # dose search and reports; the data and the unsteered rows; rollouts of the random directions
    assert {s.max_new_tokens for s in seen} == {60, 5, 48}
    told = "T 0.7 (as asked), top_p 0.9 (as asked), top_k 50 (as asked), 60 tokens (as asked)"
    assert done.sampling == facts_of(done)["sampling"] == f"{told}; the data's texts 5 tokens"
    texts = done.frame("completions")
    assert texts["token_ids"].list.len().max() == 5
    other = run(dataclasses.replace(config, sampling=dataclasses.replace(asked, temperature=0.5)),
                out=tmp_path / "out", lm=ending_lm())  # fmt: skip
    assert other.path != done.path, "another temperature is another run"
    assert points_frame([done, other])["instrument"].n_unique() == 2, "another instrument on the page of comparisons"
    assert other.frame("completions")["text"].to_list() != texts["text"].to_list(), "nothing was taken over"


def test_reports_of_two_samplings_are_not_compared(tmp_path: Path) -> None:
    lm, axis = ending_lm(), ws.load_axis(write_axis(tmp_path))
    how: dict[str, Any] = {"capability": False, "texts": 8, "think": 0, "items": str(write_items(tmp_path))}
    own, same, hot, brief = (
        ws.evaluate(lm, axis, sampling=drawn, **how)
        for drawn in (Sampling(max_new_tokens=6), Sampling(1.0, 1.0, 0, 6), Sampling(0.5, max_new_tokens=6),
                      Sampling(max_new_tokens=7))
    )  # fmt: skip
    assert own.identity == same.identity
    for other in (hot, brief):
        with pytest.raises(UserError, match="the reports differ in text"):
            ws.compare(own, other)


def test_sampled_thinks_obey_it(tmp_path: Path) -> None:
    lm, axis = ending_lm(), ws.load_axis(write_axis(tmp_path))
    how: dict[str, Any] = {"capability": False, "free_text": False, "think": 4, "per_foundation": 1}
    own, cold, greedy = (ws.evaluate(lm, axis, sampling=Sampling(t), **how) for t in (None, 0.05, 0.0))
    assert cold.identity["think_sampling"] == {"temperature": 0.05} and "think_sampling" not in own.identity
    assert own.rows["p_ans_any"].to_list() != cold.rows["p_ans_any"].to_list()
    assert greedy.identity["think_samples"] == 0, "greedy thinks are all the same: one is read"
    with pytest.raises(UserError, match="think_sampling"):
        ws.compare(own, cold)


def test_it_is_said_with_where_it_comes_from() -> None:
    lm = ending_lm()
    recipe = dataclasses.replace(OTHER, sampling=SamplingDefaults(0.5, 0.9), new_tokens=48)
    with_recipe = wrap_model(lm.model, lm.tok, recipe=recipe)
    assert Sampling().said_on(with_recipe) == "T 0.5, top_p 0.9, 48 tokens (the model's recipe)"
    assert Sampling(0.7).said_on(with_recipe) == "T 0.7 (as asked), top_p 0.9, 48 tokens (the model's recipe)"
    assert Sampling(0.0).said_on(with_recipe) == "T 0, greedy (as asked), 48 tokens (the model's recipe)"
    assert Sampling().said_on(lm) == "T 1, nothing cut off, 256 tokens (the model brings no settings of it)"
    assert sampling_said(lm, RunConfig()) == Sampling().said_on(lm)


def test_a_generation_config_is_the_models_own_and_greedy_is_a_choice(monkeypatch: pytest.MonkeyPatch) -> None:
    lm = ending_lm()
    monkeypatch.setattr(lm.model.generation_config, "temperature", 0.0)
    monkeypatch.setattr(lm.model.generation_config, "top_k", 20)
    assert lm.sampling == SamplingDefaults(0.0, 1.0, 20) and lm.sampling_from == "the model's generation config"
