"""What each reading statement gives: its rows by their columns, as the schema has them.

The types are those of a database that nobody edited; what an audit reads asks each value for its own.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, Generic, NamedTuple, Protocol, TypeVar, cast

import sqlalchemy

R = TypeVar("R")

if TYPE_CHECKING:

    class Reading(sqlalchemy.Select[Any], Generic[R]):
        """A statement that gives rows of a kind, which its annotation names."""
else:

    class Reading(Generic[R]):
        """For annotations alone: a statement is what SQLAlchemy makes."""


# SQLAlchemy's own types know a row's columns by position and not by name.
select = cast("Callable[..., Reading[Any]]", sqlalchemy.select)


class Version(Protocol):
    """A version's columns, each fact among them, and its model's name."""

    id: int
    name: str
    number: int
    weights: str
    record: str
    note: str
    created_at: str
    trashed_at: str | None
    purged_at: str | None

    @property
    def _fields(self) -> tuple[str, ...]: ...

    def __iter__(self) -> Iterator[Any]: ...

    def _asdict(self) -> dict[str, Any]: ...


class MeasuredVersion(Version, Protocol):
    """The same with one of its metrics, if it has any."""

    metric: str | None
    figure: float | None


class WholeVersion(Version, Protocol):
    """A version's columns, and what its model is."""

    model_id: int
    uid: str
    card: str | None
    origin: str | None


class Name(NamedTuple):
    """Of a model or an alias."""

    name: str


class Named(NamedTuple):
    """A model and what it is called."""

    id: int
    name: str


class Former(NamedTuple):
    """What a model was called before."""

    name: str
    former: str


class Numbered(NamedTuple):
    """A version by what its model is called."""

    name: str
    number: int


class SizedBlob(NamedTuple):
    """A blob and its bytes, wherever it came from."""

    digest: str
    nbytes: int


class Verb(NamedTuple):
    """Of an event."""

    verb: str


class Key(NamedTuple):
    """Of a metric."""

    key: str


class Digest(NamedTuple):
    """Of a blob."""

    digest: str


class Note(NamedTuple):
    """Of a version."""

    note: str


class Total(NamedTuple):
    """How many rows there are."""

    total: int


class Model(NamedTuple):
    """One that a version is pushed to."""

    id: int
    next_number: int
    uid: str


class ModelItself(NamedTuple):
    """What the table of models says of one."""

    name: str
    next_number: int
    uid: str
    card: str | None


class ModelHere(NamedTuple):
    """One that a version is copied to."""

    id: int
    name: str
    uid: str
    next_number: int
    card: str | None


class LiveModel(NamedTuple):
    """A model with versions outside the trash."""

    name: str
    uid: str
    live: int
    newest: int
    changed_at: str


class Alias(NamedTuple):
    """Where an alias points."""

    name: str
    alias: str
    number: int


class State(NamedTuple):
    """A version on its way through the trash."""

    number: int
    weights: str
    trashed_at: str | None
    purged_at: str | None


class Held(NamedTuple):
    """A version that is going to be changed."""

    id: int
    model_id: int
    name: str
    trashed_at: str | None
    purged_at: str | None
    weights: str


class Aliased(NamedTuple):
    """A version that an alias points to."""

    id: int
    model_id: int
    number: int
    weights: str


class Trashed(NamedTuple):
    """A version in the trash."""

    id: int
    model_id: int
    name: str
    number: int
    weights: str


class Twin(NamedTuple):
    """A version that has the weights of a push."""

    id: int
    number: int
    record: str
    model_class: str | None
    init: str
    init_as: str
    parts: str | None
    unwrapping: str
    builder: str | None
    base: str | None


class NumberedDocument(NamedTuple):
    """A document, and the number of the version that it is of."""

    number: int
    body: bytes


class FileDigest(NamedTuple):
    """What a file of weights hashes to."""

    sha256: str


class Card(NamedTuple):
    """What a model's users should know."""

    id: int
    card: str | None


class Source(NamedTuple):
    """What a version was pushed from."""

    name: str
    number: int
    source_digest: str
    tensor_count: int
    trashed_at: str | None


class Document(NamedTuple):
    """What is stored of a version beside its row."""

    kind: str
    body: bytes


class DocumentOfVersion(NamedTuple):
    """A document, and whether its version is in the trash."""

    version_id: int
    body: bytes
    trashed_at: str | None


class Metric(NamedTuple):
    """A figure of a version."""

    key: str
    value: float


class Tag(NamedTuple):
    """A word about a version."""

    key: str
    value: str


class Id(NamedTuple):
    """Of a version."""

    id: int


class Identified(NamedTuple):
    """A version and which it is."""

    id: int
    uid: str
    number: int
    origin: str | None


class Place(NamedTuple):
    """Where a tensor is stored."""

    digest: str
    blob: str
    offset: int


class Blob(NamedTuple):
    """A blob by its row."""

    digest: str
    id: int
    created_at: str
    is_referred_to: bool


class KnownBlob(NamedTuple):
    """A blob and its bytes."""

    digest: str
    nbytes: int
    created_at: str


class Event(NamedTuple):
    """A link of the trail."""

    id: int
    at: str
    actor: str
    verb: str
    name: str | None
    reference: str | None
    digest: str | None
    details: str
    previous: str
    hash: str
    facts: str | None


class LastEvent(NamedTuple):
    """The newest link of the trail."""

    id: int
    hash: str


class TrailEnd(NamedTuple):
    """What the catalog notes of the newest link."""

    length: int
    hash: str


class Descent(NamedTuple):
    """A version and what it was made from."""

    uid: str
    name: str
    number: int
    parent: str | None
    parent_uid: str | None
    parent_number: int | None
    parent_record: str | None
    base: str | None


class Details(NamedTuple):
    """Of an event, as JSON."""

    details: str


class Bytes(NamedTuple):
    """A blob and how large it is."""

    digest: str
    nbytes: int


class JournalMode(NamedTuple):
    """SQLite's."""

    journal_mode: str


class Dangling(NamedTuple):
    """A row that refers to one that is not there."""

    table: str


class Token(NamedTuple):
    """Who may do what; the digest is of the text that its user has."""

    id: int
    digest: str
    user: str
    role: str
    models: str
    created_at: str
    expires_at: str | None
    last_used_at: str | None
    revoked_at: str | None
