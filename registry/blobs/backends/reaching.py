"""What a backend of objects refuses, as errors of ours."""

from __future__ import annotations

import contextlib
import errno
from collections.abc import Iterator

from registry.blobs.objects import ObjectBackend
from registry.errors.blobs import ObjectsUnreachable, StoreUnwritable


@contextlib.contextmanager
def reached(objects: ObjectBackend) -> Iterator[None]:
    """Say as an error of ours what a backend refuses; an object or a file that is not there is the caller's to word.

    Raises:
        ObjectsUnreachable
        StoreUnwritable: a disk is full, or read-only.
    """
    try:
        yield
    except FileNotFoundError:
        raise
    except OSError as error:
        reason = error.strerror or str(error)
        if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EROFS):
            raise StoreUnwritable(error.filename or str(objects), reason, error.errno) from error
        raise ObjectsUnreachable(str(objects), reason) from error
