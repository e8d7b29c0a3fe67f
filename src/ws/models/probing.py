"""What a model can be trusted with, found out on a few tokens when it is loaded: works, token by token, or refused.

    verdict = probe(model, blocks, ids)      # Verdict(works=True, one_by_one=False, reason="")

transformers runs some architectures without an error and with other numbers than the model's: a body that swallows its
cache, a block of tokens that forgets the state in front of it, padding that is read as text, a cache whose copies share
a state. One comparison meets them all. Two rows of different length, padded, go through a cache in pieces (a head, a
block of tokens, single tokens; copied and reordered in between) with a vector added behind one block; each of them
alone, in one piece and without cache, with the vector added by hand at the same tokens, must give the same states.
"""

from __future__ import annotations

import inspect
import json
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from ws.models.architecture import body_name, cache_name, entrance_of, logits_of, run_body
from ws.models.kv_cache import fork, new_cache, skips_gaps

__all__ = ["PROVEN", "TOKENS", "Verdict", "is_proven", "probe"]

HEADS = (6, 3)  # tokens of each row that fill the cache, unsteered; the difference is padding
BLOCK, STEPS = 3, 3  # tokens behind them in one forward, and one by one
TOKENS = sum(HEADS) + 2 * (BLOCK + STEPS)
EXACT, ROUNDED = 0.02, 0.15
"""Largest relative difference of a final state in float32; where weights are rounded, of the middle one of three, since
rounding may choose another expert for one token. Tiny random models of working families come out below 1e-4 and 0.06,
broken ones above 0.2."""
PROVEN = (
    "GPT2LMHeadModel", "GPTNeoXForCausalLM", "Gemma2ForCausalLM", "Gemma3ForCausalLM", "LlamaForCausalLM",
    "MistralForCausalLM", "OPTForCausalLM", "Phi3ForCausalLM", "Qwen2ForCausalLM", "Qwen3ForCausalLM",
)  # fmt: skip
"""transformers' own classes that a load need not probe: the tests do, on every configuration that they build."""
# what foreign code raises where it is called in a way that it does not know
WRONG = (ArithmeticError, AssertionError, AttributeError, LookupError, RuntimeError, TypeError, ValueError)


@dataclass(frozen=True)
class Verdict:
    """works: everything; one_by_one: if tokens behind a cache are read one by one; gaps: padding may stand between
    tokens, too; reason: why it does not work."""

    works: bool
    one_by_one: bool = False
    gaps: bool = True
    reason: str = ""
    error: float = 0.0


_KNOWN: dict[str, Verdict] = {}
_LOCK = threading.Lock()


def probe(model: PreTrainedModel, blocks: nn.ModuleList, ids: Sequence[int]) -> Verdict:
    """The verdict on a model, once per architecture and process. ids: TOKENS token ids of a text.

    Eleven forwards over at most twelve tokens; leaves neither hooks nor random state behind. OutOfMemoryError passes.
    """
    path = next(name for name, m in model.named_modules() if m is blocks)
    config = json.dumps(model.config.to_diff_dict(), sort_keys=True, default=str)
    key = f"{type(model).__module__}.{type(model).__qualname__} {path} {model.dtype} {config}"
    with _LOCK:
        if key not in _KNOWN:
            cards = [model.device] if model.device.type == "cuda" else []
            with torch.random.fork_rng(cards), torch.inference_mode():
                _KNOWN[key] = _verdict(_Probe(model, blocks, ids))
        return _KNOWN[key]


def is_proven(model: PreTrainedModel) -> bool:
    """Whether the model is of a class that the tests have probed."""
    kind = type(model)
    return kind.__name__ in PROVEN and kind.__module__.startswith("transformers.models.")


def _verdict(probe: _Probe) -> Verdict:
    try:
        reason = probe.shapes() or probe.moves()
    except WRONG as error:
        reason = f"its plain forward fails ({_said(error)})"
    if reason:
        return Verdict(False, reason=reason)
    said = ""
    for one_by_one in (False, True):
        try:
            for gaps in (True, False) if probe.may_skip_gaps() else (False,):
                apart = probe.error((0, 1), copied=True, one_by_one=one_by_one, gaps=gaps)
                if apart < probe.most:
                    return Verdict(True, one_by_one, gaps, error=apart)
            said = said or probe.why(one_by_one)
        except WRONG as error:
            said = said or f"a text cannot be read piece by piece through its cache ({_said(error)})"
    return Verdict(False, reason=said)


def _said(error: BaseException) -> str:
    if isinstance(error, torch.OutOfMemoryError):
        raise error
    return f"{type(error).__name__}: {(str(error).strip().splitlines() or [''])[0][:200]}"


class _Probe:
    """Two rows, their heads and what follows; the vector that is added behind the block in the middle."""

    def __init__(self, model: PreTrainedModel, blocks: nn.ModuleList, ids: Sequence[int]) -> None:
        self.model, self.blocks = model, blocks
        self.body: nn.Module = getattr(model, body_name(model, blocks))
        self.cache = cache_name(self.body)
        self.device = next(model.get_input_embeddings().parameters()).device
        cut = HEADS[0] + BLOCK + STEPS
        self.known: dict[tuple[int, int | None], Tensor] = {}
        self.rows = [list(ids[:cut]), list(ids[cut:TOKENS])]
        self.steered = blocks[(len(blocks) - 1) // 2]
        self.most = EXACT if model.dtype == torch.float32 and not getattr(model, "is_quantized", False) else ROUNDED

    def shapes(self) -> str:
        """Why blocks cannot be steered: how often they run, what they give out, what their parent is given."""
        seen: list[tuple[int, Any]] = []
        entered: list[bool] = []
        with _hooks() as add:
            for k, block in enumerate(self.blocks):
                add(block.register_forward_hook(lambda _, __, out, k=k: seen.append((k, _stream(out)))))
            add(entrance_of(self.model, self.blocks).register_forward_pre_hook(_entering(entered), with_kwargs=True))
            wanted = (1, *self._alone(1, None).shape)
        if [k for k, _ in seen] != list(range(len(self.blocks))):
            return f"its blocks do not run once each, in order (they ran as {[k for k, _ in seen][:12]})"
        for k, x in seen:
            if not isinstance(x, Tensor) or tuple(x.shape) != wanted:
                got = tuple(x.shape) if isinstance(x, Tensor) else type(x).__name__
                return (
                    f"its block {k} gives out {got} where (rows, positions, width) is {wanted}: there is no one"
                    " residual stream that a direction could be added to"
                )
        if self.cache not in inspect.signature(self.body.forward).parameters:
            return "its body takes no cache (past_key_values): every token would be read without those in front of it"
        return "" if entered == [True] else "its blocks' parent is not given token ids and a mask, once a forward"

    def moves(self) -> str:
        """Why a vector does not steer, or a state does not give the model's logits."""
        plain, pushed = self._alone(1, None), self._alone(1, HEADS[1])
        logits = self.model(**self._whole(1), use_cache=False).logits[0]
        if self._apart(logits_of(self.model, body_name(self.model, self.blocks), plain), logits) > self.most:
            return "its head on its body's states does not give its logits"
        if self._apart(pushed[: HEADS[1]], plain[: HEADS[1]]) > self.most:
            return "what is added at one token moves the tokens in front of it"
        if float((pushed - plain)[HEADS[1] :].norm()) < 1e-3 * float(plain[HEADS[1] :].norm()):
            return "what is added behind a block does not reach the end"
        return ""

    def why(self, one_by_one: bool) -> str:
        """What in the comparison it is that fails."""
        if self.error((0,), False, one_by_one) > self.most:
            return "a text read piece by piece through its cache is not the text read whole: what was read is forgotten"
        if self.error((0, 1), False, one_by_one) > self.most:
            return "padding changes a row: a batch of texts of different length would give wrong numbers"
        return "copies of its cache are not independent"

    def may_skip_gaps(self) -> bool:
        """Whether neither the cache nor a window in the configuration, wider than these texts, speaks against it."""
        config = self.model.config.get_text_config().to_dict()
        windows = [key for key, size in config.items() if "window" in key and "layer" not in key and size]
        return skips_gaps(new_cache(self)) and not windows

    def error(self, rows: Sequence[int], copied: bool, one_by_one: bool, gaps: bool = False) -> float:
        """Largest relative difference of the final states behind the heads, pieces against whole rows."""
        whole = [self._alone(i, HEADS[i])[HEADS[i] :] for i in rows]
        found = self._pieces(rows, copied, one_by_one, gaps)
        parts = [(a[at], b[at]) for a, b in zip(found, whole, strict=True) for at in (slice(BLOCK), slice(BLOCK, None))]
        return max(self._apart(a, b) for a, b in parts)

    def _apart(self, a: Tensor, b: Tensor) -> float:
        """Relative difference of states (n, width): the largest, or the middle one where weights are rounded."""
        near = (a.float() - b.float()).norm(dim=-1) / b.float().norm(dim=-1).clamp(min=1e-12)
        near = near.nan_to_num(nan=float("inf"))
        return float(near.max() if self.most == EXACT else near.median())

    def _whole(self, row: int) -> dict[str, Any]:
        ids = torch.tensor([self.rows[row]], device=self.device)
        return {"input_ids": ids, "attention_mask": torch.ones_like(ids)}

    def _alone(self, row: int, start: int | None) -> Tensor:
        """Final states (tokens, width) of a row in one piece, steered by hand from `start` on."""
        if (row, start) not in self.known:
            kw = self._whole(row)
            with _hooks() as add:
                if start is not None:
                    add(self.steered.register_forward_hook(_push(start)))
                states = self._run(False, **kw, position_ids=_places(kw["attention_mask"]), use_cache=False)
            self.known[row, start] = states[0]
        return self.known[row, start]

    def _pieces(self, rows: Sequence[int], copied: bool, one_by_one: bool, gaps: bool) -> list[Tensor]:
        """Final states behind the heads, row by row, through a cache; gaps: heads in two halves, each padded."""
        cache, mask, before = new_cache(self), torch.zeros(len(rows), 0, dtype=torch.long), [0] * len(rows)
        for ends in ([HEADS[i] // 2 for i in rows],) * gaps + ([HEADS[i] for i in rows],):
            parts = [self.rows[i][a:b] for i, a, b in zip(rows, before, ends, strict=True)]
            width, before = max(map(len, parts)), ends
            ids = torch.tensor([[self.rows[0][0]] * (width - len(part)) + part for part in parts])
            kept = torch.tensor([[0] * (width - len(part)) + [1] * len(part) for part in parts])
            mask = torch.cat([mask, kept], 1)
            self._behind(cache, ids, mask, one_by_one)
        tails = torch.tensor([self.rows[i][HEADS[i] :] for i in rows])
        order = list(range(len(rows)))
        if copied:
            order.reverse()
            index = torch.tensor(order)
            other = fork(cache)
            self._behind(other, tails[:, :BLOCK], torch.cat([mask, torch.ones(len(rows), BLOCK)], 1), one_by_one)
            cache.batch_select_indices(index.to(self.device))
            tails, mask = tails[index], mask[index]
        found = []
        with _hooks() as add:
            add(self.steered.register_forward_hook(_push(0)))
            for ids in (tails[:, :BLOCK], *tails[:, BLOCK:].split(1, 1)):
                mask = torch.cat([mask, torch.ones_like(ids)], 1)
                found.append(self._behind(cache, ids, mask, one_by_one))
        states = torch.cat(found, 1)
        return [states[order.index(i)] for i in range(len(rows))]

    def _behind(self, cache: Any, ids: Tensor, mask: Tensor, one_by_one: bool) -> Tensor:
        ids, mask = ids.to(self.device), mask.long().to(self.device)
        kw = {"position_ids": _places(mask)[:, -ids.shape[1] :], "past_key_values": cache, "use_cache": True}
        return self._run(one_by_one, input_ids=ids, attention_mask=mask, **kw)

    def _run(self, one_by_one: bool, **kw: Any) -> Tensor:
        states = run_body(self.body, self.cache, one_by_one, kw).last_hidden_state
        assert states is not None
        return states


def _places(mask: Tensor) -> Tensor:
    return (mask.cumsum(-1) - 1).clamp(min=0)


def _stream(output: Any) -> Any:
    return output[0] if isinstance(output, tuple) else output


def _push(start: int) -> Callable[[nn.Module, Any, Any], Any]:
    """A hook that adds a vector as long as the state itself, from a position on."""

    def hook(_: nn.Module, __: Any, output: Any) -> Any:
        x = _stream(output)
        vector = torch.arange(x.shape[-1], device=x.device).float().cos()
        here = (torch.arange(x.shape[1], device=x.device) >= start)[:, None]
        pushed = x + (here * x.norm(dim=-1, keepdim=True) * vector / vector.norm()).to(x.dtype)
        return (pushed, *output[1:]) if isinstance(output, tuple) else pushed

    return hook


def _entering(entered: list[bool]) -> Callable[..., None]:
    def hook(_: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        ids, mask = kwargs.get("input_ids", args[0] if args else None), kwargs.get("attention_mask")
        entered.append(isinstance(ids, Tensor) and isinstance(mask, Tensor) and mask.shape == ids.shape)

    return hook


@contextmanager
def _hooks() -> Iterator[Callable[[Any], None]]:
    handles: list[Any] = []
    try:
        yield handles.append
    finally:
        for handle in handles:
            handle.remove()
