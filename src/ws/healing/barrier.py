"""The KL barrier: how far a student may drift from its reference before training is pushed back.

    nll, kl = position_losses(head, hidden, targets, {"base": cached}, "kl_rev", live="base")   # (n,) nats per position
    d = aggregate(*by_sequence(kl["base"], lengths), "rmse")                                    # (rows,) nats
    loss = (nll_per_sequence + beta * penalty(d, tau)).mean()

Below tau the barrier is flat: the trait may move in. Above, it pushes back with slope beta.
Plain KL is the case tau 0, mean, reference base.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence
from torch.utils.checkpoint import checkpoint

from ws.healing.divergences import aggregate_of, divergence_of, mean_over

__all__ = ["aggregate", "by_sequence", "kl_divergence", "mean_over", "penalty", "position_losses"]

# Logits held at once, in numbers: 32 M float32 are 128 MiB.
LOGITS = 1 << 25

Head = Callable[[Tensor], Tensor]


def kl_divergence(student: Tensor, reference: Tensor, kind: str = "kl_rev") -> Tensor:
    """The divergence of a barrier (ws.healing.divergences) from log-probabilities (..., V) -> (...), nats."""
    return divergence_of(kind)(student, reference)


def by_sequence(values: Tensor, lengths: Sequence[int]) -> tuple[Tensor, Tensor]:
    """Positions one sequence after the other (n,) -> a padded matrix (rows, longest) and its mask."""
    padded = pad_sequence(list(values.split(list(lengths))), batch_first=True)
    counts = torch.tensor(list(lengths), device=values.device)
    return padded, torch.arange(padded.shape[1], device=values.device) < counts[:, None]


def aggregate(kl: Tensor, mask: Tensor, how: str = "rmse") -> Tensor:
    """KL per position (rows, longest) -> D per sequence (rows,), nats; how: a name in
    ws.healing.divergences.AGGREGATES."""
    return aggregate_of(how)(kl, mask)


def penalty(d: Tensor, tau: float) -> Tensor:
    """The barrier itself, relu(D - tau) per sequence, nats."""
    return (d - tau).relu()


def position_losses(
    head: Head,
    hidden: Tensor,
    targets: Tensor,
    references: Mapping[str, Tensor],
    kind: str = "kl_rev",
    *,
    live: str | None = None,
    chunk: int | None = None,
) -> tuple[Tensor, dict[str, Tensor]]:
    """nll (n,) of the targets and KL (n,) to each reference, from final hidden states (n, d) of completion positions.

    head: hidden -> logits; references: name -> cached hidden states (n, d); live: the reference whose KL carries a
    gradient, the others are only logged. Logits exist chunk by chunk: where there are several chunks, they are computed
    again in the backward pass and are never there all at once.
    """
    size = chunk or max(16, LOGITS // head(hidden[:1].detach()).shape[-1])
    names = list(references)

    def piece(part: Tensor, ids: Tensor, *cached: Tensor) -> tuple[Tensor, ...]:
        return _piece(head, part, ids, dict(zip(names, cached, strict=True)), kind, live)

    parts = []
    for i in range(0, len(hidden), size):
        rows = slice(i, i + size)
        given = (hidden[rows], targets[rows], *(references[name][rows] for name in names))
        again = len(hidden) > size and torch.is_grad_enabled()
        parts.append(checkpoint(piece, *given, use_reentrant=False) if again else piece(*given))
    nll, *kls = (torch.cat(columns) for columns in zip(*parts, strict=True))
    return nll, dict(zip(names, kls, strict=True))


def _piece(
    head: Head, hidden: Tensor, targets: Tensor, cached: Mapping[str, Tensor], kind: str, live: str | None
) -> tuple[Tensor, ...]:
    """One chunk: nll, then the KL to each reference in order."""
    logp = head(hidden).float().log_softmax(-1)  # (n, V)
    nll = -logp.gather(-1, targets[:, None]).squeeze(-1)
    kls = []
    for name, states in cached.items():
        with torch.no_grad():
            reference = head(states).float().log_softmax(-1)
        kls.append(kl_divergence(logp if name == live else logp.detach(), reference, kind))
    return nll, *kls
