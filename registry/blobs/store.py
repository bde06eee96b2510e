"""The store of one home: tensors in, tensors out, by digest. It knows no names of models and no versions."""

from __future__ import annotations

import contextlib
import os
import time
import uuid
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from registry.blobs import collection
from registry.blobs.collection import Garbage
from registry.blobs.files import StoreFolders, blob_files, is_file, opened, viewed
from registry.blobs.layout import blob_digest, read_blob_header
from registry.blobs.rebuilding import BlobLayout, copies_anywhere, copies_in_place, layout_of, rebuild
from registry.blobs.running import Running
from registry.blobs.sharing import Locate, Sharing
from registry.blobs.verification import Verification, extent, is_intact, is_stamped, stamp, verified
from registry.blobs.writer import Progress, Stored, store_tensors
from registry.disk.folders import make_folder, sync_folder
from registry.errors.blobs import StoreUnwritable
from registry.errors.root import RegistryError
from registry.tensors.manifest import BlobRecord, Manifest, StoredTensor
from registry.tensors.source import TensorBytes, TensorSource
from registry.tensors.spec import TensorSpec, tensor_digest

if TYPE_CHECKING:
    import torch

    from registry.blobs.mapping import OpenedWeights

Verify = Literal["always", "once", "never"]


Known = dict[str, dict[tuple[int, TensorSpec], str]]
"""By blob: the digests of tensors that were found intact, by where they begin and what they are.

Where they begin is not enough: tensors without elements take no room, so the next one begins there, too.
"""


@dataclass(frozen=True)
class Examined:
    """What a blob's file is."""

    fault: str | None
    tensors: Mapping[str, int] = field(default_factory=dict)
    """Where each begins in the file, by digest; of a sound one."""
    nbytes: int = 0


class BlobStore:
    """Content-addressed safetensors files under ``home/blobs``."""

    def __init__(self, home: Path) -> None:
        self._places = StoreFolders(home)

    @property
    def home(self) -> Path:
        return self._places.home

    @contextlib.contextmanager
    def transfer(self, began: Callable[[], None] = lambda: None) -> Iterator[Transfer]:
        """Give what a push writes with. Leave it only after the version is committed, or has failed.

        Args:
            began: called before something is written, which may be more than once.
        """
        name = uuid.uuid4().hex
        record = Running(self._places.running / f"{name}.json")
        temporary = self._places.temporary / f"{name}.part"
        try:
            yield Transfer(self._places, record, temporary, began)
        finally:
            with contextlib.suppress(OSError):
                record.remove()

    def open(self, manifest: Manifest, verify: Verify = "always", *, resident: bool = False) -> OpenedWeights:
        """Map a version's tensors and start checking them.

        Args:
            resident: copy them instead; what is checked is the copy.
            verify: ``always`` hash every byte; ``once`` only in files that changed since they were last hashed, by
                inode, size and times; ``never``.

        Raises:
            DamagedBlob: a blob is missing, no regular file, or cut short.
        """
        from registry.blobs.mapping import Copies, OpenedWeights, map_blobs, mapped_tensor, regions, tensors_of

        if resident:
            copies = Copies(self._places, manifest)
            status, content, place = copies.status, copies.content, copies.tensor
        else:
            blobs = map_blobs(self._places, manifest)
            status = {blob: mapped.status for blob, mapped in blobs.items()}

            def content(stored: StoredTensor) -> memoryview:
                return blobs[stored.location.blob].part(stored)

            def place(stored: StoredTensor) -> torch.Tensor:
                return mapped_tensor(stored, blobs[stored.location.blob])

        extents = _extents(manifest) if verify == "once" else {}
        trusted = {
            blob
            for blob in status
            if verify == "never" or (extents and is_stamped(self._places, blob, status[blob], extents[blob]))
        }
        verification = Verification(regions(manifest, content, status.keys() - trusted))

        def check() -> None:
            verification.wait()
            for blob in extents.keys() - trusted:
                stamp(self._places, blob, status[blob], extents[blob])

        return OpenedWeights(tensors_of(manifest, place), check)

    def pieces(self, name: str, stored: StoredTensor, step: int) -> Iterator[memoryview]:
        """Read a tensor in pieces of ``step`` bytes, without torch; they are verified when the last was taken.

        Args:
            name: of it, for the error. A piece is there until the next is asked for.

        Raises:
            CorruptTensors, DamagedBlob, StoreUnreadable: they are not what was stored, or cannot be read.
        """
        return verified(self._places.blob(stored.location.blob), name, stored, step)

    def faults(self, manifest: Manifest, known: Known) -> dict[str, list[str]]:
        """Check a version's bytes without torch, and return what is wrong, by blob: sentences.

        Args:
            known: what was found intact before; what is found now is added, for the next version.
        """
        by_blob: dict[str, list[tuple[str, StoredTensor]]] = {}
        for name, stored in manifest.tensors.items():
            by_blob.setdefault(stored.location.blob, []).append((name, stored))
        found: dict[str, list[str]] = {}
        for blob, tensors in by_blob.items():
            intact = known.setdefault(blob, {})
            left = [(n, t) for n, t in tensors if intact.get((t.location.offset, t.spec)) != t.digest]
            if not left:
                continue
            try:
                with viewed(self._places.blob(blob), blob) as content:
                    for name, stored in left:
                        begin = stored.location.offset
                        with content[begin : begin + stored.spec.nbytes] as part:
                            is_whole = len(part) == stored.spec.nbytes and is_intact(stored, part)
                        if is_whole:
                            intact[begin, stored.spec] = stored.digest
                        else:
                            found.setdefault(blob, []).append(f"the bytes of '{name}' are not those that were stored")
            except RegistryError as error:
                found.setdefault(blob, []).append(str(error))
        return found

    def examine_blob(self, blob: str, known: Known) -> Examined:
        """Say what is wrong with a blob's header, size and name taken together; stamp it where nothing is.

        Args:
            known: what was found intact; only other tensors are hashed.
        """
        intact = known.get(blob, {})
        tensors: dict[str, int] = {}
        try:
            with opened(self._places.blob(blob), blob) as (_, status), viewed(self._places.blob(blob), blob) as content:
                start, slots = read_blob_header(content)
                digests = []
                for slot in slots:
                    begin = start + slot.offset
                    with content[begin : begin + slot.spec.nbytes] as part:
                        digests.append(intact.get((begin, slot.spec)) or tensor_digest(slot.spec, part))
                    tensors.setdefault(digests[-1], begin)
                with content[:start] as head:
                    named = blob_digest(bytes(head), digests)
                if start + sum(slot.spec.nbytes for slot in slots) != len(content):
                    return Examined("is longer than its header says")
        except (ValueError, RegistryError) as error:
            return Examined(str(error))
        if named != blob:
            return Examined("does not hold what its name says")
        stamp(self._places, blob, status)
        return Examined(None, tensors, status.st_size)

    def layout(self, blob: str, manifests: Sequence[Manifest]) -> BlobLayout | None:
        """Return how a damaged blob was laid out, if its header or the versions that use it tell."""
        return layout_of(self._places, blob, manifests)

    def is_in_place(self, blob: str) -> bool:
        """Whether a blob's name is that of a regular file, whatever is in it and whoever may read it."""
        return is_file(self._places.blob(blob))

    def copies(self, lost: Collection[StoredTensor]) -> dict[str, TensorBytes]:
        """Return copies of tensors whose blobs are damaged, by digest: where they were, or in any other file."""
        found = dict(copies_in_place(self._places, lost))
        missing = {stored.digest: stored.spec for stored in lost if stored.digest not in found}
        for digest, copy in copies_anywhere(self._places, missing) if missing else ():
            found.setdefault(digest, copy)
        return found

    def garbage(self, needed: Callable[[], Collection[str]]) -> tuple[Garbage, ...]:
        """Return the files that no version (of those whose blobs ``needed`` gives) and no running push needs."""
        return collection.find(self._places, needed)

    def remove(self, garbage: Collection[Garbage]) -> None:
        """Delete garbage.

        Raises:
            StoreUnwritable: the system refuses.
        """
        with _worded(self._places.home):
            collection.remove(garbage)

    def quarantine(self, blob: str, *, keep: bool = False) -> Path | None:
        """Move a bad blob out of the way, and return where it is now; None if it was not there.

        Args:
            keep: leave it under its name, too, until something else takes that.

        Raises:
            StoreUnwritable: the system refuses.
        """
        path = self._places.blob(blob)
        # A link for the folder is moved itself: to go through it would change files outside the home.
        bad = next((part for part in (self._places.blobs, path.parent) if part.is_symlink()), path)
        aside = self._places.quarantine / f"{bad.name}.{uuid.uuid4().hex[:8]}"
        with _worded(self._places.home):
            make_folder(self._places.quarantine)
            try:
                if keep and is_file(bad):
                    os.link(bad, aside)
                else:
                    bad.rename(aside)
            except FileNotFoundError:
                return None
            sync_folder(self._places.quarantine)
            return aside

    def size(self) -> int:
        """Return the bytes of all blobs."""
        nbytes = 0
        for path in blob_files(self._places):
            with contextlib.suppress(FileNotFoundError):  # collected meanwhile
                nbytes += path.lstat().st_size
        return nbytes

    def misfits(self, known: Mapping[str, int]) -> tuple[str, ...]:
        """Return the blobs, of those given with their bytes, that have no file of that size."""
        paths = ((blob, nbytes, self._places.blob(blob)) for blob, nbytes in known.items())
        return tuple(blob for blob, nbytes, path in paths if not is_file(path) or path.lstat().st_size != nbytes)

    def seconds_ahead(self) -> float:
        """Return by how much the file system's clock is ahead of this machine's.

        Raises:
            StoreUnwritable: a file has to be written to find out.
        """
        probe = self._places.temporary / f"{uuid.uuid4().hex}.part"
        with _worded(self._places.home):
            make_folder(probe.parent)
            try:
                probe.touch()
                return probe.stat().st_mtime - time.time()
            finally:
                with contextlib.suppress(OSError):
                    probe.unlink()


@dataclass
class Transfer:
    """One push while it stores its tensors."""

    _places: StoreFolders
    _record: Running
    _temporary: Path
    _began: Callable[[], None]

    def write(self, tensors: Mapping[str, TensorSource], locate: Locate, progress: Progress | None = None) -> Stored:
        """Store tensors by name; those that ``locate`` knows are not written again. Durable when it returns.

        What is stored is what is hashed only as long as nobody writes to the source meanwhile; the caller of a file
        compares its size and times afterwards.

        Raises:
            StoreUnwritable: disk full, permission denied, folder gone: nothing was stored.
            RegistryError: of the source, whose bytes could not be read.
        """
        with _worded(self._places.home):
            sharing = Sharing(self._places, locate)
            return store_tensors(self._places, self._temporary, tensors, sharing, self._announce, progress)

    def rebuild(self, blob: str, layout: BlobLayout, sources: Mapping[str, TensorSource]) -> None:
        """Make a damaged or missing blob again, exactly; the damaged file is kept in the quarantine.

        Args:
            sources: by digest, all tensors of the layout.

        Raises:
            StoreUnwritable, RegistryError: the blob is as it was.
        """
        with _worded(self._places.home):
            make_folder(self._temporary.parent)
            in_order = [sources[digest] for digest in layout.digests]
            rebuild(self._places, self._temporary, blob, layout, in_order, self._announce)

    def missing(self, blobs: Iterable[BlobRecord]) -> list[str]:
        """Return the digests of those blobs that have no file any more."""
        return [blob.digest for blob in blobs if not is_file(self._places.blob(blob.digest))]

    def _announce(self, blob: str | None) -> None:
        if blob is not None:
            self._record.blobs.append(blob)
        self._record.write()
        self._began()


def _extents(manifest: Manifest) -> dict[str, str]:
    by_blob: dict[str, list[StoredTensor]] = {}
    for stored in manifest.tensors.values():
        by_blob.setdefault(stored.location.blob, []).append(stored)
    return {blob: extent(tensors) for blob, tensors in by_blob.items()}


@contextlib.contextmanager
def _worded(home: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise StoreUnwritable(error.filename or home, error.strerror or str(error), error.errno) from error
