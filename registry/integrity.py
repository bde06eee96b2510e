"""The audit: whether everything is still as it was stored."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from registry.blobs.manifest import Manifest, StoredTensor
from registry.blobs.store import BlobStore, Examined, Known
from registry.catalog.catalog import Catalog
from registry.catalog.entry import Entry
from registry.catalog.record import row_fault
from registry.errors.catalog import PurgedVersion
from registry.errors.outputs import ExampleFailed, NoExample, NothingToCompare, OutputsVary
from registry.errors.root import RegistryError

if TYPE_CHECKING:
    from registry.replay import Replay


@dataclass(frozen=True)
class Fault:
    """Something that is not as it was stored."""

    ref: str
    """The version, or ``"trail"``, ``"event 12"``."""
    kind: str
    """``bytes``, ``row``, ``table``, ``class``, ``trail``, ``outputs``."""
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
    repaired: tuple[str, ...] = ()
    """What a repair did."""
    examples: int = 0
    """Examples that were run."""
    unchecked_outputs: tuple[str, ...] = ()
    """``ref: why`` of versions whose example could not be run here."""

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
    progress: Callable[[int, int], None] | None = None,
) -> AuditReport:
    """Check the trail and, for each entry: its row, its manifest, every byte, and its class where that is at hand.

    A tensor that several versions share is hashed once. A version that is collected meanwhile has no faults.
    """
    faults = [Fault(fault.reference, "trail", fault.what) for fault in catalog.check_trail()]
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
            _check_class(entry, read[0], found, unchecked)
        if found and not _was_collected(catalog, entry):
            faults += found
        done += entry.byte_count
        if progress is not None:
            progress(done, total)
    return AuditReport(tuple(faults), len(entries), len(nbytes), sum(nbytes.values()), tuple(unchecked))


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
    """The stored files in one audit, each read once, and what the catalog's tables say of them."""

    def __init__(self, catalog: Catalog, store: BlobStore) -> None:
        self._catalog = catalog
        self._store = store
        self._intact: Known = {}
        self._examined: dict[str, Examined] = {}
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
        faults = []
        for blob in sorted(needed - self._catalog.needed_by(entry)):
            faults.append(f"the catalog's table has lost that it needs the file {blob[:12]}….safetensors")
        for blob in sorted(needed & self._examined.keys()):
            examined = self._examined[blob]
            if examined.fault is not None:
                continue
            if self._sizes.get(blob, examined.nbytes) != examined.nbytes:
                faults.append(f"the catalog's table has another size for the file {blob[:12]}….safetensors")
            if not self._catalog.tensors_in(blob).items() <= examined.tensors.items():
                faults.append(f"the catalog's table has other tensors in the file {blob[:12]}….safetensors")
        return [Fault(entry.ref, "table", what) for what in faults]

    def _examine(self, blob: str) -> Examined:
        if blob not in self._examined:
            self._examined[blob] = self._store.examine(blob, self._intact)
        return self._examined[blob]


def _was_collected(catalog: Catalog, entry: Entry) -> bool:
    try:
        catalog.resolve(entry.ref, trashed=True)
    except PurgedVersion:
        return True
    except RegistryError:
        return False
    return False


def _check_class(entry: Entry, manifest: Manifest, faults: list[Fault], unchecked: list[str]) -> None:
    """Compare names, shapes and dtypes with those of the class, if it can be built here."""
    if entry.model_class is None:
        return
    from registry.canonical.match import unmet
    from registry.models.build import build
    from registry.models.expectation import expect
    from registry.models.specification import ModelSpec

    try:
        wanted = expect(build(ModelSpec(entry.model_class, dict(entry.init), entry.init_as)).module)
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
