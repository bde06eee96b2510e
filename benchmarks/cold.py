"""A load from the disk itself, against reading the file."""

from __future__ import annotations

import ctypes
import gc
import mmap
import os
from collections.abc import Iterator
from pathlib import Path

from benchmarks.loading import ALL_CORES, hash_on_all_cores
from benchmarks.row import Floor, Row, at_most
from benchmarks.subjects import forward
from benchmarks.timing import rounds, timed
from benchmarks.workshop import Workshop

_PIECE = 8 << 20
DISK = "the disk, read through a mapping by the hashing threads, and the forward after it"


def rows(workshop: Workshop) -> Iterator[Row]:
    """Load with an empty page cache up to the end of the first forward."""
    what, against, goal = "cold page cache, load to the first forward", "reading the file", at_most(1.4)
    subject = workshop.scale.gpt
    registry, ref, path = workshop.registry, workshop.pushed(subject), workshop.checkpoint(subject)
    blobs = sorted((registry.home / "blobs").glob("*/*.safetensors"))
    if not all(evicted(file) for file in (*blobs, path)):
        yield Row("cold", what, against, goal, skipped="the page cache cannot be emptied here")
        return

    def evict() -> None:
        gc.collect()
        for file in (*blobs, path):
            evicted(file)

    def load() -> None:
        forward(registry.load(ref))

    resident = subject.build()

    def least() -> None:
        for file in blobs:
            hash_on_all_cores(file)
        forward(resident)

    figures = rounds(
        {
            "load": timed(load, before=evict),
            "read": timed(lambda: read(path), before=evict),
            "least": timed(least, before=evict),
        },
        workshop.pairs,
    )
    floor = Floor(f"{ALL_CORES} from the disk, then the forward of a model in memory", figures["least"])
    yield Row("cold", what, against, goal, "s", figures["load"], figures["read"], limit=DISK, floor=floor)


def read(path: Path) -> None:
    """Read a whole file into one buffer that is used again."""
    buffer = bytearray(_PIECE)
    with path.open("rb", buffering=0) as file:
        while file.readinto(buffer):
            pass


def evicted(path: Path) -> bool:
    """Drop a file from the page cache, and return whether it is gone from there."""
    if not hasattr(os, "posix_fadvise"):
        return False
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)  # pages that are not written yet would stay
        os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
        return _resident_share(descriptor) < 0.01
    finally:
        os.close(descriptor)


def _resident_share(descriptor: int) -> float:
    """Return which part of a file is in the page cache."""
    with mmap.mmap(descriptor, 0, access=mmap.ACCESS_COPY) as mapped:
        pages = -(-len(mapped) // mmap.PAGESIZE)
        resident = (ctypes.c_ubyte * pages)()
        view = ctypes.c_char.from_buffer(mapped)
        failed = ctypes.CDLL(None).mincore(
            ctypes.c_void_p(ctypes.addressof(view)), ctypes.c_size_t(len(mapped)), resident
        )
        del view  # the mapping cannot be closed while it is lent
        return 1.0 if failed else sum(page & 1 for page in bytes(resident)) / pages
