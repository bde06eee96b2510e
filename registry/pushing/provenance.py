"""Where a push comes from: the files' digest, date and publisher, and the commit of the working directory."""

from __future__ import annotations

import os
import re
import subprocess
import threading
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

from blake3 import blake3

from registry.checkpoints.mapping import OpenedFile, is_regular, status_of
from registry.checkpoints.weights import Checkpoint
from registry.errors.intake import ChangedCheckpoint

PIECE = 1 << 20
"""Bytes hashed at a time, which a cache of the processor holds."""

_COMMIT = re.compile("[0-9a-f]{40}|[0-9a-f]{64}")


_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_HUB_FOLDER = "models--"
"""What the cache of huggingface_hub calls the folder of a repository begins with."""


def source_files(checkpoint: Checkpoint) -> tuple[OpenedFile, ...]:
    """Return the files that a checkpoint is: those of its weights, and what is kept with them of its folder.

    Raises:
        UnopenableCheckpoint: one of them cannot be opened any more.
    """
    folder = Path(checkpoint.source)
    beside = [folder / name for name in checkpoint.training if name in checkpoint.beside]
    beside += [folder / name for name in (*checkpoint.documents.config, *checkpoint.documents.tokenizer)]
    places = [inner for place in beside for inner in (sorted(place.glob("*")) if place.is_dir() else [place])]
    known = {file.path for file in checkpoint.files}
    others = [place for place in places if place not in known and is_regular(place) and status_of(place).st_size]
    return (*checkpoint.files, *map(OpenedFile, others))


def saved_at(files: Iterable[OpenedFile]) -> str | None:
    """Return when the newest of some files was written, ISO 8601 in UTC; None where there is none."""
    newest = max((file.modified for file in files), default=None)
    try:
        moment = None if newest is None else _EPOCH + timedelta(microseconds=newest // 1000)
    except OverflowError:  # a date that no calendar has
        return None
    return moment.isoformat(timespec="seconds") if moment is not None else None


def published_at(path: str | os.PathLike[str]) -> str | None:
    """Return where a file or folder in the cache of huggingface_hub was published: ``"hf:owner/name@revision"``.

    The cache has ``models--owner--name/snapshots/REVISION/file``, a link to the bytes; links that lead there count.
    """
    place = Path(path).absolute()
    for _ in range(20):
        parts = place.parts
        for repository, word, revision in zip(parts, parts[1:], parts[2:], strict=False):
            if word == "snapshots" and repository.startswith(_HUB_FOLDER) and repository != _HUB_FOLDER:
                return f"hf:{repository.removeprefix(_HUB_FOLDER).replace('--', '/')}@{revision}"
        if not place.is_symlink():
            return None
        place = place.parent / place.readlink()
    return None


class SourceDigest:
    """The digest of what is pushed, by BLAKE3, computed in a thread of its own while it is stored.

    It is of the files that are being read, also where others have taken their paths. What is stored already needs
    none, and hashing takes longer than finding that out; so it starts only when asked.
    """

    def __init__(self, files: Sequence[OpenedFile] = ()) -> None:
        """Take the files.

        Args:
            files: one, whose digest it is then, ``"blake3:…"``; or several, each with its path from the first's folder,
                ``"blake3-files:…"``; or none.
        """
        self.files = files
        self._is_stopped = False
        self._is_settled = False
        self._result: str | None = None
        self._error: BaseException | None = None
        self._thread: threading.Thread | None = None

    @property
    def is_of_files(self) -> bool:
        """Whether there are any; an object in memory has none."""
        return bool(self.files)

    def start(self) -> None:
        """Begin, unless it was begun."""
        if self.files and self._thread is None:
            self._thread = threading.Thread(target=self._run, name="source digest", daemon=True)
            try:
                self._thread.start()
            except RuntimeError:  # there are as many as may be, or the interpreter ends
                self._run()

    def stop(self) -> None:
        """Have nothing more hashed, since nothing more will be stored."""
        self._is_stopped = True

    def settle(self) -> None:
        """Wait for it now: what is pushed has been read, and the files may be written to from now on.

        Raises:
            ChangedCheckpoint, UnopenableCheckpoint: they were already, or one could not be read to its end.
        """
        self.result()
        self.check()
        self._is_settled = True

    def check(self) -> None:
        """Refuse what was written to while it was read.

        Raises:
            ChangedCheckpoint
        """
        for file in () if self._is_settled else self.files:
            if file.is_changed():
                raise ChangedCheckpoint(str(file.path))

    def _run(self) -> None:
        try:
            digests = [self._digest(file) for file in self.files]
        except BaseException as error:
            self._error = error
            return
        if len(digests) == 1:
            self._result = f"blake3:{digests[0]}"
            return
        base = self.files[0].path.absolute().parent
        names = [os.path.relpath(file.path.absolute(), base) for file in self.files]
        lines = sorted(f"{digest} {os.fsencode(name).hex()}\n" for name, digest in zip(names, digests, strict=True))
        self._result = f"blake3-files:{blake3(''.join(lines).encode()).hexdigest()}"

    def result(self) -> str | None:
        """Wait for it; None for what is in no file.

        Raises:
            ChangedCheckpoint, UnopenableCheckpoint: a file could not be read to its end.
        """
        self.start()
        if self._thread is None:
            return None
        if self._thread.is_alive():
            self._thread.join()
        if self._error is not None:
            raise self._error
        return self._result

    def _digest(self, file: OpenedFile) -> str:
        digest = blake3()
        for begin in range(0, file.size, PIECE):
            if self._is_stopped:
                break
            digest.update(file.read(begin, min(PIECE, file.size - begin)))
        return digest.hexdigest()


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
