"""What leaves a served home for another one, and comes to it."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from registry.catalog import transit
from registry.catalog.arrivals import Arrived, Whereabouts
from registry.catalog.documents import made, model_name
from registry.catalog.entry import Entry
from registry.catalog.facts import Identity
from registry.catalog.merging import Difference
from registry.catalog.parcel import Parcel
from registry.catalog.version import Vanished
from registry.client.session import Session
from registry.errors.client import Collected


class ServedCopies:
    """The copies of one served catalog's versions (see ``registry.catalog.copies``)."""

    def __init__(self, session: Session) -> None:
        self._session = session

    def parcel(self, entry: Entry, place: str) -> Parcel:
        found = self._session.get("/parcel", ref=entry.ref, place=place)
        with self._session.legible():
            return transit.read(transit.dump(found))

    def with_weights(self, weights: str) -> str | None:
        found = self._session.get("/weights", digest=weights)
        with self._session.legible():
            return None if found is None else str(found["ref"])

    def standing(self, parcel: Parcel, name: str | None) -> tuple[str, int, bool]:
        found = self._session.ask("/copies/standing", {"parcel": _written(parcel), "name": name})
        with self._session.legible():
            return model_name(found["name"]), int(found["next_number"]), bool(found["is_other_model"])

    def is_here(self, identity: Identity) -> bool:
        found = self._session.get("/copies/here", **identity._asdict())
        with self._session.legible():
            return bool(found["is_here"])

    def meet(self, parcel: Parcel, place: str, *, update: bool, dry_run: bool = False) -> Arrived | None:
        body = {"parcel": _written(parcel), "place": place, "update": update, "dry_run": dry_run}
        return self._arrived("/copies/meet", body)

    def take_in(
        self,
        parcel: Parcel,
        place: str,
        here: Whereabouts,
        *,
        name: str | None,
        update: bool,
        confirm: Callable[[], None] = lambda: None,
    ) -> Arrived:
        stored = (each for manifest in (here.manifest, *here.beside.values()) for each in manifest.tensors.values())
        new_blobs = [blob.digest for blob in here.new_blobs]
        body = {
            "parcel": _written(parcel),
            "place": place,
            "places": {each.digest: [each.location.blob, each.location.offset] for each in stored},
            "new_blobs": new_blobs,
            "uploads": [id for blob in new_blobs if (id := self._session.uploads.pop(blob, None)) is not None],
            "name": name,
            "update": update,
        }
        arrived = self._arrived("/copies", body)
        assert arrived is not None
        return arrived

    def _arrived(self, path: str, body: object) -> Arrived | None:
        try:
            found = self._session.send("POST", path, body)
        except Collected as error:
            raise Vanished(str(error)) from error
        if found is None:
            return None
        with self._session.legible():
            arrived: Arrived = made(Arrived, found, {"added": tuple, "differences": _differences})
            return arrived


def _written(parcel: Parcel) -> Any:
    return json.loads(transit.write(parcel, {}))


def _differences(raw: Any) -> tuple[Difference, ...]:
    return tuple(Difference(**each) for each in raw)
