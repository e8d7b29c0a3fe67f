"""`ws calibrate` and `ws layers`: methods, or bands of blocks, compared where they disturb equally."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import polars as pl
from rich.table import Table
from rich.text import Text

from ws.axes.axis import Axis, load_axis
from ws.errors import UserError
from ws.experiment.calibration import calibrate, effects
from ws.experiment.layer_search import layer_search, verdict
from ws.intervals import interval_of
from ws.models.lm import LM, one_thread
from ws.models.recipe import recipe_of
from ws.reporting import charts
from ws.reporting.visible import visible
from ws.steering.extraction import extract
from ws.steering.methods import check_method, names

if TYPE_CHECKING:
    from rich.console import Console

    from ws.app.options import CalibrateArgs, LayersArgs

__all__ = ["compare_layers", "compare_methods", "print_calibrated"]

ALL = "all"


def compare_methods(args: CalibrateArgs) -> pl.DataFrame:
    """Every named method at the targets, both signs, with what it moves there; the largest shift first."""
    asked = names() if args.methods == (ALL,) else args.methods
    for name in asked:
        check_method(name)
    if args.prompts < 1:
        raise UserError(f"--prompts must be at least 1 (got {args.prompts}).")
    lm, axis = _loaded(args.model, args.axis)
    directions = {name: extract(lm, axis, name) for name in dict.fromkeys(asked)}
    prompts = axis.select[: args.prompts]
    found = effects(lm, axis, calibrate(lm, directions, prompts, args.kl), directions)
    return found.sort("target", pl.col("sign") * -1, pl.col("d_target").abs() * -1)


def compare_layers(args: LayersArgs) -> tuple[pl.DataFrame, str, Path]:
    """The bands, the answer in a sentence, and where the picture is."""
    check_method(args.method)
    lm, axis = _loaded(args.model, args.axis)
    found = layer_search(lm, axis, args.method, args.kl, args.width)
    middle = sorted(args.kl)[len(args.kl) // 2]
    place = args.out / "layers" / f"{Path(lm.name).name}-{axis.name}-{args.method}.svg"
    place.parent.mkdir(parents=True, exist_ok=True)
    return found, verdict(found, middle), charts.save(charts.layer_map_chart(found), place)


def _loaded(model: str, axis: str | None) -> tuple[LM, Axis]:
    from ws.models.lm import load_model  # whatever it is when it is called

    recipe = recipe_of(model)
    written = load_axis(axis or recipe.axis).written_for(recipe, model)
    if not written.questions:
        raise UserError(f"axis {written.name!r} has no questions to be read by. Write questions into its file.")
    lm = one_thread(load_model(model))
    return lm, written.on(lm)


def print_calibrated(found: pl.DataFrame, console: Console) -> None:
    """One line per direction, sign and target; c in its own unit."""
    table = Table(box=None, pad_edge=False, header_style="dim")
    for name in ("", "KL wanted", "KL", "c", "|cv|/|h|", "d_target (nat per token)", ""):
        table.add_column(name, justify="left" if not name else "right", no_wrap=not name)
    for row in found.rows(named=True):
        share = "-" if row["relative"] is None else f"{row['relative']:.2f}"
        dose = f"{row['c']:+.3g}" + ("" if row["unit"] == "multiples" else f" {row['unit']}")
        kl, edge = f"{row['kl']:.2f}", SAID[row["edge"]]
        table.add_row(visible(row["name"]), f"{row['target']:g}", kl, dose, share, interval_of(row, "d_target"), edge)
    console.print(table)
    console.print(Text(DEFINED, style="dim"))


DEFINED = (
    "KL: 95th percentile over positions of KL(steered || base) on free rollouts, nats; d_target: mean shift of the"
    " questions' logratio against base, + as intended, 95 % paired."
)
SAID = {"": "", "low": "under the bracket", "high": "beyond the bracket", "off": "KL not met"}
