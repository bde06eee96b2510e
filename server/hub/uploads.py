"""What is kept of the files of weights that a client uploaded, so that they can be given back bit for bit.

Their tensors are stored under canonical names, each once, as those of every version. What that loses of a file is its
header, a few kilobytes, and what belonged to a wrapper. Both are in the document ``upload`` of the version, which is no
part of what the version is.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from registry.attachments.attachment import Attachment, values_of
from registry.tensors.manifest import Manifest

KIND = "upload"


@dataclass(frozen=True)
class UploadedFile:
    """One file of weights, as it came."""

    sha256: str
    header: bytes
    """With the eight bytes of its length."""
    tensors: Sequence[str | bytes]
    """What follows the header: the canonical names of tensors, or, of what is stored otherwise, the bytes."""

    def document(self) -> dict[str, Any]:
        """Return it as plain values."""
        return {
            "sha256": self.sha256,
            "header": self.header[8:].decode(),
            "tensors": [
                each if isinstance(each, str) else {"bytes": base64.b64encode(each).decode()} for each in self.tensors
            ],
        }

    @classmethod
    def read(cls, raw: Mapping[str, Any]) -> UploadedFile:
        """Read it back."""
        text = str(raw["header"]).encode()
        tensors = [each if isinstance(each, str) else base64.b64decode(each["bytes"]) for each in raw["tensors"]]
        return cls(str(raw["sha256"]), len(text).to_bytes(8, "little") + text, tensors)


def attach(files: Mapping[str, UploadedFile]) -> Attachment:
    """Return what is kept beside a version's weights of the files that they came in, by path."""
    return Attachment(values={"files": {path: file.document() for path, file in files.items()}})


def uploaded(body: bytes | None) -> dict[str, UploadedFile]:
    """Return the files that a version's weights came in, by path; of one that was not uploaded, none."""
    if body is None:
        return {}
    return {path: UploadedFile.read(raw) for path, raw in values_of(Manifest.decode(body))["files"].items()}


def git_oid(content: bytes) -> str:
    """Return what git calls a file of this content."""
    return hashlib.sha1(b"blob %d\0" % len(content) + content, usedforsecurity=False).hexdigest()
