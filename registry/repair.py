"""Putting damaged bytes right: from another stored copy, from a file that was pushed once, or not at all."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from registry.blobs.manifest import Location, Manifest, StoredTensor
from registry.blobs.rebuilding import layout_of
from registry.blobs.store import BlobStore, Transfer
from registry.canonical.signature import tensor_hasher
from registry.catalog.catalog import Catalog
from registry.catalog.entry import Entry
from registry.checkpoints.assembled import TENSORS
from registry.checkpoints.inventory import tensors_of
from registry.checkpoints.opening import open_checkpoint
from registry.checkpoints.weights import TensorSource
from registry.errors.checkpoints import NoSuchCheckpoint
from registry.integrity import AuditReport, manifests


@dataclass(frozen=True)
class _Patient:
    """A version of which some tensors are in a damaged blob."""

    entry: Entry
    manifest: Manifest
    beside: tuple[Manifest, ...]
    """Of its documents, which cannot be told that their tensors lie elsewhere: the record's digest is over them."""

    def stored_in(self, blobs: set[str]) -> Iterator[StoredTensor]:
        for manifest in (self.manifest, *self.beside):
            yield from (stored for stored in manifest.tensors.values() if stored.location.blob in blobs)


def check_sources(sources: Sequence[str | os.PathLike[str]]) -> None:
    """Raise if a source is not there; a repair that needs none would not notice.

    Raises:
        NoSuchCheckpoint: naming the first.
    """
    for source in sources:
        if not Path(source).exists():
            raise NoSuchCheckpoint(os.fspath(source))


def repair(
    catalog: Catalog, store: BlobStore, report: AuditReport, sources: Sequence[str | os.PathLike[str]]
) -> tuple[str, ...]:
    """Restore the tensors of damaged blobs that can be restored, and return what was done, as sentences.

    Each tensor is looked for, by its digest, where it was, in every other stored file (the quarantine's included), and
    in the sources. A blob of which all is found is made again, exactly. Of any other, what is found is written into a
    new one, and the versions point there. The damaged file is kept in the quarantine in either case, and put there
    last, so that a version which is whole stays so if this is killed.

    Raises:
        RegistryError: a source cannot be read, or the home cannot be written.
    """
    bad = {fault.blob for fault in report.faults if fault.blob is not None}
    patients = _patients(catalog, bad)
    lost = {stored.digest: stored for patient in patients for stored in patient.stored_in(bad)}
    found = _find(store, lost, sources)
    catalog.distrust_blobs(bad)
    with store.transfer() as transfer:
        rebuilt = _rebuild(store, transfer, patients, bad, found)
        left = bad - rebuilt
        done = [f"restored {blob[:12]}….safetensors as it was" for blob in sorted(rebuilt)]
        done += _relocate(catalog, transfer, patients, left, found)
    moved = [path for blob in sorted(left) if (path := store.quarantine(blob)) is not None]
    done += [f"moved {path.name} to the quarantine" for path in moved]
    if rebuilt or moved:
        details = {"restored": sorted(rebuilt), "quarantined": [path.name for path in moved]}
        catalog.record_event("repair", None, details)
    return tuple(done)


def _patients(catalog: Catalog, bad: set[str]) -> tuple[_Patient, ...]:
    """Return the versions that use a damaged blob; of one whose row was edited, nothing can be believed."""
    found = []
    for entry in (*catalog.entries(), *catalog.entries(trashed=True)):
        read = manifests(catalog, entry)
        if isinstance(read, str):
            continue
        patient = _Patient(entry, read[0], read[1:])
        if any(patient.stored_in(bad)):
            found.append(patient)
    return tuple(found)


def _find(
    store: BlobStore, lost: Mapping[str, StoredTensor], sources: Sequence[str | os.PathLike[str]]
) -> dict[str, TensorSource]:
    """Return, by digest, a source of each lost tensor that some file still has."""
    found: dict[str, TensorSource] = dict(store.copies(lost.values()))
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
        checkpoint = open_checkpoint(path)
        for value in (checkpoint.contents, *checkpoint.beside.values()):
            yield from (tensor for _, tensor in tensors_of(value) if isinstance(tensor, TENSORS))


def _rebuild(
    store: BlobStore,
    transfer: Transfer,
    patients: Sequence[_Patient],
    bad: set[str],
    found: Mapping[str, TensorSource],
) -> set[str]:
    """Make again the blobs of which everything is found, and return which these are."""
    rebuilt = set()
    for blob in sorted(bad):
        layout = layout_of(blob, (manifest for patient in patients for manifest in (patient.manifest, *patient.beside)))
        if layout is not None and all(digest in found for digest in layout.digests):
            store.quarantine(blob, keep=True)
            transfer.rebuild(blob, layout, found)
            rebuilt.add(blob)
    return rebuilt


def _relocate(
    catalog: Catalog, transfer: Transfer, patients: Sequence[_Patient], bad: set[str], found: Mapping[str, TensorSource]
) -> list[str]:
    """Store what is found of the other blobs elsewhere, point the versions there, and say what each still lacks."""
    wanted = {stored.digest for patient in patients for stored in patient.stored_in(bad)}
    stored = transfer.write({d: source for d, source in found.items() if d in wanted}, locate=catalog.locate)
    places = {tensor.digest: tensor.location for tensor in stored.tensors.values()}
    done = []
    for patient in patients:
        mine = list(patient.stored_in(bad))
        if not mine:
            continue
        moved = _relocated(patient.manifest, bad, places)
        if moved != patient.manifest:
            catalog.replace_manifest(patient.entry, moved, stored.new_blobs)
        beside = {t.digest for m in patient.beside for t in m.tensors.values() if t.location.blob in bad}
        lacking = {t.digest for t in mine if t.digest not in places} | beside
        ref = patient.entry.ref
        done.append(f"{ref} has lost {len(lacking)} tensors that no file at hand has" if lacking else f"restored {ref}")
    return done


def _relocated(manifest: Manifest, bad: set[str], places: Mapping[str, Location]) -> Manifest:
    tensors = {
        name: replace(stored, location=places.get(stored.digest, stored.location))
        if stored.location.blob in bad
        else stored
        for name, stored in manifest.tensors.items()
    }
    return replace(manifest, tensors=tensors)
