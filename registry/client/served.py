"""One served home, opened: its catalog and its bytes, over the same connections."""

from __future__ import annotations

from functools import cached_property

from registry.client.address import ServerAddress
from registry.client.catalog import ServedCatalog
from registry.client.session import Session
from registry.client.store import ServedStore


class Served:
    """What stands in the place of a folder's database and files."""

    def __init__(self, address: ServerAddress) -> None:
        self._session = Session(address)
        self.catalog = ServedCatalog(self._session)

    @cached_property
    def blobs(self) -> ServedStore:
        """The bytes."""
        return ServedStore(self._session)

    def close(self) -> None:
        """Close the connections."""
        self._session.close()
