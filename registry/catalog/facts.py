"""What a version is. Each fact is stated here once: its column, its place in an entry and in JSON follow from it."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, fields
from functools import lru_cache
from typing import Any, NamedTuple

from registry.canonical.unwrap import Unwrapping
from registry.tensors.arguments import Arguments
from registry.tensors.part import Part


def canonical_json(value: object) -> str:
    """Return the one JSON text of a value: keys sorted, no spaces, ASCII."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"))


def storable(text: str, most: int = 500) -> str:
    """Return a text that can be stored for one that came from the system, where any byte may be in a name."""
    kept = text.encode("utf-8", "backslashreplace").decode().replace("\0", "\\0")
    return kept if len(kept) <= most else f"{kept[: most - 1]}…"


def encode_init(init: Mapping[str, Any]) -> str:
    """Return constructor arguments as JSON, in the order in which they were given.

    Raises:
        UnstorableInit: one of them has no JSON form that gives it back.
    """
    return json.dumps(Arguments.of(init).raw, separators=(",", ":"))


@lru_cache(maxsize=1024)
def _unwrapping(text: str) -> Unwrapping:
    """Versions of one model are mostly saved the same way."""
    return Unwrapping.from_json(json.loads(text))


def _object(text: str) -> dict[str, Any]:
    value = json.loads(text)
    if not isinstance(value, dict):
        raise ValueError("it is not a JSON object")
    return value


def read_parts(text: str | None) -> tuple[Part, ...]:
    """Read the parts of a version from its column.

    Raises:
        ValueError, TypeError, KeyError: somebody edited it.
    """
    if not text:
        return ()
    parts = tuple(Part.from_json(each) for each in json.loads(text))
    if len({each.part for each in parts}) != len(parts):
        raise ValueError("two parts have one name")
    return parts


def _encode_parts(parts: tuple[Part, ...]) -> str | None:
    return json.dumps([each.to_json() for each in parts], separators=(",", ":")) if parts else None


# How a column holds what is no text and no number.
_AS_UNWRAPPING: dict[str, Any] = {"write": lambda unwrapping: canonical_json(unwrapping.to_json()), "read": _unwrapping}
_AS_ARGUMENTS: dict[str, Any] = {"write": encode_init, "read": lambda text: Arguments(_object(text))}
_AS_JSON: dict[str, Any] = {"write": canonical_json, "read": _object}
_AS_PARTS: dict[str, Any] = {"write": _encode_parts, "read": read_parts, "null": True}
_FROM_THE_SYSTEM: dict[str, Any] = {"write": storable}


class Identity(NamedTuple):
    """Which version it is, in whatever home it lies and whatever its model is called there."""

    uid: str
    """Of the model; never changed."""
    number: int
    record: str
    """The digest of the record."""


class Origin(NamedTuple):
    """Where a version was copied from, and which version it is wherever it lies: what its first home called it."""

    place: str
    """The home's folder, or the bundle's name."""
    identity: Identity

    def encode(self) -> str:
        """Return it as a column holds it."""
        return canonical_json({"from": self.place, **self.identity._asdict()})

    @classmethod
    def decode(cls, text: str | None) -> Origin | None:
        """Read it back; None of a version that was pushed, and of an edited one that says nothing legible."""
        try:
            raw = _object(text or "")
            return cls(str(raw["from"]), Identity(str(raw["uid"]), int(raw["number"]), str(raw["record"])))
        except (ValueError, TypeError, KeyError, RecursionError):
            return None


@dataclass(frozen=True, kw_only=True)
class Facts:
    """What a version is, but for its name and number."""

    wrapper: str = "none"
    """What surrounded the model: ``"none"`` (none visible), ``"ddp"``, ``"compile(ddp)"``; outermost first.
    ``"ddp or dp"`` where only names show it."""
    saved_as: str = "bare"
    """``"wrapped"`` or ``"bare"``: whether the names in the file went through the wrapper."""
    unwrapping: Unwrapping = field(default_factory=Unwrapping, metadata=_AS_UNWRAPPING)
    world_size: int | None = None
    model_class: str | None = None
    """``"pkg.mod:Class"``."""
    init: Mapping[str, Any] = field(default_factory=dict, metadata=_AS_ARGUMENTS)
    init_as: str = "kwargs"
    """How the class takes them: ``"kwargs"``, ``"namespace"`` or ``"dict"``; ``"unknown"`` where nobody said with which
    it was constructed, which is not the same as with none."""
    parts: tuple[Part, ...] = field(default=(), metadata=_AS_PARTS)
    """The models that it holds, where several were pushed as one: ``(part, model_class, init)`` of each, in order."""
    source_name: str = field(default="", metadata=_FROM_THE_SYSTEM)
    source_digest: str | None = None
    """Of the file: ``"blake3:…"``; of a folder, from its files: ``"blake3-files:…"``; ``"sha256:…"`` of a file that was
    pushed before the schema's third revision."""
    source_format: str = ""
    weights_key: str = field(default="", metadata=_FROM_THE_SYSTEM)
    """Where in the file the weights were: ``""``, ``"state_dict"``."""
    tensor_count: int = 0
    parameter_count: int = 0
    """Elements in all tensors, a tied one counted once."""
    byte_count: int = 0
    dtypes: Mapping[str, int] = field(default_factory=dict, metadata=_AS_JSON)
    """Number of tensors of each dtype."""
    parent: str | None = None
    """Reference of the version it was trained from (``"pointnet:v2"``): in a row as it was called then, in an entry as
    it is called now."""
    parent_uid: str | None = None
    parent_number: int | None = None
    parent_record: str | None = None
    """Which version that is: by these it is found under another name, and in another home."""
    base: str | None = None
    """Digest of the weights that these are an adapter of."""
    builder: str | None = None
    """The library's builder that makes the model of plain data: ``"timm"``; None where a class does."""
    run: str | None = None
    """Id of the training run that pushed it."""
    epoch: int | None = None
    step: int | None = None
    """Where the training was, as the push or its training state says."""
    saved_at: str | None = None
    """When the file was written, ISO 8601 in UTC; ``created_at`` is when it was pushed."""
    source_uri: str | None = None
    """Where the file was published: ``"hf:owner/name@revision"``."""
    note: str = ""
    torch_version: str | None = None
    git_commit: str | None = None
    creator: str = field(default="", metadata=_FROM_THE_SYSTEM)
    origin: str | None = None
    """Where it was copied from, as JSON; None for a version that was pushed here. No part of the record."""

    @property
    def copied_from(self) -> str | None:
        """The home or the bundle that it was copied from; None for a version that was pushed here."""
        origin = Origin.decode(self.origin)
        return origin.place if origin is not None else self.origin

    def columns(self) -> dict[str, Any]:
        """Return the facts as a row of the table holds them.

        Raises:
            UnstorableInit: a constructor argument has no form that gives it back.
        """
        return {each.name: each.metadata.get("write", _as_it_is)(getattr(self, each.name)) for each in fields(Facts)}


def facts_in(row: Mapping[str, Any]) -> dict[str, Any]:
    """Return the facts of a row, by field.

    Raises:
        ValueError, TypeError, KeyError, AttributeError: somebody edited it.
    """
    names, read = _columns()
    return {name: row[name] for name in names} | {name: of(row[name]) for name, of in read.items()}


def illegible() -> dict[str, Any]:
    """Return what stands in a row for the facts that a column holds in a form of its own, where that cannot be read."""
    blank = Facts().columns()
    return {each.name: blank[each.name] for each in fields(Facts) if "read" in each.metadata}


def declared() -> Iterator[tuple[str, bool, bool]]:
    """Yield each fact's column: its name, whether it is a whole number, and whether it may be null."""
    for each in fields(Facts):
        kind = str(each.type)
        yield each.name, kind.startswith("int"), kind.endswith("None") or "null" in each.metadata


@lru_cache(maxsize=1)
def _columns() -> tuple[tuple[str, ...], Mapping[str, Callable[[Any], Any]]]:
    """Return the names of the facts, and how those are read that a column holds in a form of its own."""
    own = {each.name: each.metadata["read"] for each in fields(Facts) if "read" in each.metadata}
    return tuple(each.name for each in fields(Facts) if each.name not in own), own


def _as_it_is(value: Any) -> Any:
    return value
