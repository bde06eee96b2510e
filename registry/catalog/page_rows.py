"""Rows of what pages show of many versions at once: counts, ranges, and what was found out before."""

from __future__ import annotations

from typing import NamedTuple


class Counted(NamedTuple):
    """How many versions have a value."""

    value: str | None
    total: int


class CountedTag(NamedTuple):
    """How many versions have a tag."""

    key: str
    value: str
    total: int


class Range(NamedTuple):
    """How many versions have a metric, and its smallest and largest value."""

    key: str
    total: int
    low: float
    high: float


class Point(NamedTuple):
    """A metric of a version."""

    number: int
    value: float


class Summary(NamedTuple):
    """What a tensor's values are like, as JSON."""

    digest: str
    body: str


class Audit(NamedTuple):
    """What an audit said."""

    at: str
    actor: str
    asked: str | None
    versions: int
    faults: str


class Size(NamedTuple):
    """How large a model's versions are together."""

    name: str
    versions: int
    nbytes: int


class Found(NamedTuple):
    """A version that a query finds, its model, and its parent as it was called then and as the model is called now."""

    id: int
    name: str
    parent: str | None
    parent_name: str | None
    parent_number: int | None


class SourceAt(NamedTuple):
    """What a version was pushed from, and the version's row."""

    name: str
    number: int
    source_digest: str
    tensor_count: int
    trashed_at: str | None
    id: int


class DescentAt(NamedTuple):
    """A version and what it was made from, and its row."""

    uid: str
    name: str
    number: int
    parent: str | None
    parent_uid: str | None
    parent_number: int | None
    parent_record: str | None
    base: str | None
    id: int
