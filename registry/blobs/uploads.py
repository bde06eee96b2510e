"""Blobs that come in over a network, in pieces, from somebody who is not believed.

Who begins an upload says the blob's name and the digests of its tensors, in order. As soon as the header is there, the
name is computed from it and from these; then each tensor is hashed while the piece comes that has its last byte. So a
flipped byte is found in the piece that makes its tensor whole, each byte is hashed once, and nothing has to be kept in
memory between two pieces, which different processes may receive. A piece counts when it has come as a whole and was
checked: what is behind it in the file, of one that broke off, is written over by the next.

The record of an upload is a lease, so that a collection takes neither the file while it grows, nor the blob until its
version is committed. When the lease runs out, both are garbage.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
from collections.abc import Generator, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from registry.blobs.backends.local import LocalStore, worded
from registry.blobs.files import fill, is_file, viewed
from registry.blobs.layout import blob_digest, read_slots
from registry.blobs.running import TimedLease
from registry.disk.folders import is_at, make_folder
from registry.disk.writing import Outflow
from registry.errors.blobs import StoreUnwritable
from registry.errors.client import FalseClaim, UploadElsewhere, UploadGone
from registry.tensors.safetensors import LARGEST_HEADER, TensorExtent
from registry.tensors.spec import is_digest, tensor_hasher

LEASE_SECONDS = 3600.0
"""How long an upload counts after its last piece, and its blob without a version."""

MOST_TENSORS = 1_000_000

_PIECE = 1 << 20
"""Bytes read at a time to be hashed."""


@dataclass(frozen=True)
class Upload:
    """A blob while it comes in."""

    id: str
    blob: str
    nbytes: int
    tensors: tuple[str, ...]
    """Their digests, in the order of the file."""
    received: int = 0
    """How many bytes have come and were checked."""
    user: str | None = None
    """Who sends it."""

    @property
    def is_whole(self) -> bool:
        return self.received == self.nbytes


class Uploads:
    """What comes into one store."""

    def __init__(self, store: LocalStore) -> None:
        self._store = store

    def begin(
        self, blob: str, nbytes: int, tensors: Sequence[str], user: str | None = None, *, may_be_there: bool = True
    ) -> Upload:
        """Begin one; of a blob that is there already, it is whole at once.

        Args:
            may_be_there: whether that may be told, and no byte asked for.

        Raises:
            FalseClaim: it cannot be a blob.
            StoreUnwritable: there is no room for it.
        """
        if not is_digest(blob) or not all(map(is_digest, tensors)) or len(tensors) > MOST_TENSORS:
            raise FalseClaim("a digest is 64 hexadecimal digits in lower case")
        if not 8 < nbytes < 1 << 62:
            raise FalseClaim(f"a file of {nbytes} bytes")
        with worded(self._store.places.home):
            upload = Upload(TimedLease(self._store.places.running).id, blob, nbytes, tuple(tensors), user=user)
            self._note(upload)  # first, so that a collection does not take what is there
            path = self._store.places.blob(blob)
            if may_be_there and is_file(path) and path.stat().st_size == nbytes:
                self._compare(upload)
                upload = replace(upload, received=nbytes)
                self._note(upload)
            elif nbytes > self._store.free_bytes():
                self.end(upload)
                raise StoreUnwritable(self._store.places.home, os.strerror(errno.ENOSPC), errno.ENOSPC)
        return upload

    def find(self, id: str, user: str | None = None) -> Upload:
        """Return an upload of this user.

        Raises:
            UploadGone: there is none.
            StoreUnwritable: that cannot be told.
        """
        with worded(self._store.places.home):
            notes = TimedLease(self._store.places.running, id).read() if _is_id(id) else None
        if notes is None:
            raise UploadGone(str(id)[:64])
        upload = Upload(id, **{**notes, "tensors": tuple(notes["tensors"])})  # type: ignore[arg-type]
        if upload.user != user:
            raise UploadGone(id)
        return upload

    @contextlib.contextmanager
    def piece(self, upload: Upload, begin: int, nbytes: int | None = None) -> Iterator[Piece]:
        """Take a piece; it counts when this is left without an error.

        Args:
            nbytes: that will come, where that is known: it is then hashed while it comes.

        Raises:
            UploadElsewhere: it does not begin where the last one ended, or another one is coming in.
            FalseClaim, StoreUnwritable: it is not what was said, or there is no room; nothing is left of the upload.
        """
        with worded(self._store.places.home):
            make_folder(self._store.places.temporary)
            flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
            handle = os.open(self._path(upload), flags, 0o600)
        try:
            # Only who has the lock takes the file's name away, so that what is written here is what is at the path.
            if not _is_locked(handle, self._path(upload)):
                raise UploadElsewhere(upload.id, upload.received)
            try:
                upload = self.find(upload.id, upload.user)
                if begin != upload.received or upload.is_whole:
                    raise UploadElsewhere(upload.id, upload.received)
                piece = Piece(handle, upload, None if nbytes is None else begin + nbytes)
                yield piece
                piece.check()
                self.find(upload.id, upload.user)  # or it was given up meanwhile
                with worded(self._store.places.home):
                    if piece.end == upload.nbytes:
                        self._store.adopt(self._path(upload), upload.blob)
                    self._note(replace(upload, received=piece.end))
            except (FalseClaim, StoreUnwritable, UploadGone):  # not what was said, no room for it, or given up
                with contextlib.suppress(StoreUnwritable), worded(self._store.places.home):
                    TimedLease(self._store.places.running, upload.id).release()
                    self._path(upload).unlink(missing_ok=True)
                raise
        finally:
            os.close(handle)

    def end(self, upload: Upload) -> None:
        """Let go of an upload; what has not become a blob is gone, once no piece of it comes in any more."""
        with worded(self._store.places.home):
            TimedLease(self._store.places.running, upload.id).release()
            path = self._path(upload)
            try:
                handle = os.open(path, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW)
            except FileNotFoundError:
                return
            try:
                if _is_locked(handle, path):
                    path.unlink()
            finally:
                os.close(handle)

    def _compare(self, upload: Upload) -> None:
        """Compare what is said of a blob with the one that is there: its name proves which tensors it has.

        Raises:
            FalseClaim
        """
        try:
            with viewed(self._store.places.blob(upload.blob), upload.blob) as content, content[:8] as head:
                length = int.from_bytes(head, "little")
                with content[: 8 + min(length, LARGEST_HEADER)] as whole:
                    _slots(bytes(whole), upload)
        except FalseClaim:
            self.end(upload)
            raise

    def _path(self, upload: Upload) -> Path:
        return self._store.places.temporary / f"{upload.id}.part"

    def _note(self, upload: Upload) -> None:
        notes = asdict(upload)
        TimedLease(self._store.places.running, notes.pop("id")).write(upload.blob, LEASE_SECONDS, notes)


class Piece:
    """A piece while it is written, and checked as far as it has come.

    Args:
        expected: where in the file it will end, where that was said: it is believed no further than it holds.
    """

    def __init__(self, handle: int, upload: Upload, expected: int | None) -> None:
        self._handle = handle
        self._upload = upload
        self._expected = expected
        self._out = Outflow(handle, upload.received)
        self._check = None if expected is None else _begun(handle, upload, expected)

    @property
    def end(self) -> int:
        """Where in the file it ends by now."""
        return self._out.at

    def write(self, content: memoryview) -> None:
        """Write what has come.

        Raises:
            FalseClaim: it is more than was said, or not what was said.
            StoreUnwritable
        """
        if self.end + len(content) > self._upload.nbytes:
            raise FalseClaim(f"more than {self._upload.nbytes} bytes were sent")
        with worded("the upload"):
            self._out.write(content)
        if self._check is not None:
            self._check.send((content, self.end))

    def check(self) -> None:
        """Check what was not checked as it came.

        Raises:
            FalseClaim: it is not what was said.
        """
        if self._expected is None or self.end > self._expected:
            _begun(self._handle, self._upload, self.end).send((memoryview(b""), self.end))


_Check = Generator[None, tuple[memoryview, int]]


def _begun(handle: int, upload: Upload, last: int) -> _Check:
    check = _checked(handle, upload, last)
    next(check)
    return check


def _checked(handle: int, upload: Upload, last: int) -> _Check:
    """Check what becomes whole by a piece: the header with the name, then each tensor.

    It is sent what has just come and where in the file that ends; what came before is read from there.

    Args:
        last: where the piece will end.

    Raises:
        FalseClaim
    """
    content, came = yield
    while came < 8:
        content, came = yield
    length = int.from_bytes(_read(handle, 0, 8), "little")
    if length > min(LARGEST_HEADER, upload.nbytes - 8):
        raise FalseClaim("its header is too long")
    while came < 8 + length:
        content, came = yield
    start, slots = _slots(bytes(_read(handle, 0, 8 + length)), upload)
    memory = memoryview(bytearray(_PIECE))
    for slot, digest in zip(slots, upload.tensors, strict=True):
        at, end = start + slot.offset, start + slot.end
        if not (upload.received < end <= last or (at == end and upload.received < start)):
            continue
        hasher = tensor_hasher(slot.spec)
        while at < end:
            while came <= at:
                content, came = yield
            begin = came - len(content)
            if at < begin:
                piece = memory[: min(begin, end) - at]
                fill(handle, piece, at, "upload")
            else:
                piece = content[at - begin : end - begin]
            hasher.update(piece)
            at += len(piece)
        if hasher.hexdigest() != digest:
            raise FalseClaim(f"the bytes of '{slot.key[:60]}' have another digest, so they changed on the way")
    while True:
        yield


def _slots(head: bytes, upload: Upload) -> tuple[int, list[TensorExtent]]:
    """Read a header that has come, and compare it with what was said of the blob."""
    try:
        start, slots = read_slots(memoryview(head))
    except ValueError as error:
        raise FalseClaim(f"the file {error}") from None
    if len(slots) != len(upload.tensors) or blob_digest(head, upload.tensors) != upload.blob:
        raise FalseClaim("the file is not the one that its name says")
    at = 0
    for slot in slots:
        if slot.offset != at:
            raise FalseClaim("the tensors in the file do not follow each other")
        at = slot.end
    if start + at != upload.nbytes:
        raise FalseClaim("the file is not as long as its header says")
    return start, slots


def _read(handle: int, begin: int, nbytes: int) -> bytearray:
    content = bytearray(nbytes)
    fill(handle, memoryview(content), begin, "upload")
    return content


def _is_locked(handle: int, path: Path) -> bool:
    """Lock a file, unless another one has it locked; say whether that is done, and the file is still at its path."""
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return is_at(handle, path)


def _is_id(text: object) -> bool:
    return isinstance(text, str) and len(text) == 32 and all(c in "0123456789abcdef" for c in text)
