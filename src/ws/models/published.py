"""A model's settings as they were published, and as they are while it is in use.

    published = switch_cache_on(model)
    with as_published(model, published): ...        # to write it out
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from transformers import PreTrainedModel

__all__ = ["Published", "as_published", "switch_cache_on"]

Published = tuple[tuple[str, str, Any], ...]  # (which of CONFIGS, name, value)
CONFIGS: dict[str, Callable[[PreTrainedModel], Any]] = {
    "config": lambda model: model.config,
    "text_config": lambda model: model.config.get_text_config(),
    "generation_config": lambda model: model.generation_config,
}


def switch_cache_on(model: PreTrainedModel) -> Published:
    """Switch the cache on where it is off; what was changed, for who writes the model out (`as_published`).

    A training run leaves use_cache=False behind, also in generation_config.json: generation ten times slower. Gemma's
    asks for a static cache, which compiles on a GPU and cannot be cropped.
    """
    wanted = [(place, "use_cache", True) for place in CONFIGS] + [("generation_config", "cache_implementation", None)]
    before = []
    for place, name, value in wanted:
        config = CONFIGS[place](model)
        found = getattr(config, name, None)
        if found not in (value, None):
            before.append((place, name, found))
            setattr(config, name, value)
    return tuple(before)


@contextmanager
def as_published(model: PreTrainedModel, published: Published) -> Iterator[None]:
    """The model's settings as they were before `wrap_model`, to write it out; afterwards as they are."""
    now = [(place, name, getattr(CONFIGS[place](model), name, None)) for place, name, _ in published]
    try:
        for place, name, value in published:
            setattr(CONFIGS[place](model), name, value)
        yield
    finally:
        for place, name, value in now:
            setattr(CONFIGS[place](model), name, value)
