"""Two to five versions beside each other."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any

from starlette.requests import Request
from starlette.responses import Response

from registry.catalog.entry import Entry
from registry.catalog.facts import Facts
from registry.errors.arguments import InvalidArgument
from registry.errors.root import size
from registry.tensors.arguments import Arguments

from ..asking import asked
from ..service import service_of
from ..telling import entry_for
from . import tables
from .grouping import groups
from .rendering import page
from .tensors import MOST_BYTES

if TYPE_CHECKING:
    from registry.upkeep.diff import Difference, TensorChange

MOST = 5

_BARS = 200
"""Tensors that get a bar."""

_LAYER = 12
"""Bars of one module, as long as there is a module inside to part it by."""

Bar = tuple[str, float, str]
"""A tensor, how long its bar is, and what is said of it."""

Apart = tuple[Entry, list[str], list[str], list[str]]
"""A version, and the names that changed since the first one, that it has no more, that it alone has."""

_LEFT_OUT = {"unwrapping", "init", "origin", "parent_uid", "parent_number", "parent_record"}


@dataclass(frozen=True)
class Line:
    """One fact of all versions that are compared."""

    label: str
    cells: tuple[str, ...]

    @property
    def differs(self) -> bool:
        return len(set(self.cells)) > 1


def compare(request: Request) -> Response:
    """Show what differs between versions; with ``measure`` also by how much each tensor did, from the first on."""
    from registry.upkeep.diff import changed_names, diff  # numpy is for who compares

    home, asking = service_of(request).home, asked(request)
    refs = [ref.strip() for ref in request.query_params.getlist("ref") if ref.strip()]
    entries = [entry_for(asking.entry(ref), asking.caller) for ref in dict.fromkeys(refs)]
    if len(entries) > MOST:
        raise InvalidArgument("compare", "ref", f"{len(entries)} versions", f"give at most {MOST}")
    if len(entries) < 2:
        return page(request, "compare.html", "Versions", entries=entries, refs=refs)
    only = request.query_params.get("only", "")
    sections = {
        "Facts": _facts(entries),
        "Metrics": _lines([entry.metrics for entry in entries], "{:.6g}"),
        "Constructor": _lines([_arguments(entry) for entry in entries], "{!r}"),
        "Tags": _lines([entry.tags for entry in entries], "{}"),
    }
    if only:
        sections = {title: [line for line in lines if line.differs] for title, lines in sections.items()}
    manifests = [home.manifest(entry) for entry in entries]
    first = manifests[0]
    tensors: list[Apart] = [
        (
            entry,
            changed_names(first, manifest),
            [name for name in first.tensors if name not in manifest.tensors],
            [name for name in manifest.tensors if name not in first.tensors],
        )
        for entry, manifest in zip(entries[1:], manifests[1:], strict=True)
    ]
    if form := tables.wanted(request):
        return _table(form, entries, sections, tensors)
    measured, trouble = [], ""
    if request.query_params.get("measure"):
        nbytes = sum(first.tensors[name].spec.nbytes for _, names, _, _ in tensors for name in names)
        if nbytes > MOST_BYTES:
            trouble = f"{size(nbytes)} have changed, which is too much to be read for a page; `registry diff` reads it"
        else:
            measured = [diff(home, entries[0].ref, entry.ref) for entry in entries[1:]]
    return page(
        request,
        "compare.html",
        "Versions",
        entries=entries,
        refs=[entry.ref for entry in entries],
        sections=sections,
        only=only,
        tensors=tensors,
        trouble=trouble,
        measured=[(each, *_layers(each)) for each in measured],
    )


def _table(
    form: str, entries: Sequence[Entry], sections: Mapping[str, Sequence[Line]], tensors: Sequence[Apart]
) -> Response:
    """Answer with the comparison as a file: a row each fact, and each tensor that is not equal."""
    rows = [(title, line.label, *line.cells) for title, lines in sections.items() for line in lines]
    states: dict[str, dict[str, str]] = {}
    for entry, *kinds in tensors:
        for word, names in zip(("changed", "missing", "only here"), kinds, strict=True):
            for name in names:
                states.setdefault(name, {})[entry.ref] = word
    rows += [("Tensors", name, "", *(of.get(e.ref, "equal") for e in entries[1:])) for name, of in states.items()]
    return tables.table(form, "comparison", ("section", "what", *(entry.ref for entry in entries)), rows)


def _facts(entries: Sequence[Entry]) -> list[Line]:
    names = [each.name for each in fields(Facts) if each.name not in _LEFT_OUT]
    rows = {
        "digest": [entry.digest[:16] for entry in entries],
        "aliases": [", ".join(entry.aliases) for entry in entries],
        "pushed": [f"{entry.created_at:%Y-%m-%d %H:%M} UTC" for entry in entries],
        "cuts": ["; ".join(map(str, entry.unwrapping.cuts)) for entry in entries],
        **{name.replace("_", " "): [_word(getattr(entry, name)) for entry in entries] for name in names},
    }
    return [Line(label, tuple(cells)) for label, cells in rows.items() if any(cells)]


def _lines(mappings: Sequence[Mapping[str, Any]], form: str) -> list[Line]:
    keys = dict.fromkeys(key for mapping in mappings for key in mapping)
    return [
        Line(key, tuple(form.format(mapping[key]) if key in mapping else "" for mapping in mappings)) for key in keys
    ]


def _arguments(entry: Entry) -> Mapping[str, Any]:
    return entry.init.raw if isinstance(entry.init, Arguments) else entry.init


def _word(value: object) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{number} {key}" for key, number in value.items())
    if isinstance(value, tuple):
        return ", ".join(str(getattr(each, "part", each)) for each in value)
    return "" if value is None else f"{value:,}" if isinstance(value, int) else str(value)


def _layers(measured: Difference) -> tuple[list[tuple[str, list[Bar]]], list[str], int]:
    """Return the tensors that changed, by modules, in each those most first; names of other shapes; and how many more.

    A bar is as long as the norm of the change over the norm before. The modules come in the order of their largest.
    """
    bars = {change.name: _bar(change) for change in measured.changed if change.norm is not None}
    largest = sorted(bars, key=lambda name: -_length(bars[name]))[:_BARS]
    kept = set(largest)
    layers = []
    for path, names in groups([name for name in bars if name in kept], _LAYER):
        layers.append((path, sorted((bars[name] for name in names), key=lambda bar: -_length(bar))))
    layers.sort(key=lambda layer: -_length(layer[1][0]))
    reshaped = [change.name for change in measured.changed if change.norm is None]
    return layers, reshaped, len(bars) - len(largest)


def _length(bar: Bar) -> float:
    return bar[1] if not math.isnan(bar[1]) else math.inf


def _bar(change: TensorChange) -> Bar:
    assert change.norm is not None
    if change.relative is None:
        return change.name, math.inf, f"{change.norm:.3g} from zero"
    return change.name, change.relative, f"{change.relative:.2%}"
