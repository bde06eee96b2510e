"""The bytes of a home as its configuration says: in its folder, or in a bucket behind a cache."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from registry.home.configuration import Configuration

if TYPE_CHECKING:
    from registry.blobs.shared_leases import LeaseTable
    from registry.blobs.store import BlobStore
    from registry.catalog.catalog import Catalog


def open_blobs(folder: Path, configuration: Configuration, catalog: Callable[[], Catalog]) -> BlobStore:
    """Open the bytes of a home.

    Args:
        catalog: gives the one whose leases those of its pushes and collections are.

    Raises:
        RegistryError: they cannot be.
    """
    if configuration.blobs is None:
        from registry.blobs.backends.local import LocalStore

        if configuration.catalog is None:
            return LocalStore(folder)
        from registry.blobs.files import StoreFolders
        from registry.blobs.running import FileLeases
        from registry.blobs.shared_leases import SharedLeases

        return LocalStore(folder, SharedLeases(catalog().leases, FileLeases(StoreFolders(folder).running)))
    return bucket(configuration.blobs, configuration.cache_in(folder), catalog().leases)


def bucket(url: str, cache: Path, leases: LeaseTable | None = None) -> BlobStore:
    """Open the bytes in a bucket.

    Args:
        leases: those of all machines that change the same catalog; to only ask for something needs none.

    Raises:
        RegistryError: they cannot be.
    """
    from registry.blobs.backends.objects import store_at

    return store_at(url, cache, leases)
