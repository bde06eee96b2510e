"""Putting damaged bytes right: from another stored copy, from a file that was pushed once, or not at all."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from registry.blobs.store import BlobStore, Transfer
from registry.catalog.entry import Entry
from registry.catalog.protocol import CatalogProtocol
from registry.checkpoints.assembled import TENSORS
from registry.checkpoints.inventory import tensors_of
from registry.checkpoints.opening import open_checkpoint
from registry.home.home import Home
from registry.tensors.manifest import Location, Manifest, StoredTensor
from registry.tensors.source import TensorSource
from registry.tensors.spec import tensor_digest
from registry.upkeep.audit import AuditReport, manifests


@dataclass(frozen=True)
class _Patient:
    """A version some of whose tensors are not where it says, or of which the tables say something else."""

    entry: Entry
    manifest: Manifest
    beside: tuple[Manifest, ...]
    """Of its documents, which cannot be told that their tensors lie elsewhere: the record's digest is over them."""

    @property
    def manifests(self) -> tuple[Manifest, ...]:
        return (self.manifest, *self.beside)

    def stored_in(self, blobs: Collection[str]) -> Iterator[StoredTensor]:
        for manifest in self.manifests:
            yield from (stored for stored in manifest.tensors.values() if stored.location.blob in blobs)


def check_sources(sources: Sequence[str | os.PathLike[str]]) -> None:
    """Raise if a source cannot be read; a repair that needs none would not notice.

    Raises:
        RegistryError: of the first that cannot.
    """
    for source in sources:
        open_checkpoint(source)


def repair(home: Home, report: AuditReport, sources: Sequence[str | os.PathLike[str]]) -> tuple[str, ...]:
    """Restore the tensors of damaged blobs that can be restored, and return what was done, as sentences.

    Each tensor is looked for, by its digest, where it was, in every other stored file (the quarantine's included), and
    in the sources. A blob of which all is found is made again, exactly. Of any other, what is found is written into a
    new one, and the versions point there. No file that holds what its name says is touched, and none is moved that a
    version still needs something of. A damaged file is kept in the quarantine where another takes its place, or where
    nobody needs it any more, and put there last, so that a version which is whole stays so if this is killed.

    Raises:
        RegistryError: a source cannot be read, or the home cannot be written.
    """
    catalog, store = home.catalog, home.blobs
    suspected = {fault.blob for fault in report.faults if fault.blob is not None}
    bad = {blob for blob in suspected if store.examine_blob(blob, {}).fault is not None}
    patients = _patients(catalog)
    lost = {t.digest: t for patient in patients for t in patient.stored_in(suspected) if _is_lost(store, t, bad)}
    found = _find(store, lost, sources)
    catalog.distrust_blobs(bad)
    restated = tuple(_restate(catalog, store, report))
    with store.transfer() as transfer:
        rebuilt = _rebuild(store, transfer, patients, bad, found)
        done = [f"restored {blob[:12]}….safetensors as it was" for blob in sorted(rebuilt)]
        done += _relocate(catalog, store, transfer, patients, suspected - rebuilt, bad - rebuilt, found)
    moved = [name for blob in sorted(bad - rebuilt) if (name := _set_aside(catalog, store, blob)) is not None]
    done += [f"moved {name} to the quarantine" for name in moved]
    if rebuilt or moved:
        details = {"restored": sorted(rebuilt), "quarantined": moved}
        catalog.record_event("repair", None, details)
    return (*restated, *done)


def _is_lost(store: BlobStore, stored: StoredTensor, bad: Collection[str]) -> bool:
    """Whether a tensor is in a damaged blob, or is said to be in a sound one where it is not."""
    return stored.location.blob in bad or bool(store.faults(Manifest({"": stored}), {}))


def _set_aside(catalog: CatalogProtocol, store: BlobStore, blob: str) -> str | None:
    """Move a damaged file away if nobody needs it, or if what bears its name is no file and in the way of one."""
    if store.is_in_place(blob) and any(any(p.stored_in({blob})) for p in _patients(catalog)):
        return None
    return store.quarantine(blob)


def _restate(catalog: CatalogProtocol, store: BlobStore, report: AuditReport) -> Iterator[str]:
    """Let the tables say again what the manifests say."""
    wrong = {fault.ref for fault in report.faults if fault.kind == "table"}
    if wrong:
        shared = {blob: store.examine_blob(blob, {}).tensors for blob, _ in catalog.places().values()}
        catalog.distrust_blobs(
            b for b, tensors in shared.items() if not catalog.tensors_in(b).items() <= tensors.items()
        )
    for patient in _patients(catalog) if wrong else ():
        if patient.entry.ref not in wrong:
            continue
        sizes: dict[str, int] = {}
        for stored in (stored for manifest in patient.manifests for stored in manifest.tensors.values()):
            end = stored.location.offset + stored.spec.nbytes
            sizes[stored.location.blob] = max(end, sizes.get(stored.location.blob, 0))
        sizes |= {blob: nbytes for blob, nbytes in catalog.known_blobs().items() if blob in sizes}
        examined = {blob: store.examine_blob(blob, {}) for blob in sizes}
        sound = {blob: file for blob, file in examined.items() if file.fault is None}
        catalog.restate(patient.entry, {**sizes, **{blob: file.nbytes for blob, file in sound.items()}})
        yield f"wrote again which files {patient.entry.ref} needs"


def _patients(catalog: CatalogProtocol) -> tuple[_Patient, ...]:
    """Return all versions; of one whose row was edited, nothing can be believed."""
    found = []
    for entry in (*catalog.entries(), *catalog.entries(trashed=True)):
        read = manifests(catalog, entry)
        if not isinstance(read, str):
            found.append(_Patient(entry, read[0], read[1:]))
    return tuple(found)


def _find(
    store: BlobStore, lost: Mapping[str, StoredTensor], sources: Sequence[str | os.PathLike[str]]
) -> dict[str, TensorSource]:
    """Return, by digest, a source of each lost tensor that some file still has."""
    found: dict[str, TensorSource] = dict(store.copies(lost.values()))
    wanted = {stored.spec for digest, stored in lost.items() if digest not in found}
    for source in _tensors(sources):
        if source.spec in wanted and (digest := tensor_digest(source.spec, source.buffer())) in lost:
            found.setdefault(digest, source)
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
    found: dict[str, TensorSource],
) -> set[str]:
    """Make again the blobs of which everything is found, and return which these are."""
    rebuilt = set()
    for blob in sorted(bad):
        using = [manifest for patient in patients for manifest in patient.manifests if blob in manifest.blobs]
        layout = store.layout(blob, using)
        if layout is None:
            continue
        # Also what no version needs any more; its bytes are in the name of the file.
        found.update(store.copies([tensor for tensor in layout.tensors(blob) if tensor.digest not in found]))
        if all(digest in found for digest in layout.digests):
            store.quarantine(blob, keep=True)
            transfer.rebuild(blob, layout, found)
            rebuilt.add(blob)
    return rebuilt


def _relocate(
    catalog: CatalogProtocol,
    store: BlobStore,
    transfer: Transfer,
    patients: Sequence[_Patient],
    suspected: set[str],
    bad: set[str],
    found: Mapping[str, TensorSource],
) -> list[str]:
    """Store what is found of the other blobs elsewhere, point the versions there, and say what each still lacks."""
    lost = {
        patient.entry.ref: [stored for stored in patient.stored_in(suspected) if _is_lost(store, stored, bad)]
        for patient in patients
    }
    movable = {stored.digest for patient in patients for stored in patient.manifest.tensors.values()}
    wanted = {stored.digest for mine in lost.values() for stored in mine} & movable
    stored = transfer.write({d: source for d, source in found.items() if d in wanted}, locate=catalog.locate)
    places = {tensor.digest: tensor.location for tensor in stored.tensors.values()}
    done = []
    for patient in patients:
        mine, ref = set(lost[patient.entry.ref]), patient.entry.ref
        if not mine:
            continue
        moved = _relocated(patient.manifest, mine, places)
        if moved != patient.manifest:
            catalog.replace_manifest(patient.entry, moved, stored.new_blobs)
        beside = {t.digest for m in patient.beside for t in m.tensors.values() if t in mine}
        lacking = {t.digest for t in mine if t.digest not in places} | beside
        done.append(f"{ref} has lost {len(lacking)} tensors that no file at hand has" if lacking else f"restored {ref}")
    return done


def _relocated(manifest: Manifest, lost: Collection[StoredTensor], places: Mapping[str, Location]) -> Manifest:
    tensors = {
        name: replace(stored, location=places.get(stored.digest, stored.location)) if stored in lost else stored
        for name, stored in manifest.tensors.items()
    }
    return replace(manifest, tensors=tensors)
