"""`ws heal`: an adapter from a user's own conversations, and a short report on it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from ws.axes.axis import load_axis
from ws.errors import UserError
from ws.experiment.own_data import heal_own, write_own
from ws.experiment.progress import Listener
from ws.healing.conversations import read_conversations
from ws.models.lm import load_model, one_thread
from ws.models.recipe import recipe_of

if TYPE_CHECKING:
    from ws.app.options import HealArgs

__all__ = ["heal_file"]


def heal_file(args: HealArgs, listen: Listener) -> dict[str, Any]:
    """The report, with where it was written. UserError before the model is loaded for what needs none of it."""
    folder = Path("out/heal") / args.data.stem if args.out is None else args.out
    if folder.exists():
        raise UserError(f"{folder} exists. Name a place that does not with --out.")
    if args.texts < 8:
        raise UserError(f"--texts must be at least 8 (got {args.texts}): coherence is a share of them.")
    rows, recipe = read_conversations(args.data), recipe_of(args.model)
    axis = load_axis(args.axis or recipe.axis).written_for(recipe, args.model)
    lm = one_thread(load_model(args.model, template=args.template))
    adapter, report = heal_own(
        lm,
        axis,
        rows,
        args.heal,
        source=str(args.data),
        replay=args.replay,
        texts=args.texts,
        sampling=args.sampling.draws(args.heal.seed),
        allow=args.allow,
        listen=listen,
    )
    write_own(folder, adapter, report)
    return {"path": str(folder), **report}
