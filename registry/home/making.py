"""Making a home whose catalog or bytes are not in its folder."""

from __future__ import annotations

from pathlib import Path

from registry.disk.folders import share
from registry.errors.catalog import HomeUnusable
from registry.errors.home import HomeConfigured
from registry.home import configuration
from registry.home.configuration import FILE, Configuration
from registry.home.home import Home
from registry.home.parts import bucket
from registry.home.place import has_bytes, is_made

NOWHERE = "0" * 64
"""A digest that no blob has: to ask for it tells whether a bucket answers."""


def make_home(folder: Path, wanted: Configuration) -> Home:
    """Make a home, once its database and its bucket have answered, and return it; the same once more changes nothing.

    Raises:
        HomeConfigured: the folder is a home already, another one.
        InvalidConfiguration, InvalidDatabaseAddress, ExtraMissing: what is wanted cannot be.
        HomeUnusable, DatabaseUnreachable, ObjectsUnreachable: a part of it does not answer; nothing was written.
    """
    configuration.checked(wanted, "what was given")
    there = configuration.read(folder)
    if there != wanted:
        if (folder / FILE).exists():
            raise HomeConfigured(str(folder), f"is a home already, as its {FILE} says")
        if is_made(folder) or has_bytes(folder):
            raise HomeConfigured(str(folder), "has a registry already")
    home = Home(folder, wanted=wanted)
    if wanted.blobs is not None:
        bucket(wanted.blobs, wanted.cache_in(folder)).is_in_place(NOWHERE)
    if wanted.catalog is not None:
        home.make()
    try:
        if not folder.is_dir():
            folder.mkdir(parents=True, exist_ok=True)
            share(folder)
        if there != wanted:
            configuration.write(folder, wanted)
    except OSError as error:
        raise HomeUnusable(str(folder), error.strerror or str(error)) from error
    home.make()
    return home
