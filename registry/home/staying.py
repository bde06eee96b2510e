"""Storing bytes, and then the rows that need them, beside collections that take what no row needs yet."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import suppress
from typing import TypeVar

from registry.blobs.store import Transfer
from registry.catalog.version import Vanished
from registry.tensors.manifest import BlobRecord

_ATTEMPTS = 10
_Result = TypeVar("_Result")


def until_it_stays(attempt: Callable[[], _Result]) -> _Result:
    """Return what an attempt does, which is made again where what it found stored was collected before its commit.

    Raises:
        Vanished: it was, each time.
    """
    for _ in range(_ATTEMPTS - 1):
        with suppress(Vanished):
            return attempt()
    return attempt()


def confirm_stored(transfer: Transfer, blobs: Iterable[BlobRecord]) -> None:
    """Raise if a collector has taken a blob between its writing and the lock of the catalog.

    Raises:
        Vanished: it has.
    """
    if gone := transfer.missing(blobs):
        raise Vanished(f"{len(gone)} new blobs were collected")
