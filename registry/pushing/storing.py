"""Storing what was examined: bytes first, the version last."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import replace
from functools import cache, partial
from importlib.metadata import PackageNotFoundError, version

from registry.canonical.form import is_extra_state
from registry.catalog.actor import creator
from registry.catalog.entry import Entry
from registry.catalog.facts import Facts
from registry.catalog.version import NewVersion
from registry.errors.warned import warn
from registry.home.home import Home
from registry.home.staying import confirm_stored, until_it_stays
from registry.inspection import Inspection
from registry.pushing.provenance import git_commit, published_at, saved_at
from registry.pushing.request import Prepared, PushRequest
from registry.tensors.arguments import UNKNOWN
from registry.tensors.encoding import encode, encode_all, encode_metadata
from registry.tensors.manifest import Manifest, StoredTensor
from registry.tensors.wrapper_value import WrapperValue


def store(home: Home, request: PushRequest, prepared: Prepared) -> Entry:
    """Store an examined checkpoint as a version, and each attachment as its document of that kind.

    The blob is durable before the version exists; killed in between, the blob is garbage that the collector takes.

    Raises:
        ChangedCheckpoint: the file was written to while it was read.
        RegistryError: of ``blobs`` and ``catalog``; no version was made.
    """
    try:
        return _stored(home, request, prepared)
    finally:
        prepared.source.stop()


def _stored(home: Home, request: PushRequest, prepared: Prepared) -> Entry:
    catalog, inspection, attachments = home.make(), prepared.inspection, prepared.attachments
    source_digest, force_new = prepared.source, request.force_new
    if not prepared.was_asked:
        catalog.knows(prepared.name, to_add=True)  # refuses before anything is written
    tensors = inspection.tensors

    def attempt() -> Entry:
        with home.blobs.transfer(began=source_digest.start) as transfer:
            stored = transfer.write(tensors, locate=catalog.locate, progress=request.progress)
            # In blobs of their own, so that mapping the weights maps nothing else.
            beside = {kind: transfer.write(e.tensors, locate=catalog.locate) for kind, e in attachments.items()}
            manifest = _manifest(inspection, stored.tensors)
            manifests = {kind: e.manifest(beside[kind].tensors) for kind, e in attachments.items()}
            new = _new_version(request, prepared, manifest, manifests, saved_at(inspection.checkpoint.files))
            is_there = source_digest.is_of_files and not force_new and catalog.holds(new, manifest)
            if not is_there:
                new = replace(new, facts=replace(new.facts, source_digest=source_digest.result()))
            source_digest.check()
            new_blobs = dict.fromkeys(blob for written in (stored, *beside.values()) for blob in written.new_blobs)
            return catalog.add_version(
                new,
                manifest,
                tuple(new_blobs),
                beside=tuple(manifests.values()),
                force_new=force_new,
                is_there=is_there,
                tells_again=not request.is_import,
                unsound=stored.unsound.union(*(written.unsound for written in beside.values())),
                confirm=partial(confirm_stored, transfer, new_blobs),
            )

    entry = until_it_stays(attempt)
    notices = _notices(request, prepared, entry)
    for notice in notices if request.is_live else ():  # who trains looks at no notices
        if notice in inspection.notes:
            warn(notice)
    return replace(entry, notices=notices)


def _notices(request: PushRequest, prepared: Prepared, entry: Entry) -> tuple[str, ...]:
    """Return what there is to say; not that the arguments are unknown, where the version that was there has them."""
    inspection = prepared.inspection
    said = inspection.recipe.notes if inspection.recipe.init_as == UNKNOWN != entry.init_as else ()
    kept = _kept(request, prepared, entry) if entry.reused else ()
    return (*(note for note in inspection.notes if note not in said), *entry.notices, *kept)


def _kept(request: PushRequest, prepared: Prepared, entry: Entry) -> Iterator[str]:
    """Yield what the push says of its origin, and the version that was there does not: that is never changed."""
    parent = prepared.parent
    if parent is not None and (parent.uid, parent.version) != (entry.parent_uid, entry.parent_number):
        yield f"{entry.ref} was there, and keeps its parent ({entry.parent or 'none'}): {parent.ref} is not noted"
    if request.run not in (None, entry.run):
        yield f"{entry.ref} was there, and keeps its run ({entry.run or 'none'}): '{request.run}' is in its log"


def _manifest(inspection: Inspection, stored: Mapping[str, StoredTensor]) -> Manifest:
    form, weights = inspection.form, inspection.weights
    # An extra state goes back to the class that gave it, which may ask for the very types; other values are only shown.
    kept = {name: value for name, value in weights.values.items() if name in form.values}
    encoded = encode_all(kept, exact=is_extra_state)
    owned = {name: weights.tensors.get(name, weights.values.get(name)) for name in form.owned}
    return Manifest(
        tensors=stored,
        ties=inspection.ties,
        values={form.values[name]: value for name, value in encoded.items()},
        metadata=encode_metadata(form.metadata) if form.metadata is not None else None,
        wrappers=tuple(
            WrapperValue(owner, encode(owned[name], name, exact=is_extra_state(name)))
            for name, owner in form.owned.items()
        ),
    )


def _new_version(
    request: PushRequest,
    prepared: Prepared,
    manifest: Manifest,
    beside: Mapping[str, Manifest],
    file_date: str | None,
) -> NewVersion:
    """Return everything that the push, the checkpoint and its reading say of the version."""
    inspection, parent = prepared.inspection, prepared.parent
    checkpoint, form, recipe = inspection.checkpoint, inspection.form, inspection.recipe
    facts = Facts(
        unwrapping=form.unwrapping,
        wrapper=form.wrapper,
        saved_as=form.saved_as,
        world_size=prepared.world_size,
        model_class=recipe.target,
        init=recipe.init,
        init_as=recipe.init_as,
        parts=recipe.parts,
        source_name=checkpoint.path.name if checkpoint.path else checkpoint.source,
        source_format=checkpoint.format,
        weights_key=inspection.weights.key,
        parent=parent.ref if parent else None,
        parent_uid=parent.uid if parent else None,
        parent_number=parent.version if parent else None,
        parent_record=parent.record_digest if parent else None,
        base=prepared.base,
        builder=recipe.builder,
        epoch=request.loop.epoch,
        step=request.loop.step,
        run=request.run,
        saved_at=file_date,
        source_uri=published_at(request.source) if isinstance(request.source, (str, os.PathLike)) else None,
        note=request.note,
        torch_version=_torch_version(),
        git_commit=git_commit(),
        creator=creator(),
        **manifest.counts(),
    )
    documents = {kind: document.encode() for kind, document in beside.items()}
    return NewVersion(
        prepared.name, facts, request.metrics, request.tags, request.aliases, documents, inspection.documents.card
    )


@cache
def _torch_version() -> str | None:
    # Asked of the installed distribution: importing torch takes over a second, and a plain push never needs it.
    try:
        return version("torch")
    except PackageNotFoundError:
        return None
