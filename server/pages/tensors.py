"""The tensors of a version: what they are, what their values are like, and which version brought them."""

from __future__ import annotations

import contextlib
import glob
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from starlette.requests import Request

from registry.catalog.entry import Entry
from registry.errors.catalog import DatabaseBusy, HomeReadOnly
from registry.errors.root import RegistryError
from registry.home.home import Home
from registry.tensors.dtypes import ITEM_SIZES
from registry.tensors.manifest import Manifest, StoredTensor
from registry.upkeep.blame import blame

from ..service import service_of
from .grouping import groups
from .rendering import offset

PAGE = 200
"""Tensors of one page."""

MOST_BYTES = 1 << 30
"""More are not read for a page; the command line does."""

AT_ONCE = 4 << 20
"""Bytes of tensors that are read for a page without being asked for."""

Described = Mapping[str, Any]
"""What the values of a tensor are like, as ``tensors.statistics`` says."""

COLUMNS = ("name", "shape", "dtype", "bytes", "digest", "norm", "minimum", "maximum", "nans", "tied to")
"""Of the table as a file."""


@dataclass(frozen=True)
class Group:
    """The tensors of a module that are on a page."""

    path: str
    tensors: Mapping[str, StoredTensor]
    total: int
    """Tensors of the module, on whatever page."""
    nbytes: int
    """Of all these."""


def context(request: Request, entry: Entry, manifest: Manifest) -> dict[str, Any]:
    """Return a page of the tensors whose names hold a word, and the one that is looked at."""
    home, asked = service_of(request).home, request.query_params
    wanted, name = asked.get("name", ""), asked.get("tensor", "")
    begin = offset(request)
    found, shown = _page(manifest, wanted, begin)
    here = {each: stored for group in shown for each, stored in group.tensors.items()}
    trouble = ""
    described: Described | None = None
    if (stored := manifest.tensors.get(name)) is not None and stored.spec.nbytes <= MOST_BYTES:
        try:
            described = describe(home, entry, {name: stored})[stored.digest]
        except RegistryError as error:
            trouble = str(error)
    known = known_of(home, here.values())
    if not trouble:
        wide = MOST_BYTES if asked.get("describe") else AT_ONCE
        try:
            known |= describe(home, entry, _as_many_as(wide, here, known))
        except RegistryError as error:
            trouble = str(error)
    return {
        "groups": shown,
        "found": found,
        "next": begin + PAGE if begin + PAGE < found else None,
        "known": known,
        "unknown": sum(each.digest not in known for each in here.values()),
        "tied": {each: group for group in manifest.ties for each in group},
        "wanted": wanted,
        "begin": begin,
        "all": len(manifest.tensors),
        "chosen": name if stored else "",
        "stored": stored,
        "described": described,
        "trouble": trouble,
        "introduced": introduced(home, entry, name) if stored else None,
    }


def rows(home: Home, manifest: Manifest) -> Iterator[tuple[object, ...]]:
    """Yield the table of all tensors, with what is known of their values, in the order of ``COLUMNS``."""
    known = known_of(home, manifest.tensors.values())
    tied = {each: group for group in manifest.ties for each in group}
    for name, stored in manifest.tensors.items():
        values = known.get(stored.digest, {})
        others = " ".join(each for each in tied.get(name, ()) if each != name)
        spec = stored.spec
        facts = (values.get(key) for key in COLUMNS[5:9])
        yield name, " ".join(map(str, spec.shape)), spec.dtype, spec.nbytes, stored.digest, *facts, others


def known_of(home: Home, tensors: Iterable[StoredTensor]) -> dict[str, Described]:
    """Return what is known of the values of tensors, by digest; of what somebody edited, nothing."""
    found = home.database.remembered.statistics([stored.digest for stored in tensors])
    return {digest: values for digest, values in found.items() if _is_legible(values)}


def _is_legible(values: Described) -> bool:
    figures = (values.get(name, "") for name in ("minimum", "maximum", "mean"))
    return (
        all(isinstance(values.get(name), int | float) for name in ("count", "nans", "infinities", "norm"))
        and all(value is None or isinstance(value, int | float) for value in figures)
        and isinstance(values.get("histogram"), list)
        and all(isinstance(number, int) and number >= 0 for number in values["histogram"])
    )


def describe(home: Home, entry: Entry, tensors: Mapping[str, StoredTensor]) -> dict[str, Described]:
    """Return what the values of tensors are like, by digest; computed once for each, by whoever looks first.

    Raises:
        RegistryError: bytes are not what was stored.
    """
    from registry.tensors.statistics import ELEMENTS, statistics

    known = known_of(home, tensors.values())
    found: dict[str, Described] = {}
    for name, stored in tensors.items():
        if stored.digest in known or stored.digest in found:
            continue

        def pieces(name: str = name, stored: StoredTensor = stored) -> Iterator[memoryview]:
            return home.pieces(entry, name, stored, ELEMENTS * ITEM_SIZES[stored.spec.dtype])

        found[stored.digest] = asdict(statistics(pieces, stored.spec.dtype))
    if found:
        with contextlib.suppress(HomeReadOnly, DatabaseBusy):
            home.database.remembered.remember_statistics(found)
    return {**known, **found}


def introduced(home: Home, entry: Entry, name: str) -> str | None:
    """Return the oldest version along the parents that has a tensor as it is, where all of them can be read."""
    try:
        return blame(home, entry.ref, glob.escape(name)).tensors[0].ref
    except RegistryError:
        return None


def _page(manifest: Manifest, wanted: str, begin: int) -> tuple[int, list[Group]]:
    """Return how many names hold a word, and ``PAGE`` of these from one on, by modules."""
    names = [name for name in manifest.tensors if wanted.lower() in name.lower()]
    shown, place = [], 0
    for path, those in groups(names):
        here = those[max(0, begin - place) : max(0, begin + PAGE - place)]
        place += len(those)
        if here:
            nbytes = sum(manifest.tensors[name].spec.nbytes for name in those)
            shown.append(Group(path, {name: manifest.tensors[name] for name in here}, len(those), nbytes))
    return len(names), shown


def _as_many_as(
    nbytes: int, tensors: Mapping[str, StoredTensor], known: Mapping[str, object]
) -> dict[str, StoredTensor]:
    """Return tensors of which nothing is known, as many as have no more bytes together, the first ones first."""
    found = {}
    for name, stored in tensors.items():
        if stored.digest not in known and stored.spec.nbytes <= nbytes:
            nbytes -= stored.spec.nbytes
            found[name] = stored
    return found
