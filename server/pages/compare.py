"""Two to five versions beside each other."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from registry.catalog.entry import Entry
from registry.catalog.facts import Facts
from registry.errors.arguments import InvalidArgument
from registry.reference import parse
from registry.tensors.arguments import Arguments
from registry.upkeep.diff import changed_names, diff

from ..access import Role, caller_of
from ..service import service_of
from .rendering import page, view

MOST = 5

_LEFT_OUT = {"unwrapping", "init", "origin", "parent_uid", "parent_number", "parent_record"}


@dataclass(frozen=True)
class Line:
    """One fact of all versions that are compared."""

    label: str
    cells: tuple[str, ...]

    @property
    def differs(self) -> bool:
        return len(set(self.cells)) > 1


@view
def compare(request: Request) -> Response:
    """Show what differs between versions; with ``measure`` also by how much each tensor of the second did."""
    home, caller = service_of(request).home, caller_of(request)
    asked = [ref.strip() for ref in request.query_params.getlist("ref") if ref.strip()]
    entries: list[Entry] = []
    for ref in dict.fromkeys(asked):
        caller.require(Role.READ, parse(ref).name)
        entries.append(home.database.resolve(ref))
    if len(entries) > MOST:
        raise InvalidArgument("compare", "ref", f"{len(entries)} versions", f"give at most {MOST}")
    if len(entries) < 2:
        return page(request, "compare.html", "Versions", entries=entries, refs=asked)
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
    tensors = [
        (
            entry,
            changed_names(first, manifest),
            [name for name in first.tensors if name not in manifest.tensors],
            [name for name in manifest.tensors if name not in first.tensors],
        )
        for entry, manifest in zip(entries[1:], manifests[1:], strict=True)
    ]
    measured = diff(home, entries[0].ref, entries[1].ref) if request.query_params.get("measure") else None
    return page(
        request,
        "compare.html",
        "Versions",
        entries=entries,
        refs=[entry.ref for entry in entries],
        sections=sections,
        only=only,
        tensors=tensors,
        measured=measured,
        bars=_bars(measured) if measured else [],
    )


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
    return "" if value is None else f"{value:,}" if isinstance(value, int) else str(value)


def _bars(measured: Any) -> list[tuple[str, float, str]]:
    """Return the tensors that changed, those most first, by the norm of the change over the norm before."""
    found = [
        (change.name, change.relative if change.relative is not None else float("inf"), _measure(change))
        for change in measured.changed
        if change.norm is not None
    ]
    return sorted(found, key=lambda row: -row[1])[:200]


def _measure(change: Any) -> str:
    return f"{change.relative:.2%}" if change.relative is not None else f"{change.norm:.3g} from zero"
