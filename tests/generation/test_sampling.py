"""The dice: exact distribution, finite everywhere, the same for every batch."""

from __future__ import annotations

import math

import pytest
import torch
from scipy import stats

from ws.errors import UserError
from ws.generation import sampling
from ws.generation.sampling import choose, gumbel_at, row_keys
from ws.generation.settings import check_sampling

N = 60_000
LOGITS = torch.tensor([1.2, -0.3, 0.0, 2.1, -4.0, 0.7, -1.5, 1.9])


def rows(n: int, *, vary: str = "step") -> dict[str, torch.Tensor]:
    still = torch.full((n,), 3, dtype=torch.int64)
    return {name: torch.arange(n) if name == vary else still for name in ("prompts", "samples", "step")}


def gumbel(seed: int, vocab: int, device: str = "cpu", **parts: torch.Tensor) -> torch.Tensor:
    """Noise (B, vocab) of the whole vocabulary."""
    keys = row_keys(seed, **{name: part.to(device) for name, part in parts.items()})
    return gumbel_at(keys, torch.arange(vocab, device=device))


def chi2(counts: torch.Tensor, probability: torch.Tensor) -> float:
    """p value of counts against probabilities."""
    expected = (probability / probability.sum() * counts.sum()).double().numpy()
    return float(stats.chisquare(counts.double().numpy(), expected).pvalue)


@pytest.mark.parametrize("vary", ["prompts", "samples", "step"])
def test_the_sampler_draws_from_the_softmax_whatever_is_counted_up(vary: str) -> None:
    keys = row_keys(7, **rows(N, vary=vary))
    drawn = choose(LOGITS.expand(N, -1), keys).bincount(minlength=8)
    assert chi2(drawn, LOGITS.double().softmax(-1)) > 1e-4
    assert chi2(drawn, (LOGITS * 1.05).double().softmax(-1)) < 1e-4, "the test would not see a 5 % error of the logits"


def test_consecutive_steps_and_neighbouring_samples_are_independent() -> None:
    for parts in (rows(N, vary="step"), rows(N, vary="samples")):
        drawn = choose(LOGITS.expand(N, -1), row_keys(0, **parts))
        pairs = (drawn[:-1] * 8 + drawn[1:])[::2].bincount(minlength=64)
        p = LOGITS.double().softmax(-1)
        assert chi2(pairs, torch.outer(p, p).flatten()) > 1e-4


def test_the_noise_is_gumbel_and_in_64_bits() -> None:
    noise = gumbel(1, **rows(400), vocab=250)
    assert noise.dtype == torch.float64 and noise.shape == (400, 250)
    assert float(stats.kstest(noise.flatten().numpy(), "gumbel_r").pvalue) > 1e-4
    assert abs(float(noise.mean()) - 0.5772) < 0.02 and abs(float(noise.var()) - math.pi**2 / 6) < 0.05


def test_extreme_hash_words_give_finite_noise() -> None:
    words = torch.tensor([0, 1, 2**10, 2**11, -1, -(2**11), 2**63 - 1, -(2**63)])
    noise = sampling._noise(words)
    assert bool(noise.isfinite().all())
    assert float(noise[0]) == pytest.approx(-math.log(54 * math.log(2)), abs=1e-9)  # the smallest uniform, 2^-54
    assert float(noise[4]) == pytest.approx(53 * math.log(2), abs=1e-9)  # the largest, 1 - 2^-53
    assert float(noise[7]) == pytest.approx(-math.log(math.log(2)), abs=1e-9)  # sign bit only: one half


def test_the_hash_is_splitmix64() -> None:
    def reference(z: int) -> int:
        z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) % 2**64
        z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) % 2**64
        return z ^ (z >> 31)

    words = [0, 1, 12345, 2**63, 2**64 - 1, 0x9E3779B97F4A7C15]
    mixed = sampling._mix(torch.tensor([sampling._signed(w) for w in words]))
    assert [int(m) % 2**64 for m in mixed] == [reference(w) for w in words]


def test_noise_of_some_tokens_is_the_noise_of_all() -> None:
    parts = rows(5)
    picked = torch.tensor([[3, 99, 0]]).expand(5, -1)
    whole = gumbel(2, **parts, vocab=100)
    assert torch.equal(gumbel_at(row_keys(2, **parts), picked), whole.gather(1, picked))


@pytest.mark.parametrize("size", [1, 8, 64])
def test_a_row_does_not_depend_on_its_batch(size: int) -> None:
    torch.manual_seed(0)
    logits, keys = torch.randn(64, 500), row_keys(3, **rows(64))
    every = {"temperature": 1.3, "top_k": 50, "top_p": 0.8}
    for settings in ({}, {"temperature": 0.7}, {"top_k": 20}, {"top_p": 0.9}, every):
        whole = choose(logits, keys, **settings)
        parts = [choose(logits[i : i + size], keys[i : i + size], **settings) for i in range(0, 64, size)]
        assert torch.equal(torch.cat(parts), whole)


def test_slices_of_the_vocabulary_give_the_same_token(monkeypatch: pytest.MonkeyPatch) -> None:
    logits, keys = torch.randn(16, 1000), row_keys(3, **rows(16))
    whole = choose(logits, keys)
    monkeypatch.setattr(sampling, "CHUNK", 16 * 7)
    assert torch.equal(choose(logits, keys), whole)


def test_temperature_top_k_and_top_p_against_closed_forms() -> None:
    keys, wide = row_keys(5, **rows(N)), LOGITS.expand(N, -1)
    assert torch.equal(choose(wide[:3], keys[:3], temperature=0), torch.tensor([3, 3, 3]))
    hot = choose(wide, keys, temperature=2.0).bincount(minlength=8)
    assert chi2(hot, (LOGITS.double() / 2).softmax(-1)) > 1e-4
    p = LOGITS.double().softmax(-1)
    three = choose(wide, keys, top_k=3).bincount(minlength=8)
    kept = p.topk(3).indices
    assert int(three.sum() - three[kept].sum()) == 0 and chi2(three[kept], p[kept]) > 1e-4
    nucleus = choose(wide, keys, top_p=0.7).bincount(minlength=8)
    ranked = p.sort(descending=True)
    inside = ranked.indices[(ranked.values.cumsum(0) - ranked.values) < 0.7]
    assert int(nucleus.sum() - nucleus[inside].sum()) == 0 and chi2(nucleus[inside], p[inside]) > 1e-4


def test_truncation_keeps_what_transformers_keeps() -> None:
    from transformers.generation.logits_process import TemperatureLogitsWarper, TopKLogitsWarper, TopPLogitsWarper

    torch.manual_seed(1)
    logits = torch.randn(6, 300) * 3
    for temperature, top_k, top_p in ((0.7, 0, 0.9), (1.0, 40, 1.0), (1.5, 25, 0.8)):
        want = TemperatureLogitsWarper(temperature)(None, logits)
        want = TopKLogitsWarper(top_k)(None, want) if top_k else want
        want = TopPLogitsWarper(top_p)(None, want) if top_p < 1 else want
        values, tokens = sampling._candidates(logits.double() / temperature, top_k, top_p)
        got = torch.full((6, 300), float("-inf"), dtype=torch.float64).scatter(1, tokens, values)
        assert torch.equal(got.isfinite(), want.isfinite())


def test_a_wide_nucleus_is_not_cut_at_the_first_look(monkeypatch: pytest.MonkeyPatch) -> None:
    flat, keys = torch.randn(4, 600) * 0.1, row_keys(1, **rows(4))
    whole = choose(flat, keys, top_p=0.95)
    monkeypatch.setattr(sampling, "WIDE", 16)
    assert torch.equal(choose(flat, keys, top_p=0.95), whole)


def test_suppressed_tokens_are_never_drawn_and_seeds_differ() -> None:
    logits = LOGITS.clone()
    logits[3] = float("-inf")
    drawn = choose(logits.expand(N, -1), row_keys(0, **rows(N)))
    assert int((drawn == 3).sum()) == 0
    a, b = (choose(LOGITS.expand(N, -1), row_keys(seed, **rows(N))) for seed in (0, 2**40))
    agree = float((a == b).double().mean())
    assert agree == pytest.approx(float((LOGITS.double().softmax(-1) ** 2).sum()), abs=0.01)


BAD = [{"temperature": -1.0}, {"temperature": math.nan}, {"top_k": -2}, {"top_p": 0.0}, {"top_p": 1.5}]


@pytest.mark.parametrize("bad", BAD)
def test_impossible_settings_are_the_users_error(bad: dict[str, float]) -> None:
    settings = {"temperature": 1.0, "top_k": 0, "top_p": 1.0} | bad
    with pytest.raises(UserError, match=str(next(iter(bad)))):
        check_sampling(**settings)  # type: ignore[arg-type]


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="NO CUDA DEVICE: the dice were not compared with a GPU's")
def test_the_dice_are_the_same_on_a_gpu() -> None:
    here, there = (gumbel(11, **rows(64), vocab=3000, device=device) for device in ("cpu", "cuda"))
    assert torch.allclose(here, there.cpu(), rtol=0, atol=1e-12)
    logits, keys = torch.randn(64, 3000), row_keys(11, **rows(64))
    assert torch.equal(choose(logits, keys), choose(logits.cuda(), keys.cuda()).cpu())
