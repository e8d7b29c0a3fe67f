"""The families of adapters, one file each, found by the file's name. A family is a module that has

    FAMILY: Family          its PEFT config, and the weight that it makes (ws.models.adapters.family)

    FAMILIES["lora"].step(acc, weight, parts, config, name) -> the weight (out, in) after this adapter

`step` is what PEFT's layer computes, written on weights: `acc` is the weight with the earlier adapters of a stack on,
`weight` the pristine one. Attaching, merging and measuring all read it, and the tests hold it against PEFT's forward. A
family whose layer is no linear map of its input, or that writes into the base weight, does not belong here. What a
stored config sets beside `Family.fields`, or a file holds beside what `step` reads, is refused: PEFT grows.

What an adapter is at strength c, negative ones included, is said by the family alone (`Family.at`): families that add
to the weight add c times as much, rotations turn by c times the angle, a factor l becomes 1 + c (l - 1).

A new family is a new file here. Listing the names imports none of them: the configuration reads them where there is no
torch.
"""

from __future__ import annotations

import dataclasses
import importlib
import pkgutil
from collections.abc import Iterable, Iterator, Mapping
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from ws.errors import UserError

if TYPE_CHECKING:
    from peft import PeftConfig
    from torch import Tensor, nn

    from ws.models.adapters.family import Family, Parts

__all__ = ["FAMILIES", "HARMLESS", "family_of", "new_config", "set_fields", "unknown_fields", "update_square"]

FIRST = ("lora", "dora", "pissa", "delora", "oft", "boft", "ia3")
"""Families in the order in which they are offered, and asked whose a stored config is."""
HARMLESS = frozenset({
    "task_type", "peft_type", "auto_mapping", "peft_version", "base_model_name_or_path", "revision", "inference_mode",
    "target_modules", "exclude_modules", "layers_to_transform", "layers_pattern", "runtime_config", "fan_in_fan_out",
})  # fmt: skip
"""Fields of a PEFT config that leave alone what a layer computes; which modules it is on, its file's tensors say."""


class _Found(Mapping[str, "Family"]):
    """The files of this folder by name, looked up by each who asks; a family is imported when it is taken."""

    def __iter__(self) -> Iterator[str]:
        found = [module.name for module in pkgutil.iter_modules(__path__)]
        return iter(sorted(found, key=lambda name: (FIRST.index(name) if name in FIRST else len(FIRST), name)))

    def __len__(self) -> int:
        return len(list(iter(self)))

    def __contains__(self, name: object) -> bool:
        return any(name == found for found in self)

    def __getitem__(self, name: str) -> Family:
        """KeyError for a name without a file; UserError for a file without a family."""
        if name not in self:
            raise KeyError(name)
        family: Family | None = getattr(importlib.import_module(f"{__name__}.{name}"), "FAMILY", None)
        if family is None:
            raise UserError(f"the adapter family {name!r} has no FAMILY. `{__name__}` says what it needs.")
        return family


FAMILIES = _Found()


def new_config(family: str, rank: int, alpha: float, modules: Mapping[str, nn.Module]) -> PeftConfig:
    """The PEFT config of a new adapter on these modules.

    UserError where the family cannot train GPT-2's Conv1D, or its blocks of `rank` inputs do not fill a weight.
    """
    from transformers.pytorch_utils import Conv1D  # only now: they bring torch

    from ws.models.architecture import shape_of

    own = FAMILIES[family]
    across = any(isinstance(module, Conv1D) for module in modules.values())
    if across and not own.conv1d:
        others = ", ".join(name for name, other in FAMILIES.items() if other.conv1d)
        raise UserError(f"{family} cannot train Conv1D weights (as GPT-2's are). Use one of: {others}.")
    _check_rank(family, own, rank, {name: shape_of(module)[0] for name, module in modules.items()})
    config: Any = own.configure(rank, alpha, list(modules))
    if across:
        config.fan_in_fan_out = True
    made: PeftConfig = config
    return made


def _check_rank(family: str, own: Family, rank: int, inputs: Mapping[str, int]) -> None:
    """UserError, with the nearest rank that fits them all, where a weight of so many inputs cannot be trained at it."""
    wrong = next((name for name, width in inputs.items() if not own.fits(rank, width)), None)
    if wrong is None:
        return
    ranks = [r for r in range(1, min(inputs.values()) + 1) if all(own.fits(r, width) for width in inputs.values())]
    way = f"Take --heal.rank {min(ranks, key=lambda r: abs(r - rank))}" if ranks else "Take another --heal.adapter"
    raise UserError(
        f"{family} turns blocks of heal.rank inputs, and {rank} do not fill the {inputs[wrong]} inputs of {wrong}."
        f" {way}."
    )


def family_of(config: PeftConfig) -> Family:
    """The family of a stored config. UserError where there is none, or a field is set that its `step` does not know."""
    kind = f"{getattr(config.peft_type, 'value', config.peft_type)}"
    family = next((family for family in FAMILIES.values() if family.mine(config)), None)
    if family is None:
        raise UserError(f"adapters of type {kind} are not supported. Supported: {', '.join(FAMILIES)}.")
    known = HARMLESS | family.fields
    used = [f"{name}={value!r}" for name, value in set_fields(config).items() if name not in known]
    if used := [*used, *family.refused(config)]:
        raise unknown_fields(kind, used)
    return family


def unknown_fields(kind: str, used: Iterable[str]) -> UserError:
    """The refusal of an adapter whose config says ("name=value") what nothing here computes."""
    return UserError(
        f"this {kind} adapter uses {', '.join(used)}, which ws cannot attach. Convert it to plain LoRA, or load the"
        " model that PEFT's own merge_and_unload makes of it; a key that changes nothing can be taken out of its"
        " adapter_config.json."
    )


def set_fields(config: PeftConfig) -> dict[str, Any]:
    """Fields of a config that are not as their class leaves them; what is empty both ways is not set."""
    kind: Any = type(config)
    usual = _usual(kind)
    now = {name: getattr(config, name) for name in usual}
    return {name: value for name, value in now.items() if value != usual[name] and (value or usual[name])}


@lru_cache(maxsize=64)
def _usual(kind: Any) -> dict[str, Any]:
    """Field -> its default."""
    found = {}
    for field in dataclasses.fields(kind):
        made = field.default_factory() if field.default_factory is not dataclasses.MISSING else field.default
        found[field.name] = None if made is dataclasses.MISSING else made
    return found


def update_square(weight: Tensor | None, parts: Parts, config: PeftConfig, name: str) -> Tensor:
    """Squared Frobenius norm of one module's update, with a gradient in `parts`; weight: not needed for a short cut."""
    family = family_of(config)
    if family.square is not None:
        return family.square(parts, config, name)
    assert weight is not None
    return (family.step(weight, weight, parts, config, name) - weight).square().sum()
