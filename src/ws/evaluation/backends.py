"""Backends that read the vignettes: this package's own, or tinymfv / moralmaps where a user has installed one of them.

They are other instruments: their reports carry their name and readout, and `compare` refuses to mix them with ours.
They read their own set as a whole; what they cannot do (subsets, other items) is refused where they were asked for by
name, and left to ours where nobody asked.
"""

from __future__ import annotations

import importlib
import importlib.metadata
import importlib.util
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from typing import Any, Protocol

import polars as pl
import torch

from ws.errors import UserError
from ws.evaluation.answer_slot import Reading
from ws.evaluation.items import ItemSet
from ws.evaluation.vignettes import ROWS, read_vignettes
from ws.gating.foundations import FOUNDATIONS
from ws.models.chat_template import frozen_template
from ws.models.lm import LM
from ws.steering.hooks import steered

__all__ = ["EXTERNAL", "Backend", "Builtin", "External", "backend_of"]

EXTERNAL = ("tinymfv", "moralmaps")
WAYS = {
    "tinymfv": "Install it with: pip install -e '.[tinymfv]'. No package index has it: pip takes it from its public"
    " repository, which needs git and network access to there. Without them",
    "moralmaps": "No extra brings it: it is for those who have it. Without it",
}
"""How each of EXTERNAL is had."""
SET = "classic"
SPELLINGS = {f.casefold(): f for f in FOUNDATIONS} | dict.fromkeys(("social", "social norms", "norms"), "SocialNorms")


class Backend(Protocol):
    """Reads vignettes at several doses, and says what in a report's identity comes from it."""

    @property
    def name(self) -> str: ...

    def identity(self, items: ItemSet, reading: Reading) -> dict[str, Any]: ...

    def read(
        self,
        lm: LM,
        items: ItemSet,
        reading: Reading,
        *,
        direction: Any,
        cs: Sequence[float],
        persona: str | None,
        stale: bool,
    ) -> list[pl.DataFrame]: ...


@dataclass(frozen=True)
class Builtin:
    """This package's own evaluator."""

    name: str = "builtin"

    def identity(self, items: ItemSet, reading: Reading) -> dict[str, Any]:
        readout = reading.readout + (", strict_june" if reading.strict_june else "")
        return {"items": items.name, "item_hash": items.hash, "rows": items.counts, "readout": readout}

    def read(
        self,
        lm: LM,
        items: ItemSet,
        reading: Reading,
        *,
        direction: Any,
        cs: Sequence[float],
        persona: str | None,
        stale: bool,
    ) -> list[pl.DataFrame]:
        # stale directions come with adapters, and with them only
        return read_vignettes(
            lm, items, reading, direction=direction, cs=cs, persona=persona, stale=stale, pristine=not stale
        )


@dataclass(frozen=True)
class External:
    """tinymfv's evaluate(), or moralmaps' under its later name, on its own set; called once per dose inside the
    steering."""

    name: str

    def identity(self, items: ItemSet, reading: Reading) -> dict[str, Any]:
        readout = "digit" if self.name == "moralmaps" else "first"
        return {"items": f"{self.name} {SET}", "item_hash": _version(self.name), "rows": None, "readout": readout}

    def read(
        self,
        lm: LM,
        items: ItemSet,
        reading: Reading,
        *,
        direction: Any,
        cs: Sequence[float],
        persona: str | None,
        stale: bool,
    ) -> list[pl.DataFrame]:
        module = importlib.import_module(self.name)
        quiet = {"verbose": 0} if self.name == "moralmaps" else {}
        tok = lm.tok if persona is None else _WithPersona(lm.tok, persona)
        settings = {
            "name": SET,
            "conditions": reading.conditions,
            "max_think_tokens": reading.think,
            **quiet,
            "batch_size": reading.batch_size,
            "return_per_row": True,
        }
        frames = []
        with lm.lock, torch.inference_mode(), _lent(lm.tok):
            for c in cs:
                with nullcontext() if direction is None else steered(lm, direction, c, allow_stale=stale):
                    frames.append(_frame(module.evaluate(lm.model, tok, **settings), reading))
        return frames


@contextmanager
def _lent(tok: Any) -> Iterator[None]:
    """A tokenizer whose template knows one day; its padding settings, which tinymfv changes for good, are put back."""
    kept = {name: getattr(tok, name) for name in ("padding_side", "pad_token", "chat_template")}
    try:
        if tok.chat_template:
            tok.chat_template = frozen_template(tok)
        yield
    finally:
        for name, value in kept.items():
            setattr(tok, name, value)


class _WithPersona:
    """A tokenizer whose chat template gets a system prompt; everything else is the tokenizer's own."""

    def __init__(self, tok: Any, persona: str) -> None:
        self._tok, self._persona = tok, persona

    def apply_chat_template(self, conversation: list[dict[str, str]], *args: Any, **kwargs: Any) -> Any:
        turns = [{"role": "system", "content": self._persona}, *conversation]
        return self._tok.apply_chat_template(turns, *args, **kwargs)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self._tok(*args, **kwargs)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._tok, name)


def _frame(report: Mapping[str, Any], reading: Reading) -> pl.DataFrame:
    """Its per-row records as ours; what it does not measure is NaN, or null."""
    names = [SPELLINGS[str(f).casefold()] for f in report["profile"]["foundation"]]
    records = report["per_row"]
    nan = float("nan")
    rows = []
    for record in records.to_dict("records") if hasattr(records, "to_dict") else records:
        p, score = (_by_foundation(record[key], names) for key in ("p", "score"))
        label = SPELLINGS.get(str(record.get("foundation")).casefold())
        rows.append(
            {
                "id": str(record["id"]),
                "foundation": label,
                "cues": [label] if label else [],
                "condition": record["condition"],
                "think": reading.think,
                **{f"p_{f}": p[f] for f in FOUNDATIONS},
                **{f"score_{f}": score[f] for f in FOUNDATIONS},
                "forward": None,
                "reverse": None,
                "p_ans_any": record["pmass_allowed"],
                "p_prefill": nan,
                "p_ans_free": nan,
                "nll_json": record.get("nll_json", nan),
                "json_valid": nan,
            }
        )
    return pl.DataFrame(rows, schema=ROWS)


def _by_foundation(values: Any, names: Sequence[str]) -> dict[str, float]:
    """Seven numbers by our names, from a mapping or in the order of its profile."""
    if isinstance(values, Mapping):
        return {SPELLINGS[str(name).casefold()]: float(value) for name, value in values.items()}
    return {name: float(value) for name, value in zip(names, values, strict=True)}


def _version(name: str) -> str:
    try:
        return importlib.metadata.version("tiny-mfv" if name == "tinymfv" else name)
    except importlib.metadata.PackageNotFoundError:
        return "unknown"


def _installed(name: str) -> bool:
    return importlib.util.find_spec(name) is not None


def backend_of(lm: LM, name: str | None, *, whole: bool) -> Backend:
    """The backend by name; None: an installed one that fits, else ours. whole: all of the default items are asked
    for.

    The embedded model is always ours. UserError: unknown, not installed, or asked for what it cannot do.
    """
    if name is None:
        found = [other for other in EXTERNAL if _installed(other)] if whole and lm.recipe.outside else []
        return External(found[0]) if found else Builtin()
    if name == "builtin":
        return Builtin()
    if name not in EXTERNAL:
        raise UserError(f"unknown backend {name!r}. Use one of: builtin, {', '.join(EXTERNAL)}.")
    if not _installed(name):
        raise UserError(f"backend {name!r} is not installed. {WAYS[name]} use backend='builtin'.")
    if not lm.recipe.outside or not whole:
        raise UserError(
            f"backend {name!r} reads its own set as a whole, and not with the embedded model."
            " Use backend='builtin', or leave out items, per_foundation and split."
        )
    return External(name)
