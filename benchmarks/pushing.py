"""A push to durable, against ``cp`` and fsync of the same file; of what is stored already; and beside a training."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import torch
from blake3 import blake3
from isal import isal_zlib

import registry
from benchmarks.by_hand import Rows
from benchmarks.row import Floor, Goal, Row, at_most
from benchmarks.timing import rounds, timed
from benchmarks.workshop import Subject, Workshop
from registry import Registry
from registry.catalog.catalog import Catalog
from registry.pushing.background import PendingEntry

PIECE = 1 << 20
"""Bytes that are read, checked and hashed at a time."""

WRITING = "the disk, and beside it BLAKE3 and CRC-32 of the file and of its tensors on the same cores"
COPYING = "the copy of every tensor, which training may then change, into memory that the system has to clear first"
HASHING = "checksum and blake3 of each tensor, to know that it is stored"


def rows(workshop: Workshop) -> Iterator[Row]:
    """Push a large checkpoint, also again, and one of the usual size; and a model that is in training."""
    large, usual = workshop.scale.gpt, workshop.scale.resnet
    yield from _files(workshop, workshop.checkpoint(large), at_most(1.0), again=True)
    yield from _files(workshop, workshop.checkpoint(usual), at_most(1.5), again=False)
    yield _beside_work(workshop, large)


def _files(workshop: Workshop, path: Path, goal: Goal, *, again: bool) -> Iterator[Row]:
    home = workshop.folder / "pushing"
    blobs: list[tuple[int, int]] = []

    def empty() -> None:
        shutil.rmtree(home, ignore_errors=True)
        Catalog(home).close()  # a registry is made and migrated once, and not by every push
        os.sync()

    def push() -> None:
        Registry(home).push(path, "pushed", from_="ddp")

    def push_again() -> None:
        before = _blob_count(home)
        push()
        blobs.append((before, _blob_count(home)))

    first, second = timed(push, before=empty), timed(push_again)
    seconds: list[float] = []

    def first_and_second() -> float:
        figure = first()
        if again:
            seconds.append(second())
        return figure

    copied = workshop.folder / "copied.pth"

    def clean() -> None:
        copied.unlink(missing_ok=True)
        os.sync()

    least = _Least(workshop.fresh_folder("rows"))
    figures = rounds(
        {
            "push": first_and_second,
            "cp": timed(lambda: copy_durably(path, copied), before=clean),
            "least": timed(lambda: least.push(path, copied), before=lambda: least.begin(copied)),
        },
        workshop.pairs,
    )
    floor = Floor(
        "inspect, then cp and fsync, beside BLAKE3 of the file, and CRC-32 and BLAKE3 of its tensors, "
        "then the version's rows by SQLAlchemy",
        figures["least"],
    )
    shutil.rmtree(home)
    copied.unlink()
    size = path.stat().st_size
    named = f"{size / 1e9:.2g} GB" if size >= 1e9 else f"{size / 1e6:.3g} MB"
    yield Row(
        "pushing", f"push of a {named} .pth, hashed and durable", "cp and fsync of the file", goal, "s",
        figures["push"], figures["cp"], limit=WRITING, floor=floor,
    )  # fmt: skip
    if again:
        new = sum(after - before for before, after in blobs)
        yield Row(
            "pushing", "push of a checkpoint that is stored already", "first push", at_most(0.5), "s",
            tuple(seconds), figures["push"], remark=f"{new or 'no'} new blobs", limit=HASHING,
        )  # fmt: skip


def _beside_work(workshop: Workshop, subject: Subject) -> Row:
    """Push a live model in the background, and see how long the thread that trains it waits."""
    model, hub = subject.build(), Registry(workshop.fresh_folder("background"))
    pending: list[PendingEntry] = []

    def changed() -> None:
        while pending:
            pending.pop().wait()
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.view(-1)[:1] += 1

    figures = rounds(
        {
            "push": timed(lambda: pending.append(hub.push(model, "trained", blocking=False)), before=changed),
            "copy": timed(lambda: {name: t.clone() for name, t in model.state_dict().items()}, before=changed),
        },
        workshop.pairs,
    )
    changed()
    hub.close()
    size = sum(p.nbytes for p in model.parameters()) / 1e9
    return Row(
        "pushing", f"what training waits for a push of {size:.2g} GB in the background", "a copy of the tensors",
        at_most(1.5), "s", figures["push"], figures["copy"], limit=COPYING,
    )  # fmt: skip


class _Least:
    """What no push into a catalog over SQLAlchemy can leave out.

    To say what is in the file; to copy it durably, beside two digests of the bytes and the archive's checksums; to make
    a durable version of it.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._rows = Rows(folder)

    def begin(self, target: Path) -> None:
        """Make the tables anew, and let the disk come to rest."""
        self._rows.close()
        for place in (target, *self._folder.iterdir()):
            place.unlink(missing_ok=True)
        self._rows = Rows(self._folder)
        os.sync()

    def push(self, source: Path, target: Path) -> None:
        """Do it."""
        with ThreadPoolExecutor(2) as pool:
            of_file = pool.submit(blake3().update_mmap, source)
            tensors = registry.inspect(source).tensors
            of_tensors = pool.submit(_checked, source)
            copy_durably(source, target)
            weights, blob = (digest.result().hexdigest() for digest in (of_file, of_tensors))
        digests = {name: blake3(name.encode()).hexdigest() for name in tensors}
        manifest = json.dumps({name: [str(each.spec), digests[name]] for name, each in tensors.items()})
        self._rows.add(weights, blob, source.stat().st_size, list(digests.values()), manifest)


def _checked(path: Path) -> blake3:
    """Digest a file, and compute the checksums that a zip archive has of its members."""
    digest, crc = blake3(), 0
    with path.open("rb", buffering=0) as file:
        while piece := file.read(PIECE):
            digest.update(piece)
            crc = isal_zlib.crc32(piece, crc)
    return digest


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
