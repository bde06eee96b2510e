"""A version on its way from one home to another: all that a catalog knows of it, and where its tensors lie."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

from registry.catalog.blobs import decode
from registry.catalog.facts import Identity, declared

if TYPE_CHECKING:
    from registry.tensors.manifest import Location, Manifest, StoredTensor

MAPPED = ("origin", "parent_uid", "parent_number", "parent_record")
"""Facts that each home says in its own words."""


@dataclass(frozen=True, kw_only=True)
class Parcel:
    """What one version brings."""

    name: str
    number: int
    """What it is called where it comes from."""
    uid: str
    """Of its model there."""
    identity: Identity
    """Which version it is, wherever it lies."""
    weights: str
    created_at: str
    columns: Mapping[str, Any]
    """Its facts as a row holds them, but for those of ``MAPPED``."""
    parent: Identity | None = None
    metrics: Mapping[str, float] = field(default_factory=dict)
    tags: Mapping[str, str] = field(default_factory=dict)
    aliases: Sequence[str] = ()
    card: str | None = None
    """Of its model."""
    manifest: Manifest
    documents: Mapping[str, bytes] = field(default_factory=dict)
    """Those that are under its record, byte for byte, by kind."""
    places: Mapping[str, Location] = field(default_factory=dict)
    """Where the documents' tensors lie that are not where the documents say, by digest."""
    events: Sequence[Mapping[str, Any]] = ()
    """What the trails of the homes that it comes from tell of it, the oldest first."""

    @property
    def ref(self) -> str:
        return f"{self.name}:v{self.number}"

    @property
    def note(self) -> str:
        return str(self.columns["note"])

    @cached_property
    def attached(self) -> Mapping[str, Manifest]:
        """The documents' contents, with the tensors where they lie, by kind.

        Raises:
            ValueError: one cannot be read.
        """
        return {kind: decode(body).relocated(self.places) for kind, body in self.documents.items()}

    def tensors(self) -> Iterator[tuple[str, StoredTensor]]:
        """Yield every tensor that it needs, with its name, those of the weights first."""
        for manifest in (self.manifest, *self.attached.values()):
            yield from manifest.tensors.items()


def carried() -> Iterator[tuple[str, bool, bool]]:
    """Yield the facts that travel as they are: the column's name, whether it is whole, and whether it may be null."""
    return (each for each in declared() if each[0] not in MAPPED)
