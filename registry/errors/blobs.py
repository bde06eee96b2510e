"""Errors of the store: bytes that are not there, not what they were, or cannot be written."""

from __future__ import annotations

import errno
from collections.abc import Sequence
from pathlib import Path

from registry.errors.canonical import some
from registry.errors.root import RegistryError

_AUDIT = "run `registry audit --repair`, with --source FILE if you still have the file that was pushed"


class DamagedBlob(RegistryError):
    """A blob, or what its tensors hash to, is not what was stored."""

    def __init__(self, blob: str, why: str, names: Sequence[str] = ()) -> None:
        holding = f", which holds {some(names)}" if names else ""
        super().__init__(f"the stored file {blob[:12]}….safetensors{holding} {why}; {_AUDIT}")
        self.blob, self.names = blob, tuple(names)


class AbsentBlob(DamagedBlob):
    """A blob was asked for by its digest, and is not stored, or is not the asker's to read."""

    def __init__(self, blob: str) -> None:
        RegistryError.__init__(
            self,
            f"there is no stored file {blob[:12]}….safetensors here that may be read; ask for the version again, and "
            "if it is still named, run `registry audit` where it is stored",
        )
        self.blob, self.names = blob, ()


class CorruptTensors(DamagedBlob):
    """The bytes of tensors have another digest than when they were stored."""

    def __init__(self, blob: str, names: Sequence[str]) -> None:
        RegistryError.__init__(
            self,
            f"the bytes of {some(names)} are not those that were stored (file {blob[:12]}….safetensors): "
            f"the file changed on disk, so nothing was loaded; {_AUDIT}",
        )
        self.blob, self.names = blob, tuple(names)


class StoreUnwritable(RegistryError):
    """Nothing can be written to the home; what was stored before is as it was."""

    def __init__(self, path: str | Path, reason: str, number: int | None) -> None:
        """Word what the system reported: its text, and its ``errno``."""
        super().__init__(f"cannot write to {path}: {_way_out(reason, number)}; nothing was stored")


class StoreUnreadable(RegistryError):
    """A file of the store cannot be opened."""

    def __init__(self, path: str | Path, reason: str) -> None:
        super().__init__(f"cannot read {path}: {reason}; check the permissions of the home")


class ObjectsUnreachable(RegistryError):
    """Where the objects of a store are kept does not answer, or refuses."""

    def __init__(self, where: str, reason: str) -> None:
        super().__init__(
            f"cannot reach the objects in {where}: {reason}; check that it is there, and that you may use it"
        )


def _way_out(reason: str, number: int | None) -> str:
    if number in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
        what = "the disk is full" if number == errno.ENOSPC else "the quota or file size limit is reached"
        return f"{what}; free some space (`registry gc` empties the trash) and push again"
    if number in (errno.EACCES, errno.EPERM):
        return "permission denied; make the folder writable, or choose another with --home"
    if number == errno.EROFS:
        return "the file system is read-only; choose another home with --home"
    if number == errno.ELOOP:
        return "a symbolic link is in its place, and the store follows none; put the folder itself there"
    if number in (errno.ENOENT, errno.ENOTDIR):
        return "the folder is gone; check that its disk is mounted and push again"
    return f"{reason}; check the disk and push again"
