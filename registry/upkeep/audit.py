"""The audit: whether everything is still as it was stored."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence, Set
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from registry.attachments.training.nesting import unflatten
from registry.blobs.store import BlobStore, Examined, Known
from registry.catalog.blobs import decode_documents
from registry.catalog.bookkeeping import Bookkeeping
from registry.catalog.entry import Entry
from registry.catalog.facts import Facts
from registry.catalog.part import PartEntry
from registry.catalog.protocol import CatalogProtocol
from registry.catalog.record import row_fault
from registry.errors.catalog import PurgedVersion
from registry.errors.models import first_line
from registry.errors.outputs import ExampleFailed, NoExample, NothingToCompare, OutputsVary
from registry.errors.root import RegistryError
from registry.home.home import Home
from registry.notebook import called, few, html_table
from registry.reference import parse
from registry.tensors.decoding import decode, decode_metadata
from registry.tensors.manifest import Manifest, StoredTensor


@dataclass(frozen=True)
class Fault:
    """Something that is not as it was stored."""

    ref: str
    """The version, or ``"trail"``, ``"event 12"``, an alias, a model, ``"catalog"``."""
    kind: str
    """``bytes``, ``row``, ``value``, ``table``, ``class``, ``trail``, ``outputs``."""
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
    """What could not be compared, and does not count as a fault."""

    def __repr__(self) -> str:
        return called(self, self._title())

    def _repr_html_(self) -> str:
        return html_table(self._title(), ("version", "kind", "fault"), [(f.ref, f.kind, f.what) for f in self.faults])

    def _title(self) -> str:
        found = f"{len(self.faults)} faults in {few(self.bad_references)}" if self.faults else "no damage found"
        return f"{self.versions} versions, {self.tensors} tensors, {self.nbytes:,} bytes checked: {found}"

    @property
    def is_clean(self) -> bool:
        return not self.faults

    @property
    def bad_references(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(fault.ref for fault in self.faults))


def audit(
    home: Home,
    ref: str | None = None,
    *,
    classes: bool = False,
    progress: Callable[[int, int], object] | None = None,
) -> AuditReport:
    """Check the trail and, of each version, row, manifest, every value and every byte; with ``classes`` its class, too.

    A tensor that several versions share is hashed once. A version that is collected meanwhile has no faults.

    Args:
        ref: only this version, or all versions of this name.
    """
    catalog = home.catalog
    of, entries = parse(ref) if ref is not None else None, audited(home, ref)
    books = catalog.check_books(of.name if of else None, None if of is None or of.is_name else entries[0].version)
    faults = [Fault(fault.reference, "trail", fault.what) for fault in books.trail]
    store = home.blobs.ahead(lambda: _needed(catalog, None if of is None else entries), progress)
    files = _Files(catalog, store)
    unchecked: list[str] = []
    total, done = sum(entry.byte_count for entry in entries), 0
    nbytes: dict[StoredTensor, int] = {}
    for entry in entries:
        read = manifests(catalog, entry)
        found = [Fault(entry.ref, "row", read)] if isinstance(read, str) else []
        for manifest in () if isinstance(read, str) else read:
            found += files.faults(entry, manifest)
            nbytes.update({stored: stored.spec.nbytes for stored in manifest.tensors.values()})
        if not isinstance(read, str):
            found += files.table_faults(entry, read)
            found += [Fault(entry.ref, "value", what) for what in undecodable(entry, read)]
            if classes:
                for each in [home.part(entry, part.part) for part in entry.parts] or [entry]:
                    _check_class(home, each, found, unchecked)
        if found and not _was_collected(catalog, entry):
            faults += found
        done += entry.byte_count
        if progress is not None and store is home.blobs:
            progress(done, total)
    if of is None:
        faults += files.misplaced({fault.blob for fault in faults if fault.blob is not None})
    # Where the digests of a row show already that it was edited, they say better what of it.
    edited = {fault.ref for fault in faults if fault.kind == "row"}
    faults += [Fault(fault.reference, "row", fault.what) for fault in books.rows if fault.reference not in edited]
    named = {kind for entry in entries for kind in (entry.model_class, *(part.model_class for part in entry.parts))}
    left = set() if classes else named - {None}
    return AuditReport(
        tuple(faults),
        len(entries),
        len(nbytes),
        sum(nbytes.values()),
        tuple(unchecked),
        len(left),
        notes=_notes(books),
    )


def _needed(catalog: CatalogProtocol, entries: Sequence[Entry] | None) -> frozenset[str]:
    """Return the blobs of some entries, or of all."""
    if entries is None:
        return catalog.referenced_blobs()
    read = (manifests(catalog, entry) for entry in entries)
    return frozenset(blob for found in read if not isinstance(found, str) for each in found for blob in each.blobs)


def remember(home: Home, ref: str | None, report: AuditReport) -> None:
    """Keep what an audit said, for who looks later; where nothing can be written, it is not kept."""
    faults: dict[str, list[str]] = {}
    for fault in report.faults:
        faults.setdefault(fault.ref, []).append(fault.what)
    with contextlib.suppress(RegistryError):
        home.database.remembered.remember_audit(_asked(home, ref), report.versions, faults)


def _asked(home: Home, ref: str | None) -> str | None:
    """Return the model or the version that an audit was of, as it is called now."""
    if ref is None:
        return None
    return home.current(parse(ref).name) if parse(ref).is_name else home.resolve(ref, trashed=True).ref


def audited(home: Home, ref: str | None) -> tuple[Entry, ...]:
    """Return the versions that an audit is of, by default all, those in the trash, too."""
    if ref is None:
        return (*home.catalog.entries(), *home.catalog.entries(trashed=True))
    reference = parse(ref)
    return home.catalog.entries(home.current(reference.name)) if reference.is_name else (home.resolve(reference),)


def audit_outputs(home: Home, report: AuditReport, entries: Sequence[Entry]) -> AuditReport:
    """Run the example of every entry that has one, and add to a report what is computed otherwise than at the push.

    Versions in the trash, and those that are damaged already, are not run.
    """
    from registry.loading.load import replay_version

    faults, unchecked, examples = list(report.faults), [], 0
    for entry in entries:
        if entry.trashed_at is not None or entry.ref in report.bad_references:
            continue
        try:
            replayed = replay_version(home, entry)
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


def manifests(catalog: CatalogProtocol, entry: Entry) -> tuple[Manifest, ...] | str:
    """Return where an entry's weights are, then where what it keeps beside them is; or what is wrong with its row."""
    try:
        manifest, documents = catalog.manifest_and_documents(entry)
        if wrong := row_fault(entry, manifest, documents):
            return wrong
        return (manifest, *decode_documents(documents).values())
    except RegistryError as error:
        return str(error)
    except ValueError:
        return "what it keeps beside its weights cannot be read"


def undecodable(entry: Facts, manifests: Sequence[Manifest]) -> list[str]:
    """Return which values of a version a load could not read: each is decoded, which makes plain data and runs nothing.

    Their digests say that they are as they were written, and not that what was written is sound.
    """
    weights, *documents = manifests
    named = {f"its constructor argument '{name}'": partial(entry.init.__getitem__, name) for name in entry.init}
    for part in entry.parts:
        named |= {
            f"the constructor argument '{name}' of its part '{part.part}'": partial(part.init.__getitem__, name)
            for name in part.init or ()
            if part.init is not None
        }
    named |= {f"its value '{name}'": partial(decode, value) for name, value in weights.values.items()}
    named |= {f"its wrapper's value '{own.owner}'": partial(decode, own.value) for own in weights.wrappers}
    named |= {f"what it set aside as '{name}'": partial(decode, own) for name, own in entry.unwrapping.own.items()}
    named["the metadata of its state dict"] = partial(decode_metadata, weights.metadata)
    for document in documents:
        for name, value in document.values.items():
            named[f"'{name}' of what it keeps beside its weights"] = partial(_decoded, value, document)
    faults = []
    for what, read in named.items():
        try:
            read()
        except Exception as error:  # whatever the damage makes of it
            faults.append(f"{what} cannot be read: {first_line(error) or type(error).__name__}")
    return faults


def _decoded(value: Any, document: Manifest) -> None:
    unflatten(decode(value), document.tensors, lambda stored, *_: stored)


class _Files:
    """The stored files in one audit, each read once, and what the catalog's tables say of them."""

    def __init__(self, catalog: CatalogProtocol, store: BlobStore) -> None:
        self._catalog = catalog
        self._store = store
        self._intact: Known = {}
        self._examined: dict[str, Examined] = {}
        self._compared: frozenset[str] = frozenset()
        """Files of which the tables were compared."""
        self._sizes = catalog.known_blobs()

    def faults(self, entry: Entry, manifest: Manifest) -> list[Fault]:
        found = self._store.faults(manifest, self._intact)
        faults = [Fault(entry.ref, "bytes", what, blob) for blob, sentences in found.items() for what in sentences]
        for blob in sorted(manifest.blobs - found.keys()):
            if (wrong := self._examine(blob).fault) is not None:
                faults.append(Fault(entry.ref, "bytes", f"the file {blob[:12]}….safetensors {wrong}", blob))
        return faults

    def table_faults(self, entry: Entry, manifests: Sequence[Manifest]) -> list[Fault]:
        """Compare the tables with the manifests, which say the same of what a version needs."""
        needed = frozenset[str]().union(*(manifest.blobs for manifest in manifests))
        faults = [
            f"the catalog's table has lost that it needs the file {blob[:12]}….safetensors"
            for blob in sorted(needed - self._catalog.needed_by(entry))
        ]
        faults += [what for blob in sorted(needed & self._examined.keys()) for what in self._said_of(blob)]
        self._compared |= needed
        return [Fault(entry.ref, "table", what) for what in faults]

    def misplaced(self, damaged: Set[str]) -> list[Fault]:
        """Return what the catalog says, and is not so, of files that no version at hand needs and a push may share."""
        left = {blob for blob, _ in self._catalog.places().values()} | self._catalog.referenced_blobs()
        found = {blob: self._said_of(blob, missing=True) for blob in sorted(left - self._compared - damaged, key=str)}
        # Not of a file that was collected meanwhile.
        known = self._catalog.known_blobs() if any(found.values()) else {}
        return [Fault("catalog", "table", what) for blob, faults in found.items() if blob in known for what in faults]

    def _said_of(self, blob: str, *, missing: bool = False) -> list[str]:
        """Return what the tables say of a file that is not so; of a damaged one only where that counts as missing."""
        examined = self._examine(blob)
        if examined.fault is not None and not missing:
            return []
        named, faults = f"the file {blob[:12]}….safetensors", []
        if examined.fault is None and self._sizes.get(blob, examined.nbytes) != examined.nbytes:
            faults.append(f"the catalog's table has another size for {named}")
        if not self._catalog.tensors_in(blob).items() <= examined.tensors.items():
            faults.append(f"the catalog's table has other tensors in {named}")
        return faults

    def _examine(self, blob: str) -> Examined:
        if blob not in self._examined:
            self._examined[blob] = self._store.examine_blob(blob, self._intact)
        return self._examined[blob]


def _notes(books: Bookkeeping) -> tuple[str, ...]:
    if not books.uncovered:
        return ()
    versions = "1 version" if books.uncovered == 1 else f"{books.uncovered} versions"
    return (
        f"not covered before event {books.covered_from}: what the catalog says of {versions} besides weights, record, "
        "metrics, note, aliases and trash; each is covered from its next change on",
    )


def _was_collected(catalog: CatalogProtocol, entry: Entry) -> bool:
    try:
        catalog.resolve(entry.ref, trashed=True)
    except PurgedVersion:
        return True
    except RegistryError:
        return False
    return False


def _check_class(home: Home, entry: Entry, faults: list[Fault], unchecked: list[str]) -> None:
    """Compare names, shapes and dtypes with those of the class, if it is trusted and can be built here."""
    if entry.model_class is None or entry.builder == "peft":
        return
    from registry.canonical.match import unmet
    from registry.loading.libraries import recorded_spec
    from registry.modules.building.build import build
    from registry.modules.fitting.expectation import expect

    of = f"the part '{entry.part}': " if isinstance(entry, PartEntry) else ""
    try:
        manifest, spec = home.manifest(entry), recorded_spec(home, entry)
        wanted = expect(build(spec).module)
    except RegistryError as error:
        unchecked.append(f"{entry.ref}: {of}{error}")
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
            faults.append(Fault(entry.ref, "class", f"{of}{entry.model_class} {what} {', '.join(names[:3])}"))
