"""What JSON has for what the verbs return: the same on the command line and over HTTP, and how it is read back."""

from __future__ import annotations

import builtins
import collections.abc
import math
import types
import typing
from collections.abc import Callable, Mapping
from dataclasses import MISSING, fields, is_dataclass
from datetime import datetime
from functools import cache
from typing import Any, get_args, get_origin, get_type_hints

from registry.canonical.unwrap import Cut, Unwrapping
from registry.catalog.entry import Entry
from registry.catalog.facts import Facts
from registry.errors.catalog import InvalidModelName
from registry.reference import check_model_name
from registry.tensors.arguments import Arguments
from registry.tensors.part import Part


def plain(value: Any) -> Any:
    """Return what JSON has for a value; it has no NaN and no infinity, which become the texts ``nan`` and ``inf``."""
    if value is None or isinstance(value, (bool, int, str)):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else str(value)
    if isinstance(value, datetime):
        return value.isoformat()
    if isinstance(value, Arguments):
        return plain(value.raw)
    if is_dataclass(value) and not isinstance(value, type):
        return {name: plain(getattr(value, name)) for name in _names(value.__class__)}
    if isinstance(value, tuple) and hasattr(value, "_asdict"):
        value = value._asdict()
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    return str(value)


def entry_document(entry: Entry) -> dict[str, Any]:
    """Return an entry's document, its reference first, before ``plain``."""
    kind: Any = type(entry)  # mypy takes no class for hashable
    return {"ref": entry.ref, **{name: getattr(entry, name) for name in _in_order(kind)}}


@cache
def _in_order(kind: Any) -> tuple[str, ...]:
    """Return the names of an entry's parts; those that tell it apart first."""
    return tuple(sorted(_names(kind), key=set(_names(Facts)).__contains__))


def read_entry(document: Any) -> Entry:
    """Return the entry of a document; keys that this program does not know are left out.

    Raises:
        ValueError: it is not an entry's.
    """
    entry: Entry = made(Entry, document, _ENTRY)
    return entry


def made(kind: Any, document: Any, readers: Mapping[str, Any]) -> Any:
    """Return the object of a class of data that a document is of.

    Args:
        readers: of fields that JSON has otherwise than Python.

    Raises:
        ValueError: it is not of one.
    """
    try:
        given = {}
        for name, is_needed, fits in _parts_of(kind):
            if name in document:
                value = document[name]
                given[name] = value = readers[name](value) if name in readers else value
                if not fits(value):
                    raise ValueError(f"'{name}' is not what it should be")
            elif is_needed:
                raise ValueError(f"there is no '{name}'")
        return kind(**given)
    except (TypeError, KeyError, AttributeError) as error:
        raise ValueError(f"not the document of a {kind.__name__.lower()}: {error}") from error


@cache
def _names(kind: Any) -> tuple[str, ...]:
    return tuple(each.name for each in fields(kind))


@cache
def _parts_of(kind: Any) -> tuple[tuple[str, bool, Callable[[Any], bool]], ...]:
    """Return the fields of a class of data: each with whether it must be there, and whether a value is of its type."""
    hints = get_type_hints(kind)
    return tuple(
        (each.name, each.default is MISSING and each.default_factory is MISSING, _fitting(hints[each.name]))
        for each in fields(kind)
    )


@cache
def _fitting(hint: Any) -> Callable[[Any], bool]:
    """Return what says whether a value is of a type, as far as that can be told of plain values."""
    inner = [_fitting(each) for each in get_args(hint)]
    match get_origin(hint):
        case typing.Union | types.UnionType:
            return lambda value: any(fits(value) for fits in inner)
        case collections.abc.Mapping:
            keys, values = inner
            return lambda value: (
                isinstance(value, Mapping) and all(keys(key) and values(item) for key, item in value.items())
            )
        case builtins.tuple:
            return lambda value: isinstance(value, tuple) and all(map(inner[0], value))
    if hint is float:  # JSON has no NaN and no infinity, which `plain` makes texts
        return lambda value: type(value) in (int, float) or value in ("nan", "inf", "-inf")
    if hint in (int, str, bool, type(None)):
        return lambda value: type(value) is hint
    return lambda value: hint is Any or not isinstance(hint, type) or isinstance(value, hint)


def text(value: object) -> str:
    """Return a text that came as one.

    Raises:
        ValueError: it is something else.
    """
    if not isinstance(value, str):
        raise ValueError(f"there is a {type(value).__name__} where a text belongs")
    return value


def model_name(value: object) -> str:
    """Return the name of a model that came as one.

    Raises:
        ValueError: it is something else.
    """
    try:
        return check_model_name(text(value))
    except InvalidModelName as error:
        raise ValueError(str(error)) from None


def _unwrapping(raw: Any) -> Unwrapping:
    return Unwrapping(
        cuts=tuple(Cut(**cut) for cut in raw["cuts"]),
        doubts=tuple(raw["doubts"]),
        own=raw["own"],
        outside=tuple(raw["outside"]),
        absent=tuple(raw["absent"]),
        set_aside=tuple(raw["set_aside"]),
        single=bool(raw.get("single", False)),
    )


def _parts(raw: Any) -> tuple[Part, ...]:
    return tuple(
        Part(each["part"], each["model_class"], None if each["init"] is None else Arguments(each["init"]))
        for each in raw
    )


def _moment(text: str | None) -> datetime | None:
    return None if text is None else datetime.fromisoformat(text)


_ENTRY: Mapping[str, Any] = {
    **dict.fromkeys(("former_names", "attachments", "aliases", "notices"), tuple),
    **dict.fromkeys(("created_at", "trashed_at"), _moment),
    "name": model_name,
    "unwrapping": _unwrapping,
    "init": Arguments,
    "parts": _parts,
}
"""How a field is read that JSON has otherwise."""
