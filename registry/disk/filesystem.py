"""Which file system a folder is on: SQLite's write-ahead log needs a local disk."""

from __future__ import annotations

import contextlib
import re
from dataclasses import dataclass
from pathlib import Path

_MOUNTS = Path("/proc/self/mountinfo")

_NETWORK = (
    frozenset({"9p", "acfs", "afs", "beegfs", "ceph", "cifs", "coda", "davfs", "gfs2", "glusterfs", "gpfs", "lustre"})
    | frozenset({"ncpfs", "nfs", "nfs4", "ocfs2", "orangefs", "panfs", "prl_fs", "pvfs2", "smb2", "smb3", "smbfs"})
    | frozenset({"vboxsf", "virtiofs", "vmhgfs", "weka", "wekafs"})
)
"""Types whose files other machines may have open; memory that two of them map is not the same memory."""


@dataclass(frozen=True)
class FileSystem:
    """The mount that a folder is on."""

    type: str
    """The kernel's word: ``"ext4"``, ``"nfs4"``; ``"unknown"`` where the kernel does not say."""
    mount_point: str

    @property
    def is_network(self) -> bool:
        # A FUSE file system may be anything (sshfs, gcsfuse, juicefs); only block devices behind it are surely local.
        return self.type in _NETWORK or self.type == "fuse" or self.type.startswith("fuse.")


def detect(folder: Path) -> FileSystem:
    """Return the file system of a folder, which need not exist yet."""
    with contextlib.suppress(OSError):
        return find(folder.resolve(), _MOUNTS.read_text(errors="surrogateescape"))
    return FileSystem("unknown", "/")


def find(folder: Path, mountinfo: str) -> FileSystem:
    """Return the innermost mount of an absolute path, from the text of ``/proc/self/mountinfo``."""
    found = FileSystem("unknown", "/")
    for line in mountinfo.splitlines():
        before, separator, after = line.partition(" - ")
        fields = before.split(" ")
        if not separator or len(fields) < 5:
            continue
        mount_point = re.sub(r"\\([0-7]{3})", lambda match: chr(int(match[1], 8)), fields[4])
        # A later line of the same depth covers an earlier one, hence not less than.
        if folder.is_relative_to(mount_point) and len(mount_point) >= len(found.mount_point):
            found = FileSystem(after.split(" ")[0], mount_point)
    return found
