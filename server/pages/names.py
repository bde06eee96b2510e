"""The names of a version's tensors, as they were saved and as they are."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from starlette.requests import Request

from registry.canonical.unwrap import Unwrapping
from registry.catalog.entry import Entry
from registry.tensors.manifest import Manifest

from .rendering import offset

PAGE = 500
"""Names of one page."""

COLUMNS = ("as saved", "canonical")


@dataclass(frozen=True)
class Row:
    """One tensor's names."""

    saved: tuple[tuple[str, bool], ...]
    """Pieces of the name in the file, each with whether a wrapper inserted it; empty where it had none."""
    canonical: str


def context(request: Request, entry: Entry, manifest: Manifest) -> dict[str, Any]:
    """Return a page of the names that hold a word."""
    wanted, begin = request.query_params.get("name", ""), offset(request)
    found = [row for row in rows(entry, manifest) if wanted.lower() in f"{row[0]} {row[1]}".lower()]
    cuts = {cut.components for cut in entry.unwrapping.cuts}
    return {
        "rows": [
            Row(tuple(pieces(saved, cuts if canonical != saved else set())), canonical)
            for saved, canonical in found[begin : begin + PAGE]
        ],
        "wanted": wanted,
        "found": len(found),
        "all": len(manifest.tensors),
        "next": begin + PAGE if begin + PAGE < len(found) else None,
        "of_wrappers": of_wrappers(entry.unwrapping),
    }


def rows(entry: Entry, manifest: Manifest) -> Iterator[tuple[str, str]]:
    """Yield (as saved, canonical) of every tensor; what is tied to another may not have been in the file."""
    absent = set(entry.unwrapping.absent)
    for name in manifest.tensors:
        yield "" if name in absent else entry.unwrapping.wrapped(name), name


def pieces(saved: str, cuts: set[tuple[str, ...]]) -> Iterator[tuple[str, bool]]:
    """Yield the components of a name in a file, the dots with them, and whether each is among the cuts."""
    path = tuple(saved.split(".")) if saved else ()
    for depth, component in enumerate(path, 1):
        yield component + ("." if depth < len(path) else ""), path[:depth] in cuts


def of_wrappers(unwrapping: Unwrapping) -> list[str]:
    """Return the names in the file of what belongs to the wrappers."""
    return [*unwrapping.own, *unwrapping.set_aside]
