"""Whether objects are what they should be, found out while they stream by: nothing of them is kept, and none cached."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass, field

from registry.blobs.layout import blob_digest, read_slots
from registry.blobs.objects import ObjectBackend
from registry.blobs.store import Examined
from registry.blobs.writer import Progress
from registry.tensors.safetensors import LARGEST_HEADER, TensorExtent
from registry.tensors.spec import TensorSpec, is_digest, tensor_hasher

STEP = 8 << 20
"""Bytes that are asked for at a time, and held of each object."""

_HEADER_STEP = 64 << 10

AT_ONCE = 4
"""Objects that are read side by side."""


@dataclass(frozen=True)
class Streamed:
    """What an object is."""

    examined: Examined
    digests: Mapping[tuple[int, TensorSpec], str] = field(default_factory=dict)
    """Of its tensors as they are, by where they begin and what they are."""


def stream(objects: ObjectBackend, blob: str, step: int = STEP) -> Streamed:
    """Read an object once, from its begin to its end, in pieces of ``step`` bytes.

    Raises:
        OSError, ObjectsUnreachable: it cannot be reached.
    """
    if not is_digest(blob):  # an edited manifest may name anything
        return Streamed(Examined("has a name that is not a digest"))
    found = objects.stat(blob)
    if found is None:
        return Streamed(Examined(f"is missing in {objects}"))
    digests: dict[tuple[int, TensorSpec], str] = {}
    places: dict[str, int] = {}
    in_order: list[str] = []
    reader = _Reader(objects, blob, found.nbytes, step)
    try:
        head, slots = _head(reader)
        for slot in slots:
            if len(head) + slot.offset != reader.at:
                return Streamed(Examined("does not hold what its name says"), digests)
            hasher = tensor_hasher(slot.spec)
            for piece in reader.pieces(slot.spec.nbytes):
                hasher.update(piece)
            in_order.append(hasher.hexdigest())
            digests[len(head) + slot.offset, slot.spec] = in_order[-1]
            places.setdefault(in_order[-1], len(head) + slot.offset)
        if reader.left:
            return Streamed(Examined("is longer than its header says"), digests)
    except FileNotFoundError:
        return Streamed(Examined(f"is missing in {objects}"))
    except EOFError:
        return Streamed(Examined("is shorter than its header says"), digests)
    except ValueError as error:
        return Streamed(Examined(str(error)), digests)
    if blob_digest(head, in_order) != blob:
        return Streamed(Examined("does not hold what its name says"), digests)
    return Streamed(Examined(None, places, found.nbytes), digests)


def stream_all(objects: ObjectBackend, blobs: Iterable[str], progress: Progress | None = None) -> dict[str, Streamed]:
    """Read several objects, some at a time; of each what it is, by its digest.

    Args:
        progress: called with (bytes done, bytes in all).

    Raises:
        OSError, ObjectsUnreachable: one cannot be reached.
    """
    wanted = sorted(set(blobs))
    sizes = {found.digest: found.nbytes for found in objects.list()} if progress is not None and wanted else {}
    total, done = sum(sizes.get(blob, 0) for blob in wanted), 0
    streamed = {}
    with ThreadPoolExecutor(AT_ONCE, thread_name_prefix="audit") as pool:
        running = {pool.submit(stream, objects, blob): blob for blob in wanted}
        try:
            for future in as_completed(running):
                blob = running[future]
                streamed[blob] = future.result()
                done += sizes.get(blob, 0)
                if progress is not None:
                    progress(done, total)
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise
    return streamed


def specs_in(objects: ObjectBackend, blob: str) -> frozenset[TensorSpec]:
    """Return what tensors an object has, by its header; none where that cannot be read.

    Raises:
        OSError, ObjectsUnreachable: it cannot be reached.
    """
    try:
        found = objects.stat(blob)
        slots = [] if found is None else _head(_Reader(objects, blob, found.nbytes, _HEADER_STEP))[1]
    except (FileNotFoundError, EOFError, ValueError):
        return frozenset()
    return frozenset(slot.spec for slot in slots)


class _Reader:
    """An object that is read from its begin on."""

    def __init__(self, objects: ObjectBackend, blob: str, nbytes: int, step: int) -> None:
        self._objects = objects
        self._blob = blob
        self._nbytes = nbytes
        self._step = step
        self._asked = 0
        self._held = memoryview(b"")

    @property
    def nbytes(self) -> int:
        return self._nbytes

    @property
    def at(self) -> int:
        """Where the next byte is that is taken."""
        return self._asked - len(self._held)

    @property
    def left(self) -> int:
        """How many bytes were not taken yet."""
        return self._nbytes - self.at

    def pieces(self, nbytes: int) -> Iterator[memoryview]:
        """Take so many bytes.

        Raises:
            EOFError: there are not as many.
        """
        while nbytes:
            if not self._held:
                self._ask()
            piece, self._held = self._held[:nbytes], self._held[nbytes:]
            nbytes -= len(piece)
            yield piece

    def _ask(self) -> None:
        length = min(self._step, self._nbytes - self._asked)
        if not length:
            raise EOFError(self._blob)
        (content,) = self._objects.ranges(self._blob, [(self._asked, length)])
        self._asked += length
        self._held = memoryview(content)


def _head(reader: _Reader) -> tuple[bytes, list[TensorExtent]]:
    """Take the header.

    Raises:
        ValueError: it is not one of a blob.
    """
    length = b"".join(reader.pieces(8))
    nbytes = int.from_bytes(length, "little")
    if nbytes > LARGEST_HEADER or nbytes > reader.nbytes:
        raise ValueError(f"has a header that cannot be read: it claims {nbytes} bytes")
    head = length + b"".join(reader.pieces(nbytes))
    return head, read_slots(memoryview(head))[1]
