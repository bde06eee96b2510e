"""Making folders and files so that they survive a power cut and a team's members can work with them."""

from __future__ import annotations

import contextlib
import errno
import os
import stat
import uuid
from pathlib import Path


def share(path: Path) -> None:
    """Give the group what it may do in the folder above, if that is a team's: one that hands its group on (setgid).

    A colleague whose umask takes that away would make folders and a database that the others cannot write to.
    """
    try:
        above, own = path.parent.stat().st_mode, path.lstat().st_mode
        if above & stat.S_ISGID and not stat.S_ISLNK(own):
            wanted = own | (above & (stat.S_IRWXG if stat.S_ISDIR(own) else stat.S_IRGRP | stat.S_IWGRP))
            if wanted != own:
                path.chmod(stat.S_IMODE(wanted))
    except OSError:
        pass  # it is somebody else's, who alone may change that


def is_at(handle: int, path: Path) -> bool:
    """Whether an open file is the one at a path, and was not moved, replaced or deleted.

    Raises:
        OSError: that cannot be told.
    """
    try:
        return os.path.samestat(os.fstat(handle), path.stat())
    except FileNotFoundError:
        return False


def write_small(path: Path, content: bytes) -> None:
    """Replace a small file, whole or not at all; it need not survive a power cut."""
    make_folder(path.parent, durable=False)
    for is_last in (False, False, True):
        temporary = path.with_name(f"{path.name}.{uuid.uuid4().hex}.part")
        try:
            temporary.write_bytes(content)
            share(temporary)
            temporary.rename(path)
            return
        except FileNotFoundError:
            # A collection took it for a leftover: before the record has its name, nothing says whose it is.
            if is_last:
                raise
        except BaseException:
            with contextlib.suppress(OSError):
                temporary.unlink()
            raise


def make_folder(folder: Path, *, durable: bool = True) -> None:
    """Make a folder of the store where it is not there yet.

    Args:
        durable: wait for the disk, since what will be in it has to survive a power cut.

    Raises:
        OSError: the folder above is gone (a home is made by its catalog alone), or something else is in its place.
    """
    with contextlib.suppress(FileNotFoundError):
        if stat.S_ISLNK(folder.lstat().st_mode):
            raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), str(folder))
        return
    with contextlib.suppress(FileExistsError):  # another push was faster
        folder.mkdir()
        share(folder)
    if durable:
        sync_folder(folder.parent)


def sync_folder(folder: Path) -> None:
    """Make the names in a folder durable."""
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
