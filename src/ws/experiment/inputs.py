"""What a run reads beside its model: its axis in the model's words, its items, its rows. Without torch.

`ws.experiment.preflight` looks at all of it before the model is loaded and before anything is written.
"""

from __future__ import annotations

from ws.axes.axis import Axis, load_axis
from ws.errors import UserError
from ws.evaluation.items import ItemSet, load_items
from ws.models.recipe import ModelRecipe, recipe_of
from ws.runs.config import RunConfig

__all__ = ["axis_of", "check_enough", "items_of"]


def axis_of(config: RunConfig, recipe: ModelRecipe | None = None, model: str | None = None) -> Axis:
    """The run's axis in the words of its model. recipe, model: of a model that is loaded already.

    UserError: an axis that is missing, malformed or not written for this model.
    """
    return load_axis(config.axis).written_for(recipe or recipe_of(config.model), model or config.model)


def items_of(config: RunConfig, recipe: ModelRecipe) -> ItemSet:
    """The evaluation's items. UserError where neither half of them could be read later."""
    items = load_items(config.evaluation.items, recipe)
    for split, n in (("select", config.dose.per_foundation), ("report", config.evaluation.per_foundation)):
        items.split(split).subset(n).refuse_gaps()
    return items


def check_enough(config: RunConfig, axis: Axis) -> int:
    """How many completions will be written. UserError where one heal needs more, whatever is kept of them."""
    data, needed = config.data, config.heal.min_rows
    prompts = min(len(axis.train), data.prompts or len(axis.train))
    written = prompts * len(data.doses) * data.samples
    if written < needed:
        raise UserError(
            f"{prompts} train prompts x {len(data.doses)} doses x {data.samples} samples are {written} completions, and"
            f" a heal needs {needed} (heal.min_rows). Raise data.samples, or name more data.doses."
        )
    return written
