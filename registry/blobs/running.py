"""Leases in a folder: which pushes are running, so that a collection takes nothing that one of them is about to use.

A running push has a file ``running/<id>.json`` that says which blobs it has written, and holds a lock on it. The kernel
drops the lock with the process, so a killed push leaves none behind, and it tells so in every container: numbers of
processes mean something in their own namespace alone. Where there are no locks, or on another machine, which may not
see them, the file says which process it is; and whoever cannot ask for that believes the file for a day.

A push over HTTP has no process here. Its file says until when it counts, which every piece that comes in moves on.
"""

from __future__ import annotations

import contextlib
import fcntl
import functools
import json
import os
import socket
import time
import uuid
from collections.abc import Collection, Iterable, Mapping
from pathlib import Path

from registry.blobs.leases import Held, Lease, Leases
from registry.disk.folders import make_folder, share, write_small

BELIEVED_SECONDS = 24 * 3600.0
"""How long a file counts whose process cannot be asked after."""


class FileLease(Lease):
    """The file of one push, or of one collection."""

    def __init__(self, folder: Path) -> None:
        self._id = uuid.uuid4().hex
        self._path = folder / f"{self._id}.json"
        self._blobs: list[str] = []
        self._doomed: list[str] = []
        self._handle: int | None = None

    @property
    def id(self) -> str:
        return self._id

    def claim(self, *blobs: str) -> None:
        self._blobs += blobs
        self._write()

    def doom(self, blobs: Iterable[str]) -> None:
        self._doomed += blobs
        self._write()

    def release(self) -> None:
        try:
            self._path.unlink(missing_ok=True)
        finally:
            self._let_go()

    def _write(self) -> None:
        make_folder(self._path.parent, durable=False)
        record = {**_self(os.getpid()), "blobs": self._blobs, "doomed": self._doomed}
        for is_last in (False, False, True):
            try:
                self._replace(record)
                return
            except FileNotFoundError:
                # A collection took it for a leftover: before the record has its name, nothing says whose it is.
                if is_last:
                    raise

    def _replace(self, record: dict[str, object]) -> None:
        """Put a new file, which is locked already, in the place of the one that was locked until now."""
        temporary = self._path.with_name(f"{self._path.name}.{uuid.uuid4().hex}.part")
        handle = os.open(temporary, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW, 0o666)
        try:
            with contextlib.suppress(OSError):  # there are file systems without locks
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                # Where it is the same to whoever asks, the lock is seen there, too.
                record = {**record, "device": os.fstat(handle).st_dev}
            with open(handle, "wb", closefd=False) as file:
                file.write(json.dumps(record).encode())
            share(temporary)
            temporary.rename(self._path)
        except BaseException:
            os.close(handle)
            with contextlib.suppress(OSError):
                temporary.unlink()
            raise
        self._let_go()
        self._handle = handle

    def _let_go(self) -> None:
        if self._handle is not None:
            os.close(self._handle)
            self._handle = None


class TimedLease:
    """The file of a push that comes in over HTTP, in pieces that any process may receive.

    Args:
        id: of one that is there; by default a new one.
    """

    def __init__(self, folder: Path, id: str | None = None) -> None:
        self.id = id if id is not None else uuid.uuid4().hex
        self._path = folder / f"{self.id}.json"

    def write(self, blob: str, seconds: float, notes: Mapping[str, object]) -> None:
        """Claim a blob for so long from now on, and keep what is to be known of the push."""
        until = time.time() + seconds
        write_small(self._path, json.dumps({"until": until, "blobs": [blob], "doomed": [], "notes": notes}).encode())

    def read(self) -> dict[str, object] | None:
        """Return what is to be known of the push; None where it is over.

        Raises:
            OSError: that cannot be told.
        """
        try:
            record = json.loads(self._path.read_bytes())
        except (FileNotFoundError, ValueError):
            return None
        notes = record.get("notes") if isinstance(record, dict) and _counts(record) else None
        return notes if isinstance(notes, dict) else None

    def release(self) -> None:
        """Let go of the blob."""
        self._path.unlink(missing_ok=True)


class FileLeases(Leases):
    """The files of a folder."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def lease(self) -> FileLease:
        return FileLease(self._folder)

    def held(self) -> Held:
        records = {path.stem: record for path in self._folder.glob("*.json") if (record := _alive(path)) is not None}
        written, doomed = (_digests(records.values(), key) for key in ("blobs", "doomed"))
        return Held(frozenset(records), written, doomed)


def _digests(records: Iterable[dict[str, object]], key: str) -> frozenset[str]:
    """Return what the records of a key say; what a stranger wrote there, as far as it can be read."""
    lists = (record.get(key) for record in records)
    return frozenset(str(blob) for blobs in lists if isinstance(blobs, Collection) for blob in blobs)


def _alive(path: Path) -> dict[str, object] | None:
    """Return what the file of a running push says; None for one that is over."""
    while True:
        try:
            handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
        except FileNotFoundError:
            return None
        except OSError:
            return {} if _is_young(path) else None
        try:
            is_locked = _is_locked(handle)
            record = _read(handle)
            if _counts(record) if "until" in record else is_locked or _may_run(record, path, os.fstat(handle).st_dev):
                return record
            # The push may have put another file in its place, and let this one go.
            with contextlib.suppress(OSError):
                if path.stat().st_ino != os.fstat(handle).st_ino:
                    continue
            return None
        finally:
            os.close(handle)


def _is_locked(handle: int) -> bool:
    try:
        fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        return False
    return False


def _read(handle: int) -> dict[str, object]:
    try:
        with open(handle, "rb", closefd=False) as file:
            record = json.loads(file.read())
    except (OSError, ValueError):
        return {}
    return record if isinstance(record, dict) else {}


def _counts(record: Mapping[str, object]) -> bool:
    """Whether the time has not come yet until which a record counts."""
    until = record.get("until")
    return isinstance(until, (int, float)) and time.time() < until


def _may_run(record: dict[str, object], path: Path, device: int) -> bool:
    """Whether a push may be running that is seen to hold no lock: it could have none, or none that is seen here."""
    own = _self(os.getpid())
    if (record.get("boot") or record.get("host")) != (own["boot"] or own["host"]):
        return _is_young(path)
    if record.get("device") == device:
        return False
    if (record.get("host"), record.get("pids")) != (own["host"], own["pids"]):
        return _is_young(path)
    pid = record.get("pid")
    return isinstance(pid, int) and record.get("started") == _started(pid)


def _is_young(path: Path) -> bool:
    try:
        return time.time() - path.stat().st_mtime < BELIEVED_SECONDS
    except OSError:
        return False


@functools.lru_cache(maxsize=1)
def _self(pid: int) -> dict[str, object]:
    """Say which process this is; ``pid``, its own, is another one in a fork.

    The boot tells a machine's kernel from every other one and from itself after a restart; the namespace tells where
    the number means this process.
    """
    boot, pids = "", ""
    with contextlib.suppress(OSError):
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        pids = str(Path("/proc/self/ns/pid").readlink())
    return {"host": socket.gethostname(), "boot": boot, "pids": pids, "pid": pid, "started": _started(pid)}


def _started(pid: int) -> str | None:
    """Return when a process began, which tells it from a later one with its number; None if there is none."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return _exists(pid) if not Path("/proc/self/stat").exists() else None
    fields = stat.rpartition(")")[2].split()
    # A killed process that its parent has not waited for yet is still listed.
    return None if fields[0] in "ZX" else fields[19]


def _exists(pid: int) -> str | None:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return None
    except PermissionError:
        pass
    return "running"
