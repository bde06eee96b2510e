"""A push to durable, against ``cp`` and fsync of the same file; and the push of what is stored already."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

from benchmarks.row import Row, at_most
from benchmarks.timing import rounds, timed
from benchmarks.workshop import Workshop
from registry import Registry
from registry.catalog.catalog import Catalog

WRITING = "the disk, and beside it the blake3 of the file and of its tensors on the same cores"
HASHING = "checksum and blake3 of each tensor, to know that it is stored"


def rows(workshop: Workshop) -> Iterator[Row]:
    """Push one checkpoint to an empty registry and again, and copy it."""
    path = workshop.checkpoint(workshop.scale.gpt)
    home = workshop.folder / "pushing"
    blobs: list[tuple[int, int]] = []

    def empty() -> None:
        shutil.rmtree(home, ignore_errors=True)
        Catalog(home).close()  # a registry is made and migrated once, and not by every push
        os.sync()

    def push() -> None:
        Registry(home).push(path, "pushed", from_="ddp")

    def again() -> None:
        before = _blob_count(home)
        push()
        blobs.append((before, _blob_count(home)))

    first, second = timed(push, before=empty), timed(again)
    seconds: list[float] = []

    def first_and_second() -> float:
        figure = first()
        seconds.append(second())
        return figure

    copied = workshop.folder / "copied.pth"

    def clean() -> None:
        copied.unlink(missing_ok=True)
        os.sync()

    figures = rounds(
        {"push": first_and_second, "cp": timed(lambda: copy_durably(path, copied), before=clean)}, workshop.pairs
    )
    shutil.rmtree(home)
    copied.unlink()
    size = f"{path.stat().st_size / 1e9:.2g} GB"
    yield Row(
        "pushing", f"push of a {size} .pth, hashed and durable", "cp and fsync of the file", at_most(1.0), "s",
        figures["push"], figures["cp"], limit=WRITING,
    )  # fmt: skip
    new = sum(after - before for before, after in blobs)
    yield Row(
        "pushing", "push of a checkpoint that is stored already", "first push", at_most(0.5), "s",
        tuple(seconds), figures["push"], remark=f"{new or 'no'} new blobs", limit=HASHING,
    )  # fmt: skip


def copy_durably(source: Path, target: Path) -> None:
    """Copy with ``cp`` and wait until the disk has the file and its name."""
    subprocess.run(["cp", source, target], check=True)
    for place in (target, target.parent):
        descriptor = os.open(place, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def _blob_count(home: Path) -> int:
    return sum(1 for _ in (home / "blobs").glob("*/*.safetensors"))
