"""The barrier against closed forms: a categorical of three symbols can be checked by hand."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor, nn

from ws.errors import UserError
from ws.healing.barrier import aggregate, by_sequence, kl_divergence, penalty, position_losses
from ws.healing.divergences import mean_over

P = torch.tensor([0.7, 0.2, 0.1], dtype=torch.float64)
Q = torch.tensor([0.5, 0.25, 0.25], dtype=torch.float64)
KL_PQ = 0.7 * math.log(0.7 / 0.5) + 0.2 * math.log(0.2 / 0.25) + 0.1 * math.log(0.1 / 0.25)
KL_QP = 0.5 * math.log(0.5 / 0.7) + 0.25 * math.log(0.25 / 0.2) + 0.25 * math.log(0.25 / 0.1)
EVERY = torch.ones(1, 5, dtype=torch.bool)
LINE = torch.tensor([[0.1, 0.4, 0.2, 0.3, 1.0]])


@pytest.mark.parametrize(("kind", "expected"), [("kl_rev", KL_PQ), ("kl_fwd", KL_QP)])
def test_values(kind: str, expected: float) -> None:
    assert kl_divergence(P.log(), Q.log(), kind).item() == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("kind", ["kl_rev", "kl_fwd"])
def test_gradients_in_the_logits(kind: str) -> None:
    # d KL(p||q)/dz = p * (log p/q - KL); d KL(q||p)/dz = p - q
    z = P.log().clone().requires_grad_()
    kl_divergence(z.log_softmax(-1), Q.log(), kind).backward()
    expected = P * ((P / Q).log() - KL_PQ) if kind == "kl_rev" else P - Q
    assert z.grad is not None
    torch.testing.assert_close(z.grad, expected)


@pytest.mark.parametrize(
    ("how", "expected"),
    [("mean", 0.4), ("rmse", math.sqrt(1.3 / 5)), ("p95", 0.4 + 0.8 * 0.6), ("max", 1.0)],
)
def test_aggregates(how: str, expected: float) -> None:
    assert aggregate(LINE, EVERY, how).item() == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize("how", ["mean", "rmse", "p95", "max"])
def test_padding_does_not_count(how: str) -> None:
    flat = torch.tensor([0.3, 0.1, 0.9, 0.2, 0.5, 0.7])
    together = aggregate(*by_sequence(flat, [4, 2]), how)
    alone = [aggregate(*by_sequence(part, [len(part)]), how) for part in flat.split([4, 2])]
    torch.testing.assert_close(together, torch.cat(alone))


def test_p95_is_torch_quantile() -> None:
    kl = torch.rand(1, 37, generator=torch.Generator().manual_seed(0))
    mine = aggregate(kl, torch.ones_like(kl, dtype=torch.bool), "p95")
    torch.testing.assert_close(mine, kl.quantile(0.95, dim=-1))


def test_unknown_names_are_the_users() -> None:
    with pytest.raises(UserError, match="rmse"):
        aggregate(LINE, EVERY, "median")
    with pytest.raises(UserError, match="kl_fwd"):
        kl_divergence(P.log(), Q.log(), "js")


def test_rmse_has_a_gradient_where_the_kl_is_exactly_zero() -> None:
    z = P.log().repeat(4, 1).requires_grad_()
    logp = z.log_softmax(-1)
    kl = kl_divergence(logp, logp.detach())
    assert kl.abs().max() == 0
    d = aggregate(*by_sequence(kl, [4]), "rmse")
    (0 * penalty(d, 0.0)).sum().backward(retain_graph=True)
    d.sum().backward()
    assert z.grad is not None and z.grad.isfinite().all() and z.grad.abs().max() < 1e-6


def test_penalty_is_flat_below_tau_and_linear_above() -> None:
    d = torch.tensor([0.1, 0.3, 0.8], requires_grad=True)
    pushed = penalty(d, 0.3)
    pushed.sum().backward()
    torch.testing.assert_close(pushed.detach(), torch.tensor([0.0, 0.0, 0.5]))
    assert d.grad is not None and d.grad.tolist() == [0, 0, 1]


def test_mean_is_over_own_positions() -> None:
    assert mean_over(*by_sequence(torch.tensor([1.0, 3.0, 5.0]), [2, 1])).tolist() == [2, 5]


class Softcapped(nn.Module):
    """A head with a softcap, as Gemma's."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(8, 13, dtype=torch.float64)

    def forward(self, hidden: Tensor) -> Tensor:
        return 2 * (self.linear(hidden) / 2).tanh()


@pytest.mark.parametrize("live", ["base", "prev", None])
def test_chunks_change_neither_values_nor_gradients(live: str | None) -> None:
    torch.manual_seed(0)
    head = Softcapped().requires_grad_(False)
    hidden = torch.randn(11, 8, dtype=torch.float64)
    references = {name: torch.randn(11, 8, dtype=torch.float64) for name in ("base", "prev")}
    targets = torch.randint(13, (11,))
    results = []
    for chunk in (None, 4):
        h = hidden.clone().requires_grad_()
        nll, kl = position_losses(head, h, targets, references, live=live, chunk=chunk)
        assert {name for name, k in kl.items() if k.requires_grad} == ({live} - {None})
        (nll.sum() + (kl[live].square().sum() if live else 0)).backward()
        results.append((nll.detach(), kl["base"].detach(), kl["prev"].detach(), h.grad))
    for one, other in zip(*results, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-5, atol=1e-6)
    expected = nn.functional.cross_entropy(head(hidden), targets, reduction="none").float()
    torch.testing.assert_close(results[0][0], expected, rtol=1e-5, atol=1e-6)
