"""The decode loop against transformers, the dice against batch size and dose, backtracking, and the frame."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import polars as pl
import pytest
import torch

from tests.builders.directions import direction, hooks_left
from tests.builders.prompts import TIE, USERS, prompts
from tests.builders.tiny_models import GEMMA, tiny_lm
from tests.builders.vision import gemma3_with_vision
from ws.errors import UserError
from ws.generation import decode_batch
from ws.generation.completions import SCHEMA, Prompt, generate
from ws.generation.decoding import decode, identity
from ws.generation.rollout import Backtrack, Rollout
from ws.models.batching import pad
from ws.models.lm import LM, positions
from ws.steering.direction import Direction
from ws.steering.hooks import steered
from ws.steering.methods import names


def is_a_tie(lm: LM, ids: list[int], a: Rollout, b: Rollout, v: Direction, c: float) -> bool:
    """Whether the first token in which two runs differ was decided by less than 1e-4 (greedy)."""
    i = next(i for i, (x, y) in enumerate(zip(a.token_ids, b.token_ids, strict=False)) if x != y)
    with torch.no_grad(), steered(lm, v, c):
        top = lm.model(input_ids=torch.tensor([ids + a.token_ids[:i]])).logits[0, -1].topk(2).values
    return float(top[0] - top[1]) < TIE


# --- against transformers --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("c", [0.0, 0.4])
def test_greedy_equals_transformers_generate(arch_lm: LM, c: float) -> None:
    """Tokens and log-probabilities: left-padded rows, a window of 8 tokens, softcaps, learned positions."""
    rows, v = prompts(arch_lm), direction(arch_lm, scale=0.5)
    ids, mask = pad(rows, arch_lm.pad_id, arch_lm.device, left=True)
    how: dict[str, Any] = {"do_sample": False, "max_new_tokens": 16, "output_logits": True}
    with torch.no_grad(), steered(arch_lm, v, c):
        theirs = arch_lm.model.generate(input_ids=ids, attention_mask=mask, return_dict_in_generate=True, **how)
    ours = decode(arch_lm, rows, direction=v, c=c, temperature=0, max_new_tokens=16)
    for i, row in enumerate(ours):
        n = len(row.token_ids)
        assert row.token_ids == theirs.sequences[i, ids.shape[1] :][:n].tolist()
        logits = torch.stack(theirs.logits)[:n, i].log_softmax(-1)
        wanted = logits.gather(1, torch.tensor(row.token_ids)[:, None])[:, 0]
        assert torch.allclose(torch.tensor(row.logp), wanted, atol=TIE)
        assert row.finished == (row.token_ids[-1] in arch_lm.eos_ids)


def test_sampling_settings_reach_the_draw(tiny: LM) -> None:
    rows = prompts(tiny) * 10
    numbers = list(range(len(rows)))
    first = decode(tiny, rows, samples=numbers, max_new_tokens=1, top_k=3)
    with torch.no_grad():
        for row, done in zip(rows[:4], first[:4], strict=True):
            assert done.token_ids[0] in tiny.model(input_ids=torch.tensor([row])).logits[0, -1].topk(3).indices
    plain, cold = (decode(tiny, rows, samples=numbers, max_new_tokens=8, temperature=t) for t in (1.0, 0.3))
    assert np.mean([np.mean(r.logp) for r in cold]) > np.mean([np.mean(r.logp) for r in plain]) + 0.5


# --- the same dice ---------------------------------------------------------------------------------------------------


def test_forced_tokens_have_the_same_log_probabilities_in_every_batch(arch_lm: LM) -> None:
    v, said = direction(arch_lm, scale=0.5), [65, 70, 33, 90, 71, 65, 64, 99, 40, 41, 42, 43]
    rows = prompts(arch_lm)
    doses = [0.3, -0.8, 0.0, 1.0]
    alone = [
        decode(arch_lm, [row], direction=v, c=c, forced=[said], max_new_tokens=12)[0]
        for row, c in zip(rows, doses, strict=True)
    ]
    for copies, size in ((2, 8), (16, 64)):
        many = decode(
            arch_lm,
            rows * copies,
            direction=v,
            c=doses * copies,
            forced=[said] * len(rows) * copies,
            max_new_tokens=12,
            batch_size=size,
        )
        for i, row in enumerate(many):
            assert row.token_ids == said
            assert np.allclose(row.logp, alone[i % 4].logp, atol=TIE)


@pytest.mark.parametrize("share", [0.0, 0.5, 2.0])
def test_rows_that_sleep_change_nothing_for_those_awake(
    arch_lm: LM, share: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Batches are made smaller at each end (0), now and then, or never (2): the numbers are those of a row alone."""
    monkeypatch.setattr(decode_batch, "ASLEEP", share)
    v, rows, end = direction(arch_lm, scale=0.5), prompts(arch_lm), next(iter(arch_lm.eos_ids))
    said = [[65, 70, 33, 90, 71, 64, 99, 40][:n] + [end] for n in (1, 8, 3, 5)]
    together = decode(arch_lm, rows, direction=v, c=0.4, forced=said, max_new_tokens=20)
    for row, ids, done in zip(rows, said, together, strict=True):
        alone = decode(arch_lm, [row], direction=v, c=0.4, forced=[ids], max_new_tokens=20)[0]
        assert done.token_ids == alone.token_ids == ids and done.finished
        assert np.allclose(done.logp, alone.logp, atol=TIE)


@pytest.mark.parametrize("temperature", [0.0, 1.0])
def test_free_decoding_does_not_depend_on_the_batch(tiny: LM, temperature: float) -> None:
    v, rows = direction(tiny, scale=0.5), prompts(tiny) * 2
    doses, samples = [0.5, 0.0, -1.0, 0.2] * 2, [0] * 4 + [1] * 4
    how: dict[str, Any] = {"temperature": temperature, "max_new_tokens": 30, "seed": 4}
    together = decode(tiny, rows, direction=v, c=doses, samples=samples, **how)
    differing = 0
    for i, row in enumerate(rows):
        single = decode(tiny, [row], direction=v, c=doses[i], samples=[samples[i]], **how)[0]
        if single.token_ids != together[i].token_ids:
            differing += 1
            assert temperature == 0 and is_a_tie(tiny, row, single, together[i], v, doses[i])
    assert differing <= 1
    assert together[0].token_ids != together[4].token_ids or temperature == 0


def test_doses_share_their_dice_and_a_small_dose_changes_little(tiny: LM) -> None:
    v = direction(tiny, scale=0.5)
    how: dict[str, Any] = {"n": 6, "max_new_tokens": 6, "min_new_tokens": 6, "trace": False}
    df = generate(tiny, list(USERS), v, [0.0, 1e-6, 3.0], **how)
    plain, touched, steered_ = (df.filter(pl.col("c") == c)["token_ids"].to_list() for c in (0.0, 1e-6, 3.0))
    assert plain == touched
    same = np.mean([a == b for x, y in zip(plain, steered_, strict=True) for a, b in zip(x, y, strict=True)])
    fresh = generate(tiny, list(USERS), v, 3.0, seed=9, **how)["token_ids"].to_list()
    chance = np.mean([a == b for x, y in zip(plain, fresh, strict=True) for a, b in zip(x, y, strict=True)])
    assert same > chance


def test_no_dose_no_hook_and_the_pristine_model_are_one(arch_lm: LM) -> None:
    v, rows = direction(arch_lm), prompts(arch_lm)
    none, zero, mixed = (
        decode(arch_lm, rows, direction=d, c=c, max_new_tokens=10) for d, c in ((None, 0), (v, 0), (v, [0, 5, 0, 5]))
    )
    for i, row in enumerate(none):
        assert row.token_ids == zero[i].token_ids and row.logp == zero[i].logp
        if i % 2 == 0:
            n = min(len(row.logp), 3)  # all four rows are still there: the same shapes, so the same bits
            assert row.token_ids == mixed[i].token_ids and np.allclose(row.logp, mixed[i].logp, atol=1e-5)
            assert row.logp[:1] == mixed[i].logp[:1] and n
    assert hooks_left(arch_lm) == 0


def test_algebra_through_generation(tiny: LM) -> None:
    v, w = direction(tiny, seed=1, scale=0.05), direction(tiny, seed=2, scale=0.05)
    how: dict[str, Any] = {"max_new_tokens": 20, "trace": False}

    def tokens(d: Any, c: float) -> list[list[int]]:
        return generate(tiny, list(USERS), d, c, **how)["token_ids"].to_list()

    assert tokens(20 * v, 1.0) == tokens(v, 20.0) != tokens(v, 1.0)
    assert tokens(-v, 8.0) == tokens(v, -8.0)
    assert tokens(10 * v + 10 * w, 1.0) == tokens([(v, 1.0), (w, 1.0)], 10.0) == tokens(v + w, 10.0)


# --- ends, limits, forced phases -------------------------------------------------------------------------------------


def test_rows_end_at_eos_and_leave_the_others_alone(tiny: LM) -> None:
    (eos,) = tiny.eos_ids
    rows = prompts(tiny)
    said = [[65, eos], [65, 66, 67, 68, eos], [], [66]]
    out = decode(tiny, rows, forced=said, max_new_tokens=9, suppress=[eos])
    assert [row.finished for row in out] == [True, True, False, False]
    assert [len(row.token_ids) for row in out] == [2, 5, 9, 9] and out[0].token_ids == [65, eos]
    through = decode(tiny, rows[:1], forced=[[65, eos, 66]], max_new_tokens=9, suppress=[eos])[0]
    assert through.token_ids[:3] == [65, eos, 66] and len(through.token_ids) == 9
    alone = decode(tiny, [rows[3]], forced=[said[3]], max_new_tokens=9, suppress=[eos])[0]
    assert out[3].token_ids == alone.token_ids and np.allclose(out[3].logp, alone.logp, atol=TIE)


def test_a_least_number_of_tokens_and_suppressed_ids() -> None:
    lm = tiny_lm("qwen3", fresh=True)
    ends = frozenset(range(60, 90))
    lm.__dict__["eos_ids"] = ends  # a random model says its one EOS too rarely
    rows = prompts(lm) * 8
    numbers = list(range(len(rows)))
    likely = decode(lm, rows, samples=numbers, max_new_tokens=40)
    assert sum(row.finished and len(row.token_ids) < 12 for row in likely) > 8
    assert all(not set(row.token_ids[:-1]) & ends for row in likely)
    at_least = decode(lm, rows, samples=numbers, max_new_tokens=40, min_new_tokens=12)
    assert all(len(row.token_ids) >= 13 and not set(row.token_ids[:12]) & ends for row in at_least)
    assert any(len(row.token_ids) == 13 for row in at_least)
    without = decode(lm, rows, samples=numbers, max_new_tokens=40, suppress=range(60, 89))
    assert {t for row in without for t in row.token_ids} & ends <= {89}


@pytest.mark.parametrize("think", [0, 1, 7])
def test_exactly_so_many_tokens_and_then_a_slot(arch_lm: LM, think: int) -> None:
    """The states behind a suffix are those of a plain forward over everything; suffixes may differ in length."""
    v, rows, c = direction(arch_lm, scale=0.5), prompts(arch_lm), [0.5, 0.0, -1.0, 2.0]
    suffixes = [[70, 71, 72], [70], [], [70, 71]]
    out = decode(arch_lm, rows, direction=v, c=c, max_new_tokens=think, suffix=suffixes)
    for row, prompt, suffix, dose in zip(out, rows, suffixes, c, strict=True):
        assert len(row.token_ids) == think and not set(row.token_ids) & arch_lm.eos_ids
        with torch.no_grad(), steered(arch_lm, v, dose, starts=[len(prompt) - 1]):
            logits = arch_lm.model(input_ids=torch.tensor([prompt + row.token_ids + suffix])).logits[0]
        assert row.suffix_states is not None and row.suffix_states.shape == (len(suffix) + 1, arch_lm.d_model)
        assert torch.allclose(arch_lm.head(row.suffix_states), logits[-len(suffix) - 1 :], atol=1e-3)
    one = decode(arch_lm, rows, direction=v, c=c, max_new_tokens=think, suffix=[70, 71])
    assert all(row.suffix_states is not None and len(row.suffix_states) == 3 for row in one)


def test_the_context_is_never_exceeded() -> None:
    lm = tiny_lm("gpt2", n_positions=96)
    row = lm.prompt_ids("Hello")
    room = 96 - len(row)
    out = decode(lm, [row], max_new_tokens=500, min_new_tokens=500)[0]
    assert len(out.token_ids) == room and not out.finished
    long = lm.prompt_ids("x" * 80)
    for call in (
        lambda: decode(lm, [row, long], max_new_tokens=5),
        lambda: decode(lm, [row], max_new_tokens=room, suffix=[65]),
        lambda: generate(lm, "x" * 80),
    ):
        with pytest.raises(UserError, match="context"):
            call()


def test_where_clauses_that_steer_the_prompt_are_prefilled_whole(tiny: LM) -> None:
    v, rows = direction(tiny, scale=0.5), prompts(tiny)
    for where in ("assistant", "generated", "prompt", "all"):
        out = decode(tiny, rows, direction=v, c=1.5, where=where, max_new_tokens=8, temperature=0, min_new_tokens=8)
        for row, ids in zip(out, rows, strict=True):
            with torch.no_grad(), steered(tiny, v, 1.5, where=where, starts=[len(ids) - 1]):
                logits = tiny.model(input_ids=torch.tensor([ids + row.token_ids])).logits[0, len(ids) - 1 : -1]
            wanted = logits.log_softmax(-1).gather(1, torch.tensor(row.token_ids)[:, None])[:, 0]
            assert torch.allclose(torch.tensor(row.logp), wanted, atol=TIE)


def test_schedule_and_gate_hold_in_decoding(tiny: LM) -> None:
    from ws.steering.schedules import CosineGate

    v, rows = direction(tiny, scale=0.5), prompts(tiny)
    for how in ({"schedule": "exponential:2"}, {"schedule": "window:2:6"}, {"gate": CosineGate(0.0)}):
        out = decode(tiny, rows, direction=v, c=2.0, max_new_tokens=8, temperature=0, min_new_tokens=8, **how)
        for row, ids in zip(out, rows, strict=True):
            with torch.no_grad(), steered(tiny, v, 2.0, starts=[len(ids) - 1], **how):
                logits = tiny.model(input_ids=torch.tensor([ids + row.token_ids])).logits[0, len(ids) - 1 : -1]
            wanted = logits.log_softmax(-1).gather(1, torch.tensor(row.token_ids)[:, None])[:, 0]
            assert torch.allclose(torch.tensor(row.logp), wanted, atol=TIE)


# --- backtracking ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("arch", ["qwen3", "gemma3"])
def test_rows_that_break_roll_back_and_go_on_as_if_alone(arch: str) -> None:
    lm = tiny_lm(arch)
    v, rows = direction(lm, scale=2.0), prompts(lm) * 2
    doses, samples = [6.0, 0.0, 5.0, 0.05] * 2, [0] * 4 + [1] * 4
    rule = Backtrack(window=4, floor=-6.5, tokens=3, factor=0.25, limit=2)
    how: dict[str, Any] = {"direction": v, "max_new_tokens": 20, "min_new_tokens": 20}
    out = decode(lm, rows, c=doses, samples=samples, backtrack=rule, **how)
    rolled, checked = [i for i, row in enumerate(out) if row.rollbacks], 0
    assert rolled and {i % 4 for i in rolled} <= {0, 2} and len({out[i].rollbacks for i in rolled} | {0}) >= 2
    free = decode(lm, rows, c=doses, samples=samples, **how)
    for i, row in enumerate(out):
        assert len(row.token_ids) == 20 and row.scale == 0.25**row.rollbacks
        if not row.rollbacks:
            assert row.token_ids == free[i].token_ids
            continue
        # what was kept both runs share; from there on the row is what its lower c makes of the kept tokens
        kept = next(t for t, (a, b) in enumerate(zip(row.logp, free[i].logp, strict=True)) if abs(a - b) > TIE)
        alone = {**how, "c": doses[i] * row.scale, "samples": [samples[i]], "forced": [row.token_ids[:kept]]}
        final = decode(lm, [rows[i]], **alone)[0]
        if row.rollbacks == 1:
            checked += 1
            assert row.token_ids == final.token_ids
            assert np.allclose(row.logp[kept:], final.logp[kept:], atol=TIE)
    assert checked and all(np.isfinite(row.logp).all() for row in out)


def test_a_rollback_happens_exactly_when_the_base_says_so(tiny: LM) -> None:
    """Replayed by hand: the first window whose mean base log-probability is below the floor ends the first attempt."""
    v, rows = direction(tiny, scale=2.0), prompts(tiny)
    rule = Backtrack(window=4, floor=-6.5, tokens=3, factor=0.0, limit=1)
    how: dict[str, Any] = {"max_new_tokens": 20, "min_new_tokens": 20}
    free = decode(tiny, rows, direction=v, c=6.0, **how)
    out = decode(tiny, rows, direction=v, c=6.0, backtrack=rule, **how)
    rollbacks = 0
    for ids, wild, row in zip(rows, free, out, strict=True):
        with torch.no_grad():
            logits = tiny.model(input_ids=torch.tensor([ids + wild.token_ids])).logits[0, len(ids) - 1 : -1]
        base = logits.log_softmax(-1).gather(1, torch.tensor(wild.token_ids)[:, None])[:, 0].tolist()
        broken = [t for t in range(4, 21) if sum(base[t - 4 : t]) / 4 < rule.floor]
        assert row.rollbacks == bool(broken)
        if broken:
            rollbacks += 1
            kept = broken[0] - 3
            assert row.token_ids[:kept] == wild.token_ids[:kept] and row.logp[:kept] == wild.logp[:kept]
            calm = decode(tiny, [ids], forced=[wild.token_ids[:kept]], **how)[0]
            assert row.token_ids == calm.token_ids
    assert rollbacks


def test_the_frame_says_what_backtracking_did(tiny: LM) -> None:
    v, rule = direction(tiny, scale=2.0), Backtrack(window=4, floor=-6.5, tokens=3, limit=1)
    df = generate(tiny, list(USERS), v, [0.0, 6.0], backtrack=rule, max_new_tokens=16, min_new_tokens=16)
    assert df.columns == [*SCHEMA, "scale", "rollbacks"]
    assert df.filter(pl.col("c") == 0)["rollbacks"].sum() == 0 and df["rollbacks"].max() == 1
    assert df.filter(pl.col("rollbacks") == 1)["scale"].unique().to_list() == [0.5]
    assert all(map(np.isfinite, df["kl_drift"].explode()))
    for bad in ({"window": 0}, {"factor": 1.0}, {"tokens": 0}, {"limit": -1}, {"floor": math.nan}):
        with pytest.raises(UserError, match="backtracking"):
            Backtrack(**bad)


# --- the frame -------------------------------------------------------------------------------------------------------


def test_the_frame_has_exactly_the_columns_of_the_contract(tiny: LM) -> None:
    asked = [Prompt("Hi", id="greeting", split="train"), "May a nurse lie?"]
    df = generate(tiny, asked, direction(tiny), [0, 0.5], n=3, seed=7, max_new_tokens=5)
    assert dict(df.schema) == SCHEMA and df.height == 12
    assert df["prompt"].to_list() == ["Hi"] * 6 + ["May a nurse lie?"] * 6
    assert df["c"].to_list() == [0.0] * 3 + [0.5] * 3 + [0.0] * 3 + [0.5] * 3
    assert df["sample"].to_list() == [0, 1, 2] * 4 and set(df["seed"]) == {7} and set(df["split"]) == {"train", ""}
    assert df["prompt_id"].to_list()[0] == "greeting"
    assert df["prompt_id"].to_list()[6] == identity(tiny.prompt_ids("May a nurse lie?"))
    lengths = df.select(pl.col("token_ids", "logp_steered", "logp_base", "kl_drift").list.len())
    assert all(len(set(row)) == 1 for row in lengths.iter_rows())
    empty = generate(tiny, "Hi", max_new_tokens=0)
    assert dict(empty.schema) == SCHEMA and empty["token_ids"].to_list() == [[]] and empty["text"].to_list() == [""]
    assert generate(tiny, "Hi", trace=False, max_new_tokens=3)["kl_drift"].null_count() == 1


def test_text_is_what_the_tokens_say_without_the_end(tiny: LM) -> None:
    df = generate(tiny, list(USERS), n=8, max_new_tokens=30)
    for row in df.filter(pl.col("finished")).iter_rows(named=True):
        assert row["token_ids"][-1] in tiny.eos_ids and row["text"] == tiny.tok.decode(row["token_ids"][:-1])
    assert 0 < df["finished"].sum() < df.height


def test_a_prompts_identity_does_not_change_with_persona_or_form(tiny: LM) -> None:
    arms = [
        generate(tiny, "Hi", max_new_tokens=4, **kw) for kw in ({}, {"persona": "You are kind."}, {"form": "open"})
    ] + [generate(tiny, Prompt("Hi", system="You are kind."), max_new_tokens=4)]
    assert len({arm["prompt_id"][0] for arm in arms}) == 1
    assert arms[1].equals(arms[3]) and not arms[0]["logp_steered"].equals(arms[1]["logp_steered"])
    assert arms[0]["kl_drift"].explode().sum() == 0 and arms[1]["kl_drift"].explode().max() > 0


def test_defaults_come_from_the_models_own_config() -> None:
    lm = tiny_lm("qwen3", fresh=True)
    plain = generate(lm, list(USERS), max_new_tokens=6, trace=False)
    lm.model.generation_config.update(temperature=0.5, top_k=2, do_sample=True, repetition_penalty=5.0)
    own = generate(lm, list(USERS), max_new_tokens=6, trace=False)
    said = generate(lm, list(USERS), max_new_tokens=6, temperature=0.5, top_k=2, trace=False)
    assert own.equals(said) and not own.equals(plain)


def test_gemmas_template_without_a_system_role_is_generated_from() -> None:
    lm = tiny_lm("gemma2", template=GEMMA)
    df = generate(lm, list(USERS), direction(lm), [0, 0.5], max_new_tokens=5)
    assert df.height == 8 and df.filter(pl.col("c") == 0)["kl_drift"].explode().sum() == 0


def test_progress_counts_rows_and_an_exception_in_it_leaves_no_hook(tiny: LM) -> None:
    seen: list[tuple[int, int]] = []
    how: dict[str, Any] = {"max_new_tokens": 6, "batch_size": 3, "on_progress": lambda *a: seen.append(a)}
    generate(tiny, list(USERS), direction(tiny), [0, 1], **how)
    assert [done for done, _ in seen] == sorted(done for done, _ in seen) and seen[-1] == (8, 8)

    def stop(done: int, total: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        generate(tiny, list(USERS), direction(tiny), 1.0, max_new_tokens=6, on_progress=stop)
    assert hooks_left(tiny) == 0
    generate(tiny, "Hi", direction(tiny), 1.0, max_new_tokens=2)


def test_mistakes_are_named(tiny: LM) -> None:
    v = direction(tiny)
    for match, call in {
        "nothing to generate": lambda: generate(tiny, []),
        "n = 0": lambda: generate(tiny, "Hi", n=0),
        "without a direction": lambda: generate(tiny, "Hi", c=1.0),
        "one finite dose": lambda: generate(tiny, "Hi", v, [0.0, math.nan]),
        "or a list of them": lambda: generate(tiny, "Hi", v, []),
        "top_p": lambda: generate(tiny, "Hi", top_p=2.0),
        "no prompt form": lambda: generate(tiny, "Hi", form="loud"),
        "where must be": lambda: generate(tiny, "Hi", where="everywhere"),
        "other weights|read from weights": lambda: generate(tiny, "Hi", direction(tiny, fingerprint="0" * 16), 1.0),
        "2 coefficients for 1 rows": lambda: decode(tiny, prompts(tiny)[:1], direction=v, c=[1.0, 2.0]),
        "starts has 2": lambda: decode(tiny, prompts(tiny)[:1], [1, 2]),
        "suffix has 2": lambda: decode(tiny, prompts(tiny)[:1], suffix=[[65], [66]]),
        "backtracking ends": lambda: decode(tiny, prompts(tiny), suffix=[65], backtrack=Backtrack()),
        "without tokens": lambda: decode(tiny, [[]], [0]),
        "leaves no token": lambda: decode(tiny, prompts(tiny), suppress=range(tiny.vocab_size)),
        "the id 9999": lambda: decode(tiny, prompts(tiny), suppress=[9999]),
    }.items():
        with pytest.raises(UserError, match=match):
            call()
    with steered(tiny, v), pytest.raises(UserError, match="inside"):
        generate(tiny, "Hi")


def test_pairs_take_one_multiplier_and_default_to_one(tiny: LM) -> None:
    v, w = direction(tiny, seed=1, scale=0.3), direction(tiny, seed=2, scale=0.3)
    how: dict[str, Any] = {"max_new_tokens": 6}
    left_out, said, none = (generate(tiny, "Hi", [(v, 2.0), (w, -1.0)], c, **how) for c in (None, 1.0, 0.0))
    assert left_out.equals(said) and none["kl_drift"].explode().sum() == 0 < said["kl_drift"].explode().sum()
    assert generate(tiny, "Hi", v, **how)["c"].to_list() == [0.0]


def test_position_ids_are_explicit(tiny: LM) -> None:
    """A padded row in a batch equals the row alone, which transformers does not promise without position ids."""
    rows = prompts(tiny)
    ids, mask = pad(rows, tiny.pad_id, tiny.device, left=True)
    with torch.no_grad():
        batch = tiny.model(input_ids=ids, attention_mask=mask, position_ids=positions(mask)).logits[:, -1]
    first = decode(tiny, rows, max_new_tokens=1, temperature=0)
    for i, row in enumerate(first):
        assert row.logp[0] == pytest.approx(float(batch[i].log_softmax(-1).max()), abs=TIE)


def test_a_multimodal_wrapper_is_steered_and_decoded_like_its_text_model() -> None:
    """There the blocks' parent sees embeddings and finished masks only."""
    lm = gemma3_with_vision()
    rows, v = [lm.prompt_ids(user, system="a") for user in ("Hi", "Is it")], direction(lm, scale=0.5)
    ids, mask = pad(rows, lm.pad_id, lm.device, left=True)
    with torch.no_grad(), steered(lm, v, 0.7):
        theirs = lm.model.generate(input_ids=ids, attention_mask=mask, do_sample=False, max_new_tokens=12)
    ours = decode(lm, rows, direction=v, c=0.7, temperature=0, max_new_tokens=12)
    assert [row.token_ids for row in ours] == theirs[:, ids.shape[1] :].tolist()
    free = decode(lm, rows, temperature=0, max_new_tokens=12)
    assert [row.logp for row in free] != [row.logp for row in ours]


@pytest.mark.parametrize("name", names())
def test_bfloat16_stays_bfloat16_and_its_zero_rows_stay_pristine(name: str) -> None:
    lm = tiny_lm("qwen3", fresh=True)
    lm.model.to(torch.bfloat16)
    v = direction(lm, method=name)
    rows = prompts(lm)
    mixed = decode(lm, rows, direction=v, c=[0.0, 5.0, 0.0, 5.0], max_new_tokens=1, keep_states=True)
    plain = decode(lm, rows, max_new_tokens=1, keep_states=True)
    assert mixed[0].states[0].dtype == torch.bfloat16
    assert [a.logp == b.logp for a, b in zip(mixed, plain, strict=True)] == [True, False, True, False]


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="NO CUDA DEVICE: decoding was not compared with a GPU's")
def test_a_gpu_says_what_the_cpu_says(arch_lm: LM) -> None:
    lm = tiny_lm(arch_lm.name.removeprefix("tiny-"), fresh=True)
    v, said, doses = direction(lm, scale=0.5), [[65, 70, 33, 90, 71]] * 4, [0.3, -0.8, 0.0, 1.0]
    here = decode(lm, prompts(lm), direction=v, c=doses, forced=said, max_new_tokens=5)
    lm.model.to("cuda")
    there = decode(lm, prompts(lm), direction=v, c=doses, forced=said, max_new_tokens=5)
    assert all(np.allclose(a.logp, b.logp, atol=1e-3) for a, b in zip(here, there, strict=True))
    rule = Backtrack(window=4, floor=-1.0, tokens=3, limit=1)
    df = generate(lm, list(USERS), v, [0.0, 1.0], n=2, max_new_tokens=8, backtrack=rule)
    assert df.height == 16 and all(map(np.isfinite, df["kl_drift"].explode()))


def test_a_seed_is_a_whole_number_of_64_bits(tiny: LM) -> None:
    texts = [generate(tiny, ["Hi"], seed=seed, max_new_tokens=3) for seed in (3, np.int64(3))]
    assert texts[0].equals(texts[1])
    for seed in (2**63, -(2**63) - 1, 1.5, "1", None):
        with pytest.raises(UserError, match="seed must be a whole number"):
            generate(tiny, ["Hi"], seed=seed, max_new_tokens=3)
