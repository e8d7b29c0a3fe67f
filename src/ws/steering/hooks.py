"""The steer step: add c * v / L to the output of L blocks, at the positions that the where-clause names.

    with ws.steered(lm, v, c=0.5):              # c: a float, or [B] with one coefficient per row
        lm.model(**batch); lm.model.generate(**batch)
    with ws.steered(lm, [(rotate, 20.0), (v, c)]):

Before each forward a hook on the body works out which positions of which rows are steered, once for all blocks;
behind each block stands one tensor operation on a buffer that was prepared when the context opened.
Trap: blocks return a plain tensor in transformers 5 and a tuple elsewhere; `output[0]` of a tensor is batch row 0.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from threading import get_ident
from typing import Any

import torch
from torch import Tensor, nn

from ws.errors import UserError
from ws.models.architecture import entrance_of
from ws.models.attachments import _OPEN
from ws.models.kv_cache import columns_of
from ws.models.lm import LM
from ws.models.origin import differs, fits
from ws.steering.coefficients import Coefficient, Fixed, Steered, as_pairs, as_row, rows_of, times
from ws.steering.direction import UNTOLD, Direction
from ws.steering.methods import method
from ws.steering.schedules import CosineGate, Schedule, check_where, parse_gate, parse_schedule

__all__ = ["Coefficient", "Direction", "Steered", "Steering", "as_pairs", "rows_of", "steered"]


@contextmanager
def steered(
    lm: LM,
    v: Steered,
    c: Coefficient = 1.0,
    *,
    where: str = "assistant",
    starts: Sequence[int] | Tensor | None = None,
    schedule: Schedule | str | None = None,
    gate: CosineGate | str | None = None,
    allow_stale: bool = False,
) -> Iterator[Steering]:
    """Steer every forward of `lm.model` and `lm.body` inside; yields the Steering. Holds `lm.lock`, leaves no hook.

    v: a Direction, or pairs (Direction, c_i), each of which gets c_i * c. c: a float or one per row, [B].
    where: "assistant" (the tag and after), "generated" (after the tag), "prompt" (before it), "all"; never padding.
    starts: column of the assistant tag per padded row; None finds it in the tokens of a forward without cache.
    schedule: a factor by offset from the tag (ws.steering.schedules) or its text. gate: a CosineGate or its text. A
    direction that says how it is applied (`Direction.applied`) keeps to that.
    UserError: [B] that does not match, a coefficient that is not finite, a block out of range, a direction that was
    read from other weights (allow_stale=True says that this is meant; a control vector of another tool does not say
    its weights, and width and blocks are all that can be compared).
    """
    pairs = as_pairs(v)
    for direction, _ in pairs:
        _check_fit(lm, direction, allow_stale)
    with lm.lock:
        steering = Steering(lm, pairs, c, where, starts, schedule, gate)
        with ExitStack() as hooks:
            opened = _OPEN.setdefault(lm, [])
            opened.append(get_ident())
            hooks.callback(opened.pop)
            steering.attach(hooks)
            yield steering


class Steering:
    """The open context: coefficients, buffers and the positions steered in the forward at hand."""

    def __init__(
        self,
        lm: LM,
        pairs: Sequence[tuple[Direction, Coefficient]],
        c: Coefficient,
        where: str,
        starts: Sequence[int] | Tensor | None,
        schedule: Schedule | str | None,
        gate: CosineGate | str | None,
    ) -> None:
        check_where(where)
        self.lm = lm
        read = parse_schedule(schedule) if isinstance(schedule, str) else schedule
        self.directions = [direction for direction, _ in pairs]
        self._rules = [(d.where or where, d.schedule or read) for d in self.directions]
        shut = parse_gate(gate) if isinstance(gate, str) else gate
        self._gates = [d.gate or shut for d in self.directions]
        self._shares = [as_row(share) for _, share in pairs]
        self._fixed = [isinstance(share, Fixed) for _, share in pairs]
        self.starts = None if starts is None else torch.as_tensor(starts, dtype=torch.long).to(lm.device)
        self._given = starts is not None
        self._devices = {k: next(lm.blocks[k].parameters()).device for d in self.directions for k in d.layers}
        self._weights: list[dict[torch.device, Tensor]] = []
        self._buffers: dict[int, list[Tensor]] = {k: [] for k in self._devices}
        self.set_coefficients(c)

    def set_coefficients(self, c: Coefficient) -> None:
        """Replace c, a float or [B], from the next forward on; pairs keep their own c_i and are multiplied by it."""
        common = as_row(c)
        rows = {len(x) for x in (common, *self._shares) if x.ndim}
        if len(rows) > 1:
            raise UserError(f"the coefficients disagree about the number of rows: {sorted(rows)}. Give one per row.")
        self.rows = next(iter(rows), None)
        own = zip(self._shares, self._fixed, strict=True)
        self._prepare([times(common, share, fixed).expand(self.rows or 1) for share, fixed in own])

    def set_rows(self, index: Sequence[int] | Tensor) -> None:
        """Make the batch these rows, in this order: for a loop that drops finished rows or repeats some."""
        index = torch.as_tensor(index, dtype=torch.long, device=self.lm.device)
        self._shares = [share[index.cpu()] if share.ndim else share for share in self._shares]
        if self.starts is not None:
            self.starts = self.starts[index]
        if self.rows is not None:
            self.rows = len(index)
            for buffers in self._buffers.values():
                buffers[:] = [b[index.to(b.device)] for b in buffers]

    def attach(self, hooks: ExitStack) -> None:
        """Register the hooks and leave their removal to `hooks`."""
        entrance = entrance_of(self.lm.model, self.lm.blocks)
        hooks.callback(entrance.register_forward_pre_hook(self._before, with_kwargs=True).remove)
        for layer in self._buffers:
            hooks.callback(self.lm.blocks[layer].register_forward_hook(self._hook(layer)).remove)

    def _prepare(self, coefficients: list[Tensor]) -> None:
        """Fill the buffers, (B, ...) or (1, ...), on the devices of their blocks."""
        for layer, device in self._devices.items():
            here = [(d, c) for d, c in zip(self.directions, coefficients, strict=True) if layer in d.layers]
            prepared = (
                method(d.rule).prepare(d.vectors(layer).to(device), c.to(device), len(d.layers)) for d, c in here
            )
            self._buffers[layer][:] = [buffer.to(self.lm.dtype) for buffer in prepared]

    def _hook(self, layer: int) -> Callable[[nn.Module, Any, Any], Any]:
        """The hook behind one block: one operation per direction."""
        here = [i for i, d in enumerate(self.directions) if layer in d.layers]
        applies = [method(self.directions[i].rule).apply for i in here]
        gates = [self._gates[i] for i in here]
        device, buffers = self._devices[layer], self._buffers[layer]
        units = [(v := self.directions[i].layers[layer].to(device)) / v.norm().clamp(min=1e-12) for i in here]

        def add(_: nn.Module, __: Any, output: Any) -> Any:
            x = output if isinstance(output, Tensor) else output[0]
            for i, apply, buffer, gate, unit in zip(here, applies, buffers, gates, units, strict=True):
                weight = self._weights[i][device]
                x = apply(x, buffer, weight if gate is None else weight * gate(x, unit))
            return x if isinstance(output, Tensor) else (x, *output[1:])

        return add

    def _before(self, _: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        """Work out the weight (B, S, 1) of every position of the forward that is about to run."""
        ids = kwargs.get("input_ids", args[0] if args else None)
        embedded = ids if ids is not None else kwargs["inputs_embeds"]
        rows, length = embedded.shape[:2]
        if self.rows is not None and self.rows != rows:
            raise UserError(f"{self.rows} coefficients for a batch of {rows} rows. Give one per row, or one for all.")
        past = self._past(kwargs, length)
        mask = self._attended(kwargs.get("attention_mask"), past + length, embedded.device)
        found: dict[tuple[str, int], dict[torch.device, Tensor]] = {}
        for where, schedule in self._rules:
            if (rule := (where, id(schedule))) not in found:
                weight = self._factor(where, schedule, ids, mask, past, rows, length)
                weight = weight if mask is None else weight * mask[:, past:]
                weight = weight.to(self.lm.dtype)[..., None]
                found[rule] = {device: weight.to(device) for device in set(self._devices.values())}
        self._weights = [found[where, id(schedule)] for where, schedule in self._rules]

    @staticmethod
    def _past(kwargs: dict[str, Any], length: int) -> int:
        """Columns in the cache; where it holds states alone, what the mask has in front of the new tokens."""
        cache, mask = kwargs.get("past_key_values", kwargs.get("cache_params")), kwargs.get("attention_mask")
        if cache is None:
            return 0
        past = columns_of(cache)
        if past is not None:
            return past
        if not isinstance(mask, Tensor):
            raise UserError("this cache does not tell how long it is. Pass attention_mask (rows, past and new tokens).")
        return int(mask.shape[1]) - length

    @staticmethod
    def _attended(mask: Any, columns: int, device: torch.device) -> Tensor | None:
        """The attention mask (B, columns), None where nothing is masked."""
        if mask is None:
            return None
        if not isinstance(mask, Tensor) or mask.ndim != 2 or mask.shape[1] != columns:
            shape = tuple(mask.shape) if isinstance(mask, Tensor) else type(mask).__name__
            raise UserError(f"steering needs an attention mask of shape (rows, {columns}), past and new (got {shape}).")
        return mask.to(device)

    def _factor(
        self, where: str, schedule: Schedule | None, ids: Tensor | None, mask: Tensor | None, past: int, rows: int,
        length: int,
    ) -> Tensor:  # fmt: skip
        """Where-clause times schedule, (B, S)."""
        if where == "all" and schedule is None:
            return torch.ones(rows, length, device=self.lm.device)
        if not self._given and past == 0:
            self.starts = self._find(ids, mask)
        if self.starts is None:
            return self._unseen(where, schedule, rows, length)
        if len(self.starts) != rows:
            raise UserError(f"{len(self.starts)} starts for a batch of {rows} rows. Give the tag's column of each row.")
        k = torch.arange(past, past + length, device=self.lm.device) - self.starts[:, None]
        inside = {"assistant": k >= 0, "generated": k > 0, "prompt": k < 0, "all": k == k}[where]
        return inside.float() if schedule is None else inside * schedule(k.clamp(min=0).float())

    def _unseen(self, where: str, schedule: Schedule | None, rows: int, length: int) -> Tensor:
        """A cache that was filled before the context opened: every new position is after the tag."""
        if schedule is not None:
            raise UserError("a schedule counts from the assistant tag, and this cache holds the prompt. Pass starts=.")
        return torch.full((rows, length), float(where != "prompt"), device=self.lm.device)

    def _find(self, ids: Tensor | None, mask: Tensor | None) -> Tensor:
        """Column of each row's assistant tag; without a chat template the last attended column."""
        if ids is None:
            raise UserError("there are no token ids to find the assistant tag in. Pass starts=, or where='all'.")
        found = []
        for row, keep in zip(ids.tolist(), (torch.ones_like(ids) if mask is None else mask).tolist(), strict=True):
            columns = [i for i, attended in enumerate(keep) if attended]
            last = len(columns) - 1
            found.append(columns[self.lm.assistant_start([row[i] for i in columns]) if self.lm.has_chat else last])
        return torch.tensor(found, device=self.lm.device)


def _check_fit(lm: LM, direction: Direction, allow_stale: bool) -> None:
    """UserError where the direction does not belong to this model."""
    outside = [k for k in direction.layers if not 0 <= k < lm.n_layers]
    if outside:
        raise UserError(f"the direction steers block {outside[0]}, and {lm.name} has blocks 0 to {lm.n_layers - 1}.")
    if direction.width != lm.d_model:
        raise UserError(f"the direction has width {direction.width}, {lm.name} {lm.d_model}. Extract it again.")
    told = direction.fingerprint != UNTOLD
    if told and not allow_stale and not fits(direction.fingerprint, direction.origin, lm):
        raise UserError(
            f"the direction was read from {differs(direction.fingerprint, direction.origin, lm)}. "
            "Extract it again, or pass allow_stale=True where that is meant."
        )
