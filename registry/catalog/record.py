"""The record: the digest over everything that decides what is loaded, so that signing that one is enough."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from blake3 import blake3

from registry.catalog.entry import Entry
from registry.catalog.facts import Facts, canonical_json
from registry.tensors.arguments import Arguments

if TYPE_CHECKING:
    from registry.tensors.manifest import Manifest

DECISIVE = ("training", "example", "factory", "config", "tokenizer", "files")
"""Documents that belong to what a version is."""


def record_digest(facts: Facts, manifest: Manifest, documents: Mapping[str, bytes]) -> str:
    """Digest all of a version: weights, ties, other values, what wrappers own, metadata, unwrapping, class, documents.

    Where the bytes lie is not part of it: a repair may move them. Neither is how fast the class can be built, which
    another torch may answer otherwise for the same version. blake3 over JSON with sorted keys, hexadecimal.
    """
    record = {
        "weights": manifest.weights_digest,
        "ties": sorted(sorted(group) for group in manifest.ties),
        "values": manifest.values,
        "metadata": manifest.metadata,
        "unwrapping": facts.unwrapping.to_json(),
        "wrapper": facts.wrapper,
        "class": facts.model_class,
        "init": Arguments.of(facts.init).raw,
        "init_as": facts.init_as,
        # Left out where there is none, so that the records of older versions keep their digest.
        **({"wrappers": [value.to_json() for value in manifest.wrappers]} if manifest.wrappers else {}),
        **({"parts": [part.to_json() for part in facts.parts]} if facts.parts else {}),
        **{name: fact for name, fact in (("base", facts.base), ("builder", facts.builder)) if fact is not None},
        "documents": {kind: blake3(body).hexdigest() for kind, body in documents.items() if kind in DECISIVE},
    }
    return blake3(canonical_json(record).encode()).hexdigest()


def seal(name: str, number: int, record: str) -> str:
    """Digest what binds a record to its number, so that a row whose number was edited shows when it is loaded."""
    return blake3(f"{name}:v{number}\n{record}".encode()).hexdigest()


def row_fault(entry: Entry, manifest: Manifest, documents: Mapping[str, bytes]) -> str | None:
    """Return what of a version's row is not as it was written, or None."""
    if manifest.weights_digest != entry.digest:
        return "its manifest lists other weights than its digest says"
    if record_digest(entry, manifest, documents) != entry.record_digest:
        return "its row was edited: the record does not have its digest"
    if entry.sealed_as not in (entry.name, *entry.former_names):
        return f"its row was edited: it was sealed as {entry.sealed_as!r:.80}, which its model was never called"
    if seal(entry.sealed_as, entry.version, entry.record_digest) != entry.seal:
        return "its row was edited: the number is not the one that was given to it"
    return None
