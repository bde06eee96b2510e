"""The format of ``torch.save`` before torch 1.6, still written with ``_use_new_zipfile_serialization=False``.

Five pickles in a row (magic number, protocol, facts of the machine, the object, the keys of its storages), then the
storages in the order of the keys: an int64 count of elements and the elements, at any address.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from registry.checkpoints.inventory import text_of
from registry.checkpoints.mapping import Span
from registry.checkpoints.pickles.torch_vocabulary import CHECKPOINT, StorageType, TypedStorage
from registry.checkpoints.pickles.unpickling import unpickle
from registry.checkpoints.pickles.vocabulary import BadPickle, Truncated, label
from registry.checkpoints.tensors import Storage
from registry.errors.checkpoints import DamagedCheckpoint
from registry.tensors.dtypes import ALL_ITEM_SIZES

MAGIC_NUMBER = 0x1950A86A20F9469CFC6C
PROTOCOL = 1001

LARGEST_PICKLES = 1 << 30
_REACHES = (1 << 18, 1 << 22, 1 << 26)
"""Bytes of the file that are looked at for its pickles, until they end inside."""


def begins_legacy(head: bytes) -> bool:
    """Return whether the first pickle is the magic number (its bytes depend on the pickle protocol)."""
    try:
        return bool(unpickle(head[:64], CHECKPOINT)[0] == MAGIC_NUMBER)
    except BadPickle:
        return False


def read_torch_legacy(content: Span, source: str) -> Any:
    """Return the inert value of a file that ``torch.save`` wrote in its old format.

    Raises:
        DamagedCheckpoint: the file contradicts itself or ends too early.
    """
    # Where the pickles end and the storages begin is known only at the end of the pickles.
    for reach in (*_REACHES, len(content)):
        head = content.read(0, min(reach, LARGEST_PICKLES))
        try:
            return _read(head, content, source)
        except Truncated as error:
            if len(head) < min(len(content), LARGEST_PICKLES):
                continue
            raise DamagedCheckpoint(source, str(error)) from error
        except BadPickle as error:
            raise DamagedCheckpoint(source, str(error)) from error
    raise AssertionError("unreachable")


def _read(head: bytes, content: Span, source: str) -> Any:
    _, position = unpickle(head, CHECKPOINT)
    protocol, position = unpickle(head, CHECKPOINT, position=position)
    if protocol != PROTOCOL:
        raise BadPickle("it has an unknown version of the format")
    machine, position = unpickle(head, CHECKPOINT, position=position)
    little = machine.get("little_endian", True) if isinstance(machine, Mapping) else True
    storages = _Storages(source, big_endian=little is False)
    value, position = unpickle(head, CHECKPOINT, storages.resolve, position)
    keys, position = unpickle(head, CHECKPOINT, position=position)
    if not isinstance(keys, list):
        raise BadPickle("the list of its storages is missing")
    storages.locate(keys, content, position)
    return value


class _Storages:
    """The storages of one file, by the persistent ids of its pickle; their bytes come after it."""

    def __init__(self, source: str, big_endian: bool) -> None:
        self._source = source
        self._big_endian = big_endian
        self._found: dict[str, tuple[Storage, str]] = {}

    def resolve(self, pid: Any) -> Any:
        if not isinstance(pid, tuple) or not pid:
            raise BadPickle("it refers to something that is not a storage")
        if pid[0] in ("module", b"module") and len(pid) > 1:
            # The class of a pickled module, beside the text of its source; the class alone is what is meant.
            return pid[1]
        if pid[0] not in ("storage", b"storage") or len(pid) < 5:
            raise BadPickle("it refers to something that is not a storage")
        kind, key, _, numel, *view = pid[1:]
        if not isinstance(kind, StorageType) or not isinstance(key, (str, int)):
            raise BadPickle(f"it refers to a storage of an unknown type ({label(kind)})")
        item = ALL_ITEM_SIZES[kind.dtype]
        storage, _ = self._found.setdefault(
            str(key), (Storage(self._source, str(key), _count(numel) * item, big_endian=self._big_endian), kind.dtype)
        )
        if storage.nbytes != numel * item:
            raise BadPickle(f"storage '{key}' has two sizes")
        start, length = 0, storage.nbytes
        if view and view[0] is not None:
            if not isinstance(view[0], tuple) or len(view[0]) != 3:
                raise BadPickle("a view of a storage is none")
            start, length = _count(view[0][1]) * item, _count(view[0][2]) * item
            if start + length > storage.nbytes:
                raise BadPickle(f"a view of storage '{key}' reaches beyond its end")
        return TypedStorage(storage, kind.dtype, start, length)

    def locate(self, keys: list[Any], content: Span, position: int) -> None:
        """Give each storage its bytes, in the order of ``keys``."""
        for key in keys:
            storage, dtype = self._found.get(text_of(key), (None, ""))
            if storage is None or storage.content is not None:
                raise BadPickle(f"storage '{text_of(key)[:40]}' is listed twice or not used")
            count = int.from_bytes(content.read(position, position + 8), "little", signed=True)
            position += 8
            if count * ALL_ITEM_SIZES[dtype] != storage.nbytes:
                raise BadPickle(f"storage '{key}' has another size than the pickle says")
            storage.content = content.part(position, position + storage.nbytes)
            if len(storage.content) != storage.nbytes:
                raise BadPickle(f"it ends inside of storage '{key}'")
            position += storage.nbytes
        missing = next((key for key, (storage, _) in self._found.items() if storage.content is None), None)
        if missing is not None:
            raise BadPickle(f"the bytes of storage '{missing}' are missing")


def _count(value: Any) -> int:
    if type(value) is not int or not 0 <= value < 1 << 60:
        raise BadPickle("it refers to a storage without a size")
    return value
