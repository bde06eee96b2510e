"""What comes from what in a served home."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, NoReturn

from registry.catalog.entry import Entry
from registry.catalog.lineage import Descent
from registry.client.session import Session
from registry.errors.client import OnServerAlone


class ServedLineage:
    """What the catalog of a served home tells of it (see ``registry.catalog.lineage``)."""

    def __init__(self, session: Session, read: Callable[[Any], Entry]) -> None:
        self._session = session
        self._read = read

    def descents(self) -> tuple[Descent, ...]:
        found = self._session.items("/lineage/descents")
        with self._session.legible():
            return tuple(Descent(*each) for each in found)

    def parent(self, entry: Entry) -> Entry | None:
        if entry.parent_uid is None or entry.parent_number is None:
            return None
        found = self._session.get("/lineage/parent", ref=entry.ref)
        return None if found is None else self._read(found)

    def of_run(self, uid: str, run: str) -> tuple[Entry, ...]:
        return tuple(map(self._read, self._session.items("/lineage/run", uid=uid, run=run)))

    def pushed_by(self, entry: Entry) -> frozenset[str | None]:
        found = self._session.get("/lineage/pushed", ref=entry.ref)
        with self._session.legible():
            return frozenset(found["items"])

    def freed(self, entries: Iterable[Entry]) -> NoReturn:
        raise OnServerAlone("prune", self._session.address.url)
