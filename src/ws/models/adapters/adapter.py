"""The Adapter: what a heal leaves behind, stored as a plain PEFT folder, put on a model and taken off again.

    adapter = Adapter.load("out/runs/.../rounds/0/adapter")
    with attached(lm, [a0, (a1, 0.5)]):               # base + a0 + half of a1, in this order
        ...                                           # lm.model is adapted; afterwards it is pristine, bit for bit
    PeftModel.from_pretrained(base, folder)           # others need no ws

In float32 the adapted weights stand in for the base's own while attached: nothing is slower. In half precision or
quantized models that would round the update away, so PEFT's layers are put in and run in float32. Neither writes into a
base weight.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import polars as pl
import torch
from peft import PeftConfig, PeftType
from peft.mapping import PEFT_TYPE_TO_CONFIG_MAPPING, PEFT_TYPE_TO_PREFIX_MAPPING
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from ws.errors import UserError
from ws.files import checksum, read_frame, sealed, unsealed, write_atomic
from ws.models.adapters.families import FAMILIES, HARMLESS, family_of, unknown_fields
from ws.models.adapters.families.lora import rank_of
from ws.models.adapters.family import Family, Parts
from ws.models.adapters.peft_layers import PREFIX
from ws.models.architecture import is_linear, shape_of
from ws.models.lm import LM
from ws.models.origin import UNKNOWN, Origin, differs, fits

__all__ = [
    "Adapter",
    "Stack",
    "as_stack",
    "checked",
]

Stack = Sequence["Adapter | tuple[Adapter, float]"]

CONFIG, WEIGHTS, CURVE, OWN = "adapter_config.json", "adapter_model.safetensors", "curve.parquet", "ws.json"
OWN_KEYS = {"fingerprint": str, "meta": dict, "files": dict}


@dataclass(frozen=True, eq=False)
class Adapter:
    """A trained adapter, on the CPU, float32.

    config: PEFT config; state: tensors by their names in a PEFT file; fingerprint: the base's; curve: one row per
    optimiser step (see ws.healing.config); meta: plain values (settings, figures of the heal); origin: the base's.
    """

    config: PeftConfig
    state: dict[str, Tensor]
    fingerprint: str
    curve: pl.DataFrame = field(default_factory=pl.DataFrame)
    meta: dict[str, Any] = field(default_factory=dict)
    origin: Origin = UNKNOWN

    @cached_property
    def digest(self) -> str:
        """16 hex characters of sha256 over the tensors' names, shapes and bytes."""
        h = hashlib.sha256()
        for name, value in sorted(self.state.items()):
            h.update(f"{name} {tuple(value.shape)}".encode())
            h.update(value.contiguous().numpy().data)
        return h.hexdigest()[:16]

    @cached_property
    def modules(self) -> dict[str, Parts]:
        """The tensors by module name and, in it, by part (lora_A ...)."""
        mark = f".{PEFT_TYPE_TO_PREFIX_MAPPING[PeftType(self.config.peft_type)]}"
        parts: dict[str, Parts] = {}
        for key, value in self.state.items():
            module, _, part = key.removeprefix(PREFIX).rpartition(mark)
            parts.setdefault(module, {})[(mark[1:] + part).removesuffix(".weight")] = value
        return parts

    @cached_property
    def fitted(self) -> set[str]:
        """Fingerprints of the models that it was found to fit."""
        return set()

    def save(self, folder: str | Path) -> None:
        """Write a plain PEFT folder, with the curve and ws.json beside it, in one step."""
        write_atomic(Path(folder), self._write)

    def _write(self, folder: Path) -> None:
        folder.mkdir(parents=True)
        plain = {k: sorted(v) if isinstance(v, set) else v for k, v in self.config.to_dict().items()}
        _write_json(folder / CONFIG, plain | {"inference_mode": True})
        save_file({k: v.contiguous() for k, v in self.state.items()}, folder / WEIGHTS, metadata={"format": "pt"})
        self.curve.write_parquet(folder / CURVE)
        files = {name: checksum(folder / name) for name in (CONFIG, WEIGHTS, CURVE)}
        base = {"fingerprint": self.fingerprint, "origin": self.origin.to_dict()}
        plain = {**base, "meta": self.meta, "files": files}
        _write_json(folder / OWN, sealed(json.loads(json.dumps(plain, default=str))))

    @classmethod
    def load(cls, folder: str | Path, lm: LM | None = None) -> Adapter:
        """Read what `save` wrote, or a PEFT folder from elsewhere, for which `lm` says the base model.

        UserError: a file is missing or damaged, the folder belongs to another base than `lm`.
        """
        folder = Path(folder)
        own = _read_own(folder / OWN) if (folder / OWN).is_file() else None
        for name, known in (own["files"] if own else {}).items():
            if not (folder / name).is_file() or checksum(folder / name) != known:
                raise _damaged(folder / name, "its checksum differs" if (folder / name).is_file() else "it is missing")
        if own is None and lm is None:
            raise UserError(f"{folder} has no {OWN}: its base model is unknown. Use Adapter.load(folder, lm=lm).")
        config, state = _read_config(folder), _read_state(folder / WEIGHTS)
        if own is None:
            assert lm is not None
            return _fitting(cls(config, state, lm.fingerprint, origin=lm.origin), lm)
        curve, origin = read_frame(folder / CURVE), Origin.read(own.get("origin"))
        adapter = cls(config, state, own["fingerprint"], curve, own["meta"], origin)
        return adapter if lm is None else _fitting(adapter, lm)


def _write_json(path: Path, value: Mapping[str, Any]) -> None:
    path.write_text(json.dumps(value, indent=1, sort_keys=True, default=str) + "\n", encoding="utf-8")


def _damaged(path: Path, why: object) -> UserError:
    return UserError(f"{path} is damaged ({why}). Heal again, or copy the folder again from where it came.")


def _read_json(path: Path) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, OSError) as error:
        raise _damaged(path, error) from error


def _read_own(path: Path) -> dict[str, Any]:
    """What `Adapter.save` said of the folder, whole."""
    own = unsealed(_read_json(path))
    if own is None or not all(isinstance(own.get(name), kind) for name, kind in OWN_KEYS.items()):
        raise _damaged(path, "it is not what was written")
    return own


def _read_config(folder: Path) -> PeftConfig:
    """The config. UserError for a damaged one, an unknown type, and keys of a newer PEFT that are set."""
    plain = _read_json(folder / CONFIG)
    if not isinstance(plain, dict) or "peft_type" not in plain:
        raise _damaged(folder / CONFIG, "it names no peft_type")
    kind = plain["peft_type"]
    known = {str(PeftType(k).value): v for k, v in PEFT_TYPE_TO_CONFIG_MAPPING.items()}.get(str(kind))
    if known is None:
        named = ", ".join(FAMILIES)
        raise UserError(f"{folder / CONFIG}: PEFT knows no adapters of type {kind!r}. Supported: {named}.")
    names = HARMLESS | {field.name for field in dataclasses.fields(known)}
    if newer := [f"{key}={value!r:.60}" for key, value in plain.items() if value and key not in names]:
        raise unknown_fields(str(kind), newer)
    try:
        config = PeftConfig.from_pretrained(str(folder))
        family_of(config)
    except UserError:
        raise
    except Exception as error:  # whatever PEFT makes of a value that a user wrote there
        raise _damaged(folder / CONFIG, f"{type(error).__name__}: {error}") from error
    return config


def _read_state(path: Path) -> dict[str, Tensor]:
    try:
        state = {key: value.float() for key, value in load_file(path).items()}
    except (SafetensorError, OSError) as error:
        raise _damaged(path, error) from error
    if not state or not all(value.isfinite().all() for value in state.values()):
        raise _damaged(path, "it holds no tensor" if not state else "not all of its numbers are finite")
    return state


def as_stack(adapters: Stack) -> list[tuple[Adapter, float]]:
    """Adapters with their coefficients, 1.0 where none is given."""
    if isinstance(adapters, Adapter):
        raise UserError("adapters must be a list (got one Adapter). Write adapters=[adapter].")
    return [(item, 1.0) if isinstance(item, Adapter) else (item[0], float(item[1])) for item in adapters]


def checked(lm: LM, adapters: Stack) -> list[tuple[Adapter, float]]:
    """The stack, every adapter of which was made on this very model and fits it. UserError otherwise."""
    return [(_fitting(adapter, lm), c) for adapter, c in as_stack(adapters)]


def _fitting(adapter: Adapter, lm: LM) -> Adapter:
    if lm.fingerprint in adapter.fitted:
        return adapter
    if not fits(adapter.fingerprint, adapter.origin, lm):
        raise UserError(
            f"the adapter was made on the model with {differs(adapter.fingerprint, adapter.origin, lm)}; after ws.bake,"
            " adapters of the unbaked model no longer fit."
        )
    modules, family = dict(lm.model.named_modules()), family_of(adapter.config)
    for name, parts in adapter.modules.items():
        if name not in modules or not is_linear(modules[name]):
            raise UserError(
                f"the adapter has weights for {name!r}, which {lm.name} lacks. Load the model it was made on."
            )
        width, height = shape_of(modules[name])
        a, b = (next((v for k, v in parts.items() if k.endswith(end)), None) for end in ("_A", "_B"))
        if a is not None and b is not None and (a.shape[-1], b.shape[0]) != (width, height):
            raise UserError(
                f"the adapter's {name} is {b.shape[0]}x{a.shape[-1]}, the model's {height}x{width}. Wrong model?"
            )
        _check_parts(adapter, family, name, (height, width))
    adapter.fitted.add(lm.fingerprint)
    return adapter


def _check_parts(adapter: Adapter, family: Family, name: str, shape: tuple[int, int]) -> None:
    """UserError where the family's step fails on a module's tensors, or leaves one of them unread; no number is made.
    """
    parts = _Read({part: value.to("meta") for part, value in adapter.modules[name].items()})
    weight = torch.empty(shape, device="meta")
    try:
        if "lora_A" in adapter.modules[name] and len(parts["lora_A"]) != (rank := rank_of(adapter.config, name)):
            raise ValueError(f"rank {len(parts['lora_A'])}, but {rank} in the config")
        after = family.step(weight, weight, parts, adapter.config, name)
    except (ArithmeticError, AttributeError, LookupError, RuntimeError, TypeError, ValueError) as error:
        raise UserError(
            f"the adapter's tensors for {name!r} do not make a weight ({type(error).__name__}: {error}). Copy the"
            " folder again, or heal again."
        ) from error
    unread = sorted(set(parts) - parts.read)
    if unread or after.shape != weight.shape:
        what = f"tensors that ws does not read ({', '.join(unread)})" if unread else "another shape"
        raise UserError(f"the adapter has {what} for {name!r} and cannot be attached. Convert it to plain LoRA.")


class _Read(dict[str, Tensor]):
    """Parts that remember which of them were asked for."""

    def __init__(self, parts: Parts) -> None:
        super().__init__(parts)
        self.read: set[str] = set()

    def __getitem__(self, part: str) -> Tensor:
        self.read.add(part)
        return super().__getitem__(part)
