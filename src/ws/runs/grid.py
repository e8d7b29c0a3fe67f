"""The grid of a sweep: a TOML file whose rows are arms, each a whole configuration of a run.

    recipe = "quick"                    # optional, as of `ws run`
    [base]                              # what all rows share
    seeds = [0, 1, 2]
    [grid]                              # lists that are crossed: here 4 rows
    heal.beta = [0.03, 0.3]
    heal.aggregate = ["mean", "rmse"]
    [[arm]]                             # a row of its own, beside the crossed ones
    name = "no barrier"
    heal.barrier = "nll"

    arms = arms_of(read_grid("grid.toml"))      # UserError that names the rows; nothing is loaded

Fields are those of RunConfig by dotted name, as `ws run --...` calls them. docs/sweeps.md says more. Needs no torch.
"""

from __future__ import annotations

import dataclasses
import itertools
import tomllib
import types
import typing
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from ws.errors import UserError, near
from ws.healing.divergences import holds
from ws.models.recipe import recipe_of
from ws.runs.config import RunConfig, field_types, flat, to_dict
from ws.runs.recipes import recipe_for

__all__ = ["MOST", "SweepArm", "arms_of", "effective", "read_grid"]

PARTS = ("recipe", "base", "grid", "arm")
MOST = 1000
"""Rows of a grid at most: a list too many in [grid] multiplies, and nobody meant more."""
NONE = "None"
"""In a grid, the value of a field that is unset: TOML has no word for it."""


@dataclass(frozen=True)
class SweepArm:
    """One row: what it is called, where the file has it, what is its own in it, and the configuration that it makes."""

    name: str
    place: str
    varied: dict[str, Any]
    config: RunConfig


@dataclass(frozen=True)
class _Row:
    name: str | None
    place: str
    values: dict[str, Any]


def read_grid(path: str | Path) -> dict[str, Any]:
    """The tables of a grid file. UserError where it is missing, no TOML, or holds something else than PARTS."""
    try:
        text = Path(path).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or error
        raise UserError(f"{path} cannot be read ({reason}). Name a TOML file (docs/sweeps.md has one).") from error
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise UserError(f"{path} is no TOML: {error}. Mend that line.") from error


def arms_of(grid: Mapping[str, Any]) -> list[SweepArm]:
    """The rows of a grid, in its order: those of [grid] first, the last list turning fastest, then every [[arm]].

    UserError with a line for all that is wrong: an unknown table or field, a value of another type or out of range, no
    row at all, two rows of one name or of one configuration once defaults are filled in.
    """
    _parts(grid)
    base = _values(grid.get("base", {}), "[base]")
    rows = [*_crossed(grid.get("grid", {})), *_named(grid.get("arm", []))]
    if not rows:
        raise UserError("The grid has no arm: neither a list in [grid] nor an [[arm]]. Write one.")
    shared = _shared_words(rows)
    arms: list[SweepArm] = []
    refused: dict[str, list[str]] = {}
    for row in rows:
        try:
            config = _configured(base | row.values, grid.get("recipe"))
        except UserError as error:
            refused.setdefault(str(error), []).append(row.place)
        else:
            arms.append(SweepArm(row.name or _words(row.values, shared), row.place, row.values, config))
    if refused:
        raise UserError("\n".join(f"{_together(places)}: {said}" for said, places in refused.items()))
    _all_different(arms)
    return arms


def _parts(grid: Mapping[str, Any]) -> None:
    for name, kind, words in (("recipe", str, "a name"), ("base", dict, "a table"), ("grid", dict, "a table"),
                              ("arm", list, "tables: [[arm]]")):  # fmt: skip
        if not isinstance(grid.get(name, kind()), kind):
            raise UserError(f"{name} is {words} (got {grid[name]!r}).")
    for name in grid:
        if name not in PARTS:
            raise UserError(f"A grid has no {name!r}.{near(name, PARTS)} It has recipe, [base], [grid] and [[arm]].")


def _values(table: Mapping[str, Any], place: str) -> dict[str, Any]:
    """Dotted field -> value as the field takes it. UserError for what no field is or takes."""
    found: dict[str, Any] = {}
    for written, value in _leaves(table):
        name = _field(written, place)
        if name in found:
            raise UserError(f"{place}: {name} is written twice. Write it once.")
        found[name] = _taken(name, value, place)
    return found


def _leaves(table: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in table.items():
        if isinstance(value, dict):
            yield from _leaves(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", value


def _field(written: str, place: str) -> str:
    """The field's name; dashes are taken as the command line writes them. UserError with the nearest one."""
    name, known = written.replace("-", "_"), field_types()
    if name in known:
        return name
    inside = [field for field in known if field.startswith(f"{name}.")]
    if inside:
        raise UserError(f"{place}: {written} is a group of fields. Name one of them: {', '.join(inside)}.")
    raise UserError(f"{place}: there is no field {written!r}.{near(name, known)} `ws run --help` lists all of them.")


def _taken(name: str, value: Any, place: str) -> Any:
    """A TOML value as the field's type has it: lists as tuples, whole numbers as floats where one is asked for."""
    fits, taken = _fits(field_types()[name], value)
    if not fits:
        wanted = _type_words(field_types()[name])
        raise UserError(f"{place}: {name} is {wanted} (got {value!r}). Write such a value.")
    return taken


def _fits(kind: Any, value: Any) -> tuple[bool, Any]:
    """Whether a value is of a type, and the value as that type has it."""
    origin, inside = typing.get_origin(kind), typing.get_args(kind)
    if origin is typing.Annotated:
        return _fits(inside[0], value)
    if origin in (typing.Union, types.UnionType):
        found = [_fits(part, value) for part in sorted(inside, key=lambda part: part is not types.NoneType)]
        return next((pair for pair in found if pair[0]), (False, value))
    if kind is types.NoneType:
        return value == NONE, None
    if origin is Literal:
        return any(value == one and type(value) is type(one) for one in inside), value
    if origin is tuple:
        return _fits_tuple(inside, value)
    if kind is float:
        return type(value) in (int, float), float(value) if type(value) is int else value
    return type(value) is kind, value


def _fits_tuple(inside: tuple[Any, ...], value: Any) -> tuple[bool, Any]:
    if not isinstance(value, list):
        return False, value
    kinds = [inside[0]] * len(value) if inside[-1] is Ellipsis else list(inside)
    found = [_fits(kind, one) for kind, one in zip(kinds, value, strict=False)]
    return len(kinds) == len(value) and all(fits for fits, _ in found), tuple(one for _, one in found)


def _type_words(kind: Any) -> str:
    """A field's type for a reader."""
    origin, inside = typing.get_origin(kind), typing.get_args(kind)
    if origin is typing.Annotated:
        return _type_words(inside[0])
    if origin in (typing.Union, types.UnionType):
        return " or ".join(_type_words(part) for part in inside)
    if origin is Literal:
        return "one of " + ", ".join(repr(one) for one in inside)
    if origin is tuple:
        each = [_type_words(part) for part in inside if part is not Ellipsis]
        return f"a list ({', '.join(each)}{', ...' * (Ellipsis in inside)})"
    plain = {types.NoneType: repr(NONE), float: "a number", int: "a whole number", bool: "true or false", str: "a text"}
    return plain.get(kind, str(kind))


def _crossed(table: Mapping[str, Any]) -> list[_Row]:
    """The rows of [grid]: every combination of its lists."""
    lists = dict(_leaves(table))
    for name, values in lists.items():
        if not isinstance(values, list) or not values:
            raise UserError(f"[grid]: {name} must be a list of values, at least one (got {values!r}).")
    count = 1
    for values in lists.values():
        count *= len(values)
    if count > MOST:
        raise UserError(f"[grid] crosses to {count} rows, at most {MOST} are run. Cross fewer lists.")
    if not lists:
        return []
    rows = []
    for i, values in enumerate(itertools.product(*lists.values()), start=1):
        place = f"row {i} of [grid]"
        rows.append(_Row(None, place, _values(dict(zip(lists, values, strict=True)), place)))
    return rows


def _named(tables: list[Any]) -> list[_Row]:
    """The rows written out."""
    rows = []
    for i, table in enumerate(tables, start=1):
        place = f"[[arm]] {i}"
        if not isinstance(table, dict):
            raise UserError(f"{place} must be a table (got {table!r}).")
        name = table.get("name")
        if name is not None and (not isinstance(name, str) or not name.strip()):
            raise UserError(f"{place}: name must be a text (got {name!r}).")
        place += f" ({name})" if name else ""
        values = _values({key: value for key, value in table.items() if key != "name"}, place)
        rows.append(_Row(name, place, values))
    return rows


def _configured(values: Mapping[str, Any], recipe: str | None) -> RunConfig:
    """The recipe of the row's model with these fields changed, all at once: some are checked against each other."""
    own = {name.removeprefix("heal."): str(values[name]) for name in ("method", "heal.adapter") if name in values}
    config = recipe_for(str(values.get("model", RunConfig.model)), recipe, **own)
    made: RunConfig = _changed(config, values)
    return made


def _changed(config: Any, values: Mapping[str, Any]) -> Any:
    own: dict[str, Any] = {}
    nested: dict[str, dict[str, Any]] = {}
    for name, value in values.items():
        head, dot, rest = name.partition(".")
        if dot:
            nested.setdefault(head, {})[rest] = value
        else:
            own[head] = value
    groups = {name: _changed(getattr(config, name), inside) for name, inside in nested.items()}
    return dataclasses.replace(config, **own, **groups)


def _shared_words(rows: list[_Row]) -> set[str]:
    """Last words of fields that two fields of these rows share: they are written whole in an arm's name."""
    names = {name for row in rows for name in row.values}
    last = [name.rpartition(".")[2] for name in names]
    return {word for word in last if last.count(word) > 1}


def _words(values: Mapping[str, Any], shared: set[str]) -> str:
    """An arm's name from what is its own: "beta 0.3, aggregate mean"."""
    def short(name: str) -> str:
        word = name.rpartition(".")[2]
        return name if word in shared else word

    return ", ".join(f"{short(name)} {_told(value)}" for name, value in values.items()) or "base"


def _told(value: Any) -> str:
    if isinstance(value, tuple):
        return " ".join(map(_told, value))
    return f"{value:g}" if isinstance(value, float) else str(value)


def _together(places: list[str]) -> str:
    return ", ".join(places[:4]) + (f" and {len(places) - 4} more" if len(places) > 4 else "")


def _all_different(arms: list[SweepArm]) -> None:
    """UserError where two rows have one name, or come to the same configuration."""
    names: dict[str, SweepArm] = {}
    made: dict[str, SweepArm] = {}
    said = []
    for arm in arms:
        told = repr(effective(arm.config))
        first = made.setdefault(told, arm)
        if first is not arm:
            why = "" if to_dict(first.config) == to_dict(arm.config) else _why_same(arm.config)
            said.append(f"{arm.place} is {first.place} again{why}: each arm is run once. Take one of them out.")
        elif names.setdefault(arm.name, arm) is not arm:
            said.append(f"{arm.place} and {names[arm.name].place} are both called {arm.name!r}. Name them apart.")
    if said:
        raise UserError("\n".join(said))


def effective(config: RunConfig) -> dict[str, Any]:
    """The configuration as dotted fields with defaults filled in, and without what cannot matter in it: two that are
    equal compute the same numbers."""
    found = flat(to_dict(config))
    for name, value in dataclasses.asdict(recipe_of(config.model).heal).items():
        if found.get(f"heal.{name}") is None:
            found[f"heal.{name}"] = list(value) if isinstance(value, tuple) else value
    if not holds(config.heal.barrier) or not found["heal.beta"]:
        found |= {"heal.barrier": "nll", "heal.beta": 0.0}
        idle = ["heal.tau", "heal.aggregate", "heal.reference", "heal.beta_pow"]
    else:
        idle = ["heal.reference", "heal.beta_pow"] if config.rounds == 1 else []
    return {name: value for name, value in sorted(found.items()) if name not in idle}


def _why_same(config: RunConfig) -> str:
    """Why a row that is written otherwise comes to the same."""
    if not holds(config.heal.barrier) or config.heal.beta == 0:
        return " (without a barrier its beta, tau, aggregate and reference change nothing)"
    if config.rounds == 1:
        return " (with defaults filled in; in a run of one round both references are the base)"
    return " (with defaults filled in)"
