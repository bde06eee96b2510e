"""Whether bytes are those that were stored: hashed in the background, or believed by a stamp."""

from __future__ import annotations

import json
import os
import threading
from collections import deque
from collections.abc import Iterable

from registry.blobs.files import Places, write_small
from registry.blobs.manifest import StoredTensor
from registry.canonical.signature import tensor_hasher
from registry.errors.blobs import CorruptTensors

WORKERS = max(1, min(4, os.cpu_count() or 1))
Region = tuple[StoredTensor, list[str], memoryview]


class Verification:
    """Tensors being hashed by threads over the mapping that the tensors use, the largest first."""

    def __init__(self, regions: Iterable[Region]) -> None:
        self._left = deque(sorted(regions, key=lambda region: -region[0].spec.nbytes))
        self._corrupt: list[Region] = []
        self._failures: list[BaseException] = []
        self._threads = [
            threading.Thread(target=self._work, name=f"verify-{number}", daemon=True)
            for number in range(min(WORKERS, len(self._left)))
        ]
        for thread in self._threads:
            thread.start()

    def wait(self) -> None:
        """Return when all is checked.

        Raises:
            CorruptTensors: naming the tensors of the first blob that is damaged.
        """
        for thread in self._threads:
            thread.join()
        if self._failures:
            raise self._failures[0]
        if self._corrupt:
            blob = self._corrupt[0][0].location.blob
            names = [name for stored, names, _ in self._corrupt if stored.location.blob == blob for name in names]
            raise CorruptTensors(blob, sorted(names))

    def _work(self) -> None:
        try:
            while True:
                try:
                    region = self._left.popleft()
                except IndexError:
                    return
                if not is_intact(region[0], region[2]):
                    self._corrupt.append(region)
        except BaseException as error:
            self._failures.append(error)


def is_intact(stored: StoredTensor, content: memoryview) -> bool:
    """Whether bytes have the digest that they had when they were stored."""
    hasher = tensor_hasher(stored.spec)
    hasher.update(content)
    return hasher.hexdigest() == stored.digest


def is_stamped(places: Places, blob: str, status: os.stat_result) -> bool:
    """Whether a blob was checked before and its file was not touched since; rot of the disk does not show here."""
    try:
        record = json.loads(places.stamp(blob).read_bytes())
    except (OSError, ValueError):
        return False
    return bool(record == _stamp(status))


def stamp(places: Places, blob: str, status: os.stat_result) -> None:
    """Remember that a blob was checked; a home that cannot be written is checked again next time."""
    try:
        write_small(places.stamp(blob), json.dumps(_stamp(status)).encode())
    except OSError:
        return


def _stamp(status: os.stat_result) -> list[int]:
    return [status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns]
