"""Storing a version that has the weights of another one, and other files beside them."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import fields, replace
from functools import partial

from registry.attachments.attachment import Attachment
from registry.attachments.files import configuration
from registry.catalog.actor import creator
from registry.catalog.entry import Entry
from registry.catalog.facts import Facts
from registry.catalog.version import NewVersion
from registry.home.home import Home
from registry.home.staying import confirm_stored, until_it_stays
from registry.modules.builders.table import of_config

_OF_WEIGHTS = ("training", "example", "factory")
"""What belongs to weights, and stays with them when other files change."""


def store_beside(
    home: Home,
    newest: Entry,
    config: Mapping[str, str],
    others: Mapping[str, Attachment],
    *,
    note: str = "",
    kept: Collection[str] = (),
) -> Entry:
    """Store the weights of a version with other files, as its model's next version; no tensor of them is read.

    Args:
        config: configurations by path.
        others: attachments of all other files, by kind.
        kept: kinds of other documents that the new version has as well.

    Raises:
        RegistryError: nothing was stored.
    """
    catalog, manifest = home.catalog, home.manifest(newest)
    before = configuration(home, newest)
    named = {"names": dict(before.names)} if before.names else {}
    attachments = {**others, **({"config": Attachment(values={"files": dict(config), **named})} if config else {})}
    with_weights = {kind: found for kind in _OF_WEIGHTS if (found := home.document(newest, kind)) is not None}
    as_they_are = {kind: body for kind in kept if (body := catalog.document(newest, kind)) is not None}
    facts = Facts(**{each.name: getattr(newest, each.name) for each in fields(Facts)})
    builder = newest.builder if config == before.files else of_config(config)
    facts = replace(facts, builder=builder, note=note, creator=creator(), origin=None)

    def attempt() -> Entry:
        with home.blobs.transfer() as transfer:
            stored = {kind: transfer.write(each.tensors, locate=catalog.locate) for kind, each in attachments.items()}
            beside = {kind: each.manifest(stored[kind].tensors) for kind, each in attachments.items()} | with_weights
            bodies = {kind: document.encode() for kind, document in beside.items()} | as_they_are
            new_blobs = tuple(dict.fromkeys(blob for each in stored.values() for blob in each.new_blobs))
            return catalog.add_version(
                NewVersion(newest.name, facts, documents=bodies),
                manifest,
                new_blobs,
                beside=tuple(beside.values()),
                force_new=True,
                unsound=frozenset[str]().union(*(each.unsound for each in stored.values())),
                confirm=partial(confirm_stored, transfer, new_blobs),
            )

    return until_it_stays(attempt)
