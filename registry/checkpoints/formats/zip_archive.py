"""Zip archives, whose directory is checked: every member lies inside of the file and apart from the others.

What torch.save writes is stored as it is. Members that another tool deflated are inflated when they are read; what
they may become together is in proportion to the file.
"""

from __future__ import annotations

import struct
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass

from isal import isal_zlib

from registry.checkpoints.containers import MOST_EXPANSION, SMALL
from registry.checkpoints.inflating import Scratch
from registry.checkpoints.mapping import Span, SpanReader
from registry.errors.checkpoints import DamagedCheckpoint, NotACheckpoint, OversizedCheckpoint
from registry.tensors.budget import BASE, EACH, Budget

MAGIC = b"PK\x03\x04"
_EACH = 8
"""Bytes of objects that a directory may become for each byte of its archive."""
_LOCAL_HEADER = struct.Struct("<4s22xHH")


@dataclass(frozen=True, slots=True)
class Member:
    """One file of an archive."""

    content: Span
    crc: int | None
    """None where the writer left the CRC out (``torch.serialization.set_crc32_options(False)``)."""
    packed: int
    """Bytes that it takes in the archive."""

    @property
    def is_deflated(self) -> bool:
        """Whether it becomes another number of bytes when it is read."""
        return self.packed != len(self.content)

    def checked(self, source: str, name: str, most: int) -> bytes:
        """Return its bytes after comparing them with the CRC.

        Raises:
            DamagedCheckpoint: they have another one, or are more than any model has.
            OversizedCheckpoint: it is compressed to less than what it says could be.
        """
        if len(self.content) > most:
            raise DamagedCheckpoint(source, f"its '{name}' is larger than any model's")
        if self.is_deflated and len(self.content) > BASE + EACH * self.packed:
            raise OversizedCheckpoint(source, f"its '{name}' inflates to {len(self.content)} bytes from {self.packed}")
        content = self.content.read()
        if self.crc is not None and isal_zlib.crc32(content) != self.crc:
            raise DamagedCheckpoint(source, f"the checksum of '{name}' does not fit its bytes")
        return content


def read_directory(content: Span, source: str) -> list[zipfile.ZipInfo]:
    """Return what an archive says of its members, which may be anything.

    Raises:
        DamagedCheckpoint: it cannot be read.
    """
    try:
        # An entry takes 47 bytes or more, and becomes objects of 1,200; `ZipFile` reads the directory at once.
        longest = Budget(len(content), _EACH).limit // 25
        return zipfile.ZipFile(SpanReader(content, longest)).infolist()
    except (zipfile.BadZipFile, OSError, ValueError, struct.error, NotImplementedError, OverflowError) as error:
        raise DamagedCheckpoint(source, f"its zip directory cannot be read ({str(error)[:80]})") from error


def members_of(entries: Sequence[zipfile.ZipInfo], content: Span, source: str) -> dict[str, Member]:
    """Return the members by name, each inside the file and apart from the others.

    Raises:
        DamagedCheckpoint: the directory contradicts the file, or itself.
        NotACheckpoint: they are encrypted, or compressed in a way that is not read here, or something precedes them.
        OversizedCheckpoint: they inflate to more than any model of that size.
    """
    if (before := min((entry.header_offset for entry in entries), default=0)) > 0:
        # Another reader takes another archive for the file's, as torch does.
        what = f"a zip archive behind {before} other bytes, as where one checkpoint was appended to another"
        raise NotACheckpoint(source, what, "save each to a file of its own", stands_for=True)
    _refuse_inflation(entries, len(content), source)
    members: dict[str, Member] = {}
    scratch = Scratch(source)
    end = 0
    for entry in sorted(entries, key=lambda entry: entry.header_offset):
        name = entry.filename
        if name in members:
            raise DamagedCheckpoint(source, f"its archive holds '{name[:60]}' twice")
        begin = _data_offset(content, entry, source)
        if entry.header_offset < end:
            raise DamagedCheckpoint(source, f"'{name[:60]}' overlaps another member of the archive")
        end = begin + entry.compress_size
        is_stored = entry.compress_type == zipfile.ZIP_STORED
        if (is_stored and entry.compress_size != entry.file_size) or end > len(content):
            raise DamagedCheckpoint(source, f"'{name[:60]}' reaches beyond the end of the archive")
        part = content.part(begin, end)
        if not is_stored:
            part = scratch.part(part, entry.file_size, name)
        members[name] = Member(part, entry.CRC or None, entry.compress_size)
    return members


def _refuse_inflation(entries: Sequence[zipfile.ZipInfo], nbytes: int, source: str) -> None:
    """Refuse what cannot be inflated here, or should not be."""
    if any(entry.flag_bits & 1 for entry in entries):
        raise NotACheckpoint(source, "an encrypted zip archive", "unpack it with its password", stands_for=True)
    deflated = [entry for entry in entries if entry.compress_type != zipfile.ZIP_STORED]
    if any(entry.compress_type != zipfile.ZIP_DEFLATED for entry in deflated):
        kinds = {zipfile.ZIP_BZIP2: "bzip2", zipfile.ZIP_LZMA: "LZMA", 93: "zstd"}
        kind = next(entry.compress_type for entry in deflated if entry.compress_type != zipfile.ZIP_DEFLATED)
        what = f"a zip archive compressed with {kinds.get(kind, f'method {kind}')}, which torch.save never does"
        raise NotACheckpoint(source, what, "unpack it and pack it again with zip -0 -r", stands_for=True)
    if (size := sum(entry.file_size for entry in deflated)) > MOST_EXPANSION * nbytes + SMALL:
        raise OversizedCheckpoint(source, f"it inflates to {size} bytes from {nbytes}")


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
