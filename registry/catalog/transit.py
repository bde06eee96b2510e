"""A version as JSON that leaves a home, written and read. Pure. What is read is a stranger's, and all checked."""

from __future__ import annotations

import base64
import binascii
import json
import re
import zlib
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from registry.catalog.blobs import decode
from registry.catalog.facts import Facts, Identity, facts_in
from registry.catalog.parcel import MAPPED, Parcel, carried
from registry.catalog.past import check as check_events
from registry.catalog.record import DECISIVE, record_digest
from registry.tensors.budget import Budget, Spent
from registry.tensors.dtypes import ITEM_SIZES
from registry.tensors.manifest import Location, Manifest
from registry.tensors.spec import is_digest

MOST_BYTES = 256 << 20
"""Of one document."""

_MOST_LEVELS = 400
"""Of objects and lists in each other: values may have a hundred, each of which takes up to three."""
_COST = 64
"""Bytes of objects for each value."""

_MARKS = re.compile(rb'"(?:[^"\\]+|\\.)*+(?:"|\\?\Z)|[\[{,]|[\]}]', re.S)
"""Texts, also one that has no end, and what stands around values."""
_UID = re.compile(r"[0-9a-f]{32}")
_EVIDENCE = ("class", "live", "declared", "assumed")
_KEYS = {
    *("name", "number", "uid", "identity", "weights", "created_at", "facts", "parent", "metrics", "tags", "aliases"),
    *("card", "manifest", "documents", "places", "events"),
}


class Newer(ValueError):
    """Something of a version that this program does not know."""


def write(parcel: Parcel, places: Mapping[str, Location]) -> bytes:
    """Return a version's document.

    Args:
        places: where each of its tensors lies in the bundle, by digest.
    """
    beside = {stored.digest: stored for manifest in parcel.attached.values() for stored in manifest.tensors.values()}
    return dump(
        {
            "name": parcel.name,
            "number": parcel.number,
            "uid": parcel.uid,
            "identity": list(parcel.identity),
            "weights": parcel.weights,
            "created_at": parcel.created_at,
            # Without those that are null, so that a program that does not know one of them reads it.
            "facts": {name: value for name, value in parcel.columns.items() if value is not None},
            "parent": list(parcel.parent) if parcel.parent is not None else None,
            "metrics": dict(parcel.metrics),
            "tags": dict(parcel.tags),
            "aliases": list(parcel.aliases),
            "card": parcel.card,
            "manifest": parcel.manifest.relocated(places).to_json(),
            "documents": {kind: base64.b64encode(body).decode() for kind, body in parcel.documents.items()},
            "places": Manifest(dict(sorted(beside.items()))).relocated(places).to_json(),
            "events": [dict(event) for event in parcel.events],
        }
    )


def read(content: bytes) -> Parcel:
    """Return the version of a document, every part of which is what it may be, and whose record is the one it says.

    Raises:
        ValueError, RegistryError: it is not.
        Newer: a newer program wrote it.
    """
    raw = load(content)
    _require(isinstance(raw, dict), "a version is not an object")
    if strange := raw.keys() - _KEYS:
        raise Newer(f"a version has '{min(strange)[:40]}'")
    _require(raw.keys() == _KEYS, "a version lacks a part")
    manifest = manifest_of(raw["manifest"])
    documents = documents_of(raw["documents"])
    places = manifest_of(raw["places"])
    _require(all(name == stored.digest for name, stored in places.tensors.items()), "a place is of another tensor")
    columns = columns_of(raw["facts"])
    parcel = Parcel(
        name=_text(raw["name"]),
        number=_count(raw["number"]),
        uid=_uid(raw["uid"]),
        identity=_identity(raw["identity"]),
        weights=_digest(raw["weights"]),
        created_at=_time(raw["created_at"]),
        columns=columns,
        parent=None if raw["parent"] is None else _identity(raw["parent"]),
        metrics=_table(raw["metrics"], (int, float)),
        tags=_table(raw["tags"], (str,)),
        aliases=tuple(_text(alias) for alias in _list(raw["aliases"])),
        card=None if raw["card"] is None else _text(raw["card"]),
        manifest=manifest,
        documents=documents,
        places={digest: stored.location for digest, stored in places.tensors.items()},
        events=check_events(raw["events"]),
    )
    for document in parcel.attached.values():
        for stored in document.tensors.values():
            there = places.tensors.get(stored.digest)
            _require(there is not None and there.spec == stored.spec, "a document's tensor has no place")
    _check_record(parcel)
    return parcel


def facts_of(parcel: Parcel) -> Facts:
    """Return what a version says of itself.

    Raises:
        ValueError: it cannot be read.
    """
    try:
        return Facts(**facts_in({**dict.fromkeys(MAPPED), **parcel.columns}))
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise ValueError("its facts cannot be read") from error


def dump(document: object) -> bytes:
    """Return JSON as bundles hold it."""
    return json.dumps(document, separators=(",", ":"), ensure_ascii=False, allow_nan=False).encode()


def load(content: bytes) -> Any:
    """Read JSON of a stranger: in bounded memory, not too deep, no key twice, no number that is none.

    Raises:
        ValueError: it is refused.
    """
    _require(len(content) <= MOST_BYTES, "a document is too long")
    budget, depth = Budget(len(content)), 0
    try:
        for mark in _MARKS.finditer(content):
            found = mark[0]
            if found in (b"[", b"{"):
                depth += 1
                _require(depth <= _MOST_LEVELS, "a document is nested too deep")
            elif found in (b"]", b"}"):
                depth -= 1
            budget.charge(_COST + len(found))
    except Spent as spent:
        raise ValueError(str(spent)) from None
    try:
        return json.loads(content.decode(), object_pairs_hook=_distinct, parse_constant=_refuse)
    except (ValueError, RecursionError) as error:
        raise ValueError("a document is not JSON") from error


def manifest_of(raw: Any) -> Manifest:
    """Return a manifest of which every part is what it may be.

    Raises:
        ValueError: one is not.
    """
    known = {"blobs", "tensors", "ties", "values", "metadata", "wrappers"}
    _require(isinstance(raw, dict) and known >= raw.keys() >= known - {"wrappers"}, "a manifest lacks a part")
    blobs = [_digest(blob) for blob in _list(raw["blobs"])]
    _require(len(set(blobs)) == len(blobs), "a manifest names a file twice")
    names, used = set(), set()
    for row in _list(raw["tensors"]):
        _require(isinstance(row, list) and len(row) == 6, "a manifest has an entry that is none")
        name, dtype, shape, digest, blob, offset = row
        _require(isinstance(dtype, str) and dtype in ITEM_SIZES, "a tensor has an unknown dtype")
        _require(isinstance(shape, list) and len(shape) <= 64, "a tensor has no shape")
        _require(all(type(n) is int and 0 <= n < 1 << 62 for n in (*shape, blob, offset)), "a tensor has no shape")
        _require(blob < len(blobs), "a tensor lies in no file")
        _digest(digest)
        names.add(_text(name))
        used.add(blob)
    _require(len(used) == len(blobs), "a manifest names a file that it does not need")
    _require(len(names) == len(raw["tensors"]), "a manifest names a tensor twice")
    ties = [name for group in _list(raw["ties"]) for name in _list(group)]
    _require(all(isinstance(name, str) and name in names for name in ties), "a tie is of no tensor")
    _require(len(set(ties)) == len(ties), "a tensor has two ties")
    _require(isinstance(raw["values"], dict), "a manifest's values are not an object")
    metadata = raw["metadata"]
    _require(metadata is None or isinstance(metadata, dict), "the metadata is not an object")
    _require(all(isinstance(each, dict) for each in (metadata or {}).values()), "the metadata is not an object")
    for row in _list(raw.get("wrappers", [])):
        _require(isinstance(row, list) and len(row) == 5 and type(row[2]) is int, "a wrapper's value is none")
        for part in (row[0], row[1], row[3]):
            _text(part)
    return Manifest.from_json(raw)


def _check_record(parcel: Parcel) -> None:
    """Compare a version with its digests."""
    facts, manifest = facts_of(parcel), parcel.manifest
    check_facts(facts)
    said = {name: getattr(facts, name) for name in ("tensor_count", "parameter_count", "byte_count", "dtypes")}
    _require(said == manifest.counts(), "it has not as many tensors as it says")
    _require(manifest.weights_digest == parcel.weights, "its weights do not have the digest that it says")
    try:
        record = record_digest(facts, manifest, parcel.documents)
    except (TypeError, ValueError, RecursionError) as error:
        raise ValueError("its record cannot be computed") from error
    _require(record == parcel.identity.record, "its record does not have the digest that it says")


def check_facts(facts: Facts) -> None:
    """Refuse facts of which a part is not what it may be.

    Raises:
        ValueError
    """
    unwrapping = facts.unwrapping
    for cut in unwrapping.cuts:
        good = isinstance(cut.path, str) and isinstance(cut.wrapper, str) and cut.evidence in _EVIDENCE
        _require(good and type(cut.names) is int, "a cut is none")
    for path in (*unwrapping.doubts, *unwrapping.outside, *unwrapping.absent, *unwrapping.set_aside):
        _text(path)
    _require(isinstance(unwrapping.own, Mapping), "what a wrapper owns is not an object")
    _require(facts.init_as in ("kwargs", "namespace", "dict", "unknown"), "its arguments are taken in no known way")


def documents_of(raw: Any) -> dict[str, bytes]:
    """Return the documents of a version, in base 64 by kind, each of which is a manifest that unfolds to no more than
    it may.

    Raises:
        ValueError: one is not.
        Newer: of a kind that is not known here.
    """
    _require(isinstance(raw, dict), "the documents are not an object")
    if strange := raw.keys() - set(DECISIVE):
        raise Newer(f"a version has a document '{min(strange)[:40]}'")
    return {kind: document_of(text) for kind, text in raw.items()}


def document_of(text: Any) -> bytes:
    """Return a document that is in base 64: a manifest that unfolds to no more than it may.

    Raises:
        ValueError: it is not one.
    """
    try:
        body = base64.b64decode(_text(text).encode("ascii"), validate=True)
    except (binascii.Error, UnicodeEncodeError) as error:
        raise ValueError("a document is not in base 64") from error
    manifest_of(load(_inflated(body)))
    decode(body)
    return body


def _inflated(body: bytes) -> bytes:
    """Return what a document unfolds to, in proportion to its bytes."""
    inflater = zlib.decompressobj()
    try:
        content = inflater.decompress(body, Budget(len(body)).limit)
    except zlib.error as error:
        raise ValueError("a document cannot be inflated") from error
    _require(inflater.eof and not inflater.unused_data, "a document unfolds to too much, or is followed by something")
    return content


def columns_of(raw: Any) -> dict[str, Any]:
    """Return a version's facts as a row holds them, but for those that each home says in its own words.

    Raises:
        ValueError: one is not what it may be.
        Newer: one is not known here.
    """
    _require(isinstance(raw, dict), "the facts are not an object")
    known = {name: (is_whole, is_nullable) for name, is_whole, is_nullable in carried()}
    if strange := raw.keys() - known.keys():
        raise Newer(f"a version has the fact '{min(strange)[:40]}'")
    columns = {}
    for name, (is_whole, is_nullable) in known.items():
        value = raw.get(name)
        if value is None:
            _require(is_nullable, f"the fact {name} is missing")
        elif is_whole:
            _require(type(value) is int and abs(value) < 1 << 62, f"the fact {name} is not a number")
        else:
            _require("\0" not in _text(value), f"the fact {name} is not a text")
        columns[name] = value
    return columns


def _identity(raw: Any) -> Identity:
    _require(isinstance(raw, list) and len(raw) == 3, "an identity is none")
    return Identity(_uid(raw[0]), _count(raw[1]), _digest(raw[2]))


def _uid(raw: Any) -> str:
    _require(isinstance(raw, str) and _UID.fullmatch(raw) is not None, "a model's uid is not 32 hexadecimal digits")
    return str(raw)


def _digest(raw: Any) -> str:
    _require(is_digest(raw), "a digest is not 64 hexadecimal digits")
    return str(raw)


def _time(raw: Any) -> str:
    text = _text(raw)
    moment = datetime.fromisoformat(text)
    _require(moment.tzinfo is not None, "a time has no zone")
    _require(moment.astimezone(UTC).isoformat(timespec="microseconds") == text, "a time is not in UTC")
    return text


def _count(raw: Any) -> int:
    _require(type(raw) is int and 0 < raw < 1 << 62, "a number is none")
    return int(raw)


def _text(raw: Any) -> str:
    _require(isinstance(raw, str), "something is not a text")
    try:
        raw.encode()
    except UnicodeEncodeError:
        raise ValueError("a text is not valid Unicode") from None
    return str(raw)


def _list(raw: Any) -> list[Any]:
    _require(isinstance(raw, list), "something is not a list")
    return list(raw)


def _table(raw: Any, kinds: tuple[type, ...]) -> dict[str, Any]:
    _require(isinstance(raw, dict) and all(type(value) in kinds for value in raw.values()), "a table holds a stranger")
    return dict(raw)


def _distinct(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    _require(len(found) == len(pairs), "a key stands twice")
    return found


def _refuse(constant: str) -> Any:
    raise ValueError(f"{constant} is not a number")


def _require(holds: bool, fault: str) -> None:
    if not holds:
        raise ValueError(fault)
