"""The audit: whether everything is still as it was stored."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence, Set
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from registry.blobs.manifest import Manifest
from registry.blobs.store import BlobStore
from registry.catalog.bookkeeping import Bookkeeping
from registry.catalog.catalog import Catalog
from registry.catalog.entry import Entry
from registry.catalog.record import row_fault
from registry.errors.catalog import PurgedVersion
from registry.errors.outputs import ExampleFailed, NoExample, NothingToCompare, OutputsVary
from registry.errors.root import RegistryError
from registry.reference import Reference

if TYPE_CHECKING:
    from registry.reproduction import Replay


@dataclass(frozen=True)
class Fault:
    """Something that is not as it was stored."""

    ref: str
    """The version, or ``"trail"``, ``"event 12"``, an alias, a model, ``"catalog"``."""
    kind: str
    """``bytes``, ``row``, ``class``, ``trail``, ``outputs``."""
    what: str
    blob: str | None = None
    """The damaged file, where there is one."""


@dataclass(frozen=True)
class AuditReport:
    """What was checked and what was found."""

    faults: tuple[Fault, ...]
    versions: int
    tensors: int
    """Stored tensors that were hashed, each once."""
    nbytes: int
    unchecked_classes: tuple[str, ...] = ()
    """``ref: why`` of versions whose class could not be built here."""
    classes_left: int = 0
    """Classes that the versions name and that were neither imported nor built, since that was not asked for."""
    repaired: tuple[str, ...] = ()
    """What a repair did."""
    examples: int = 0
    """Examples that were run."""
    unchecked_outputs: tuple[str, ...] = ()
    """``ref: why`` of versions whose example could not be run here."""
    notes: tuple[str, ...] = ()
    """What could not be compared, which is no fault."""

    @property
    def is_clean(self) -> bool:
        return not self.faults

    @property
    def bad_references(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(fault.ref for fault in self.faults))


def audit(
    catalog: Catalog,
    store: BlobStore,
    entries: Sequence[Entry],
    *,
    of: Reference | None = None,
    classes: bool = False,
    progress: Callable[[int, int], None] | None = None,
) -> AuditReport:
    """Check the trail and, for each entry: its row, its manifest and every byte; with ``classes`` its class, too.

    A tensor that several versions share is hashed once. A version that is collected meanwhile has no faults.

    Args:
        of: what the entries are all of, where they are not the whole catalog: a model, or one version.
    """
    books = catalog.check_books(of.name if of else None, None if of is None or of.is_name else entries[0].version)
    faults = [Fault(fault.reference, "trail", fault.what) for fault in books.trail]
    files = _Files(store)
    unchecked: list[str] = []
    total, done = sum(entry.byte_count for entry in entries), 0
    nbytes: dict[tuple[str, int], int] = {}
    for entry in entries:
        read = manifests(catalog, entry)
        found = [Fault(entry.ref, "row", read)] if isinstance(read, str) else []
        for manifest in () if isinstance(read, str) else read:
            found += files.faults(entry, manifest)
            nbytes.update({(t.location.blob, t.location.offset): t.spec.nbytes for t in manifest.tensors.values()})
        if classes and not isinstance(read, str):
            _check_class(catalog, store.home, entry, read[0], found, unchecked)
        if found and not _was_collected(catalog, entry):
            faults += found
        done += entry.byte_count
        if progress is not None:
            progress(done, total)
    if of is None:
        faults += files.misplaced(catalog, {fault.blob for fault in faults if fault.blob is not None})
    # Where the digests of a row show already that it was edited, they say better what of it.
    edited = {fault.ref for fault in faults if fault.kind == "row"}
    faults += [Fault(fault.reference, "row", fault.what) for fault in books.rows if fault.reference not in edited]
    left = {entry.model_class for entry in entries if entry.model_class is not None and not classes}
    return AuditReport(
        tuple(faults),
        len(entries),
        len(nbytes),
        sum(nbytes.values()),
        tuple(unchecked),
        len(left),
        notes=_notes(books),
    )


def audit_outputs(report: AuditReport, entries: Sequence[Entry], replay: Callable[[str], Replay]) -> AuditReport:
    """Run the example of every entry that has one, and add to a report what is computed otherwise than at the push.

    Versions in the trash, and those that are damaged already, are not run.
    """
    faults, unchecked, examples = list(report.faults), [], 0
    for entry in entries:
        if entry.trashed_at is not None or entry.ref in report.bad_references:
            continue
        try:
            replayed = replay(entry.ref)
        except NoExample:
            continue
        except (ExampleFailed, NothingToCompare, OutputsVary) as error:
            faults.append(Fault(entry.ref, "outputs", str(error)))
        except RegistryError as error:
            unchecked.append(f"{entry.ref}: {error}")
            continue
        else:
            if replayed.deviation is not None:
                what = f"{replayed.deviation}; {'; '.join(replayed.circumstances())}"
                faults.append(Fault(entry.ref, "outputs", what))
        examples += 1
    return replace(report, faults=tuple(faults), examples=examples, unchecked_outputs=tuple(unchecked))


def manifests(catalog: Catalog, entry: Entry) -> tuple[Manifest, ...] | str:
    """Return where an entry's weights are, then where what it keeps beside them is; or what is wrong with its row."""
    try:
        manifest, documents = catalog.manifest(entry), catalog.documents(entry)
        if wrong := row_fault(entry, manifest, documents):
            return wrong
        return (manifest, *(Manifest.decode(body) for body in documents.values()))
    except RegistryError as error:
        return str(error)
    except ValueError:
        return "what it keeps beside its weights cannot be read"


class _Files:
    """The stored files in one audit, each read once."""

    def __init__(self, store: BlobStore) -> None:
        self._store = store
        self._intact: set[tuple[str, int, str]] = set()
        self._named: dict[str, str | None] = {}

    def faults(self, entry: Entry, manifest: Manifest) -> list[Fault]:
        found = self._store.faults(manifest, self._intact)
        faults = [Fault(entry.ref, "bytes", what, blob) for blob, sentences in found.items() for what in sentences]
        for blob in sorted(manifest.blobs - found.keys()):
            if blob not in self._named:
                mine = {place for place in self._intact if place[0] == blob}
                self._named[blob] = self._store.name_fault(blob, mine)
            if (wrong := self._named[blob]) is not None:
                faults.append(Fault(entry.ref, "bytes", f"the file {blob[:12]}….safetensors {wrong}", blob))
        return faults

    def misplaced(self, catalog: Catalog, damaged: Set[str]) -> list[Fault]:
        """Return what the catalog says of files and of the tensors in them, that a push would share, and is not so."""
        needed = catalog.referenced_blobs()
        sizes = {blob: nbytes for blob, nbytes in catalog.known_blobs().items() if blob in needed - damaged}
        # Without the file's name: what is in it may be whole, and then a repair has nothing to do there.
        faults = [
            Fault("catalog", "row", f"the file {blob[:12]}….safetensors has another size than the catalog says")
            for blob in sorted(set(self._store.misfits(sizes)) & catalog.referenced_blobs())
        ]
        contents: dict[str, Mapping[int, Collection[str]]] = {}
        astray = {}
        for digest, (blob, offset) in catalog.places().items():
            if (blob, offset, digest) in self._intact or blob in damaged:
                continue
            if blob not in contents:
                contents[blob] = self._store.contents(blob)
            if digest not in contents[blob].get(offset, ()):
                astray[digest] = (blob, offset)
        # Not of a file that was collected meanwhile.
        for digest, (blob, offset) in astray.items() & (catalog.places().items() if astray else set()):
            what = f"the tensor {digest[:12]}… is not where the catalog says, in {blob[:12]}….safetensors at {offset}"
            faults.append(Fault("catalog", "row", what))
        return faults


def _notes(books: Bookkeeping) -> tuple[str, ...]:
    if not books.uncovered:
        return ()
    versions = "1 version" if books.uncovered == 1 else f"{books.uncovered} versions"
    return (
        f"not covered before event {books.covered_from}: what the catalog says of {versions} besides weights, record, "
        "metrics, note, aliases and trash; each is covered from its next change on",
    )


def _was_collected(catalog: Catalog, entry: Entry) -> bool:
    try:
        catalog.resolve(entry.ref, trashed=True)
    except PurgedVersion:
        return True
    except RegistryError:
        return False
    return False


def _check_class(
    catalog: Catalog, home: Path, entry: Entry, manifest: Manifest, faults: list[Fault], unchecked: list[str]
) -> None:
    """Compare names, shapes and dtypes with those of the class, if it is trusted and can be built here."""
    if entry.model_class is None:
        return
    from registry.canonical.match import unmet
    from registry.delivery import Order, recorded_class, specification
    from registry.models.build import build
    from registry.models.expectation import expect

    try:
        spec = specification(entry, Order(), recorded_class(catalog, home, entry))
        wanted = expect(build(spec).module)
    except RegistryError as error:
        unchecked.append(f"{entry.ref}: {error}")
        return
    extra_states = [name for name in manifest.values if name in wanted.values]
    missing, extra = unmet([*manifest.tensors, *extra_states], wanted)
    shapes = [
        name
        for name, stored in manifest.tensors.items()
        if name in wanted.tensors and stored.spec != wanted.tensors[name]
    ]
    for names, what in ((missing, "has"), (extra, "does not have"), (shapes, "has with another shape or dtype")):
        if names:
            faults.append(Fault(entry.ref, "class", f"{entry.model_class} {what} {', '.join(names[:3])}"))
