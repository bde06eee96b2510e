"""What a client says of a version, held against the bytes that are here. Nothing is believed that can be computed."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from registry.blobs.files import viewed
from registry.blobs.layout import read_blob_header
from registry.blobs.store import Known
from registry.blobs.uploads import Upload, Uploads
from registry.catalog import transit
from registry.catalog.arrivals import check
from registry.catalog.blobs import decode
from registry.catalog.facts import Facts, facts_in
from registry.catalog.parcel import MAPPED, Parcel
from registry.catalog.version import NewVersion, Vanished, check_run
from registry.errors.client import Collected, FalseClaim, UploadGone
from registry.errors.requests import InvalidRequest
from registry.tensors.manifest import BlobRecord, Manifest
from registry.tensors.spec import TensorSpec

from ..asking import Asked
from . import schemas
from .blobs import is_sound

_LONGEST_FACT = 20_000
"""Characters; constructor arguments and unwrappings may have more."""


class Claim:
    """A version that a client wants stored, once everything in it is what it may be."""

    def __init__(self, asking: Asked, new_blobs: Iterable[str], uploads: Iterable[str]) -> None:
        self._asking = asking
        self._asked_new = set(new_blobs)
        self._uploads = Uploads(asking.store)
        self._sent: dict[str, Upload] = {}
        for id in uploads:
            with contextlib.suppress(UploadGone):
                upload = self._uploads.find(id, asking.caller.user)
                if upload.is_whole:
                    self._sent[upload.blob] = upload

    def prove(self, manifests: Sequence[Manifest]) -> tuple[BlobRecord, ...]:
        """Compare manifests with the files that they name, and return which of these are new.

        What was checked as it came in, and what the catalog knows of files that are as they were, is not read again.

        Raises:
            Collected: a file is not here any more.
            FalseClaim: a file does not hold what a manifest says.
        """
        store = self._asking.store
        blobs = {blob for manifest in manifests for blob in manifest.blobs}
        # That somebody knows the name of a file does not mean that he has what is in it.
        here = self._asking.visible(blobs - self._sent.keys()) | (blobs & self._sent.keys())
        if gone := [blob for blob in blobs if blob not in here or not store.is_in_place(blob)]:
            raise Collected(f"{len(gone)} files that the version needs are not here any more")
        known: Known = {blob: self._known(blob) for blob in blobs}
        for manifest in manifests:
            for faults in store.faults(manifest, known).values():
                raise FalseClaim(faults[0])
        records = (
            BlobRecord(blob, store.places.blob(blob).lstat().st_size) for blob in sorted(blobs & self._asked_new)
        )
        return tuple(records)

    def confirm(self, blobs: Iterable[BlobRecord]) -> None:
        """Raise if a collection has taken a file before the lock was held.

        Raises:
            Vanished
        """
        if gone := [blob for blob in blobs if not self._asking.store.is_in_place(blob.digest)]:
            raise Vanished(f"{len(gone)} new files were collected")

    def settle(self) -> None:
        """Let go of what was kept for the version, which keeps it itself now."""
        for upload in self._sent.values():
            self._uploads.end(upload)

    def _known(self, blob: str) -> dict[tuple[int, TensorSpec], str]:
        """Return the digests of what nobody has to read again in a file."""
        sent = self._sent.get(blob)
        at = {} if sent is not None else {o: d for d, o in self._asking.catalog.tensors_in(blob).items()}
        if sent is None and not (at and is_sound(self._asking, blob)):
            return {}
        with viewed(self._asking.store.places.blob(blob), blob) as content:
            try:
                start, slots = read_blob_header(content)
            except ValueError as error:
                raise FalseClaim(str(error)) from None
        if sent is not None and len(sent.tensors) == len(slots):
            digests = zip(slots, sent.tensors, strict=True)
            return {(start + slot.offset, slot.spec): digest for slot, digest in digests}
        return {
            (start + slot.offset, slot.spec): at[start + slot.offset]
            for slot in slots
            if slot.spec.nbytes and start + slot.offset in at
        }


def new_version(asking: Asked, given: schemas.NewVersion) -> tuple[NewVersion, Manifest, tuple[Manifest, ...]]:
    """Return the version that was sent: what it is, where its tensors are, and those of what is kept beside them.

    Raises:
        InvalidRequest: a part is not what it may be.
    """
    with reading():
        manifest = transit.manifest_of(given.manifest)
        documents = transit.documents_of(given.documents)
        beside = tuple(decode(body) for body in documents.values())
        columns = transit.columns_of({name: fact for name, fact in given.facts.items() if name not in MAPPED})
        for name, fact in columns.items():
            if isinstance(fact, str) and len(fact) > _LONGEST_FACT and name not in ("init", "unwrapping"):
                raise ValueError(f"the fact {name} has more than {_LONGEST_FACT} characters")
        facts = Facts(**facts_in({**dict.fromkeys(MAPPED), **columns}))
        transit.check_facts(facts)
    check_run(facts.run)
    if facts.parent is not None:
        parent = asking.entry(facts.parent, trashed=True)
        facts = replace(
            facts,
            parent=parent.ref,
            parent_uid=parent.uid,
            parent_number=parent.version,
            parent_record=parent.record_digest,
        )
    facts = replace(facts, creator=asking.caller.user or facts.creator, **manifest.counts())
    new = NewVersion(given.name, facts, given.metrics, given.tags, tuple(given.aliases), documents, given.card)
    new.check()
    return new, manifest, beside


def parcel_of(raw: Mapping[str, Any]) -> Parcel:
    """Return the version of another home that was sent, whose record is the one that it says.

    Raises:
        InvalidRequest: a part is not what it may be.
    """
    with reading():
        parcel = transit.read(transit.dump(raw))
        check(parcel)
    return parcel


@contextlib.contextmanager
def reading() -> Iterator[None]:
    """Say of a request that it cannot be read.

    Raises:
        InvalidRequest
    """
    try:
        yield
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise InvalidRequest(str(error)[:300]) from None


@contextlib.contextmanager
def collected() -> Iterator[None]:
    """Tell a client that what it meant to share was collected meanwhile.

    Raises:
        Collected
    """
    try:
        yield
    except Vanished as error:
        raise Collected(str(error)) from None
