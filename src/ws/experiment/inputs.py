"""Checks what a run reads beside its model, before the model is loaded and before anything is written.

    axis = check_inputs(config)      # UserError: a file that is not there or not right, an axis in other words, ...

Without torch: `ws run` says what is wrong at once.
"""

from __future__ import annotations

from ws.axes.axis import Axis, load_axis
from ws.errors import UserError
from ws.evaluation.items import ItemSet, load_items
from ws.models.recipe import ModelRecipe, recipe_of
from ws.runs.config import RunConfig, check_runnable

__all__ = ["check_inputs", "items_of"]


def check_inputs(config: RunConfig, recipe: ModelRecipe | None = None, model: str | None = None) -> Axis:
    """The run's axis in the words of its model. recipe, model: of a model that is loaded already.

    UserError: names that this version does not know, an axis or items file that is missing or malformed, an axis that
    is not written for this model, halves of the items that cannot be read, too few completions for any heal.
    """
    recipe, model = recipe or recipe_of(config.model), model or config.model
    check_runnable(config)
    axis = load_axis(config.axis).written_for(recipe, model)
    items_of(config, recipe)
    _check_enough(config, axis)
    return axis


def items_of(config: RunConfig, recipe: ModelRecipe) -> ItemSet:
    """The evaluation's items. UserError where neither half of them could be read later."""
    items = load_items(config.evaluation.items, recipe)
    for split, n in (("select", config.dose.per_foundation), ("report", config.evaluation.per_foundation)):
        items.split(split).subset(n).refuse_gaps()
    return items


def _check_enough(config: RunConfig, axis: Axis) -> None:
    """UserError where fewer completions would be written than one heal needs, whatever is kept of them."""
    data, needed = config.data, config.heal.min_rows
    prompts = min(len(axis.train), data.prompts or len(axis.train))
    written = prompts * len(data.doses) * data.samples
    if written < needed:
        raise UserError(
            f"{prompts} train prompts x {len(data.doses)} doses x {data.samples} samples are {written} completions, and"
            f" a heal needs {needed} (heal.min_rows). Raise data.samples, or name more data.doses."
        )
