"""Headers of safetensors files, written and read, and other tables in JSON. Pure.

Read entry by entry: ``json.loads`` would first make an object of every value, of which two bytes can ask for a
hundred; here one entry is made at a time, and only what an entry may be.

Source of the format: github.com/huggingface/safetensors, README, "Format".
"""

from __future__ import annotations

import json
import re
import struct
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from json.decoder import scanstring  # type: ignore[attr-defined]
from typing import Any

from registry.tensors.budget import Budget, Spent
from registry.tensors.dtypes import BY_TOKEN, TOKENS
from registry.tensors.spec import TensorSpec

METADATA = "__metadata__"
"""The name in a header that is no tensor's."""

ALIGNMENT = 64
"""The data of a file begins at a multiple of it."""

LARGEST_HEADER = 100_000_000
"""Bytes; what the safetensors library accepts."""

LONGEST_ENTRY = 4096
"""Characters of one tensor's dtype, shape and place; 64 dimensions take 1,400."""

_EACH = 8
"""Bytes of objects for each byte of a table."""
_COST_OF_TENSOR = 300
_COST_OF_TEXT = 200

_PACKED = ("F4", "F6_E2M3", "F6_E3M2")

_SPACE = re.compile(r"[ \t\n\r]*")
_STRUCTURE = re.compile(r'[\[\]{}"]')
_SCALAR = re.compile(r"[-+.\w]+")


class BadHeader(Exception):
    """What is wrong with a header."""


class PackedDtype(BadHeader):
    """A tensor has less than a byte an element."""

    def __init__(self, name: str, token: str) -> None:
        super().__init__(f"'{name[:60]}' has the packed dtype {token}")
        self.name, self.token = name, token


@dataclass(frozen=True, slots=True)
class TensorExtent:
    """One tensor of a file."""

    key: str
    spec: TensorSpec
    offset: int
    """Bytes from the beginning of the data."""

    @property
    def end(self) -> int:
        """Bytes from the beginning of the data to behind it."""
        return self.offset + self.spec.nbytes


def data_start(text: int) -> int:
    """Return where the data begins behind a header text of so many bytes."""
    return -(-(8 + text) // ALIGNMENT) * ALIGNMENT


def header(
    slots: Sequence[TensorExtent], nbytes: int | None = None, metadata: Mapping[str, str] | None = None
) -> bytes:
    """Return the length and the header of a file, padded to ``nbytes``, or to where data may begin."""
    body: dict[str, object] = {METADATA: metadata} if metadata else {}
    body |= {
        slot.key: {
            "dtype": TOKENS[slot.spec.dtype],
            "shape": list(slot.spec.shape),
            "data_offsets": [slot.offset, slot.end],
        }
        for slot in slots
    }
    text = json.dumps(body, separators=(",", ":"), ensure_ascii=False).encode()
    whole = nbytes if nbytes is not None else data_start(len(text))
    return struct.pack("<Q", whole - 8) + text.ljust(whole - 8)


def header_length(head: bytes, nbytes: int) -> int:
    """Return the length of the header of a file of ``nbytes``, as its first eight bytes say it.

    Raises:
        BadHeader: there can be none of that length.
    """
    if len(head) < 8:
        raise BadHeader("it is shorter than a header")
    (length,) = struct.unpack("<Q", head[:8])
    if length > min(LARGEST_HEADER, nbytes - 8):
        raise BadHeader(f"it claims {length} bytes")
    return int(length)


def read_header(content: bytes) -> tuple[list[TensorExtent], dict[str, str]]:
    """Return what the text of a header says of each tensor, in its order, and its ``__metadata__``.

    Raises:
        BadHeader: it is not exactly what the format allows, or describes out of proportion to its length.
    """
    tensors: dict[str, TensorExtent] = {}
    metadata: dict[str, str] | None = None
    reader, budget = _Reader(content), Budget(len(content), _EACH)
    try:
        for name in reader.names():
            if name in tensors or (name == METADATA and metadata is not None):
                raise BadHeader("a name stands twice in it")
            if name == METADATA:
                metadata = reader.texts(budget, "its metadata is not a table of texts")
            else:
                budget.charge(_COST_OF_TENSOR)
                tensors[name] = _slot(name, reader.flat_object(name))
        reader.end()
    except Spent as spent:
        raise BadHeader(str(spent)) from None
    return [*tensors.values()], metadata or {}


def read_table(content: bytes, key: str) -> dict[str, str] | None:
    """Return one table of texts of a JSON object, or None where there is none of this name; the rest is skipped.

    Raises:
        BadHeader: it is no JSON object, or no table of texts.
    """
    reader, found = _Reader(content), None
    try:
        for name in reader.names():
            if name == key:
                found = reader.texts(Budget(len(content), _EACH), f"its {key} is not a table of texts")
            else:
                reader.skip()
        reader.end()
    except Spent as spent:
        raise BadHeader(str(spent)) from None
    return found


class _Reader:
    """A place in a text, moving forward."""

    def __init__(self, content: bytes) -> None:
        try:
            self._text = content.decode()
        except UnicodeDecodeError as error:
            raise BadHeader(f"it is not JSON ({str(error)[:60]})") from None
        self._at = 0

    def names(self) -> Iterator[str]:
        """Yield the keys of an object; after each, the caller reads its value."""
        self._expect("{")
        if self._next() == "}":
            self._at += 1
            return
        while True:
            key = self._string()
            self._expect(":")
            yield key
            if self._next() == "}":
                self._at += 1
                return
            self._expect(",")

    def texts(self, budget: Budget, fault: str) -> dict[str, str]:
        """Return an object whose values are texts."""
        found: dict[str, str] = {}
        if self._next() != "{":
            raise BadHeader(fault)
        for key in self.names():
            if key in found:
                raise BadHeader("a name stands twice in it")
            if self._next() != '"':
                raise BadHeader(fault)
            budget.charge(_COST_OF_TEXT)
            found[key] = self._string()
        return found

    def flat_object(self, name: str) -> dict[str, Any]:
        """Return an object without objects in it, which is short."""
        self._next()
        close = self._text.find("}", self._at, self._at + LONGEST_ENTRY) + 1
        try:
            entry = json.loads(self._text[self._at : close], object_pairs_hook=_distinct)
        except (ValueError, RecursionError):
            entry = None
        if not isinstance(entry, dict):
            raise BadHeader(f"the entry of '{name[:60]}' is not one of a tensor")
        self._at = close
        return entry

    def skip(self) -> None:
        """Go behind a value of any kind, without making it."""
        depth = 0
        if self._next() not in '{["':
            found = _SCALAR.match(self._text, self._at)
            if found is None:
                raise BadHeader("it is not JSON (a value is missing)")
            self._at = found.end()
            return
        while True:
            found = _STRUCTURE.search(self._text, self._at)
            if found is None:
                raise BadHeader("it is not JSON (it ends too early)")
            self._at = found.start()
            if found[0] == '"':
                self._string()
            else:
                self._at += 1
                depth += 1 if found[0] in "{[" else -1
            if depth <= 0:
                return

    def end(self) -> None:
        if self._next():
            raise BadHeader("it is not JSON (something follows the object)")

    def _next(self) -> str:
        """Go behind white space, and return the next character."""
        space = _SPACE.match(self._text, self._at)
        self._at = space.end() if space else self._at
        return self._text[self._at : self._at + 1]

    def _expect(self, mark: str) -> None:
        if self._next() != mark:
            raise BadHeader(f"it is not a JSON object (no '{mark}' at character {self._at})")
        self._at += 1

    def _string(self) -> str:
        if self._next() != '"':
            raise BadHeader(f"it is not a JSON object (no text at character {self._at})")
        try:
            text, self._at = scanstring(self._text, self._at + 1, True)
            text.encode()
        except UnicodeEncodeError:
            raise BadHeader("a name is not valid Unicode") from None
        except ValueError as error:
            raise BadHeader(f"it is not JSON ({str(error)[:60]})") from None
        return str(text)


def _distinct(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a key stands twice")
    return found


def _slot(name: str, entry: dict[str, Any]) -> TensorExtent:
    if set(entry) != {"dtype", "shape", "data_offsets"}:
        raise BadHeader(f"the entry of '{name[:60]}' is not one of a tensor")
    token, shape, offsets = entry["dtype"], entry["shape"], entry["data_offsets"]
    if not _are_counts(shape) or not _are_counts(offsets) or len(offsets) != 2:
        raise BadHeader(f"the shape or place of '{name[:60]}' is none")
    if token in _PACKED:
        raise PackedDtype(name, token)
    if not isinstance(token, str) or token not in BY_TOKEN:
        raise BadHeader(f"'{name[:60]}' has the unknown dtype {str(token)[:20]!r}")
    slot = TensorExtent(name, TensorSpec(BY_TOKEN[token], tuple(shape)), offsets[0])
    if slot.end != offsets[1]:
        raise BadHeader(f"the size of '{name[:60]}' does not fit its shape")
    return slot


def _are_counts(value: Any) -> bool:
    return isinstance(value, list) and len(value) <= 64 and all(type(n) is int and 0 <= n < 1 << 62 for n in value)
