"""A Direction: one vector per steered block, with its method and the weights that it was read from.

v = ws.extract(lm, axis);  v.save("direction.safetensors");  v = ws.Direction.load("direction.safetensors")
2 * v, -v, v1 + v2, v.norm(), v.cosine(w), v.random_like(seed=0)
"""

from __future__ import annotations

import hashlib
import json
import math
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from ws.errors import UserError
from ws.files import SEAL, digest, write_atomic
from ws.models.origin import UNKNOWN, Origin
from ws.steering.control_vector import MAGIC, read_control_vector, write_control_vector
from ws.steering.methods import method
from ws.steering.schedules import CosineGate, Schedule, check_where, parse_gate, parse_schedule

__all__ = ["UNTOLD", "Direction"]

PREFIX, BESIDE = "block.", "beside."
APPLIED = ("where", "schedule", "gate")  # what a direction's meta may say of how it is applied
UNTOLD = ""  # the fingerprint of a direction whose file does not say which weights it was read from
OWN = "controlvector.ws"  # key of our record of one in a GGUF file
GIVEN, ADDED = "control_vector", "mean_diff"  # method and rule of one from elsewhere: a constant, added


def _seal(head: dict[str, Any], layers: dict[int, Tensor], beside: dict[int, Tensor]) -> str:
    """A checksum of what a direction's file says, however its bytes lie."""

    def sums(tensors: dict[int, Tensor]) -> dict[str, list[str]]:
        return {str(k): [str(v.dtype), hashlib.sha256(v.contiguous().numpy().tobytes()).hexdigest()]
                for k, v in tensors.items()}  # fmt: skip

    return digest([head, sums(layers), *([sums(beside)] if beside else [])])


@dataclass(frozen=True, eq=False)
class Direction:
    """What is added to the residual stream: float32 CPU vectors (d,) by index of the block whose OUTPUT is steered.

    method: how it was found; fingerprint, origin: of the weights it was read from; meta: plain data (axis, rule ...);
    beside: what the method's rule needs at each block beside the vector, (m, d): the other vector of a plane, centres.
    UserError where there is no layer, lengths differ or a value is not finite.
    """

    layers: dict[int, Tensor]
    method: str
    fingerprint: str
    meta: dict[str, Any] = field(default_factory=dict)
    origin: Origin = UNKNOWN
    beside: dict[int, Tensor] = field(default_factory=dict)

    def __post_init__(self) -> None:
        # clones made here are ordinary tensors, also of vectors that were computed under inference_mode
        with torch.inference_mode(False):
            clean, beside = ({int(k): v.detach().to("cpu", torch.float32, copy=True) for k, v in sorted(x.items())}
                             for x in (self.layers, self.beside))  # fmt: skip
        object.__setattr__(self, "layers", clean)
        object.__setattr__(self, "beside", beside)
        if not clean or len({tuple(v.shape) for v in clean.values()}) > 1 or next(iter(clean.values())).ndim != 1:
            shapes = {k: tuple(v.shape) for k, v in clean.items()}
            raise UserError(f"a direction needs at least one layer and vectors of one length (got {shapes}).")
        if beside and {k: (x.ndim, x.shape[-1]) for k, x in beside.items()} != dict.fromkeys(clean, (2, self.width)):
            shapes = {k: tuple(x.shape) for k, x in beside.items()}
            raise UserError(f"what lies beside a direction is (m, {self.width}) at each of its blocks (got {shapes}).")
        for layer, vector in (*clean.items(), *beside.items()):
            if not bool(vector.isfinite().all()):
                raise UserError(f"the direction at block {layer} holds values that are not finite. Extract it again.")

    @property
    def width(self) -> int:
        """d, the length of each vector."""
        return int(next(iter(self.layers.values())).shape[0])

    @property
    def rule(self) -> str:
        """Name of the method that applies it; differs from `method` for a random control."""
        return str(self.meta.get("rule", self.method))

    @property
    def unit(self) -> str:
        """What c counts: "multiples", "degrees" or "shares"."""
        return method(self.rule).unit

    def applied(self, where: str | None = None, schedule: str | None = None, gate: str | None = None) -> Direction:
        """The same with a way of its own to be applied, which stands whatever a call says.

        where: a clause of `ws.steered`; schedule: the text of one ("window:0:20"); gate: "below:0.1" or "above:0.1",
        cos(h, v) at which positions are steered. None keeps what it has. UserError for one that is not there.
        """
        own = {name: value for name, value in (("where", where), ("schedule", schedule), ("gate", gate)) if value}
        if where is not None:
            check_where(where)
        for read, text in ((parse_schedule, schedule), (parse_gate, gate)):
            if text is not None:
                read(text)
        return replace(self, meta=self.meta | own)

    @property
    def title(self) -> str:
        """Its method, and how it is applied where that is its own: "mean_diff (schedule window:0:20)"."""
        told = ", ".join(f"{name} {self.meta[name]}" for name in APPLIED if name in self.meta)
        return f"{self.method} ({told})" if told else self.method

    @property
    def where(self) -> str | None:
        """The positions that it is applied at; None: the call's."""
        return self.meta.get("where")

    @property
    def schedule(self) -> Schedule | None:
        """Its factor by offset from the tag; None: the call's."""
        text = self.meta.get("schedule")
        return None if text is None else parse_schedule(text)

    @property
    def gate(self) -> CosineGate | None:
        """Its factor by the state's cosine with it; None: the call's."""
        text = self.meta.get("gate")
        return None if text is None else parse_gate(text)

    def vectors(self, block: int) -> Tensor:
        """What the rule's `prepare` takes: (d,), or (1 + m, d) with what lies beside."""
        own = self.layers[block]
        return torch.cat([own[None], self.beside[block]]) if self.beside else own

    def flat(self) -> Tensor:
        """All layers in order, concatenated: (L * d,)."""
        return torch.cat(list(self.layers.values()))

    def norm(self) -> float:
        """Euclidean norm of the concatenated layers."""
        return float(self.flat().norm())

    def cosine(self, other: Direction) -> float:
        """Cosine of the concatenated layers; UserError where the two steer different blocks."""
        self._same_blocks(other)
        return float(torch.nn.functional.cosine_similarity(self.flat().double(), other.flat().double(), dim=0))

    def random_like(self, seed: int) -> Direction:
        """A random direction of equal norm at every layer, applied by the same rule; the control of every table."""
        dice = torch.Generator().manual_seed(seed)
        drawn = {k: method(self.rule).control(self.vectors(k), dice) for k in self.layers}
        layers = {k: x[0] if self.beside else x for k, x in drawn.items()}
        beside = {k: x[1:] for k, x in drawn.items()} if self.beside else {}
        own = {name: self.meta[name] for name in APPLIED if name in self.meta}
        meta = {"rule": self.rule, "seed": seed, "like": self.method, **own}
        return Direction(layers, "random", self.fingerprint, meta, self.origin, beside)

    def __mul__(self, factor: float) -> Direction:
        if not isinstance(factor, int | float):
            return NotImplemented
        if not math.isfinite(factor):
            raise UserError(f"a direction can be multiplied by a finite number only (got {factor}).")
        return replace(self, layers={k: v * factor for k, v in self.layers.items()})

    __rmul__ = __mul__

    def __neg__(self) -> Direction:
        return self * -1.0

    def __add__(self, other: Direction) -> Direction:
        if not isinstance(other, Direction):
            return NotImplemented
        self._same_blocks(other)
        if self.beside or other.beside:
            raise UserError(f"directions of {self.rule!r} do not add: each has vectors of its own. Pass a list.")
        one = self.fingerprint == other.fingerprint or self.origin.checkpoint == other.origin.checkpoint != ""
        if not one or self.rule != other.rule:
            mine, theirs = (self.fingerprint, self.rule), (other.fingerprint, other.rule)
            raise UserError(f"directions of different weights or rules do not add ({mine}, {theirs}). Pass a list.")
        name = self.method if self.method == other.method else f"{self.method}+{other.method}"
        summed = {k: v + other.layers[k] for k, v in self.layers.items()}
        return Direction(summed, name, self.fingerprint, {**self.meta, "rule": self.rule, "sum": True}, self.origin)

    def __sub__(self, other: Direction) -> Direction:
        return self + -other

    def _same_blocks(self, other: Direction) -> None:
        if self.layers.keys() != other.layers.keys() or self.width != other.width:
            mine, theirs = (f"{list(d.layers)} of width {d.width}" for d in (self, other))
            raise UserError(f"the directions steer different blocks: {mine} and {theirs}. Extract both with layers=.")

    def save(self, path: str | Path) -> Path:
        """Write a safetensors file (temporary name, then rename); method, fingerprint, meta, origin and a checksum of
        all are its metadata."""
        plain = json.loads(json.dumps(self._told()))
        head = json.dumps(plain | {SEAL: _seal(plain, self.layers, self.beside)})
        tensors = {f"{PREFIX}{k}": v.contiguous() for k, v in self.layers.items()}
        tensors |= {f"{BESIDE}{k}": v.contiguous() for k, v in self.beside.items()}
        write_atomic(Path(path), lambda temporary: save_file(tensors, temporary, {"direction": head}))
        return Path(path)

    def _told(self) -> dict[str, Any]:
        """What a file says beside the vectors."""
        told = {"method": self.method, "fingerprint": self.fingerprint, "meta": self.meta}
        return told | {"origin": self.origin.to_dict()}

    @classmethod
    def load(cls, path: str | Path) -> Direction:
        """Read what `save` wrote, or a GGUF control vector (llama.cpp's, repeng's, `save_gguf`'s), by its first bytes.

        A control vector's scale becomes c: v_i = L times what the file adds behind block i, L the number of blocks that
        it steers. One from elsewhere does not say its weights: fingerprint "", meta "model_hint". UserError names a
        missing, damaged or foreign file, or one whose norm is 0.
        """
        try:
            with Path(path).open("rb") as file:
                if file.read(len(MAGIC)) == MAGIC:
                    return cls._load_gguf(Path(path))
            with safe_open(path, framework="pt") as file:
                head = json.loads((file.metadata() or {})["direction"])
                names = list(file.keys())
                layers, beside = ({int(k.removeprefix(start)): file.get_tensor(k) for k in names if k.startswith(start)}
                                  for start in (PREFIX, BESIDE))  # fmt: skip
                if len(layers) + len(beside) != len(names):
                    raise ValueError(f"tensors of other names: {', '.join(names)}")
            seal = head.pop(SEAL, None)
            if seal not in (None, _seal(head, layers, beside)):  # None: written by an earlier version
                raise ValueError("its vectors are not those that were written")
            told = (head["method"], head["fingerprint"], head["meta"], Origin.read(head.get("origin")))
            found = cls(layers, *told, beside)
        except FileNotFoundError as error:
            raise UserError(f"there is no direction file {path}. Write one with direction.save(path).") from error
        except (SafetensorError, OSError, LookupError, ValueError, TypeError, AttributeError, UserError) as error:
            raise UserError(f"{path} is not a direction file or is damaged ({error}). Extract it again.") from error
        if found.norm() == 0:
            raise UserError(f"the direction in {path} has norm 0 and steers nothing. Extract it again.")
        return found

    @classmethod
    def _load_gguf(cls, path: Path) -> Direction:
        added, told = read_control_vector(path)
        if not added:
            raise UserError(f"{path} steers nothing: it holds no vector, or zeros alone. Export it again.")
        layers = {block: vector * len(added) for block, vector in added.items()}
        own = json.loads(told[OWN]) if OWN in told else None
        if own is not None:
            return cls(layers, own["method"], own["fingerprint"], own["meta"], Origin.read(own.get("origin")))
        return cls(layers, GIVEN, UNTOLD, {"rule": ADDED, "model_hint": told.get("controlvector.model_hint")})

    def save_gguf(self, path: str | Path, architecture: str, blocks: int, *, drop_block_0: bool = False) -> Path:
        """Write a GGUF control vector; its scale in llama.cpp is our c, at every position as where="all" is.

        architecture: llama.cpp's name of it ("qwen3"); blocks: how many the model has. Tensor `direction.i` holds
        v_i / L for every block from 1 to the last, zeros where nothing is steered. UserError: a method that adds no
        constant; block 0, which llama.cpp cannot steer, unless drop_block_0 leaves that part out; no such block.
        """
        self._check_exports(blocks, drop_block_0)
        nothing = torch.zeros(self.width)
        added = {k: self.layers[k] / len(self.layers) if k in self.layers else nothing for k in range(1, blocks)}
        write_control_vector(Path(path), added, architecture, {OWN: json.dumps(self._told())})
        return Path(path)

    def _check_exports(self, blocks: int, drop_block_0: bool) -> None:
        if not method(self.rule).bakeable:
            raise UserError(f"a control vector adds a constant, and {self.rule!r} adds none. Extract by mean_diff.")
        if max(self.layers) >= blocks:
            last = max(self.layers)
            raise UserError(f"the direction steers block {last}, and the model has blocks 0 to {blocks - 1}.")
        if list(self.layers) == [0]:
            raise UserError("the direction steers block 0 alone, and a control vector begins at block 1. Use layers=.")
        if 0 in self.layers and not drop_block_0:
            raise UserError(
                f"llama.cpp cannot steer block 0, which holds {self.share(0):.2%} of this direction (of its squared"
                " norm). Export the rest with --drop-block-0 (drop_block_0=True), or extract with layers= without it."
            )

    def share(self, block: int) -> float:
        """The part of the squared norm that a block holds, 0 to 1."""
        return float(self.layers[block].square().sum() / self.flat().square().sum())
