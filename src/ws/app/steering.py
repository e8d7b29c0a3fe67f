"""`ws steer`: one prompt at several doses of a method, applied as asked."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import polars as pl

from ws.axes.axis import Axis, load_axis
from ws.errors import UserError
from ws.filtering.scores import score
from ws.generation.completions import generate
from ws.generation.rollout import Backtrack
from ws.models.lm import LM, check_length, one_thread
from ws.models.recipe import recipe_of
from ws.reporting.terminal import figure
from ws.runs.config import RunConfig
from ws.runs.whole import check_in_run
from ws.steering.application import parse_also, said
from ws.steering.coefficients import Fixed, Steered, as_pairs
from ws.steering.direction import UNTOLD, Direction
from ws.steering.extraction import extract, extract_beside
from ws.steering.methods import method

if TYPE_CHECKING:
    from ws.app.options import SteerArgs

__all__ = ["COLUMNS", "MULTIPLES", "Written", "write"]

MULTIPLES = (0.0, 0.5, 1.0, 2.0, 3.0)
COLUMNS = ("c", "sample", "text", "finished", "n_tokens", "worst_ppl", "tail_ppl", "rep", "loop", "bite", "narrates",
           "refuses")  # fmt: skip
"""What `--json` tells of a text."""


@dataclass(frozen=True)
class Written:
    """What was written, and by what."""

    lm: LM
    axis: Axis
    direction: Direction
    texts: pl.DataFrame
    sampling: str
    applied: str
    """how, where that is not as usual"""

    def dose(self, c: float) -> str:
        """A dose with its unit, where that is not multiples: "+20 degrees"."""
        return f"{c:+.3g}" + (f" {self.direction.unit}" if self.direction.unit != "multiples" else "")

    def note(self, row: dict[str, Any]) -> str:
        """What stands behind a text: the dose as a share of the state, its perplexity, how often it went back."""
        share = self.direction.meta.get("relative") if self.direction.unit == "multiples" else None
        parts = [f"|cv|/|h| {abs(row['c']) * share:.2g}"] if share and row["c"] else []
        parts.append(f"tail_ppl {figure(row['tail_ppl'], 1)}")
        parts += [f"went back {row['rollbacks']} times, c x {row['scale']:.2g}"] if row.get("rollbacks") else []
        return ", ".join(parts)


def write(args: SteerArgs) -> Written:
    """The texts of all doses. UserError for what does not fit, before the model is asked for the direction."""
    from ws.models.lm import load_model  # whatever it is when it is called

    recipe = recipe_of(args.model)
    axis = load_axis(args.axis or recipe.axis).written_for(recipe, args.model)
    lm = one_thread(load_model(args.model, template=args.template))
    draws = args.sampling.draws(args.seed, args.max_new_tokens)
    check_length(lm, lm.prompt_ids(args.prompt, system=args.persona), draws.max_new_tokens or 0)
    v = _direction(lm, axis, args)
    first = as_pairs(v)[0][0]
    doses = args.c if args.c is not None else (0.0, *(method(first.rule).grid or MULTIPLES[1:]))
    how: dict[str, Any] = {"n": args.n, "sampling": draws, "persona": args.persona, "schedule": args.schedule,
                           "where": args.where, "gate": args.gate, "backtrack": _rule(args)}  # fmt: skip
    texts = score(lm, generate(lm, args.prompt, v, list(doses), **how), axis)
    told = said(args.where, args.schedule, args.gate, args.backtrack, args.also)
    return Written(lm, axis, first, texts, draws.said_on(lm), told)


def _rule(args: SteerArgs) -> Backtrack | None:
    return Backtrack() if args.backtrack else None


def _direction(lm: LM, axis: Axis, args: SteerArgs) -> Steered:
    """Read from the axis or a file, with those beside it."""
    if args.direction is None:
        v = extract(lm, axis, args.method)
    elif args.method != RunConfig.method:
        raise UserError("--direction brings its own method. Leave --method out, or --direction.")
    else:
        v = Direction.load(check_in_run(args.direction))
    if v.fingerprint == UNTOLD:
        print(f"{args.direction}: a control vector made for {v.meta['model_hint']!r}, from weights that it does not"
              f" tell: its width and blocks are all that is compared with {lm.name}.", file=sys.stderr)  # fmt: skip
    told = [parse_also(text) for text in args.also]
    beside = [(extract_beside(lm, axis, name), Fixed(dose)) for name, dose in told]
    return [(v, 1.0), *beside] if beside else v
