"""The zip format of ``torch.save`` (torch 1.6 and later).

An archive of members under one folder: ``data.pkl``, the pickle, and ``data/0``, ``data/1``, ..., the storages that it
refers to. Its directory, every storage's bounds and CRC are checked; ``torch.load`` checks none of the CRCs. One that
was unpacked and packed again is read, too: deflated, under another folder, or under none.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from registry.checkpoints.formats.other_archives import PICKLE, other_archive
from registry.checkpoints.formats.zip_archive import Member, members_of, read_directory
from registry.checkpoints.mapping import Span
from registry.checkpoints.pickles.torch_vocabulary import CHECKPOINT, StorageType, TypedStorage
from registry.checkpoints.pickles.unpickling import unpickle
from registry.checkpoints.pickles.vocabulary import BadPickle, label
from registry.checkpoints.tensors import Storage
from registry.errors.checkpoints import DamagedCheckpoint, NotACheckpoint
from registry.tensors.budget import EACH, Budget
from registry.tensors.dtypes import ALL_ITEM_SIZES

LARGEST_PICKLE = 1 << 30
NEWEST_VERSION = 10
"""Of the format, as of torch 2.13: ``kMaxSupportedFileFormatVersion`` in caffe2/serialize/versions.h."""
_EACH_DEFLATED = 16 * EACH
"""Bytes of objects for each byte of a pickle that is deflated, which shrinks the names of tensors tenfold."""


def read_torch_zip(content: Span, source: str, budget: Budget | None = None) -> Any:
    """Return the inert value of a file that ``torch.save`` wrote.

    ``budget`` is for what several files may become together, by default one for the pickle.

    Raises:
        DamagedCheckpoint: the archive or the pickle contradicts itself.
        NotACheckpoint: it is an archive of something else.
        TorchScriptArchive: ``torch.jit.save`` wrote it.
        OversizedCheckpoint: it inflates to more than any model of that size.
    """
    entries = read_directory(content, source)
    if (other := other_archive([entry.filename for entry in entries], source)) is not None:
        raise other
    members = members_of(entries, content, source)
    folder = _folder(members)
    if folder is None:
        raise DamagedCheckpoint(source, "it is a zip archive without the one data.pkl that torch.save writes")
    _check_version(source, members.get(f"{folder}version"))
    storages = _Storages(source, members, folder)
    member = members[f"{folder}{PICKLE}"]
    pickled = member.checked(source, PICKLE, LARGEST_PICKLE)
    if member.is_deflated and budget is None:
        budget = Budget(member.packed, _EACH_DEFLATED)
    try:
        return unpickle(pickled, CHECKPOINT, storages.resolve, budget=budget)[0]
    except BadPickle as error:
        raise DamagedCheckpoint(source, str(error)) from error


def _folder(names: Iterable[str]) -> str | None:
    """Return the folder of the one pickle that lies less deeply than any other; None of none, or of several."""
    folders = [name.removesuffix(PICKLE) for name in names if name.rpartition("/")[2] == PICKLE]
    least = min((folder.count("/") for folder in folders), default=0)
    outer = [folder for folder in folders if folder.count("/") == least]
    return outer[0] if len(outer) == 1 else None


def _check_version(source: str, member: Member | None) -> None:
    """Refuse what a torch to come wrote: what it means by the same records, nobody here knows."""
    version = member.checked(source, "version", 100).strip() if member is not None else b""
    if version.isdigit() and int(version) > NEWEST_VERSION:
        what = f"an archive of format {int(version)}, and {NEWEST_VERSION} is the newest that is known here"
        raise NotACheckpoint(source, what, "upgrade the registry, or save it again with an older torch")


class _Storages:
    """The storages of one archive, by the persistent ids of its pickle."""

    def __init__(self, source: str, members: Mapping[str, Member], folder: str) -> None:
        self._source = source
        self._members = members
        self._folder = folder
        self._found: dict[str, Storage] = {}
        order = members.get(f"{folder}byteorder")
        word = order.checked(source, "byteorder", 100) if order else b"little"
        if word not in (b"little", b"big"):
            raise DamagedCheckpoint(source, f"its byte order is {word[:20]!r}")
        self._big_endian = word == b"big"

    def resolve(self, pid: Any) -> TypedStorage:
        if not isinstance(pid, tuple) or len(pid) < 5 or pid[0] not in ("storage", b"storage"):
            raise BadPickle("it refers to something that is not a storage")
        kind, key, _, numel = pid[1:5]
        if not isinstance(kind, StorageType) or not isinstance(key, str):
            raise BadPickle(f"it refers to a storage of an unknown type ({label(kind)})")
        if type(numel) is not int or numel < 0:
            raise BadPickle("it refers to a storage without a size")
        storage = self._found.get(key)
        if storage is None:
            storage = self._found[key] = self._locate(key)
        nbytes = numel * ALL_ITEM_SIZES[kind.dtype]
        if nbytes != storage.nbytes:
            raise BadPickle(f"storage '{key}' should have {nbytes} bytes and has {storage.nbytes}")
        return TypedStorage(storage, kind.dtype, 0, nbytes)

    def _locate(self, key: str) -> Storage:
        member = self._members.get(f"{self._folder}data/{key}")
        if member is None:
            raise BadPickle(f"storage '{key[:40]}' is missing in the archive")
        return Storage(self._source, key, len(member.content), member.content, member.crc, self._big_endian)
