"""Where a push comes from: the file's digest, and the commit of the working directory."""

from __future__ import annotations

import os
import re
import subprocess
import threading
from pathlib import Path

from blake3 import blake3

from registry.checkpoints.mapping import OpenedFile

PIECE = 1 << 20
"""Bytes hashed at a time, which a cache of the processor holds."""

_COMMIT = re.compile("[0-9a-f]{40}|[0-9a-f]{64}")


class FileDigest:
    """The digest of a file, by BLAKE3, computed in a thread of its own while the file is stored.

    It is of the file that is being read, also where another one has taken its path. What is stored already needs
    none, and hashing takes longer than finding that out; so it starts only when asked.
    """

    def __init__(self, file: OpenedFile | None) -> None:
        self._file = file
        self._result: str | None = None
        self._error: BaseException | None = None
        self._thread: threading.Thread | None = None

    @property
    def is_of_a_file(self) -> bool:
        """Whether there is one; a folder or an object in memory has none."""
        return self._file is not None

    def start(self) -> None:
        """Begin, unless it was begun."""
        if self._file is not None and self._thread is None:
            self._thread = threading.Thread(target=self._run, args=(self._file,), name="source digest", daemon=True)
            self._thread.start()

    def _run(self, file: OpenedFile) -> None:
        digest = blake3()
        try:
            for begin in range(0, file.size, PIECE):
                digest.update(file.read(begin, min(PIECE, file.size - begin)))
        except BaseException as error:
            self._error = error
        self._result = f"blake3:{digest.hexdigest()}"

    def result(self) -> str | None:
        """Wait for it; None for what is no single file.

        Raises:
            ChangedCheckpoint, UnopenableCheckpoint: the file could not be read to its end.
        """
        self.start()
        if self._thread is None:
            return None
        self._thread.join()
        if self._error is not None:
            raise self._error
        return self._result


def git_commit(folder: Path | None = None) -> str | None:
    """Return the commit that is checked out in a folder (the working directory), or None where there is none.

    The repository's own files are read where they say it: starting git takes longer than a small push.
    """
    folder = (folder or Path.cwd()).absolute()
    if "GIT_DIR" in os.environ:
        return _commit_by_git(folder)
    marker = next((place / ".git" for place in (folder, *folder.parents) if (place / ".git").exists()), None)
    if marker is None:
        return None
    try:
        commit = _commit_in_files(marker)
    except (OSError, UnicodeDecodeError):
        commit = None
    return commit or _commit_by_git(folder)


def _commit_in_files(marker: Path) -> str | None:
    """Return what HEAD names; None for what only git can read, such as packed references."""
    directory = common = marker
    if marker.is_file():  # of a worktree or a submodule: where the directory is
        directory = common = marker.parent / marker.read_text().removeprefix("gitdir:").strip()
        if (directory / "commondir").exists():
            common = directory / (directory / "commondir").read_text().strip()
    named = (directory / "HEAD").read_text().strip()
    if named.startswith("ref:"):
        named = (common / named.removeprefix("ref:").strip()).read_text().strip()
    return named if _COMMIT.fullmatch(named) else None


def _commit_by_git(folder: Path) -> str | None:
    try:
        result = subprocess.run(
            ["git", "rev-parse", "HEAD"], cwd=folder, capture_output=True, text=True, timeout=5, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return result.stdout.strip() or None if result.returncode == 0 else None
