"""The store on a disk of this machine: content-addressed safetensors files under ``home/blobs``."""

from __future__ import annotations

import contextlib
import os
import shutil
import time
import uuid
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from registry.blobs import collection
from registry.blobs.collection import Garbage
from registry.blobs.examination import examine, faults
from registry.blobs.files import StoreFolders, blob_files, is_file
from registry.blobs.leases import Lease, Leases
from registry.blobs.mapping import OpenedWeights, map_blobs, regions, tensors_of
from registry.blobs.new_blob import make_blob_folder
from registry.blobs.rebuilding import BlobLayout, copies_anywhere, copies_in_place, layout_of, rebuild
from registry.blobs.running import FileLeases
from registry.blobs.sharing import Locate, Shares, Sharing
from registry.blobs.store import BlobStore, Examined, Known, Sweep, Transfer, Verify
from registry.blobs.verification import Hashed, Verification, extent, is_stamped, part, stamp, stamp_new, verified
from registry.blobs.writer import Progress, Stored, store_tensors
from registry.disk.folders import make_folder, sync_folder
from registry.errors.blobs import StoreUnwritable
from registry.errors.root import RegistryError
from registry.tensors.manifest import BlobRecord, Manifest, StoredTensor
from registry.tensors.source import TensorBytes, TensorSource

if TYPE_CHECKING:
    import torch


class LocalStore(BlobStore):
    """Files of this machine.

    Args:
        home: the folder.
        leases: of all who change the same catalog; by default files in the folder.
    """

    def __init__(self, home: Path, leases: Leases | None = None) -> None:
        self.places = StoreFolders(home)
        self.leases = leases if leases is not None else FileLeases(self.places.running)

    @contextlib.contextmanager
    def transfer(self, began: Callable[[], None] = lambda: None) -> Iterator[LocalTransfer]:
        lease = self.leases.lease()
        try:
            yield LocalTransfer(self.places, lease, began)
        finally:
            with contextlib.suppress(OSError):
                lease.release()

    def open(
        self, manifest: Manifest, verify: Verify = "always", *, resident: bool = False, progress: Progress | None = None
    ) -> OpenedWeights:
        return self.open_hashed(manifest, verify, {}, resident=resident)

    def open_hashed(
        self, manifest: Manifest, verify: Verify, hashed: Mapping[str, Hashed], *, resident: bool
    ) -> OpenedWeights:
        """Open a version, of which these files need not be hashed again where they are mapped; as ``open``.

        What is mapped is being hashed before torch is imported, which takes longer.
        """
        if resident:
            from registry.blobs.resident import Copies

            copies = Copies(self.places, manifest)
            status, content, place = copies.status, copies.content, copies.tensor
        else:
            blobs = map_blobs(self.places, manifest)
            status = {blob: mapped.status for blob, mapped in blobs.items()}

            def content(stored: StoredTensor) -> memoryview:
                return blobs[stored.location.blob].part(stored)

            def place(stored: StoredTensor) -> torch.Tensor:
                return tensor_over(stored.spec, blobs[stored.location.blob].mapping, stored.location.offset)

        inside = manifest.by_blob()
        extents = {blob: extent(inside[blob].values()) for blob in status} if verify == "once" else {}
        stamped = {
            blob
            for blob in status
            if verify == "never" or (extents and is_stamped(self.places, blob, status[blob], extents[blob]))
        }
        # What is copied is hashed as the copy; what is mapped is the memory of the system that was hashed.
        trusted = stamped | {
            blob
            for blob in status.keys() & hashed.keys()
            if not resident and hashed[blob].covers(status[blob], inside[blob].values())
        }
        verification = Verification(regions(manifest, content, status.keys() - trusted))

        def check(progress: Progress | None = None) -> None:
            verification.wait(progress)
            for blob in extents.keys() - stamped:
                stamp(self.places, blob, status[blob], extents[blob])

        from registry.tensors.memory import tensor_over

        return OpenedWeights(tensors_of(manifest, place), check)

    def pieces(self, name: str, stored: StoredTensor, step: int) -> Iterator[memoryview]:
        return verified(self.places.blob(stored.location.blob), name, stored, step)

    def part(self, name: str, stored: StoredTensor, begin: int, end: int, step: int) -> Iterator[memoryview]:
        return part(self.places, name, stored, begin, end, step)

    def ahead(self, blobs: Callable[[], Iterable[str]], progress: Progress | None = None) -> LocalStore:
        return self

    def faults(self, manifest: Manifest, known: Known) -> dict[str, list[str]]:
        return faults(self.places, manifest, known)

    def examine_blob(self, blob: str, known: Known) -> Examined:
        try:
            examined, status = examine(self.places.blob(blob), blob, known)
        except RegistryError as error:
            return Examined(str(error))
        if status is not None:
            stamp(self.places, blob, status)
        return examined

    def layout(self, blob: str, manifests: Sequence[Manifest]) -> BlobLayout | None:
        return layout_of(self.places.blob(blob), blob, manifests)

    def is_in_place(self, blob: str) -> bool:
        return is_file(self.places.blob(blob))

    def copies(self, lost: Collection[StoredTensor]) -> dict[str, TensorBytes]:
        found = dict(copies_in_place(self.places.blob, lost))
        missing = {stored.digest: stored.spec for stored in lost if stored.digest not in found}
        for digest, copy in copies_anywhere(self.places, missing) if missing else ():
            found.setdefault(digest, copy)
        return found

    def garbage(self, needed: Callable[[], Collection[str]]) -> tuple[Garbage, ...]:
        return collection.find(self.places, self.leases, needed)

    @contextlib.contextmanager
    def sweep(self) -> Iterator[LocalSweep]:
        yield LocalSweep(self.places, self.garbage)

    def quarantine(self, blob: str, *, keep: bool = False) -> str | None:
        path = self.places.blob(blob)
        # A link for the folder is moved itself: to go through it would change files outside the home.
        bad = next((part for part in (self.places.blobs, path.parent) if part.is_symlink()), path)
        return self.set_aside(bad, bad.name, keep=keep)

    def set_aside(self, bad: Path, name: str, *, keep: bool = False) -> str | None:
        """Move a file into the quarantine, and return its name there; None if there is none."""
        aside = self.places.quarantine / f"{name}.{uuid.uuid4().hex[:8]}"
        with worded(self.places.home):
            make_folder(self.places.quarantine)
            try:
                if keep and is_file(bad):
                    os.link(bad, aside)
                else:
                    bad.rename(aside)
            except FileNotFoundError:
                return None
            sync_folder(self.places.quarantine)
            return aside.name

    def name(self, blob: str) -> str:
        """Return what a blob is called in a list of garbage."""
        return str(self.places.blob(blob).relative_to(self.places.home))

    def adopt(self, path: Path, blob: str) -> None:
        """Give a temporary file that was examined the name of the blob that it is.

        Raises:
            StoreUnwritable
        """
        target = self.places.blob(blob)
        with worded(self.places.home):
            make_blob_folder(self.places, blob)
            with path.open("rb") as file:
                os.fchmod(file.fileno(), 0o444)
                os.fsync(file.fileno())
            path.rename(target)
            sync_folder(target.parent)
            stamp_new(self.places, blob, target)

    def free_bytes(self) -> int:
        home = self.places.home
        # A cache is made when something is written to it.
        return shutil.disk_usage(next(folder for folder in (home, *home.parents) if folder.exists())).free

    def elsewhere(self) -> None:
        return None

    def size(self) -> int:
        nbytes = 0
        for path in blob_files(self.places):
            with contextlib.suppress(FileNotFoundError):  # collected meanwhile
                nbytes += path.lstat().st_size
        return nbytes

    def misfits(self, known: Mapping[str, int]) -> tuple[str, ...]:
        return tuple(blob for blob, nbytes in known.items() if self._size_of(blob) != nbytes)

    def _size_of(self, blob: str) -> int | None:
        path = self.places.blob(blob)
        try:
            return path.lstat().st_size if is_file(path) else None
        except FileNotFoundError:  # collected meanwhile
            return None

    def seconds_ahead(self) -> float:
        probe = self.places.temporary / f"{uuid.uuid4().hex}.part"
        with worded(self.places.home):
            make_folder(probe.parent)
            try:
                probe.touch()
                return probe.stat().st_mtime - time.time()
            finally:
                with contextlib.suppress(OSError):
                    probe.unlink()


class LocalTransfer(Transfer):
    """One push while it stores its tensors in a folder."""

    def __init__(
        self,
        places: StoreFolders,
        lease: Lease,
        began: Callable[[], None],
        sharing: Callable[[Locate], Shares] | None = None,
    ) -> None:
        """Begin it.

        Args:
            sharing: says what may be shared; by default what the folder has.
        """
        self._places = places
        self._sharing = sharing if sharing is not None else partial(Sharing, places)
        self._lease = lease
        self._temporary = places.temporary / f"{lease.id}.part"
        self._began = began

    def write(
        self,
        tensors: Mapping[str, TensorSource],
        locate: Locate,
        progress: Progress | None = None,
        *,
        expected: Mapping[str, str] | None = None,
    ) -> Stored:
        with worded(self._places.home):
            shares = self._sharing(locate)
            return store_tensors(
                self._places, self._temporary, tensors, shares, self._announce, progress, expected=expected
            )

    def rebuild(self, blob: str, layout: BlobLayout, sources: Mapping[str, TensorSource]) -> None:
        with worded(self._places.home):
            make_folder(self._temporary.parent)
            in_order = [sources[digest] for digest in layout.digests]
            rebuild(self._places, self._temporary, blob, layout, in_order, self._announce)

    def missing(self, blobs: Iterable[BlobRecord]) -> list[str]:
        return [blob.digest for blob in blobs if not is_file(self._places.blob(blob.digest))]

    def _announce(self, blob: str | None) -> None:
        self._lease.claim(*(() if blob is None else (blob,)))
        self._began()


class LocalSweep(Sweep):
    """One collection of a folder's garbage."""

    def __init__(
        self, places: StoreFolders, find: Callable[[Callable[[], Collection[str]]], tuple[Garbage, ...]]
    ) -> None:
        self._places = places
        self._find = find
        self._marked: dict[Garbage, Path] = {}

    def garbage(self, needed: Callable[[], Collection[str]]) -> tuple[Garbage, ...]:
        return self._find(needed)

    def mark(self, garbage: Collection[Garbage]) -> None:
        with worded(self._places.home):
            self._marked = collection.put_aside(self._places, garbage)

    def delete(self, progress: Progress | None = None) -> None:
        total, done = sum(item.nbytes for item in self._marked), 0
        for item, path in self._marked.items():
            with worded(self._places.home):
                collection.remove(path)
            done += item.nbytes
            if progress is not None:
                progress(done, total)


@contextlib.contextmanager
def worded(where: object) -> Iterator[None]:
    """Say as an error of ours what the system refuses.

    Raises:
        StoreUnwritable
    """
    try:
        yield
    except OSError as error:
        raise StoreUnwritable(error.filename or str(where), error.strerror or str(error), error.errno) from error
