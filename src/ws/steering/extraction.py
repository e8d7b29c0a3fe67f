"""The extract step: where in the residual stream the two poles of an axis differ.

    v = ws.extract(lm, ws.load_axis("care_over_authority"))         # mean(h(positive) - h(negative)) at the
    assistant tag

Each pair is one context under a positive and a negative persona as system prompt, read at the last token of
the prompt (the assistant tag, or the end of the context's assistant_prefix) and averaged over the forms of the
template. A forward stops behind the deepest block that is needed; nothing meets the LM head.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from itertools import islice, takewhile
from typing import Any, cast

import torch
from torch import Tensor, nn

from ws.axes.axis import Axis, load_axis
from ws.axes.axis_file import Context
from ws.errors import UserError
from ws.models.adapters.attaching import attached
from ws.models.architecture import shape_of
from ws.models.attachments import refuse_steered
from ws.models.batching import Ids, by_length, pad, share
from ws.models.lm import LM, check_length, positions
from ws.models.weight_sites import sites
from ws.steering.application import is_method
from ws.steering.direction import Direction
from ws.steering.methods import Poles
from ws.steering.methods import method as method_named

__all__ = [
    "check_blocks", "default_layers", "extract", "extract_bands", "extract_beside", "pairs_of", "stopped", "tag_states",
]  # fmt: skip

POLES = ("positive", "negative")
NOTHING = 1e-5  # of a state's length: what batches of another shape differ by


def default_layers(lm: LM) -> tuple[int, ...]:
    """Blocks whose outputs are steered: the recipe's, else three in the middle 45-55 % of depth."""
    if lm.recipe.blocks is not None:
        return lm.recipe.blocks
    middle = {round(lm.n_layers * share) for share in (0.45, 0.5, 0.55)}
    if len(middle) < 3:
        middle = {lm.n_layers // 2 + i for i in (-1, 0, 1)}
    return tuple(sorted(i for i in middle if 0 <= i < lm.n_layers))


def extract(
    lm: LM,
    axis: Axis,
    method: str = "mean_diff",
    layers: Sequence[int] | None = None,
    contrast: str = "pair",
    adapters: Sequence[Any] = (),
    batch_size: int = 64,
    *,
    pairs: int | None = None,
) -> Direction:
    """The axis's direction in this model (with these adapters on), raw scale.

    layers: blocks to read, default `default_layers`. contrast: "pair" (positive minus negative) or "base" (positive
    minus neutral). pairs: how many (context, persona pair), default 64 on the embedded model and 256 on others; every
    context comes at least once. meta["relative"]: |v| / |h|, so that c times it is a dose that means the same on any
    axis and model. UserError: unknown method or contrast, a block out of range, a prompt too long.
    """
    whole = _Extraction(lm, axis.on(lm), method, contrast, pairs)
    chosen = tuple(layers) if layers is not None else default_layers(lm)
    return whole.direction(whole.poles(chosen, adapters, batch_size), len(adapters))


class _Extraction:
    """A method's reading of an axis. UserError: unknown method or contrast."""

    def __init__(self, lm: LM, axis: Axis, method: str, contrast: str, pairs: int | None) -> None:
        self.lm, self.axis, self.method, self.contrast, self.rule = lm, axis, method, contrast, method_named(method)
        if contrast not in ("pair", "base"):
            raise UserError(f"contrast must be 'pair' (positive minus negative) or 'base' (neutral), not {contrast!r}.")
        self.drawn = pairs_of(axis.contexts, *_systems(axis, contrast), lm.recipe.pairs if pairs is None else pairs)

    def poles(self, layers: Sequence[int], adapters: Sequence[Any], batch_size: int) -> dict[int, Poles]:
        """Block -> what the method reads there, with these adapters on."""
        with self.lm.lock, attached(self.lm, adapters):
            return _poles(self.lm, self.axis, self.drawn, self.rule.reads, layers, batch_size)

    def direction(self, poles: dict[int, Poles], adapters: int) -> Direction:
        """What the method makes of them; adapters: how many were on. UserError where the poles do not differ."""
        found = {k: self.rule.extract(here) for k, here in poles.items()}
        layers = {k: x if x.ndim == 1 else x[0] for k, x in found.items()}
        _check_nonzero(self.lm, layers, poles, self.axis.name)
        meta = {"axis": self.axis.name, "contrast": self.contrast, "pairs": len(self.drawn), "adapters": adapters,
                "relative": _relative(layers, poles)}  # fmt: skip
        beside = {k: x[1:] for k, x in found.items() if x.ndim > 1}
        return Direction(layers, self.method, self.lm.fingerprint, meta, self.lm.origin, beside)


def extract_bands(lm: LM, axis: Axis, method: str, bands: Sequence[Sequence[int]], batch_size: int = 64,
                  *, contrast: str = "pair", pairs: int | None = None) -> list[Direction]:  # fmt: skip
    """The axis's direction at each of these bands of blocks, from one reading of the states."""
    whole = _Extraction(lm, axis.on(lm), method, contrast, pairs)
    poles = whole.poles(sorted({k for band in bands for k in band}), (), batch_size)
    return [whole.direction({k: poles[k] for k in band}, 0) for band in bands]


def extract_beside(lm: LM, axis: Axis, name: str, **how: Any) -> Direction:
    """A direction that stands beside the axis's own: its own by another method, or another axis's mean difference."""
    if is_method(name):
        return extract(lm, axis, name, **how)
    return extract(lm, load_axis(name).on(lm), **how)


Drawn = Sequence[tuple[Context, str | None, str | None]]
"""(context, positive persona, negative persona) of each pair."""


def _poles(
    lm: LM, axis: Axis, drawn: Drawn, reads: Sequence[str], layers: Sequence[int], size: int
) -> dict[int, Poles]:
    """Block -> the states of the pairs, and what else a method reads."""
    neutral = axis.neutral or (None,)
    asked: dict[str, list[tuple[Context, str | None]]] = {
        "positive": [(context, plus) for context, plus, _ in drawn],
        "negative": [(context, minus) for context, _, minus in drawn],
        "neutral": [(context, neutral[i % len(neutral)]) for i, (context, _, _) in enumerate(drawn)],
        "background": [(Context(prompt), None) for prompt in axis.train],
    }
    states = {name: _pole(lm, items, layers, size) for name, items in asked.items() if name in (*POLES, *reads)}
    weights = _writers(lm, layers) if "writers" in reads else {}
    return {k: Poles(**{name: found[k] for name, found in states.items()}, writers=weights.get(k)) for k in layers}


def _writers(lm: LM, layers: Sequence[int]) -> dict[int, Tensor]:
    """Block -> (d, w) its weights that write to the residual stream, side by side. UserError where it has none."""
    names: dict[int, list[str]] = {k: [site.name for site in sites(lm) if site.block == k and site.role == "writes"]
                                   for k in layers}  # fmt: skip
    if bare := [k for k, found in names.items() if not found]:
        raise UserError(f"block {bare[0]} of {lm.name} writes to the residual stream by no plain weight matrix, whose"
                        " singular vectors this method needs. Use another method, such as mean_diff.")  # fmt: skip
    return {k: torch.cat([_matrix(lm, name) for name in found], 1) for k, found in names.items()}


def _matrix(lm: LM, name: str) -> Tensor:
    """(out, in) of a module's weight, float32 on the CPU."""
    module = lm.model.get_submodule(name)
    weight = cast(Tensor, module.weight).detach().float().cpu()
    return weight if shape_of(module) == (weight.shape[1], weight.shape[0]) else weight.T


def _check_nonzero(lm: LM, vectors: dict[int, Tensor], poles: dict[int, Poles], name: str) -> None:
    """UserError where the poles differ behind no block: such a direction would steer nothing, at any c."""
    if any(float(v.norm()) > NOTHING * float(poles[k].positive.norm(dim=-1).mean()) for k, v in vectors.items()):
        return
    raise UserError(
        f"the direction of {name} has norm 0: both poles leave {lm.name} in the same state behind"
        f" block{'s' * (len(vectors) > 1)} {', '.join(map(str, vectors))}. Give the poles different texts; where blocks"
        " read a window only, pass layers= further up, or a shorter context."
    )


def _relative(vectors: dict[int, Tensor], poles: dict[int, Poles]) -> float:
    """|v| / |h|, the mean over blocks; |h|: mean length of both poles' states."""
    lengths = {k: torch.cat([poles[k].positive, poles[k].negative]).norm(dim=-1).mean() for k in vectors}
    return float(torch.stack([v.norm() / lengths[k] for k, v in vectors.items()]).mean())


def pairs_of(
    contexts: Sequence[Context], positive: Sequence[str | None], negative: Sequence[str | None], quota: int
) -> list[tuple[Context, str | None, str | None]]:
    """(context, positive, negative): each context once, personas in turn, then each again with the next personas, ...

    Ends at `quota`, but not before each context came once, nor goes on after each came with each persona.
    """

    def walk() -> Iterator[tuple[Context, str | None, str | None]]:
        for turn in range(max(len(positive), len(negative))):
            for i, context in enumerate(contexts):
                yield context, positive[(i + turn) % len(positive)], negative[(i + turn) % len(negative)]

    return list(islice(walk(), max(quota, len(contexts))))


def check_blocks(lm: LM, layers: Sequence[int]) -> None:
    """UserError where there is no block, or one that the model does not have."""
    if not layers or any(not 0 <= k < lm.n_layers for k in layers):
        raise UserError(f"cannot read blocks {list(layers)} of {lm.name}, which has blocks 0 to {lm.n_layers - 1}.")


def tag_states(
    lm: LM, rows: Sequence[Ids], layers: Sequence[int], batch_size: int = 64, heads: Sequence[int] | None = None
) -> dict[int, Tensor]:
    """Outputs of the given blocks at the last token of each row: {block: float32 CPU (n, d)}.

    heads: how many first tokens of each row are computed once for all rows of its batch that share them, all >= 1.
    """
    check_blocks(lm, layers)
    for row in rows:
        check_length(lm, row)
    cuts = list(heads) if heads is not None else [0] * len(rows)
    out = {k: torch.empty(len(rows), lm.d_model) for k in layers}
    with torch.inference_mode(), lm.lock:
        refuse_steered(lm, "extract")
        for group in by_length(cuts if heads is not None else [len(row) for row in rows], batch_size):
            for k, states in _read(lm, [rows[i] for i in group], [cuts[i] for i in group], layers).items():
                out[k][group] = states
    return out


def _read(lm: LM, rows: list[Ids], cuts: list[int], layers: Sequence[int]) -> dict[int, Tensor]:
    """tag_states of one batch."""
    ids, kept = pad([row[cut:] for row, cut in zip(rows, cuts, strict=True)], lm.pad_id, lm.device, left=False)
    mask, kw = kept, cast(dict[str, Any], {"use_cache": False})
    with stopped(lm, layers) as (forward, seen):
        if all(cuts):
            heads = share(lm, [row[:cut] for row, cut in zip(rows, cuts, strict=True)], forward)
            cache, past = heads.rows()
            mask, kw = torch.cat([past, kept], 1), {"past_key_values": cache, "use_cache": True}
        forward(input_ids=ids, attention_mask=mask, position_ids=positions(mask)[:, -ids.shape[1] :], **kw)
        last = kept.sum(1) - 1
        picked = {k: x[torch.arange(len(rows), device=x.device), last.to(x.device)] for k, x in seen.items()}
    return {k: x.float().cpu() for k, x in picked.items()}


class _Enough(Exception):
    """Raised behind the deepest block that is needed."""


@contextmanager
def stopped(lm: LM, layers: Sequence[int]) -> Iterator[tuple[Callable[..., None], dict[int, Tensor]]]:
    """(forward, seen): forward runs the body up to the deepest block, seen holds the latest outputs by block."""
    seen: dict[int, Tensor] = {}

    def keep(k: int) -> Callable[[nn.Module, Any, Any], None]:
        def hook(_: nn.Module, __: Any, output: Any) -> None:
            seen[k] = output if isinstance(output, Tensor) else output[0]
            if k == max(layers):
                raise _Enough

        return hook

    def forward(**kw: Any) -> None:
        with suppress(_Enough):
            lm.body(**kw)

    with ExitStack() as hooks:
        for k in set(layers):
            hooks.callback(lm.blocks[k].register_forward_hook(keep(k)).remove)
        yield forward, seen


def _pole(lm: LM, items: Sequence[tuple[Context, str | None]], layers: Sequence[int], size: int) -> dict[int, Tensor]:
    """{block: (n, d)} states of (context, system prompt), averaged over the forms of the template."""
    rows, heads = [], []
    for context, system in items:
        forms = [
            lm.prompt_ids(context.user, system=system, form=form, prefix=context.assistant_prefix) for form in lm.forms
        ]
        rows += forms
        # a form may begin another: its last token has to be left to read
        columns = zip(*(ids[:-1] for ids in forms), strict=False)
        heads += [sum(1 for _ in takewhile(lambda column: len(set(column)) == 1, columns))] * len(lm.forms)
    # a forward that stops behind a block cannot be one of several behind a cache
    shared = len(lm.forms) > 1 and all(heads) and not lm.one_by_one
    states = tag_states(lm, rows, layers, size, heads if shared else None)
    return {k: x.reshape(len(items), len(lm.forms), -1).mean(1) for k, x in states.items()}


def _systems(axis: Axis, contrast: str) -> tuple[Sequence[str | None], Sequence[str | None]]:
    """System prompts of both poles; the second of "base" is neutral, in the personas' length if the axis has such."""
    if contrast == "pair":
        return axis.positive, axis.negative
    return axis.positive, axis.neutral or (None,)
