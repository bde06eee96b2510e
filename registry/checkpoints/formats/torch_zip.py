"""The zip format of ``torch.save`` (torch 1.6 and later).

An archive of stored members under one folder: ``data.pkl``, the pickle, and ``data/0``, ``data/1``, ..., the storages
it refers to. Its directory, every storage's bounds and CRC are checked; ``torch.load`` checks none of the CRCs.
"""

from __future__ import annotations

import struct
import zipfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from isal import isal_zlib

from registry.checkpoints.mapping import Span, SpanReader
from registry.checkpoints.pickles.torch_vocabulary import CHECKPOINT, StorageType, TypedStorage
from registry.checkpoints.pickles.unpickling import unpickle
from registry.checkpoints.pickles.vocabulary import BadPickle, label
from registry.checkpoints.tensors import Storage
from registry.errors.canonical import some
from registry.errors.checkpoints import DamagedCheckpoint, NotACheckpoint, TorchScriptArchive
from registry.reference import is_named_like_a_file
from registry.tensors.budget import Budget
from registry.tensors.dtypes import ALL_ITEM_SIZES

MAGIC = b"PK\x03\x04"
LARGEST_PICKLE = 1 << 30
NEWEST_VERSION = 10
"""Of the format, as of torch 2.13: ``kMaxSupportedFileFormatVersion`` in caffe2/serialize/versions.h."""
_EACH = 8
"""Bytes of objects that a directory may become for each byte of its archive."""
_LOCAL_HEADER = struct.Struct("<4s22xHH")


@dataclass(frozen=True, slots=True)
class Member:
    """One stored file of an archive."""

    content: Span
    crc: int | None
    """None where the writer left the CRC out (``torch.serialization.set_crc32_options(False)``)."""

    def checked(self, source: str, name: str, most: int) -> bytes:
        """Return its bytes after comparing them with the CRC."""
        if len(self.content) > most:
            raise DamagedCheckpoint(source, f"its '{name}' is larger than any model's")
        content = self.content.read()
        if self.crc is not None and isal_zlib.crc32(content) != self.crc:
            raise DamagedCheckpoint(source, f"the checksum of '{name}' does not fit its bytes")
        return content


def _other_archive(members: Iterable[str], source: str) -> NotACheckpoint:
    """Return the error that says what a zip archive is that torch.save did not write."""
    names = sorted(members)
    weights = [name for name in names if is_named_like_a_file(name)]
    remedy = f"unpack it and push the file inside that has the weights ({some(weights)})" if weights else "unpack it"
    return NotACheckpoint(source, f"a zip archive of other files ({some(names)})", remedy)


def read_torch_zip(content: Span, source: str, budget: Budget | None = None) -> Any:
    """Return the inert value of a file that ``torch.save`` wrote.

    ``budget`` is for what several files may become together, by default one for the pickle.

    Raises:
        DamagedCheckpoint: the archive or the pickle contradicts itself.
        NotACheckpoint: it is an archive of something else.
        TorchScriptArchive: ``torch.jit.save`` wrote it.
    """
    members = _members(content, source)
    folders = [name.removesuffix("data.pkl") for name in members if name.endswith("/data.pkl")]
    folders = [folder for folder in folders if folder.count("/") == 1]
    if len(folders) != 1:
        raise DamagedCheckpoint(source, "it is a zip archive without the one data.pkl that torch.save writes")
    folder = folders[0]
    _check_version(source, members.get(f"{folder}version"))
    storages = _Storages(source, members, folder)
    pickled = members[f"{folder}data.pkl"].checked(source, "data.pkl", LARGEST_PICKLE)
    try:
        return unpickle(pickled, CHECKPOINT, storages.resolve, budget=budget)[0]
    except BadPickle as error:
        raise DamagedCheckpoint(source, str(error)) from error


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


def _members(content: Span, source: str) -> dict[str, Member]:
    """Return the archive's members by name, each inside the file and apart from the others."""
    try:
        # An entry takes 47 bytes or more, and becomes objects of 1,200; `ZipFile` reads the directory at once.
        longest = Budget(len(content), _EACH).limit // 25
        entries = zipfile.ZipFile(SpanReader(content, longest)).infolist()
    except (zipfile.BadZipFile, OSError, ValueError, struct.error, NotImplementedError, OverflowError) as error:
        raise DamagedCheckpoint(source, f"its zip directory cannot be read ({str(error)[:80]})") from error
    if any(entry.filename.endswith("/constants.pkl") for entry in entries):
        raise TorchScriptArchive(source)
    if not any(entry.filename.endswith("data.pkl") for entry in entries):
        raise _other_archive([entry.filename for entry in entries], source)
    members: dict[str, Member] = {}
    end = 0
    for entry in sorted(entries, key=lambda entry: entry.header_offset):
        name = entry.filename
        if name in members:
            raise DamagedCheckpoint(source, f"its archive holds '{name[:60]}' twice")
        if entry.compress_type != zipfile.ZIP_STORED or entry.flag_bits & 1:
            raise DamagedCheckpoint(source, f"'{name[:60]}' is compressed or encrypted, which torch.save never does")
        begin = _data_offset(content, entry, source)
        if entry.header_offset < end:
            raise DamagedCheckpoint(source, f"'{name[:60]}' overlaps another member of the archive")
        end = begin + entry.file_size
        if entry.compress_size != entry.file_size or end > len(content):
            raise DamagedCheckpoint(source, f"'{name[:60]}' reaches beyond the end of the archive")
        members[name] = Member(content.part(begin, end), entry.CRC or None)
    return members


def _data_offset(content: Span, entry: zipfile.ZipInfo, source: str) -> int:
    """Return where a member's bytes begin: behind its own header, whose padding only that header knows."""
    if entry.header_offset < 0:
        raise DamagedCheckpoint(source, f"the header of '{entry.filename[:60]}' lies before the archive")
    header = content.read(entry.header_offset, entry.header_offset + _LOCAL_HEADER.size + len(entry.orig_filename) * 4)
    if len(header) < _LOCAL_HEADER.size:
        raise DamagedCheckpoint(source, f"the header of '{entry.filename[:60]}' lies beyond the end of the archive")
    magic, name_length, extra_length = _LOCAL_HEADER.unpack_from(header)
    begin = entry.header_offset + _LOCAL_HEADER.size
    name = header[_LOCAL_HEADER.size : _LOCAL_HEADER.size + name_length]
    if magic != MAGIC or name != entry.orig_filename.encode("utf-8" if entry.flag_bits & 0x800 else "cp437"):
        raise DamagedCheckpoint(source, f"the header of '{entry.filename[:60]}' is not where the directory says")
    return int(begin + name_length + extra_length)
