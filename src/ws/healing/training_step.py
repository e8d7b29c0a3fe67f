"""HealTrainer: one adapter in training on a private copy of the model, with the earlier rounds' adapters frozen on it.

    trainer = HealTrainer(private_copy(lm), plan)
    row = trainer.step(0, [3, 7, 1])        # figures of one optimiser step over these training rows

References are final hidden states at the completion positions, cached once: `base` with all adapters off, `prev` with
the history on. They become logits chunk by chunk. The model stays in eval mode, so that no dropout enters the KL.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from ws.errors import UserError
from ws.healing.barrier import aggregate, by_sequence, penalty, position_losses
from ws.healing.config import HealConfig
from ws.healing.dataset import TrainingRow
from ws.healing.divergences import mean_over
from ws.healing.objectives import objective_of
from ws.healing.target_modules import targeted
from ws.healing.trainable import TrainableAdapter
from ws.models.adapters.adapter import Adapter
from ws.models.adapters.peft_layers import PeftLayers
from ws.models.lm import LM

__all__ = ["HealPlan", "HealTrainer"]


@dataclass(frozen=True)
class HealPlan:
    """What a heal is given: resolved settings, rows, the adapters underneath, the round."""

    config: HealConfig
    training: list[TrainingRow]
    validation: list[TrainingRow]
    history: list[tuple[Adapter, float]]
    round: int

    @property
    def steps(self) -> int:
        """Optimiser steps of the whole heal."""
        return self.config.epochs * math.ceil(len(self.training) / (self.config.batch or 1))

    def rate(self, step: int) -> float:
        """Learning rate: a linear rise over the warm-up, then a cosine to 0."""
        peak, rise = self.config.lr or 0.0, math.ceil(self.config.warmup * self.steps)
        if step < rise:
            return peak * (step + 1) / rise
        return peak * 0.5 * (1 + math.cos(math.pi * (step - rise) / max(1, self.steps - rise)))


class HealTrainer:
    """Trains one adapter step by step and measures each step. lm: a private copy, which it changes."""

    def __init__(self, lm: LM, plan: HealPlan) -> None:
        self.lm, self.plan, self.config = lm, plan, plan.config
        self.slope, self.tau = plan.config.slope(plan.round), plan.config.tau or 0.0
        self.objective = objective_of(self.config.objective)
        names = targeted(lm, plan.config.targets or "all", plan.config.depth or (0.0, 1.0))
        self.references = {"base": self._states(plan.training)}
        live = PeftLayers(lm.model)
        for i, (adapter, c) in enumerate(plan.history):
            live.add(f"ws_{i}", adapter.config, adapter.state, c)
        if plan.history:
            live.activate(trained=None)
            self.references["prev"] = self._states(plan.training)
        self.growing = TrainableAdapter(lm, live, plan.config, names)
        self.trained = self.growing.trained
        self.optimizer = torch.optim.AdamW(self._groups(), lr=0.0, betas=self.config.betas, fused=True)
        if self.config.checkpoint:
            for block in lm.blocks:
                block.forward = functools.partial(checkpoint, block.forward, use_reentrant=False)

    def step(self, step: int, batch: Sequence[int]) -> dict[str, float | None]:
        """One optimiser step over these training rows; what was measured, by column of the curve."""
        fitted, nll, d = self._losses(batch)
        held = d[f"kl_{self.config.reference}"]
        over = (held > self.tau).float().mean().item()
        pushes = self.slope > 0 and over > 0
        figures: dict[str, float | None] = {name: value.mean().item() for name, value in d.items()}
        figures |= {"nll": nll.mean().item(), "D": held.mean().item(), "over": over, "active": float(pushes)}
        self._check(step, figures)
        # the first step says nothing: its KL is 0
        measured = (step + 1) % self.config.measure_every == 0
        barrier = self.slope * penalty(held, self.tau).mean() if pushes else None
        figures["pressure"] = self._backward(fitted.mean(), barrier, measured)
        if step == 0:
            self.growing.check_reached()
        figures["lr"] = self._update(self.plan.rate(step))
        shown = self.growing.is_cheap or measured or step == self.plan.steps - 1
        return figures | {"update_norm": self.growing.norm() if shown else None}

    def _groups(self) -> list[dict[str, Any]]:
        """The trained parameters by how they decay: to 0, or (by `_update`) to where they start."""
        decay = self.config.weight_decay
        self.start = [(p, p.detach().clone()) for p in self.growing.resting] if decay else []
        resting = [p for p, _ in self.start]
        apart = {id(p) for p in resting}
        groups = [([p for p in self.trained if id(p) not in apart], decay), (resting, 0.0)]
        return [{"params": params, "weight_decay": decay} for params, decay in groups if params]

    def _update(self, rate: float) -> float:
        nn.utils.clip_grad_norm_(self.trained, self.config.clip)
        with torch.no_grad():
            for parameter, start in self.start:
                parameter.lerp_(start, rate * self.config.weight_decay)
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        self.optimizer.step()
        self.optimizer.zero_grad()
        return rate

    def _losses(self, batch: Sequence[int]) -> tuple[Tensor, Tensor, dict[str, Tensor]]:
        """What is fitted (rows,), the nll (rows,), and D (rows,) to both references, by column."""
        rows = [self.plan.training[i] for i in batch]
        cached = {name: torch.cat([states[i] for i in batch]) for name, states in self.references.items()}
        reference = self.config.reference if self.config.reference in cached else "base"
        nll, kl = position_losses(
            self.lm.head,
            self._hidden(rows),
            _targets(rows, self.lm.device),
            cached,
            self.config.barrier,
            live=reference if self.slope > 0 else None,
        )
        lengths = _lengths(rows)
        d = {name: aggregate(*by_sequence(k, lengths), self.config.aggregate) for name, k in kl.items()}
        fitted, plain = (mean_over(*by_sequence(values, lengths)) for values in (self.objective(nll), nll))
        return fitted, plain, {"kl_base": d["base"], "kl_prev": d.get("prev", d["base"])}

    def _backward(self, nll: Tensor, barrier: Tensor | None, measured: bool) -> float | None:
        """Fill the gradients; the pressure where it is measured, 0 where the barrier is flat for the whole batch."""
        if self.config.l2:
            (self.config.l2 * self.growing.square()).backward()
        if self.config.spectral:
            (self.config.spectral * self.growing.spectral()).backward()
        if barrier is None or not measured:
            (nll if barrier is None else nll + barrier).backward()
            return 0.0 if measured else None
        one = torch.autograd.grad(nll, self.trained, retain_graph=True)
        other = torch.autograd.grad(barrier, self.trained)
        for parameter, a, b in zip(self.trained, one, other, strict=True):
            parameter.grad = a + b if parameter.grad is None else parameter.grad + a + b
        return (_norm(other) / _norm(one)).item()

    def _check(self, step: int, figures: dict[str, float | None]) -> None:
        wrong = [f"{name} {value}" for name, value in figures.items() if value is None or not math.isfinite(value)]
        if wrong:
            raise UserError(
                f"the loss is not finite at step {step} of {self.plan.steps} ({', '.join(wrong)}). Lower lr"
                f" (now {self.config.lr:g}), raise beta or warmup, or load the model in float32."
            )

    def validation_loss(self) -> float | None:
        """Mean over the held-out rows of their nll per token; None where no prompt is held out."""
        if not self.plan.validation:
            return None
        total = 0.0
        for rows in _in_batches(self.plan.validation, self.config.batch or 1):
            with torch.no_grad():
                nll, _ = position_losses(self.lm.head, self._hidden(rows), _targets(rows, self.lm.device), {})
                total += mean_over(*by_sequence(nll, _lengths(rows))).sum().item()
        return total / len(self.plan.validation)

    def _states(self, rows: Sequence[TrainingRow]) -> list[Tensor]:
        """Final hidden states (n, d) at the completion positions of every row."""
        order = sorted(range(len(rows)), key=lambda i: len(rows[i].ids))
        found: dict[int, Tensor] = {}
        for batch in _in_batches(order, self.config.batch or 1):
            some = [rows[i] for i in batch]
            # no_grad, not inference_mode: these enter the graph of the training step
            with torch.no_grad():
                found |= dict(zip(batch, self._hidden(some).split(_lengths(some)), strict=True))
        return [found[i].clone() for i in range(len(rows))]

    def _hidden(self, rows: Sequence[TrainingRow]) -> Tensor:
        """Final hidden states (n, d) that predict the completions' tokens, row after row."""
        longest = max(len(row.ids) for row in rows)
        ids = torch.full((len(rows), longest), self.lm.pad_id)
        mask = torch.zeros(len(rows), longest, dtype=torch.long)
        for i, row in enumerate(rows):
            ids[i, : len(row.ids)] = torch.tensor(row.ids)
            mask[i, : len(row.ids)] = 1
        device = self.lm.device
        output = self.lm.body(input_ids=ids.to(device), attention_mask=mask.to(device), use_cache=False)
        places = [i * longest + t for i, row in enumerate(rows) for t in range(row.start - 1, len(row.ids) - 1)]
        assert output.last_hidden_state is not None
        hidden = output.last_hidden_state.flatten(0, 1)
        return hidden.index_select(0, torch.tensor(places, device=hidden.device))


def _lengths(rows: Sequence[TrainingRow]) -> list[int]:
    return [len(row.ids) - row.start for row in rows]


def _targets(rows: Sequence[TrainingRow], device: torch.device) -> Tensor:
    return torch.tensor([i for row in rows for i in row.ids[row.start :]], device=device)


def _in_batches(items: Sequence[Any], size: int) -> Iterator[Sequence[Any]]:
    return (items[i : i + size] for i in range(0, len(items), size))


def _norm(gradients: Sequence[Tensor]) -> Tensor:
    return torch.stack([g.float().square().sum().to(gradients[0].device) for g in gradients]).sum().sqrt()
