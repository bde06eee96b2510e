"""Putting damaged bytes right: from another stored copy, from a file that was pushed once, or not at all."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

from registry.blobs.manifest import Location, Manifest, StoredTensor
from registry.blobs.store import BlobStore
from registry.canonical.signature import tensor_hasher
from registry.catalog.catalog import Catalog
from registry.catalog.entry import Entry
from registry.checkpoints.opening import open_checkpoint
from registry.checkpoints.weights import TensorSource
from registry.integrity import AuditReport


def repair(
    catalog: Catalog, store: BlobStore, report: AuditReport, sources: Sequence[str | os.PathLike[str]]
) -> tuple[str, ...]:
    """Restore the tensors of damaged blobs that can be restored, and return what was done, as sentences.

    A damaged file is moved to the quarantine, never deleted. What in it is intact, or is found by its digest in another
    stored file (the quarantine's included) or in a source, is written anew, and the versions point there.

    Raises:
        RegistryError: a source cannot be read, or the home cannot be written.
    """
    bad = sorted({fault.blob for fault in report.faults if fault.blob is not None})
    entries = [*catalog.entries(), *catalog.entries(trashed=True)]
    touched = [(entry, catalog.manifest(entry)) for entry in entries]
    touched = [(entry, manifest) for entry, manifest in touched if manifest.blobs & set(bad)]
    lost = {
        stored.digest: stored
        for _, manifest in touched
        for stored in manifest.tensors.values()
        if stored.location.blob in bad
    }
    catalog.distrust_blobs(bad)
    moved = [path for blob in bad if (path := store.quarantine(blob)) is not None]
    found = _find(store, lost, sources)
    done = [f"moved {path.name} to the quarantine" for path in moved]
    with store.transfer() as transfer:
        stored = transfer.write(found, locate=catalog.locate)
        places = {tensor.digest: tensor.location for tensor in stored.tensors.values()}
        for entry, manifest in touched:
            missing = [t.digest for t in manifest.tensors.values() if t.location.blob in bad and t.digest not in places]
            if missing:
                done.append(f"{entry.ref} has lost {len(missing)} tensors that no file at hand has")
                continue
            catalog.replace_manifest(entry, _relocated(manifest, bad, places), stored.new_blobs)
            done.append(f"restored {entry.ref}")
    _record(catalog, touched, done)
    return tuple(done)


def _find(
    store: BlobStore, lost: Mapping[str, StoredTensor], sources: Sequence[str | os.PathLike[str]]
) -> dict[str, TensorSource]:
    """Return, by digest, a source of each lost tensor that some file still has."""
    found: dict[str, TensorSource] = {}
    for digest, copy in store.copies(lost):
        found.setdefault(digest, copy)
    wanted = {stored.spec for digest, stored in lost.items() if digest not in found}
    for source in _tensors(sources):
        if source.spec in wanted:
            hasher = tensor_hasher(source.spec)
            hasher.update(source.buffer())
            if hasher.hexdigest() in lost:
                found.setdefault(hasher.hexdigest(), source)
    return found


def _tensors(sources: Sequence[str | os.PathLike[str]]) -> Iterator[TensorSource]:
    for path in sources:
        for weights in open_checkpoint(path).weight_sets:
            yield from weights.tensors.values()


def _relocated(manifest: Manifest, bad: Sequence[str], places: Mapping[str, Location]) -> Manifest:
    tensors = {
        name: replace(stored, location=places[stored.digest]) if stored.location.blob in bad else stored
        for name, stored in manifest.tensors.items()
    }
    return replace(manifest, tensors=tensors)


def _record(catalog: Catalog, touched: Sequence[tuple[Entry, Manifest]], done: Sequence[str]) -> None:
    for entry, _ in touched:
        catalog.record_event("repair", entry, {"outcome": [line for line in done if entry.ref in line]})
