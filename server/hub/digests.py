"""The SHA-256 of files of weights, computed while nobody waits for it."""

from __future__ import annotations

import contextlib
import hashlib
import logging
import queue
import threading

from registry.catalog.file_digests import FileKey
from registry.errors.catalog import HomeReadOnly
from registry.errors.root import RegistryError
from registry.home.home import Home

from .content import pieces
from .files import HubFile

_log = logging.getLogger("registry.server.hub")
_MOST_WAITING = 1000


class FileHasher:
    """Knows what files hash to, and finds it out for those that were asked for, one at a time."""

    def __init__(self, home: Home) -> None:
        self._home = home
        self._known: dict[FileKey, str] = {}
        self._asked: set[FileKey] = set()
        self._waiting: queue.Queue[HubFile | None] = queue.Queue(_MOST_WAITING)
        self._thread: threading.Thread | None = None
        self._lock = threading.Lock()
        self._closed = threading.Event()

    def known(self, file: HubFile) -> HubFile:
        """Return a version's file with its SHA-256 if that is known; else it will be."""
        key = file.key
        if key is None:
            return file
        sha256 = self._known.get(key) or self._home.database.file_sha256(key)
        if sha256 is None:
            self._ask(key, file)
        elif len(self._known) < 100 * _MOST_WAITING:
            self._known[key] = sha256
        return file.known_as(sha256)

    def close(self) -> None:
        """Stop, in the middle of a file if need be."""
        self._closed.set()
        if self._thread is not None:
            with contextlib.suppress(queue.Full):  # then it does not wait
                self._waiting.put_nowait(None)
            self._thread.join()

    def _ask(self, key: FileKey, file: HubFile) -> None:
        with self._lock:
            if key in self._asked or self._closed.is_set() or self._waiting.full():
                return
            self._asked.add(key)
            self._waiting.put(file)
            if self._thread is None:
                self._thread = threading.Thread(target=self._work, name="file digests", daemon=True)
                self._thread.start()

    def _work(self) -> None:
        while (file := self._waiting.get()) is not None and not self._closed.is_set():
            assert file.key is not None
            try:
                self._hash(file.key, file)
            except RegistryError as error:
                _log.error("%s was not hashed: %s", file.path, error)
            with self._lock:
                self._asked.discard(file.key)

    def _hash(self, key: FileKey, file: HubFile) -> None:
        digest = hashlib.sha256()
        for piece in pieces(self._home, file):
            if self._closed.is_set():
                return
            digest.update(piece)
        self._known[key] = digest.hexdigest()
        with contextlib.suppress(HomeReadOnly):  # it is known to this process then
            self._home.database.note_file_sha256(key, digest.hexdigest())
