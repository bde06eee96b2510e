"""The tensors of a version: what they are, what their values are like, and which version brought them."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import asdict
from typing import Any

from registry.catalog.entry import Entry
from registry.errors.catalog import DatabaseBusy, HomeReadOnly
from registry.home.home import Home
from registry.tensors.dtypes import ITEM_SIZES
from registry.tensors.manifest import StoredTensor

PAGE = 200
"""Tensors of one page."""

MOST_BYTES = 1 << 30
"""Larger tensors are described by the command line."""


def described(home: Home, entry: Entry, name: str, stored: StoredTensor) -> dict[str, Any]:
    """Return what the values of a tensor are like, as ``tensors.statistics`` says; computed once for each digest.

    Raises:
        RegistryError: its bytes are not what was stored.
    """
    from registry.tensors.statistics import ELEMENTS, statistics

    remembered = home.database.remembered
    if known := remembered.statistics([stored.digest]).get(stored.digest):
        return known

    def pieces() -> Iterator[memoryview]:
        return home.pieces(entry, name, stored, ELEMENTS * ITEM_SIZES[stored.spec.dtype])

    found = asdict(statistics(pieces, stored.spec.dtype))
    with contextlib.suppress(HomeReadOnly, DatabaseBusy):
        remembered.remember_statistics({stored.digest: found})
    return found
