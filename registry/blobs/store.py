"""What everybody uses of a store: tensors in, tensors out, by digest. It knows no names of models and no versions.

No path leaves it: what lies in a store has a name there, and may be on another machine.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal, Protocol

from registry.tensors.manifest import BlobRecord, Manifest, StoredTensor
from registry.tensors.spec import TensorSpec

if TYPE_CHECKING:
    from registry.blobs.collection import Garbage
    from registry.blobs.mapping import OpenedWeights
    from registry.blobs.rebuilding import BlobLayout
    from registry.blobs.sharing import Locate
    from registry.blobs.writer import Progress, Stored
    from registry.tensors.source import TensorBytes, TensorSource

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


@dataclass(frozen=True)
class Elsewhere:
    """Where a store's objects are that are not on this machine, as of now."""

    where: str
    """``"s3://bucket/prefix"``."""
    seconds: float
    """In which it answered."""
    cache: str
    """Folder of this machine that they are mapped from."""
    cached: int
    """Bytes of it."""


class BlobStore(Protocol):
    """Immutable safetensors files, each named by its digest.

    Where they are not on this machine, all may raise ObjectsUnreachable.
    """

    # Bytes in, bytes out

    def transfer(self, began: Callable[[], None] = ...) -> AbstractContextManager[Transfer]:
        """Give what a push writes with. Leave it only after the version is committed, or has failed.

        Args:
            began: called before something is written, which may be more than once.
        """

    def open(
        self, manifest: Manifest, verify: Verify = "always", *, resident: bool = False, progress: Progress | None = None
    ) -> OpenedWeights:
        """Map a version's tensors and start checking them.

        Args:
            resident: copy them instead; what is checked is the copy.
            progress: called with (bytes done, bytes in all) while they are fetched, where they are elsewhere.
            verify: ``always`` hash every byte; ``once`` only in files that changed since they were last hashed, by
                inode, size and times; ``never``.

        Raises:
            DamagedBlob: a blob is missing, no regular file, or cut short.
        """

    def pieces(self, name: str, stored: StoredTensor, step: int) -> Iterator[memoryview]:
        """Read a tensor in pieces of ``step`` bytes, without torch; they are verified when the last was taken.

        Args:
            name: of it, for the error. A piece is there until the next is asked for.

        Raises:
            CorruptTensors, DamagedBlob, StoreUnreadable: they are not what was stored, or cannot be read.
        """

    def part(self, name: str, stored: StoredTensor, begin: int, end: int, step: int) -> Iterator[memoryview]:
        """Read the bytes of a tensor from ``begin`` to before ``end``, in pieces of ``step`` bytes, without torch.

        A part has no digest of its own. So the tensor is hashed as a whole before the first piece, unless the file is
        as it was when it was last hashed, by inode, size and times.

        Raises:
            CorruptTensors, DamagedBlob, StoreUnreadable: as ``pieces``.
        """

    # Whether they are still what they were

    def ahead(self, blobs: Callable[[], Iterable[str]], progress: Progress | None = None) -> BlobStore:
        """Return this store for an audit of blobs: what is not on this machine was read by then, and each only once.

        Args:
            progress: called with (bytes done, bytes in all) while they are read, where they are elsewhere.
        """

    def faults(self, manifest: Manifest, known: Known) -> dict[str, list[str]]:
        """Check a version's bytes without torch, and return what is wrong, by blob: sentences.

        Args:
            known: what was found intact before; what is found now is added, for the next version.
        """

    def examine_blob(self, blob: str, known: Known) -> Examined:
        """Say what is wrong with a blob's header, size and name taken together; stamp it where nothing is.

        Args:
            known: what was found intact; only other tensors are hashed.
        """

    def is_in_place(self, blob: str) -> bool:
        """Whether a blob's name is that of a regular file, whatever is in it and whoever may read it."""

    def misfits(self, known: Mapping[str, int]) -> tuple[str, ...]:
        """Return the blobs, of those given with their bytes, that have no file of that size."""

    # Getting them back

    def layout(self, blob: str, manifests: Sequence[Manifest]) -> BlobLayout | None:
        """Return how a damaged blob was laid out, if its header or the versions that use it tell."""

    def copies(self, lost: Collection[StoredTensor]) -> dict[str, TensorBytes]:
        """Return copies of tensors whose blobs are damaged, by digest: where they were, or in any other file."""

    def quarantine(self, blob: str, *, keep: bool = False) -> str | None:
        """Move a bad blob out of the way, and return its name in the quarantine; None if it was not there.

        Args:
            keep: leave it under its name, too, until something else takes that.

        Raises:
            StoreUnwritable: the system refuses.
        """

    # What nobody needs

    def garbage(self, needed: Callable[[], Collection[str]]) -> tuple[Garbage, ...]:
        """Return the files that no version (of those whose blobs ``needed`` gives) and no running push needs."""

    def sweep(self) -> AbstractContextManager[Sweep]:
        """Give what garbage is deleted with."""

    # What it stands on

    def elsewhere(self) -> Elsewhere | None:
        """Return where the blobs are; None where that is this machine."""

    def size(self) -> int:
        """Return the bytes of all blobs."""

    def free_bytes(self) -> int:
        """Return how much the disk that a push writes to has room for."""

    def seconds_ahead(self) -> float:
        """Return by how much the file system's clock is ahead of this machine's.

        Raises:
            StoreUnwritable: a file has to be written to find out.
        """


class Transfer(Protocol):
    """One push while it stores its tensors."""

    def write(
        self,
        tensors: Mapping[str, TensorSource],
        locate: Locate,
        progress: Progress | None = None,
        *,
        expected: Mapping[str, str] | None = None,
    ) -> Stored:
        """Store tensors by name; those that ``locate`` knows are not written again. Durable when it returns.

        What is stored is what is hashed only as long as nobody writes to the source meanwhile; the caller of a file
        compares its size and times afterwards.

        Args:
            expected: digests by name, of sources that verify what they give; what is stored of them is not read.

        Raises:
            StoreUnwritable: disk full, permission denied, folder gone: nothing was stored.
            RegistryError: of the source, whose bytes could not be read.
        """

    def rebuild(self, blob: str, layout: BlobLayout, sources: Mapping[str, TensorSource]) -> None:
        """Make a damaged or missing blob again, exactly; the damaged file is kept in the quarantine.

        Args:
            sources: by digest, all tensors of the layout.

        Raises:
            StoreUnwritable, RegistryError: the blob is as it was.
        """

    def missing(self, blobs: Iterable[BlobRecord]) -> list[str]:
        """Return the digests of those blobs that a collection has taken, or is about to.

        Called under the catalog's lock, under which alone they are marked: what is there then can be committed.
        """


class Sweep(Protocol):
    """One collection: it marks under the catalog's lock, where it is short, and deletes after it.

    A push that makes a blob of a marked name meanwhile makes another file, or waits, and what it makes is not deleted.
    Killed in between, what was marked is garbage of the next collection.
    """

    def garbage(self, needed: Callable[[], Collection[str]]) -> tuple[Garbage, ...]:
        """Return what the store's ``garbage`` returns; of what is not on this machine, as it was listed before."""

    def mark(self, garbage: Collection[Garbage]) -> None:
        """Take garbage out of every push's sight.

        Raises:
            StoreUnwritable: the system refuses.
        """

    def delete(self, progress: Progress | None = None) -> None:
        """Delete what was marked.

        Args:
            progress: called with (bytes done, bytes in all).

        Raises:
            StoreUnwritable: the system refuses; what is left is garbage still.
        """
