"""Reading a bundle of a stranger: all but the tensors is checked when it is opened, and these before one is taken."""

from __future__ import annotations

import contextlib
import os
import stat
from collections.abc import Collection, Iterator, Sequence
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Any

from blake3 import blake3

from registry.blobs.layout import blob_digest, read_slots
from registry.catalog import transit
from registry.catalog.arrivals import check
from registry.catalog.facts import Identity
from registry.catalog.parcel import Parcel
from registry.catalog.transit import Newer
from registry.copying.bundles.archive import BLOCK, END, Member, blob_name, index_size, layout, version_name
from registry.copying.bundles.writing import FORMAT, members_of
from registry.copying.shelf import Listed, Shelf, ShelvedTensor
from registry.errors.copying import DamagedBundle, NewerBundle, NoSuchBundle
from registry.errors.root import RegistryError
from registry.tensors.manifest import StoredTensor
from registry.tensors.safetensors import LARGEST_HEADER
from registry.tensors.source import PIECE, TensorSource
from registry.tensors.spec import TensorSpec, is_digest, tensor_hasher
from registry.upkeep.audit import undecodable

MOST_INDEX = 64 << 20
"""Bytes of the index; of 200 versions it has 30,000."""


class BundleShelf(Shelf):
    """A bundle, opened. It stays the file that was opened, whatever its path leads to later.

    Raises:
        NoSuchBundle: it cannot be opened.
        DamagedBundle: it is none, or not as it was written.
        NewerBundle: a newer program wrote it.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._handle = _opened(path)
        try:
            self._size = os.fstat(self._handle).st_size
            with self._worded():
                self._read()
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> BundleShelf:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        os.close(self._handle)

    @property
    def place(self) -> str:
        return self._path.name

    @property
    def listed(self) -> Sequence[Listed]:
        return self._listed

    def parcel(self, listed: Listed) -> Parcel:
        with self._worded():
            return self._parcel(listed.key)

    def tensor(self, listed: Listed, name: str, stored: StoredTensor) -> TensorSource:
        return ShelvedTensor(stored, partial(self.pieces, name, stored))

    def verify(self, listed: Collection[Listed]) -> None:
        seen: set[str] = set()
        for each in listed:
            for name, stored in self.parcel(each).tensors():
                if stored.digest not in seen:
                    seen.add(stored.digest)
                    for _ in self.pieces(name, stored):
                        pass

    def pieces(self, name: str, stored: StoredTensor) -> Iterator[memoryview]:
        """Read a tensor; it is verified when the last piece was taken.

        Raises:
            DamagedBundle: its bytes have another digest, or are not there.
        """
        begin = self._blobs[stored.location.blob].offset + stored.location.offset
        hasher = tensor_hasher(stored.spec)
        for done in range(0, stored.spec.nbytes, PIECE):
            with self._worded():
                piece = self._bytes(begin + done, min(PIECE, stored.spec.nbytes - done))
            hasher.update(piece)
            yield memoryview(piece)
        if hasher.hexdigest() != stored.digest:
            raise DamagedBundle(str(self._path), f"the bytes of '{name[:60]}' are not those that were written")

    # Opening

    def _read(self) -> None:
        size = index_size(self._bytes(0, BLOCK))
        _require(size <= MOST_INDEX, "its index is too long")
        index = transit.load(self._bytes(BLOCK, size))
        versions, blobs = _index(index)
        sizes = members_of([each for each, _ in versions], list(blobs.items()), size)
        members = layout(sizes)
        _require(members[-1].end + len(END) == self._size, "it is not as long as its index says")
        for member in members:
            _require(self._bytes(member.offset - len(member.head), len(member.head)) == member.head, "a header is odd")
            filling = member.end - member.offset - member.size
            _require(not any(self._bytes(member.offset + member.size, filling)), "a header is odd")
        _require(self._bytes(members[-1].end, len(END)) == END, "it does not end as a bundle does")
        by_name = {member.name: member for member in members}
        self._versions = [by_name[version_name(number)] for number in range(1, len(versions) + 1)]
        self._digests = [digest for _, digest in versions]
        self._blobs = {digest: by_name[blob_name(digest)] for digest in blobs}
        self._listed = self._checked()

    def _checked(self) -> list[Listed]:
        """Read every version, and see whether its tensors are where it says and its parent stands before it."""
        found: list[Listed] = []
        names: set[str] = set()
        order: dict[Identity, int] = {}
        parents: list[tuple[int, Identity]] = []
        used: dict[str, dict[int, dict[TensorSpec, str]]] = {digest: {} for digest in self._blobs}
        for key in range(len(self._versions)):
            parcel = self._parcel(key)
            _require(parcel.identity not in order and parcel.ref not in names, "a version stands twice in it")
            order[parcel.identity] = key
            names.add(parcel.ref)
            if parcel.parent is not None:
                parents.append((key, parcel.parent))
            for _, stored in parcel.tensors():
                _require(stored.location.blob in used, "a tensor is in no file")
                here = used[stored.location.blob].setdefault(stored.location.offset, {})
                _require(here.setdefault(stored.spec, stored.digest) == stored.digest, "two tensors lie in one place")
            nbytes = sum(stored.spec.nbytes for stored in parcel.manifest.tensors.values())
            found.append(Listed(parcel.ref, parcel.name, parcel.identity, nbytes, key))
        for key, parent in parents:
            _require(order.get(parent, -1) < key, "a version stands before its parent")
        for digest, member in self._blobs.items():
            self._check_blob(digest, member, used[digest])
        return found

    def _check_blob(self, digest: str, member: Member, used: dict[int, dict[TensorSpec, str]]) -> None:
        """Hold a file's header against what the versions say of it; it has nothing else in it."""
        length = int.from_bytes(self._bytes(member.offset, min(8, member.size)), "little")
        _require(member.size >= 8 and length <= min(LARGEST_HEADER, member.size - 8), "a file has no header")
        head = self._bytes(member.offset, 8 + length)
        start, slots = read_slots(memoryview(head))
        digests, at = [], 0
        for slot in slots:
            found = used.get(start + slot.offset, {}).get(slot.spec)
            _require(found is not None and slot.offset == at, "a file holds what no version needs")
            digests.append(str(found))
            at = slot.end
        _require(start + at == member.size, "a file holds what no version needs")
        _require(blob_digest(head, digests) == digest, "a file does not have the digest that it is named by")
        known = {(start + slot.offset, slot.spec) for slot in slots}
        said = {(offset, spec) for offset, specs in used.items() for spec in specs}
        _require(said <= known, "a tensor is not where its version says")

    def _parcel(self, key: int) -> Parcel:
        member = self._versions[key]
        content = self._bytes(member.offset, member.size)
        _require(blake3(content).hexdigest() == self._digests[key], "a version is not as the index says")
        parcel = transit.read(content)
        check(parcel)
        faults = undecodable(transit.facts_of(parcel), (parcel.manifest, *parcel.attached.values()))
        _require(not faults, faults[0] if faults else "")
        return parcel

    def _bytes(self, offset: int, nbytes: int) -> bytes:
        pieces: list[bytes] = []
        left = nbytes
        while left:
            piece = os.pread(self._handle, min(left, 64 << 20), offset + nbytes - left)
            _require(bool(piece), "it is cut short")
            pieces.append(piece)
            left -= len(piece)
        return b"".join(pieces)

    @contextlib.contextmanager
    def _worded(self) -> Iterator[None]:
        """Say of which file it is that something is wrong with it."""
        try:
            yield
        except Newer as error:
            raise NewerBundle(str(self._path), str(error)) from error
        except (DamagedBundle, NewerBundle):
            raise
        except (RegistryError, ValueError) as error:
            raise DamagedBundle(str(self._path), str(error)) from error
        except OSError as error:
            raise NoSuchBundle(str(self._path), error.strerror or str(error)) from error


def _index(raw: Any) -> tuple[list[tuple[int, str]], dict[str, int]]:
    """Return the sizes and digests of a bundle's versions, and the sizes of its files by digest."""
    _require(isinstance(raw, dict) and raw.get("format") == "checkpoint-registry bundle", "it has another index")
    version = raw.get("version")
    _require(type(version) is int and version > 0, "it has another index")
    if version != FORMAT:
        raise Newer(f"its form has the number {version}")
    _require(raw.keys() == {"format", "version", "versions", "blobs"}, "it has another index")
    versions: list[tuple[int, str]] = []
    blobs: dict[str, int] = {}
    _require(isinstance(raw["versions"], list) and isinstance(raw["blobs"], list), "it has another index")
    for each in raw["versions"]:
        _require(isinstance(each, dict) and each.keys() == {"ref", "size", "blake3"}, "its index is odd")
        _require(_is_size(each["size"]) and each["size"] <= transit.MOST_BYTES, "its index is odd")
        _require(is_digest(each["blake3"]), "its index is odd")
        versions.append((each["size"], each["blake3"]))
    for each in raw["blobs"]:
        _require(isinstance(each, dict) and each.keys() == {"digest", "size"}, "its index is odd")
        _require(_is_size(each["size"]) and is_digest(each["digest"]), "its index is odd")
        _require(each["digest"] not in blobs, "it has a file twice")
        blobs[each["digest"]] = each["size"]
    return versions, blobs


def _is_size(value: object) -> bool:
    return type(value) is int and 0 < value < 1 << 62


def _opened(path: Path) -> int:
    try:
        handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except (OSError, ValueError) as error:
        raise NoSuchBundle(str(path), getattr(error, "strerror", None) or str(error)) from error
    if not stat.S_ISREG(os.fstat(handle).st_mode):
        os.close(handle)
        raise NoSuchBundle(str(path), "it is not a regular file")
    return handle


def _require(holds: bool, fault: str) -> None:
    if not holds:
        raise ValueError(fault)
