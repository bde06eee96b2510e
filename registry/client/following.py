"""A blob that is hashed behind the back of what fetches it, so that it is checked when its last byte has come."""

from __future__ import annotations

import os
from concurrent.futures import Future, ThreadPoolExecutor
from types import TracebackType

from registry.blobs.files import fill
from registry.blobs.layout import blob_digest, read_slots
from registry.blobs.store import Examined
from registry.tensors.safetensors import LARGEST_HEADER, TensorExtent
from registry.tensors.spec import tensor_hasher

_PIECE = 1 << 20
"""Bytes read at a time, which a cache of the processor holds."""

_STEP = 16 << 20
"""Bytes that have to come before they are looked at."""


class Following:
    """The check of a file that grows, in a thread of its own; it ends with the block that it is used in."""

    def __init__(self, handle: int) -> None:
        self._handle = handle
        self._memory = memoryview(bytearray(_PIECE))
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="following")
        self._came = self._asked = os.fstat(handle).st_size
        self._steps: list[Future[None]] = []
        self._head: bytes | None = None
        self._slots: list[TensorExtent] = []
        self._digests: list[str] = []

    def __enter__(self) -> Following:
        self._follow(self._came)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._pool.shutdown(cancel_futures=True)

    def grew(self, nbytes: int) -> None:
        """Say that so many bytes more have come."""
        self._came += nbytes
        if self._came - self._asked >= _STEP:
            self._follow(self._came)

    def examined(self, blob: str) -> Examined:
        """Return what the whole file is, once all of it is hashed.

        Raises:
            OSError: it cannot be read.
        """
        fault = self._fault(blob)
        if fault is not None:
            return Examined(fault)
        start = len(self._head or b"")
        places = zip(self._digests, self._slots, strict=True)
        tensors: dict[str, int] = {}
        for digest, slot in places:
            tensors.setdefault(digest, start + slot.offset)
        return Examined(None, tensors, self._asked)

    def _fault(self, blob: str) -> str | None:
        nbytes = os.fstat(self._handle).st_size
        self._follow(nbytes)
        try:
            for step in self._steps:
                step.result()
        except ValueError as error:
            return str(error)
        if self._head is None or len(self._digests) < len(self._slots):
            return "is shorter than its header says"
        if len(self._head) + sum(slot.spec.nbytes for slot in self._slots) != nbytes:
            return "is longer than its header says"
        return None if blob_digest(self._head, self._digests) == blob else "does not hold what its name says"

    def _follow(self, to: int) -> None:
        self._asked = to
        self._steps.append(self._pool.submit(self._hash, to))

    def _hash(self, to: int) -> None:
        """Hash the tensors that are whole by now."""
        if self._head is None and to >= 8:
            length = int.from_bytes(self._read(0, 8), "little")
            if length > LARGEST_HEADER:
                raise ValueError(f"has a header that cannot be read: it claims {length} bytes")
            if to < 8 + length:
                return
            head = self._read(0, 8 + length)
            self._slots = read_slots(memoryview(head))[1]
            self._head = bytes(head)
        for slot in self._slots[len(self._digests) :]:
            begin, end = (len(self._head or b"") + place for place in (slot.offset, slot.end))
            if end > to:
                return
            hasher = tensor_hasher(slot.spec)
            for at in range(begin, end, _PIECE):
                piece = self._memory[: end - at]
                fill(self._handle, piece, at, "download")
                hasher.update(piece)
            self._digests.append(hasher.hexdigest())

    def _read(self, begin: int, nbytes: int) -> bytearray:
        content = bytearray(nbytes)
        fill(self._handle, memoryview(content), begin, "download")
        return content
