"""What a registry stands on, and what to do about it."""

from __future__ import annotations

import os
import platform
import sqlite3
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version

from registry.blobs.store import BlobStore
from registry.catalog.protocol import CatalogProtocol
from registry.disk.filesystem import FileSystem, detect
from registry.errors.blobs import ObjectsUnreachable
from registry.errors.root import RegistryError, size
from registry.home.home import Home

LOW_SPACE = 1 << 30
"""Free bytes below which a checkpoint may not fit any more."""


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at."""

    what: str
    value: str
    advice: str = ""
    """What to do; empty where nothing has to be done."""


def doctor(home: Home) -> tuple[Finding, ...]:
    """Look at the home, the file system, the database, leftovers, versions of what is installed, and the clock."""
    catalog, database, store, folder = home.catalog, home.database, home.blobs, home.folder
    return (
        Finding("home", str(folder), "" if os.access(folder, os.W_OK) else "it is read-only: nothing can be pushed"),
        _file_system(detect(folder)),
        _space(store),
        *_elsewhere(store),
        *(Finding(*fact) for fact in database.facts()),
        Finding("schema revision", database.revision),
        Finding("versions", str(catalog.count()), ""),
        Finding("versions in the trash", str(catalog.count(trashed=True))),
        _blobs(catalog, store),
        _leftovers(catalog, store),
        _clock(store, "the bucket" if home.configuration.blobs is not None else "the file system"),
        *(Finding(name, _version(name)) for name in ("torch", "safetensors", "sqlalchemy", "alembic", "blake3")),
        Finding("sqlite", sqlite3.sqlite_version),
        Finding("python", platform.python_version()),
    )


def _file_system(kind: FileSystem) -> Finding:
    if kind.is_network:
        return Finding(
            "file system",
            f"{kind.type} (network)",
            "write-ahead logging is off here and pushes are slower; a home on a local disk is safer and faster",
        )
    return Finding("file system", f"{kind.type} (local)")


def _space(store: BlobStore) -> Finding:
    free = store.free_bytes()
    advice = "free some space; `registry gc --grace 0d` empties the trash" if free < LOW_SPACE else ""
    return Finding("free space", size(free), advice)


def _elsewhere(store: BlobStore) -> tuple[Finding, ...]:
    """Ask a bucket for something, and say what its cache on this machine takes."""
    try:
        found = store.elsewhere()
    except ObjectsUnreachable as error:
        return (Finding("bucket", "not reachable", str(error)),)
    if found is None:
        return ()
    return (
        Finding("bucket", f"{found.where} answers in {found.seconds * 1000:.0f} ms"),
        Finding("cache", f"{size(found.cached)} in {found.cache}"),
    )


def _blobs(catalog: CatalogProtocol, store: BlobStore) -> Finding:
    """Compare the files' sizes with the catalog's; to read them is the audit's work."""
    try:
        bad = store.misfits(catalog.known_blobs())
        held = size(store.size())
    except ObjectsUnreachable:
        return Finding("blobs", "not checked, the bucket cannot be reached")
    if bad:
        return Finding("blobs", f"{held}, {len(bad)} missing or cut", "`registry audit --repair` restores what it can")
    return Finding("blobs", held)


def _leftovers(catalog: CatalogProtocol, store: BlobStore) -> Finding:
    try:
        garbage = store.garbage(lambda: catalog.referenced_blobs().union(catalog.known_blobs()))
    except ObjectsUnreachable:
        return Finding("leftovers of killed pushes", "not checked, the bucket cannot be reached")
    advice = "`registry gc` removes them" if garbage else ""
    return Finding(
        "leftovers of killed pushes", f"{len(garbage)} files, {size(sum(g.nbytes for g in garbage))}", advice
    )


def _clock(store: BlobStore, where: str) -> Finding:
    """Compare the clock where the blobs are with this machine's: the grace period of a collection relies on both."""
    try:
        ahead = store.seconds_ahead()
    except ObjectsUnreachable:
        return Finding("clock", "not checked, the bucket cannot be reached")
    except RegistryError:
        return Finding("clock", "not checked, the home cannot be written")
    advice = "" if abs(ahead) < 60 else "set the clocks of this machine and the file server"
    return Finding("clock", f"{abs(ahead):.1f} s apart from that of {where}", advice)


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return "not installed"
