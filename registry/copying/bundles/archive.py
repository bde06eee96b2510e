"""The tar file of a bundle: which members stand where, and what the blocks before them are. Pure.

Everything but the bodies follows from the sizes of the members, so a reader compares each block with the one that it
would have written. Whatever else a tar file may hold (links, devices, sparse files, paths that lead elsewhere, a second
member of one name) is another block, and refused without being understood.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

BLOCK = 512
END = bytes(2 * BLOCK)
"""What a tar file ends with."""

INDEX = "bundle.json"
_LARGEST_IN_OCTAL = 8**11 - 1


@dataclass(frozen=True)
class Member:
    """One file in a bundle."""

    name: str
    size: int
    offset: int
    """Of its body, in bytes from the beginning of the bundle."""

    @property
    def head(self) -> bytes:
        """The blocks before it."""
        return head(self.name, self.size)

    @property
    def end(self) -> int:
        """Behind the zeros that fill its last block."""
        return self.offset + padded(self.size)


def version_name(number: int) -> str:
    """Return the name of the document of a version, counted from 1."""
    return f"versions/{number:06}.json"


def blob_name(digest: str) -> str:
    """Return the name of a file of tensors."""
    return f"blobs/{digest}.safetensors"


def padded(size: int) -> int:
    """Return the bytes of the blocks that a body takes."""
    return -(-size // BLOCK) * BLOCK


def layout(sizes: Sequence[tuple[str, int]]) -> list[Member]:
    """Return the members of a bundle, one behind the other."""
    members = []
    at = 0
    for name, size in sizes:
        member = Member(name, size, at + len(head(name, size)))
        members.append(member)
        at = member.end
    return members


def head(name: str, size: int) -> bytes:
    """Return what stands before a body: a ustar header, and of 8 GiB and more a pax record of the size."""
    if size <= _LARGEST_IN_OCTAL:
        return _ustar(name, size, b"0")
    record = f"size={size}\n"
    length = len(record) + 3
    while len(f"{length} {record}") != length:
        length += 1
    record = f"{length} {record}"
    return _ustar("pax", len(record), b"x") + record.encode().ljust(BLOCK, b"\0") + _ustar(name, 0, b"0")


def index_size(block: bytes) -> int:
    """Return the size of a bundle's first member, from the block before it.

    Raises:
        ValueError: the file does not begin as a bundle does.
    """
    digits = block[124:135]
    if len(block) < BLOCK or not digits.isdigit() or any(digit not in b"01234567" for digit in digits):
        raise ValueError("it does not begin as a bundle does")
    size = int(digits, 8)
    if block != head(INDEX, size):
        raise ValueError("it does not begin as a bundle does")
    return size


def _ustar(name: str, size: int, kind: bytes) -> bytes:
    fields = (
        name.encode().ljust(100, b"\0"),
        b"0000644\0",
        b"0000000\0" * 2,  # of root's, as nobody's
        b"%011o\0" % size,
        b"00000000000\0",  # in 1970
        b" " * 8,  # the checksum, while it is computed
        kind,
        bytes(100),
        b"ustar\x0000",
        bytes(64),
        b"0000000\0" * 2,
        bytes(155 + 12),
    )
    block = b"".join(fields)
    return block[:148] + b"%06o\0 " % sum(block) + block[156:]
