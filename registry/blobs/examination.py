"""What is wrong with stored files, found without torch."""

from __future__ import annotations

import os
from pathlib import Path

from registry.blobs.files import StoreFolders, opened, viewed
from registry.blobs.layout import blob_digest, read_blob_header
from registry.blobs.store import Examined, Known
from registry.blobs.verification import is_intact
from registry.errors.root import RegistryError
from registry.tensors.manifest import Manifest
from registry.tensors.spec import tensor_digest


def faults(places: StoreFolders, manifest: Manifest, known: Known) -> dict[str, list[str]]:
    """Return what is wrong with a version's bytes, by blob (see ``BlobStore.faults``)."""
    found: dict[str, list[str]] = {}
    for blob, tensors in manifest.by_blob().items():
        intact = known.setdefault(blob, {})
        left = [(n, t) for n, t in tensors.items() if intact.get((t.location.offset, t.spec)) != t.digest]
        if not left:
            continue
        try:
            with viewed(places.blob(blob), blob) as content:
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


def examine(path: Path, blob: str, known: Known) -> tuple[Examined, os.stat_result | None]:
    """Say what is wrong with a file's header, size and digest taken together, and, where nothing is, what file it was.

    Args:
        known: what was found intact; only other tensors are hashed.

    Raises:
        DamagedBlob, StoreUnreadable: it cannot be opened, or is empty.
    """
    intact = known.get(blob, {})
    tensors: dict[str, int] = {}
    try:
        with opened(path, blob) as (_, status), viewed(path, blob) as content:
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
                return Examined("is longer than its header says"), None
    except ValueError as error:
        return Examined(str(error)), None
    if named != blob:
        return Examined("does not hold what its name says"), None
    return Examined(None, tensors, status.st_size), status
