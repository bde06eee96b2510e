"""Storing what was examined: bytes first, the version last."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from functools import cache, partial
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from registry.attachments.attachment import Enclosure
from registry.blobs.store import BlobStore, Transfer
from registry.canonical.arguments import UNKNOWN
from registry.canonical.form import EXTRA_STATE
from registry.catalog.actor import creator
from registry.catalog.catalog import Catalog
from registry.catalog.draft import Draft, Vanished
from registry.catalog.entry import Entry
from registry.errors.intake import ChangedCheckpoint, NameNeeded
from registry.inspection import Inspection
from registry.pushing.provenance import FileDigest, git_commit
from registry.reference import check_model_name, same_name_as_file_stem
from registry.tensors.manifest import BlobRecord, Manifest, StoredTensor
from registry.tensors.values import encode, encode_all, encode_metadata
from registry.tensors.wrapper_value import WrapperValue

_ATTEMPTS = 10
"""What a push found stored may be collected between its look and its commit; it then looks and writes again."""


def name_for(source: object, name: str | None) -> str:
    """Return the model's name: the given one, else the file's stem.

    Raises:
        InvalidModelName: it is no legal name.
        NameNeeded: none was given for an object in memory.
    """
    if name is not None:
        return check_model_name(name)
    if isinstance(source, (str, os.PathLike)):
        return same_name_as_file_stem(source)
    raise NameNeeded("an object in memory")


def deposit(
    catalog: Catalog,
    store: BlobStore,
    inspection: Inspection,
    draft: Draft,
    *,
    enclosures: Mapping[str, Enclosure] | None = None,
    force_new: bool = False,
    progress: Callable[[int, int], None] | None = None,
) -> Entry:
    """Store an examined checkpoint as a version, and each enclosure as its document of that kind.

    The blob is durable before the version exists; killed in between, the blob is garbage that the collector takes.

    Raises:
        ChangedCheckpoint: the file was written to while it was read.
        RegistryError: of ``blobs`` and ``catalog``; no version was made.
    """
    files = inspection.checkpoint.files
    source_digest = FileDigest(files[0] if files and _is_one_file(inspection) else None)
    if source_digest.is_of_a_file and (force_new or not catalog.knows(draft.name)):
        source_digest.start()  # where a version is certain; elsewhere once there is something to write
    tensors, enclosed = inspection.tensors, enclosures or {}
    for attempt in range(_ATTEMPTS):
        with store.transfer(began=source_digest.start) as transfer:
            stored = transfer.write(tensors, locate=catalog.locate, progress=progress)
            # In blobs of their own, so that mapping the weights maps nothing else.
            beside = {kind: transfer.write(e.tensors, locate=catalog.locate) for kind, e in enclosed.items()}
            manifest = _manifest(inspection, stored.tensors)
            manifests = {kind: e.manifest(beside[kind].tensors) for kind, e in enclosed.items()}
            complete = _completed(draft, inspection, manifests)
            is_there = source_digest.is_of_a_file and not force_new and catalog.holds(complete, manifest)
            if not is_there:
                complete = replace(complete, source_sha256=source_digest.result())
            if any(file.is_changed() for file in files):
                raise ChangedCheckpoint(inspection.checkpoint.source)
            new_blobs = dict.fromkeys(blob for written in (stored, *beside.values()) for blob in written.new_blobs)
            try:
                entry = catalog.add_version(
                    complete,
                    manifest,
                    tuple(new_blobs),
                    beside=tuple(manifests.values()),
                    force_new=force_new,
                    is_there=is_there,
                    unsound=stored.unsound.union(*(written.unsound for written in beside.values())),
                    confirm=partial(_confirm, transfer, new_blobs),
                )
                return replace(entry, notices=_notices(inspection, entry))
            except Vanished:
                if attempt == _ATTEMPTS - 1:
                    raise
    raise AssertionError("unreachable")


def _notices(inspection: Inspection, entry: Entry) -> tuple[str, ...]:
    """Return what there is to say; not that the arguments are unknown, where the version that was there has them."""
    said = inspection.recipe.notes if inspection.recipe.init_as == UNKNOWN != entry.init_as else ()
    return (*(note for note in inspection.notes if note not in said), *entry.notices)


def _confirm(transfer: Transfer, blobs: Iterable[BlobRecord]) -> None:
    """Raise if a collector has taken a blob between its writing and the lock of the catalog."""
    if gone := transfer.missing(blobs):
        raise Vanished(f"{len(gone)} new blobs were collected")


def _manifest(inspection: Inspection, stored: Mapping[str, StoredTensor]) -> Manifest:
    form, weights = inspection.form, inspection.weights
    # An extra state goes back to the class that gave it; other values of a file are only shown.
    kept = {name: value for name, value in weights.values.items() if name in form.values}
    encoded = encode_all(kept, exact=_has_types)
    owned = {name: weights.tensors.get(name, weights.values.get(name)) for name in form.owned}
    return Manifest(
        tensors=stored,
        ties=inspection.ties,
        values={form.values[name]: value for name, value in encoded.items()},
        metadata=encode_metadata(form.metadata) if form.metadata is not None else None,
        wrappers=tuple(
            WrapperValue(owner, encode(owned[name], name, exact=_has_types(name))) for name, owner in form.owned.items()
        ),
    )


def _has_types(name: str) -> bool:
    """Whether a value goes back into an object, which may ask for the very types."""
    return name.rpartition(".")[2] == EXTRA_STATE


def _completed(draft: Draft, inspection: Inspection, beside: Mapping[str, Manifest]) -> Draft:
    """Return the draft with everything that the checkpoint, its reading and its enclosures say."""
    checkpoint, form, recipe = inspection.checkpoint, inspection.form, inspection.recipe
    return replace(
        draft,
        unwrapping=form.unwrapping,
        wrapper=form.wrapper,
        saved_as=form.saved_as,
        world_size=draft.world_size if draft.world_size is not None else _world_size(checkpoint.facts),
        model_class=recipe.target,
        init=recipe.init,
        init_as=recipe.init_as,
        source_name=checkpoint.path.name if checkpoint.path else checkpoint.source,
        source_format=checkpoint.format,
        weights_key=inspection.weights.key,
        torch_version=_torch_version(),
        git_commit=git_commit(),
        creator=creator(),
        documents={
            **draft.documents,
            **{kind: manifest.encode() for kind, manifest in beside.items()},
        },
    )


def _world_size(facts: Mapping[str, Any]) -> int | None:
    size = facts.get("world_size")
    return size if isinstance(size, int) and size > 0 else None


@cache
def _torch_version() -> str | None:
    # Asked of the installed distribution: importing torch takes over a second, and a plain push never needs it.
    try:
        return version("torch")
    except PackageNotFoundError:
        return None


def _is_one_file(inspection: Inspection) -> bool:
    """Whether a file was named, be it an index, and not a folder."""
    checkpoint = inspection.checkpoint
    return checkpoint.path is not None and checkpoint.path == checkpoint.files[0].path
