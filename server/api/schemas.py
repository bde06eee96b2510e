"""What is sent and answered, as the OpenAPI document describes it; of what the verbs return, from their own classes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import MISSING, field, fields, make_dataclass
from typing import Any, get_type_hints

from pydantic import BaseModel, ConfigDict, Field

from registry.catalog.arrivals import Arrived
from registry.catalog.entry import Entry
from registry.catalog.listing import ModelSummary
from registry.catalog.renaming import Renamed
from registry.catalog.trail import Event

Digest = str


def _document(kind: Any, name: str, **more: Any) -> Any:
    """Return a class of the documents of a class: the same fields, and those that only the document has."""
    hints = get_type_hints(kind)
    given: list[Any] = list(more.items())
    for each in fields(kind):
        has_default = each.default is not MISSING or each.default_factory is not MISSING
        default = (
            {"default": each.default} if each.default is not MISSING else {"default_factory": each.default_factory}
        )
        given.append((each.name, hints[each.name], field(kw_only=True, **(default if has_default else {}))))
    return make_dataclass(name, given, kw_only=True)


EntryDocument = _document(Entry, "Entry", ref=str)
EventDocument = _document(Event, "Event")
ModelDocument = _document(ModelSummary, "Model")
RenamedDocument = _document(Renamed, "Renamed")
ArrivedDocument = _document(Arrived, "Arrived")


class _Sent(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)


class Entries(BaseModel):
    """A page of versions."""

    items: list[EntryDocument]  # type: ignore[valid-type]
    next: str | None


class Models(BaseModel):
    """Models by name."""

    items: list[ModelDocument]  # type: ignore[valid-type]
    next: str | None


class Events(BaseModel):
    """Events, the newest first."""

    items: list[EventDocument]  # type: ignore[valid-type]
    next: str | None


class Seen(_Sent):
    """A version as the sender saw it."""

    ref: str
    uid: str
    digest: Digest


class Alias(_Sent):
    """An alias to point to a version."""

    version: Seen
    alias: str


class AliasOf(_Sent):
    """An alias of a model."""

    name: str
    alias: str


class Facts(_Sent):
    """What to add to a version, and what to take away."""

    version: Seen
    metrics: dict[str, float] = {}
    tags: dict[str, str] = {}
    note: str = ""
    remove_metrics: list[str] = []
    remove_tags: list[str] = []
    verb: str = "note"


class Card(_Sent):
    """A model's card."""

    name: str
    text: str


class Rename(_Sent):
    """A model's names."""

    old: str
    new: str


class Trash(_Sent):
    """Versions for the trash."""

    versions: list[Seen]
    force: bool = False


class Restore(_Sent):
    """Versions in the trash."""

    versions: list[Seen]


class Digests(_Sent):
    """Digests, of tensors or of blobs."""

    digests: list[Digest] = Field(max_length=1_000_000)


class NewUpload(_Sent):
    """A blob that is about to be sent."""

    blob: Digest
    nbytes: int
    tensors: list[Digest]
    """Of its tensors, in the order of the file."""
    content: str = ""
    """Its first bytes, in base 64: of a small file all, which then is not sent by itself."""


class UploadState(BaseModel):
    """How much of an upload has come."""

    id: str
    received: int


class NewVersion(_Sent):
    """A version whose bytes are here."""

    name: str
    facts: Mapping[str, Any]
    """As a row of the table has them."""
    metrics: dict[str, float] = {}
    tags: dict[str, str] = {}
    aliases: list[str] = []
    card: str | None = None
    manifest: dict[str, Any]
    documents: dict[str, str] = {}
    """In base 64, by kind."""
    new_blobs: list[Digest] = []
    uploads: list[str] = []
    force_new: bool = False
    tells_again: bool = True


class ParcelAt(_Sent):
    """A version that comes from another home."""

    parcel: dict[str, Any]
    name: str | None = None


class Meeting(_Sent):
    """A version that comes from another home, and may be here."""

    parcel: dict[str, Any]
    place: str
    update: bool = False
    dry_run: bool = False


class Arrival(_Sent):
    """A version that comes from another home, whose bytes are here."""

    parcel: dict[str, Any]
    place: str
    places: dict[Digest, list[Digest | int]]
    """Where its tensors are here, by digest: blob and offset."""
    new_blobs: list[Digest] = []
    uploads: list[str] = []
    name: str | None = None
    update: bool = False
