"""The answer slot against a naive reference: one full forward per row, order and answer, without cache or batch."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import polars as pl
import pytest
import torch
from torch import Tensor

from tests.builders.tiny_models import CHATML, GEMMA, tiny_lm
from tests.builders.vignettes import QUESTIONS, direction, items, scores
from ws.errors import UserError
from ws.evaluation import answer_slot
from ws.evaluation.answer_slot import ORDERS, Reading, SlotReader
from ws.evaluation.items import ItemSet, load_items
from ws.evaluation.readings.dilemmas import (
    frac_low_pmass,
    gain,
    mean_shift,
    monotone,
    read_dilemmas,
    t_statistic,
    yes_no_ids,
)
from ws.evaluation.vignettes import ROWS, read_vignettes
from ws.evaluation.wording import Wording, wording_of
from ws.gating.foundations import FOUNDATIONS
from ws.generation.sampling import choose
from ws.models.lm import LM
from ws.models.recipe import MINI
from ws.steering.hooks import steered

C = 0.7
SINGLE = Wording(dict(zip(FOUNDATIONS, "abcdefg", strict=True)), wording_of(tiny_lm()).user)


def naive_logps(lm: LM, ids: Sequence[int], c: float, tag: int) -> Tensor:
    """(T, V) log-probabilities from one full forward, steered from the tag on."""
    full = torch.tensor([list(ids)])
    with torch.inference_mode(), steered(lm, direction(lm), c, starts=[tag]):
        hidden = lm.body(input_ids=full, attention_mask=torch.ones_like(full), use_cache=False).last_hidden_state
        return lm.head(hidden)[0].float().log_softmax(-1)


def naive_answers(
    lm: LM, wording: Wording, prompt: list[int], between: list[int], c: float
) -> tuple[list[float], float]:
    """Log-probability of each answer, summed over its tokens, and of the prefill."""
    prefill = lm.encode(wording.prefill)
    context = [*prompt, *between, *prefill]
    answers, forced = [], 0.0
    for f in FOUNDATIONS:
        answer = lm.encode(wording.labels[f])
        logps = naive_logps(lm, context + answer, c, len(prompt) - 1)
        at = len(context) - 1
        answers.append(sum(float(logps[at + j, token]) for j, token in enumerate(answer)))
        at -= len(prefill)
        forced = sum(float(logps[at + j, token]) for j, token in enumerate(prefill))
    return answers, forced


def test_scores_are_those_of_a_naive_forward(arch_lm: LM) -> None:
    chosen, wording = items().subset(None), wording_of(arch_lm)
    found = read_vignettes(arch_lm, chosen, Reading(), direction=direction(arch_lm), cs=[0.0, C])
    for c, frame in zip((0.0, C), found, strict=True):
        row, item = frame.row(2, named=True), chosen.items[2]
        users = [wording.user(item.texts["other_violate"], order) for order in ORDERS]
        read = [naive_answers(arch_lm, wording, arch_lm.prompt_ids(user), [], c) for user in users]
        forward, reverse = (np.array(answers) for answers, _ in read)
        assert row["forward"] == pytest.approx(forward, abs=1e-4) and row["reverse"] == pytest.approx(reverse, abs=1e-4)
        mean = (forward + reverse) / 2
        assert [row[f"score_{f}"] for f in FOUNDATIONS] == pytest.approx(mean, abs=1e-4)
        assert [row[f"p_{f}"] for f in FOUNDATIONS] == pytest.approx(np.exp(mean) / np.exp(mean).sum(), rel=1e-3)
        forced = [prefill for _, prefill in read]
        assert row["nll_json"] == pytest.approx(-np.mean(forced) / len(arch_lm.encode(wording.prefill)), abs=1e-5)
        assert row["p_prefill"] == pytest.approx(np.exp(forced).mean(), rel=1e-3)
        free = np.mean([math.exp(p) * np.exp(a).sum() for a, p in read])
        assert row["p_ans_free"] == pytest.approx(free, rel=1e-3)
    assert np.abs(scores(found[0]) - scores(found[1])).max() > 0.1, "the direction did nothing"


@pytest.mark.parametrize("think", [0, 5])
def test_numbers_do_not_depend_on_the_batch(tiny: LM, think: int) -> None:
    reading, v, some = Reading(think=think, samples=2), direction(tiny), ItemSet("some", items(2).items[3:9])
    read = [read_vignettes(tiny, some, replace(reading, batch_size=b), direction=v, cs=[0.0, C]) for b in (1, 8, 64)]
    alone = [read_vignettes(tiny, some, reading, direction=v, cs=[c])[0] for c in (0.0, C)]
    for other in (*read[1:], alone):
        for frame, want in zip(other, read[0], strict=True):
            assert np.abs(scores(frame) - scores(want)).max() < 1e-4
            assert frame.select("p_ans_any", "p_prefill").to_numpy() == pytest.approx(
                want.select("p_ans_any", "p_prefill").to_numpy(), rel=1e-3)  # fmt: skip


def test_mass_is_over_the_whole_vocabulary(tiny: LM) -> None:
    frame = read_vignettes(tiny, items(), Reading(), wording=SINGLE)[0]
    assert frame.schema == pl.Schema(ROWS)
    masses = [np.exp(frame[order].to_list()).sum(1) for order in ("forward", "reverse")]
    assert frame["p_ans_any"].to_numpy() == pytest.approx(np.mean(masses, 0), rel=1e-6)
    assert (frame["p_ans_any"] < 0.5).all(), "a softmax over the seven alone would give 1"


def test_whole_and_first_agree_on_single_tokens_and_first_refuses_collisions(tiny: LM) -> None:
    whole, first = (read_vignettes(tiny, items(), Reading(readout=r), wording=SINGLE)[0] for r in ("whole", "first"))
    assert np.array_equal(scores(whole), scores(first))
    with pytest.raises(UserError, match=r"Loyalty and Liberty begin with the same token \('L'\)"):
        read_vignettes(tiny, items(), Reading(readout="first"))


def test_first_reads_the_first_token_of_long_answers(tiny: LM) -> None:
    wording = Wording(dict(zip(FOUNDATIONS, ("ab", "bcd", "c", "de", "ef", "f", "gh"), strict=True)), SINGLE.user)
    first = read_vignettes(tiny, items(), Reading(readout="first"), wording=wording)[0]
    assert np.allclose(scores(first), scores(read_vignettes(tiny, items(), Reading(), wording=SINGLE)[0]), atol=1e-5)
    whole = read_vignettes(tiny, items(), Reading(), wording=wording)[0]
    longer = (scores(whole) < scores(first) - 1e-3).all(0)
    assert longer.tolist() == [len(label) > 1 for label in wording.labels.values()]


def think_and_read(lm: LM, reading: Reading, patch: pytest.MonkeyPatch) -> tuple[pl.DataFrame, list[list[list[int]]]]:
    """One item read after thinking, and what each order's draws thought."""
    drawn: list[list[int]] = []

    def watch(*args: Any, **kwargs: Any) -> Tensor:
        tokens = choose(*args, **kwargs)
        drawn.append(tokens.tolist())
        return tokens

    patch.setattr(answer_slot, "choose", watch)
    one = ItemSet("one", items().items[:1])
    frame = read_vignettes(lm, one, reading, direction=direction(lm), cs=[C])[0]
    rows = [list(row) for row in zip(*drawn, strict=True)]
    return frame, [rows[: reading.draws], rows[reading.draws :]]


@pytest.mark.parametrize(("arch", "samples"), [("qwen3", 2), ("qwen3", 0), ("llama", 2), ("gemma3", 1)])
def test_thinks_hold_exactly_t_tokens_and_all_of_them_count(
    arch: str, samples: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    lm, reading = tiny_lm(arch, template=GEMMA if arch == "gemma3" else CHATML), Reading(think=6, samples=samples)
    frame, thought = think_and_read(lm, reading, monkeypatch)
    barred = {*lm.eos_ids, lm.encode("</think>")[0]}
    assert all(len(row) == 6 and barred.isdisjoint(row) for rows in thought for row in rows)
    wording, text = wording_of(lm), items().items[0].texts["other_violate"]
    for order, name, rows in zip(ORDERS, ("forward", "reverse"), thought, strict=True):
        form = "open" if lm.thinks else None
        prompt = lm.prompt_ids(wording.user(text, order), form=form) + ([] if lm.thinks else lm.encode("<think>\n"))
        read = [naive_answers(lm, wording, prompt, row + lm.encode("\n</think>\n\n"), C)[0] for row in rows]
        want = np.logaddexp.reduce(read, axis=0) - math.log(len(rows))
        assert frame[name][0].to_list() == pytest.approx(want.tolist(), abs=1e-4)


def test_greedy_thinks_take_the_likeliest_token(tiny: LM, monkeypatch: pytest.MonkeyPatch) -> None:
    _, thought = think_and_read(tiny, Reading(think=4, samples=0), monkeypatch)
    prompt = tiny.prompt_ids(wording_of(tiny).user(items().items[0].texts["other_violate"], ORDERS[0]), form="open")
    barred, tag = [*tiny.eos_ids, tiny.encode("</think>")[0]], len(prompt) - 1
    for token in thought[0][0]:
        logps = naive_logps(tiny, prompt, C, tag)[-1].clone()
        logps[barred] = -torch.inf
        assert int(logps.argmax()) == token
        prompt = [*prompt, token]


def test_sampled_thinks_differ_between_samples_and_repeat_with_the_seed(
    tiny: LM, monkeypatch: pytest.MonkeyPatch
) -> None:
    reading = Reading(think=8, samples=3)
    first, again = (think_and_read(tiny, reading, monkeypatch)[1] for _ in range(2))
    other = think_and_read(tiny, replace(reading, seed=1), monkeypatch)[1]
    assert first == again != other
    assert len({tuple(row) for row in first[0]}) == 3


def test_persona_replaces_the_neutral_prompt(tiny: LM) -> None:
    neutral, same, other = (
        read_vignettes(tiny, items(), Reading(), persona=p)[0] for p in (None, tiny.neutral, "You are a pirate.")
    )
    assert np.array_equal(scores(neutral), scores(same)) and np.abs(scores(neutral) - scores(other)).max() > 0.05


def test_both_conditions_are_rows_of_their_own(tiny: LM) -> None:
    both = read_vignettes(tiny, items(), Reading(conditions=("other_violate", "self_violate")))[0]
    assert both.height == 14 and both["condition"].to_list() == ["other_violate", "self_violate"] * 7
    alone = read_vignettes(tiny, items(), Reading(conditions=("self_violate",)))[0]
    assert np.allclose(scores(both.filter(pl.col("condition") == "self_violate")), scores(alone), atol=1e-4)


def test_json_is_valid_only_where_it_closes_with_a_label() -> None:
    wording = wording_of(tiny_lm())
    valid = ('Care"}', 'Social norms"}', 'Liberty" }, and so on', 'Care"\n}')
    broken = ("Care", 'care"}', 'Honour"}', 'Care", "why": "it hurts"}', "}", 'Care"')
    assert all(map(wording.is_valid, valid)) and not any(map(wording.is_valid, broken))


def test_the_embedded_model_is_asked_in_the_words_of_its_corpus(tiny: LM) -> None:
    wording = wording_of(replace(tiny, recipe=MINI))
    assert wording.user("You see it.", FOUNDATIONS[:2]) == "You see it.\nWhat is wrong here?\ncare\nfairness"
    assert wording.labels["SocialNorms"] == "norms" and wording.is_valid('norms"}')


def test_a_greedy_continuation_that_closes_is_counted(tiny: LM, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        SlotReader, "_decode", lambda _, tokens: ['Care"}' if i % 2 else "x" for i in range(len(tokens))]
    )
    frame = read_vignettes(tiny, items(), Reading())[0]
    assert frame["json_valid"].mean() == pytest.approx(0.5)
    monkeypatch.undo()
    assert read_vignettes(tiny, items(), Reading())[0]["json_valid"].to_list() == [0.0] * 7, "a random model"


def test_a_continuation_goes_on_until_nothing_that_follows_can_change_it(
    tiny: LM, monkeypatch: pytest.MonkeyPatch
) -> None:
    for wording, whole in ((wording_of(tiny), 'Care"}'), (wording_of(replace(tiny, recipe=MINI)), "norms\n")):
        assert [wording.is_closed(whole[:n]) for n in range(len(whole) + 1)] == [False] * len(whole) + [True]
    monkeypatch.setattr(  # half of the rows close at once, the others with their sixth token
        SlotReader, "_decode",
        lambda _, tokens: ['Care"}'[: tokens.shape[1]] if i % 2 else "}" for i in range(len(tokens))],
    )  # fmt: skip
    assert read_vignettes(tiny, items(), Reading())[0]["json_valid"].mean() == pytest.approx(0.5)


def test_a_row_that_is_not_finite_stays_visible(tiny: LM, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = SlotReader._whole

    def broken(*args: Any) -> Tensor:
        return whole(*args).index_fill(0, torch.tensor([0]), torch.nan)

    monkeypatch.setattr(SlotReader, "_whole", broken)
    frame = read_vignettes(tiny, items(), Reading())[0]
    assert frame["p_Care"].is_nan().sum() == 1 and frame["p_ans_any"].is_nan().sum() == 1


def test_the_model_and_the_tokenizer_are_left_as_they_were(tiny: LM) -> None:
    hooks = [len(block._forward_hooks) for block in tiny.blocks]
    before = (tiny.tok.padding_side, tiny.tok.pad_token, len(tiny.model._forward_pre_hooks))
    read_vignettes(tiny, items(), Reading(think=2), direction=direction(tiny), cs=[C])
    assert (tiny.tok.padding_side, tiny.tok.pad_token, len(tiny.model._forward_pre_hooks)) == before
    assert [len(block._forward_hooks) for block in tiny.blocks] == hooks


@pytest.mark.parametrize(
    "bad", [{"conditions": ("third",)}, {"conditions": ()}, {"readout": "digit"}, {"think": -1}, {"batch_size": 0}]
)
def test_impossible_readings_are_the_users_error(bad: dict[str, Any]) -> None:
    with pytest.raises(UserError):
        Reading(**bad)


def test_missing_texts_and_long_prompts_are_the_users_error(tiny: LM) -> None:
    bare = load_items([{"id": "x", "foundation": "Care", "other_violate": "You see it."}])
    with pytest.raises(UserError, match="'x' has no text for 'self_violate'"):
        read_vignettes(tiny, bare, Reading(conditions=("self_violate",)))
    with pytest.raises(UserError, match="context"):
        read_vignettes(tiny, bare, Reading(think=500))


def test_dilemmas_are_mean_log_probabilities_of_the_sentences(arch_lm: LM) -> None:
    found = read_dilemmas(arch_lm, QUESTIONS, direction=direction(arch_lm), cs=[0.0, C])
    for c, frame in zip((0.0, C), found, strict=True):
        for question, row in zip(QUESTIONS, frame.iter_rows(named=True), strict=True):
            prompt = arch_lm.prompt_ids(question.text)
            means = []
            for answer in (arch_lm.encode(question.yes), arch_lm.encode(question.no)):
                logps = naive_logps(arch_lm, prompt + answer, c, len(prompt) - 1)
                means.append(np.mean([float(logps[len(prompt) - 1 + j, token]) for j, token in enumerate(answer)]))
            assert (row["logp_yes"], row["logp_no"]) == pytest.approx(tuple(means), abs=1e-4)
            assert row["logratio"] == pytest.approx(question.label * (means[0] - means[1]), abs=1e-4)
    assert found[0]["pmass"].is_nan().all(), "this tokenizer has no single token for yes"


def test_yes_and_no_tokens_are_summed_where_there_are_any(tiny: LM, monkeypatch: pytest.MonkeyPatch) -> None:
    assert yes_no_ids(tiny) is None
    words = ([40, 41], [50])
    monkeypatch.setattr("ws.evaluation.readings.dilemmas.yes_no_ids", lambda _: words)
    frame = read_dilemmas(tiny, QUESTIONS, direction=direction(tiny), cs=[C])[0]
    for question, row in zip(QUESTIONS, frame.iter_rows(named=True), strict=True):
        prompt = tiny.prompt_ids(question.text)
        p = naive_logps(tiny, prompt, C, len(prompt) - 1)[-1].exp()
        assert row["pmass"] == pytest.approx(float(p[[40, 41, 50]].sum()), rel=1e-3)
        assert row["yesno"] == pytest.approx(question.label * math.log(float(p[[40, 41]].sum() / p[50])), abs=1e-3)


def test_shift_and_low_pmass_are_counted_over_the_same_questions(tiny: LM) -> None:
    base, moved = read_dilemmas(tiny, QUESTIONS, direction=direction(tiny), cs=[0.0, C])
    want = (moved["logratio"] - base["logratio"]).mean()
    assert mean_shift(base, moved) == pytest.approx(want) and mean_shift(base, base) == 0
    with pytest.raises(UserError, match="other questions"):
        mean_shift(base, moved.reverse())
    assert math.isnan(frac_low_pmass(base)), "yes and no were not read"
    assert frac_low_pmass(base.with_columns(pmass=pl.Series([0.7, 0.8]))) == 0.5


def test_t_gain_and_monotone_are_their_formulas() -> None:
    slopes = np.array([1.0, 2.0, 3.0])
    logratio = 5 * np.arange(3)[:, None] + slopes[:, None] * np.array([-1.0, 0.0, 1.0])
    assert t_statistic([-1, 0, 1], logratio) == pytest.approx(2 / (1 / math.sqrt(3)))
    assert gain(3.0, 0.5) == pytest.approx(200) and gain(3.0, -1.0) == pytest.approx(300)
    assert monotone([0.1, 0.2, 0.2]) and monotone([3, 2, 1]) and not monotone([1, 3, 2])
