"""Settings whose values are names: what a field accepts is read from one place, and from there alone.

    barrier: Names[str, BARRIERS] = "kl_rev"      # the keys of a table: what is put into it later is accepted, too
    reference: Literal["prev", "base"] = "prev"   # a closed list

The command line reads both as choices, `check_names` refuses every other value. To a type checker `Names` is
`Annotated`.
"""

from __future__ import annotations

import functools
import types
import typing
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, Literal

from ws.errors import UserError

__all__ = ["Names", "check_names", "known_names"]


@dataclass(frozen=True, eq=False)
class _Held:
    """A table inside a hint, which must have a hash."""

    table: Iterable[str]


if TYPE_CHECKING:
    from typing import Annotated as Names
else:

    class Names:
        """Names[str, table]: one of the keys of `table`; hints are evaluated anew by who asks, so they are up to
        date."""

        def __class_getitem__(cls, item: tuple[type, Iterable[str]]) -> Any:
            return Annotated[Literal[tuple(item[1])], _Held(item[1])]


def known_names(kind: Any) -> dict[str, tuple[Any, ...]]:
    """Field -> the values that it accepts now, for every field of a dataclass that is typed by names."""
    return {field: tuple(name for table in tables for name in table) for field, tables in _tables(kind).items()}


def check_names(config: Any, prefix: str) -> None:
    """UserError for a value (or a value in a tuple) that its field does not know; prefix: of the field in messages."""
    kind: Any = type(config)
    for field, tables in _tables(kind).items():
        value = getattr(config, field)
        for one in value if isinstance(value, tuple | list) else (value,):
            if not any(one in table for table in reversed(tables)):  # None is asked first: a table may be a folder
                names = ", ".join(name for name in known_names(kind)[field] if name is not None)
                raise UserError(f"{prefix}.{field} {one!r} is unknown. Use one of: {names}.")


@functools.cache
def _tables(kind: Any) -> dict[str, list[Iterable[Any]]]:
    """The tables themselves, so that reading the hints once (a millisecond) is enough."""
    hints = typing.get_type_hints(kind, include_extras=True)
    found = {field: list(_found(hint)) for field, hint in hints.items()}
    return {field: tables for field, tables in found.items() if any(table != (None,) for table in tables)}


def _found(hint: Any) -> Iterator[Iterable[Any]]:
    if typing.get_origin(hint) is Annotated:
        yield from (held.table for held in hint.__metadata__ if isinstance(held, _Held))
    elif typing.get_origin(hint) is Literal:
        yield typing.get_args(hint)
    elif hint is types.NoneType:
        yield (None,)
    elif typing.get_origin(hint) in (typing.Union, types.UnionType, tuple):
        for part in typing.get_args(hint):
            yield from _found(part)
