"""Teacher-forced log-probabilities against decoding, against the plainest forward, and KL against its definition."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import pytest
import torch

from tests.builders.directions import direction, hooks_left
from tests.builders.prompts import TIE, USERS, prompts
from tests.builders.tiny_models import tiny_lm
from ws.errors import UserError
from ws.generation import tracing
from ws.generation.completions import generate
from ws.generation.decoding import decode
from ws.generation.tracing import completion_states, trace
from ws.models.lm import LM
from ws.steering.hooks import steered


def by_hand(lm: LM, prompt: list[int], said: list[int], v: Any, c: float, **how: Any) -> torch.Tensor:
    """log p over the vocabulary (T, V), float64, from one plain forward without padding, cache or batch."""
    with torch.no_grad(), steered(lm, v, c, starts=[len(prompt) - 1], **how):
        logits = lm.model(input_ids=torch.tensor([prompt + said])).logits[0, len(prompt) - 1 : -1]
    return logits.double().log_softmax(-1)


HOWS = [{"where": where} for where in ("assistant", "generated", "all")] + [{"schedule": "exponential:3"}]


@pytest.mark.parametrize("how", HOWS, ids=str)
def test_a_trace_is_what_the_definitions_say(arch_lm: LM, how: dict[str, Any]) -> None:
    rows, v, doses = prompts(arch_lm), direction(arch_lm, scale=0.5), [0.5, 0.0, -1.0, 2.0]
    said = [[65, 66, 67, 68, 69, 70, 71, 72, 73], [70], [], [90, 33, 41]]
    for row, ids, done, c in zip(trace(arch_lm, rows, said, v, doses, **how), rows, said, doses, strict=True):
        own, base = (by_hand(arch_lm, ids, done, v, dose, **how) for dose in (c, 0.0))
        picked = torch.tensor(done, dtype=torch.long)[:, None]
        assert all(x.dtype == np.float32 and x.shape == (len(done),) for x in row)
        assert np.allclose(row.logp_steered, own.gather(1, picked)[:, 0], atol=TIE)
        assert np.allclose(row.logp_base, base.gather(1, picked)[:, 0], atol=TIE)
        assert np.allclose(row.kl_drift, (own.exp() * (own - base)).sum(-1), atol=TIE)
        assert c or not row.kl_drift.any()
    assert hooks_left(arch_lm) == 0


def test_traced_log_probabilities_equal_those_of_decoding(arch_lm: LM) -> None:
    rows, v, doses = prompts(arch_lm), direction(arch_lm, scale=0.5), [0.5, 0.0, -1.0, 2.0]
    done = decode(arch_lm, rows, direction=v, c=doses, max_new_tokens=14)
    for row, traced in zip(done, trace(arch_lm, rows, [r.token_ids for r in done], v, doses), strict=True):
        assert np.allclose(row.logp, traced.logp_steered, atol=TIE)


def test_the_frame_holds_what_a_trace_gives(tiny: LM) -> None:
    v = direction(tiny, scale=0.5)
    df = generate(tiny, list(USERS), v, [0.0, 1.0], n=2, max_new_tokens=12)
    rows = [tiny.prompt_ids(user) for user in df["prompt"]]
    traced = trace(tiny, rows, df["token_ids"].to_list(), v, df["c"].to_list())
    for row, want in zip(df.iter_rows(named=True), traced, strict=True):
        for name in ("logp_steered", "logp_base", "kl_drift"):
            assert np.allclose(row[name], getattr(want, name), atol=TIE)
        assert row["c"] or (row["logp_base"] == row["logp_steered"] and not any(row["kl_drift"]))


def test_a_persona_is_measured_against_the_neutral_prompt(tiny: LM) -> None:
    df = generate(tiny, "Hi", persona="You are cruel.", max_new_tokens=10)
    said = df["token_ids"].to_list()
    own, neutral = tiny.prompt_ids("Hi", system="You are cruel."), tiny.prompt_ids("Hi")
    want = trace(tiny, [own], said, base_prompt_ids=[neutral])[0]
    for name in ("logp_steered", "logp_base", "kl_drift"):
        assert np.allclose(df[name][0], getattr(want, name), atol=TIE)
    base = by_hand(tiny, neutral, said[0], direction(tiny), 0.0).gather(1, torch.tensor(said).T)
    assert np.allclose(want.logp_base, base[:, 0], atol=TIE)
    assert float(np.abs(want.logp_base - want.logp_steered).max()) > 0.01


def test_slices_of_positions_and_batches_change_nothing(tiny: LM, monkeypatch: pytest.MonkeyPatch) -> None:
    rows, v, said = prompts(tiny), direction(tiny, scale=0.5), [list(range(60, 60 + n)) for n in (9, 1, 5, 7)]
    whole = trace(tiny, rows, said, v, 1.0)
    monkeypatch.setattr(tracing, "LOGITS", 2 * tiny.vocab_size)
    for a, b in zip(whole, trace(tiny, rows, said, v, 1.0, batch_size=1), strict=True):
        assert all(np.allclose(x, y, atol=1e-5) for x, y in zip(a, b, strict=True))


def test_only_completion_positions_meet_the_head(tiny: LM, monkeypatch: pytest.MonkeyPatch) -> None:
    rows, said, seen = prompts(tiny), [[65, 66, 67]] * 4, []
    head = LM.head
    monkeypatch.setattr(LM, "head", lambda self, h: (seen.append(h.shape[:-1].numel()), head(self, h))[1])
    trace(tiny, rows, said, direction(tiny), 1.0)
    assert sum(seen) == 4 * 3 * 2  # steered and base


def test_adapters_are_on_for_the_arm_and_off_for_the_base(monkeypatch: pytest.MonkeyPatch) -> None:
    """The contract with ws.models.adapters.attaching.attached, played by one that changes a weight and puts it back."""
    lm = tiny_lm("qwen3", fresh=True)
    weight = lm.blocks[1].mlp.down_proj.weight

    @contextmanager
    def attached(model: LM, adapters: Any) -> Iterator[None]:
        assert model is lm and adapters == ["a0"]
        with torch.no_grad():
            weight.mul_(2.0)
        yield
        with torch.no_grad():
            weight.div_(2.0)

    for module in ("tracing", "decoding"):
        monkeypatch.setattr(f"ws.generation.{module}.attached", attached)
    v, said = direction(lm), [[65, 66, 67]]
    row = trace(lm, [lm.prompt_ids("Hi")], said, adapters=["a0"])[0]
    base = by_hand(lm, lm.prompt_ids("Hi"), said[0], v, 0.0)
    with attached(lm, ["a0"]):
        own = by_hand(lm, lm.prompt_ids("Hi"), said[0], v, 0.0)
    picked = torch.tensor(said).T
    assert np.allclose(row.logp_base, base.gather(1, picked)[:, 0], atol=TIE)
    assert np.allclose(row.logp_steered, own.gather(1, picked)[:, 0], atol=TIE)
    assert np.allclose(row.kl_drift, (own.exp() * (own - base)).sum(-1), atol=TIE) and row.kl_drift.max() > 0.01
    df = generate(lm, "Hi", adapters=["a0"], max_new_tokens=8)
    want = trace(lm, [lm.prompt_ids("Hi")], df["token_ids"].to_list(), adapters=["a0"])[0]
    for name in ("logp_steered", "logp_base", "kl_drift"):
        assert np.allclose(df[name][0], getattr(want, name), atol=TIE)


def test_states_have_the_completions_shape(tiny: LM) -> None:
    states = completion_states(tiny, prompts(tiny), [[65, 66], [], [65], [70, 71, 72]])
    assert [tuple(s.shape) for s in states] == [(n, tiny.d_model) for n in (2, 0, 1, 3)]


def test_mistakes_are_named(tiny: LM) -> None:
    rows = prompts(tiny)
    with pytest.raises(UserError, match="4 prompts and 1 completions"):
        trace(tiny, rows, [[65]])
    with pytest.raises(UserError, match="3 coefficients for 4 rows"):
        trace(tiny, rows, [[65]] * 4, direction(tiny), [1.0, 2.0, 3.0])
    with pytest.raises(UserError, match="at least one token of prompt"):
        trace(tiny, [[]], [[65]])
    with pytest.raises(UserError, match="context"):
        trace(tiny, rows[:1], [[65] * 600])
    with steered(tiny, direction(tiny)), pytest.raises(UserError, match="inside"):
        trace(tiny, rows[:1], [[65]])
