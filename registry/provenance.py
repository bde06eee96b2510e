"""Where a push comes from: the file's digest, the commit of the working directory, the person."""

from __future__ import annotations

import getpass
import hashlib
import socket
import subprocess
import threading
from pathlib import Path

_PIECE = 8 << 20


class FileDigest:
    """The sha256 of a file, computed in a thread of its own while the file is stored."""

    def __init__(self, path: Path | None) -> None:
        self._result: str | None = None
        self._error: OSError | None = None
        self._thread: threading.Thread | None = None
        if path is not None and path.is_file():
            self._thread = threading.Thread(target=self._run, args=(path,), name="sha256", daemon=True)
            self._thread.start()

    def _run(self, path: Path) -> None:
        digest = hashlib.sha256()
        piece = bytearray(_PIECE)
        view = memoryview(piece)
        try:
            with path.open("rb", buffering=0) as file:
                while size := file.readinto(piece):
                    digest.update(view[:size])
        except OSError as error:
            self._error = error
        self._result = digest.hexdigest()

    def result(self) -> str | None:
        """Wait for it; None for what is no single file.

        Raises:
            OSError: the file could not be read to its end.
        """
        if self._thread is None:
            return None
        self._thread.join()
        if self._error is not None:
            raise self._error
        return self._result


def git_commit(folder: Path | None = None) -> str | None:
    """Return the commit that is checked out in a folder (the working directory), or None where there is none."""
    try:
        result = subprocess.run(
            ["git", "rev-parse", "HEAD"], cwd=folder, capture_output=True, text=True, timeout=5, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return result.stdout.strip() or None if result.returncode == 0 else None


def creator() -> str:
    """Return ``user@host``."""
    try:
        user = getpass.getuser()
    except (OSError, KeyError):
        user = "unknown"
    return f"{user}@{socket.gethostname()}"
