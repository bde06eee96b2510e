"""What JSON has for what the verbs return: the same on the command line and over HTTP, and how it is read back."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import MISSING, fields, is_dataclass
from datetime import datetime
from typing import Any

from registry.canonical.unwrap import Cut, Unwrapping
from registry.catalog.entry import Entry
from registry.catalog.facts import Facts
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
        return {field.name: plain(getattr(value, field.name)) for field in fields(value)}
    if isinstance(value, tuple) and hasattr(value, "_asdict"):
        value = value._asdict()
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    return str(value)


def entry_document(entry: Entry) -> dict[str, Any]:
    """Return an entry's document, its reference first, before ``plain``."""
    facts = {each.name for each in fields(Facts)}
    # What tells it apart first.
    names = sorted((each.name for each in fields(entry)), key=facts.__contains__)
    return {"ref": entry.ref, **{name: getattr(entry, name) for name in names}}


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
        for each in fields(kind):
            if each.name in document:
                value = document[each.name]
                given[each.name] = readers[each.name](value) if each.name in readers else value
            elif each.default is MISSING and each.default_factory is MISSING:
                raise ValueError(f"there is no '{each.name}'")
        return kind(**given)
    except (TypeError, KeyError, AttributeError) as error:
        raise ValueError(f"not the document of a {kind.__name__.lower()}: {error}") from error


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
    "unwrapping": _unwrapping,
    "init": Arguments,
    "parts": _parts,
}
"""How a field is read that JSON has otherwise."""
