"""The catalog of a served home: the same questions and changes, asked of the server."""

from __future__ import annotations

import base64
import contextlib
import uuid
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import TYPE_CHECKING, Any, NoReturn

from registry.catalog import transit
from registry.catalog.bookkeeping import Bookkeeping
from registry.catalog.documents import made, model_name, read_entry, text
from registry.catalog.entry import Entry
from registry.catalog.listing import ModelSummary
from registry.catalog.page import Page
from registry.catalog.past import in_order
from registry.catalog.protocol import CatalogProtocol
from registry.catalog.query import Query, named
from registry.catalog.renaming import Renamed
from registry.catalog.rows import Source
from registry.catalog.trail import Event, Only
from registry.catalog.trash import Trashed
from registry.catalog.version import NewVersion, Vanished, check_apart, check_metrics, check_note, check_tags
from registry.client.copies import ServedCopies
from registry.client.lineage import ServedLineage
from registry.client.session import Session
from registry.errors.catalog import UnknownModel
from registry.errors.client import Collected, OnServerAlone
from registry.reference import Reference, check_model_name, parse

if TYPE_CHECKING:
    from registry.tensors.manifest import BlobRecord, Location, Manifest

_OLD_PROOF = "build"
"""A document of versions of the first schemas, of which only is asked whether it is there."""

PAGE = 1000
"""Entries or events that one request brings."""


class ServedCatalog(CatalogProtocol):
    """What is known of the versions of one served home. What comes from the server is read as a stranger's."""

    def __init__(self, session: Session) -> None:
        self._session = session

    def close(self) -> None:
        """Close the connections."""
        self._session.close()

    # Questions

    def resolve(self, reference: Reference | str, *, trashed: bool = False) -> Entry:
        asked = parse(reference) if isinstance(reference, str) else reference
        return self._entry(self._session.get("/entry", ref=str(asked), trashed=trashed))

    def current(self, name: str) -> str:
        found = self._session.get("/name", name=check_model_name(name))
        with self._session.legible():
            return model_name(found["now"])

    def entries(self, name: str | None = None, *, trashed: bool = False, limit: int | None = None) -> tuple[Entry, ...]:
        return tuple(self.search(named(name), trashed=trashed, limit=limit))

    def search(
        self,
        query: Query,
        *,
        trashed: bool = False,
        limit: int | None = None,
        after: str | None = None,
        asked: Query | None = None,
    ) -> Page:
        found: list[Entry] = []
        while limit is None or len(found) < limit:
            most = PAGE if limit is None else min(PAGE, limit - len(found))
            page = self._session.get("/entries", query=str(asked or query), trashed=trashed, limit=most, after=after)
            with self._session.legible():
                found += [self._entry(each) for each in page["items"]]
                after = None if page["next"] is None else text(page["next"])
                if after is None:
                    break
                if not page["items"]:
                    raise ValueError("a page of nothing that goes on")
        return Page(found, after)

    def count(self, name: str | None = None, *, trashed: bool = False) -> int:
        try:
            return len(self.entries(name, trashed=trashed))
        except UnknownModel:
            return 0

    def with_weights(self, digest: str) -> Entry | None:
        found = self._session.get("/weights", digest=digest)
        return None if found is None else self._entry(found)

    def card(self, name: str) -> str | None:
        found = self._session.get("/card", name=name)
        with self._session.legible():
            return None if found["text"] is None else text(found["text"])

    def models(self, name: str | None = None) -> tuple[ModelSummary, ...]:
        found = self._session.items("/models", name=name)
        with self._session.legible():
            return tuple(made(ModelSummary, each, {"changed_at": datetime.fromisoformat}) for each in found)

    def events(self, name: str | None = None, limit: int | None = None, only: Only | None = None) -> tuple[Event, ...]:
        only = only or Only()
        asked = {"verb": only.verb, "by": only.actor, "after": only.after, "before": only.before}
        most = PAGE if limit is None else max(1, min(PAGE, limit))
        found: list[Event] = []
        for page in self._session.pages("/events", back="older", name=name, limit=most, **asked):
            with self._session.legible():
                found += (made(Event, each, {"at": datetime.fromisoformat}) for each in page)
            if limit is not None and sum(event.origin is None for event in found) >= limit:
                break
        return tuple(in_order(found)[:limit])

    def sources(self) -> Sequence[Source]:
        found = self._session.items("/sources")
        with self._session.legible():
            return tuple(Source(*each) for each in found)

    def manifest_and_documents(self, entry: Entry) -> tuple[Manifest, dict[str, bytes]]:
        found = self._session.get("/manifest", ref=entry.ref, uid=entry.uid)
        with self._session.legible():
            documents = {str(kind): transit.document_of(body) for kind, body in found["documents"].items()}
            return transit.manifest_of(found["manifest"]), documents

    def manifest(self, entry: Entry) -> Manifest:
        """Return where an entry's tensors are."""
        return self.manifest_and_documents(entry)[0]

    def document(self, entry: Entry, kind: str) -> bytes | None:
        found = self._session.get("/document", ref=entry.ref, uid=entry.uid, kind=kind)
        with self._session.legible():
            body = found["body"]
            if body is None or kind == _OLD_PROOF:
                return None if body is None else base64.b64decode(body)
            return transit.document_of(body)

    def locate(self, digests: Iterable[str]) -> dict[str, Location]:
        from registry.tensors.manifest import Location
        from registry.tensors.spec import check_digest

        wanted = sorted(set(digests))
        if not wanted:
            return {}
        found = self._session.ask("/tensors/locate", {"digests": wanted})
        with self._session.legible():
            places = found["places"].items()
            return {str(digest): Location(check_digest(blob), int(offset)) for digest, (blob, offset) in places}

    @property
    def lineage(self) -> ServedLineage:  # type: ignore[override]
        return ServedLineage(self._session, self._entry)

    @property
    def copies(self) -> ServedCopies:  # type: ignore[override]
        return ServedCopies(self._session)

    # Changes

    def knows(self, name: str, *, to_add: bool = False) -> bool:
        found = self._session.get("/standing", name=name, to_add=to_add)
        with self._session.legible():
            return bool(found["is_known"])

    def next_number(self, name: str) -> int:
        found = self._session.get("/standing", name=name)
        with self._session.legible():
            return int(found["next_number"])

    def holds(self, new: NewVersion, manifest: Manifest) -> bool:
        """Whether ``add_version`` would find it there; that it might, is found out there alone."""
        return False

    def add_version(
        self,
        new: NewVersion,
        manifest: Manifest,
        new_blobs: Sequence[BlobRecord],
        *,
        beside: Sequence[Manifest] = (),
        force_new: bool = False,
        is_there: bool = False,
        unsound: Collection[str] = (),
        tells_again: bool = True,
        confirm: Callable[[], None] = lambda: None,
    ) -> Entry:
        new.check()
        body = {
            "name": new.name,
            "facts": new.facts.columns(),
            "metrics": dict(new.metrics),
            "tags": dict(new.tags),
            "aliases": list(new.aliases),
            "card": new.card,
            "manifest": manifest.to_json(),
            "documents": {kind: base64.b64encode(document).decode() for kind, document in new.documents.items()},
            "new_blobs": [blob.digest for blob in new_blobs],
            "uploads": self._sent(new_blobs),
            "force_new": force_new,
            "tells_again": tells_again,
        }
        try:
            return self._entry(self._session.send("POST", "/versions", body, key=uuid.uuid4().hex))
        except Collected as error:
            raise Vanished(str(error)) from error

    def add_facts(
        self,
        entry: Entry,
        *,
        metrics: Mapping[str, float] | None = None,
        tags: Mapping[str, str] | None = None,
        note: str = "",
        remove_metrics: Collection[str] = (),
        remove_tags: Collection[str] = (),
        verb: str = "note",
    ) -> Entry:
        words, checked = check_tags(tags or {}), check_metrics(metrics or {})
        check_note(note)
        check_apart("metric", checked, remove_metrics)
        check_apart("tag", words, remove_tags)
        body = {
            "version": _of(entry),
            "metrics": checked,
            "tags": words,
            "note": note,
            "remove_metrics": list(remove_metrics),
            "remove_tags": list(remove_tags),
            "verb": verb,
        }
        changed = self._entry(self._session.send("POST", "/facts", body))
        return replace(changed, notices=(*entry.notices, *changed.notices))

    def set_alias(self, entry: Entry, alias: str) -> None:
        self._session.send("PUT", "/alias", {"version": _of(entry), "alias": alias})

    def drop_alias(self, name: str, alias: str) -> None:
        self._session.send("DELETE", "/alias", name=name, alias=alias)

    def set_card(self, name: str, text: str) -> None:
        self._session.send("PUT", "/card", {"name": name, "text": text})

    def roll_back(self, name: str, alias: str) -> Entry:
        return self._entry(self._session.send("POST", "/rollback", {"name": name, "alias": alias}))

    def rename(self, old: str, new: str) -> Renamed:
        found = self._session.send("POST", "/rename", {"old": old, "new": new})
        with self._session.legible():
            renamed: Renamed = made(Renamed, found, {"former_names": tuple})
            return renamed

    def trash(self, *entries: Entry, force: bool = False) -> Trashed:
        body = {"versions": [_of(entry) for entry in entries], "force": force}
        found = self._session.send("POST", "/trash", body)
        with self._session.legible():
            return Trashed(int(found["nbytes"]), {ref: tuple(names) for ref, names in found["aliases"].items()})

    def restore(self, *entries: Entry) -> tuple[Entry, ...]:
        found = self._session.send("POST", "/restore", {"versions": [_of(entry) for entry in entries]})
        with self._session.legible():
            restored = [self._entry(each) for each in found["items"]]
        return tuple(
            replace(each, notices=(*entry.notices, *each.notices))
            for entry, each in zip(entries, restored, strict=False)
        )

    @contextlib.contextmanager
    def write_lock(self) -> Iterator[None]:
        """Nothing: each change is a transaction of its own at the server, and nobody is kept waiting over a network."""
        yield

    # What is done where the files are

    def due(self, before: datetime) -> NoReturn:
        self._refuse("gc")

    def purge(self, before: datetime) -> NoReturn:
        self._refuse("gc")

    def forget_unneeded_blobs(self) -> NoReturn:
        self._refuse("gc")

    def referenced_blobs(self) -> NoReturn:
        self._refuse("gc")

    def known_blobs(self) -> NoReturn:
        self._refuse("gc")

    def record_event(self, verb: str, entry: Entry | None = None, details: Mapping[str, Any] | None = None) -> NoReturn:
        self._refuse(verb)

    def check_books(self, name: str | None = None, number: int | None = None) -> Bookkeeping:
        self._refuse("audit")

    def needed_by(self, entry: Entry) -> NoReturn:
        self._refuse("audit")

    def tensors_in(self, blob: str) -> NoReturn:
        self._refuse("audit")

    def places(self) -> NoReturn:
        self._refuse("audit")

    def distrust_blobs(self, digests: Iterable[str]) -> NoReturn:
        self._refuse("audit")

    def restate(self, entry: Entry, sizes: Mapping[str, int]) -> NoReturn:
        self._refuse("audit --repair")

    def replace_manifest(self, entry: Entry, manifest: Manifest, new_blobs: Sequence[BlobRecord]) -> NoReturn:
        self._refuse("audit --repair")

    @property
    def path(self) -> NoReturn:
        self._refuse("db")

    @property
    def revision(self) -> NoReturn:
        self._refuse("db")

    @property
    def migration(self) -> NoReturn:
        self._refuse("db")

    def _refuse(self, verb: str) -> NoReturn:
        raise OnServerAlone(verb, self._session.address.url)

    def _entry(self, document: Any) -> Entry:
        with self._session.legible():
            return read_entry(document)

    def _sent(self, blobs: Iterable[BlobRecord]) -> list[str]:
        sent = (self._session.uploads.pop(blob.digest, None) for blob in blobs)
        return [id for id in sent if id is not None]


def _of(entry: Entry) -> dict[str, str]:
    """Return what says which version a change is about, and as which it was seen."""
    return {"ref": entry.ref, "uid": entry.uid, "digest": entry.digest}
