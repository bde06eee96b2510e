"""Tensors copied out of blobs."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import torch

from registry.blobs.files import StoreFolders, fill, opened
from registry.blobs.verification import WORKERS
from registry.errors.blobs import StoreUnreadable
from registry.tensors.manifest import Manifest, StoredTensor
from registry.tensors.memory import content


class Copies:
    """A version's tensors in memory of this process, which no change of the files reaches any more.

    They are read and not mapped, so that a file which is cut meanwhile is an error and no signal.

    Args:
        places: of the store.
        manifest: what to read.

    Raises:
        DamagedBlob: a blob is missing, no regular file, or shorter than the manifest says.
        StoreUnreadable: the system refuses.
    """

    def __init__(self, places: StoreFolders, manifest: Manifest) -> None:
        self.status: dict[str, os.stat_result] = {}
        self._tensors: dict[StoredTensor, torch.Tensor] = {}
        for blob, tensors in manifest.by_blob().items():
            path = places.blob(blob)
            with opened(path, blob) as (handle, self.status[blob]), ThreadPoolExecutor(WORKERS) as workers:
                once = list(dict.fromkeys(tensors.values()))
                try:
                    read = list(workers.map(partial(_read, handle), once))
                except OSError as error:
                    raise StoreUnreadable(path, error.strerror or str(error)) from error
                self._tensors.update(zip(once, read, strict=True))

    def tensor(self, stored: StoredTensor) -> torch.Tensor:
        """Return what was read for a stored tensor."""
        return self._tensors[stored]

    def content(self, stored: StoredTensor) -> memoryview:
        """Return the bytes of that memory."""
        return content(self.tensor(stored))


def _read(handle: int, stored: StoredTensor) -> torch.Tensor:
    """Return a tensor's bytes in memory of their own."""
    tensor = torch.empty(stored.spec.shape, dtype=getattr(torch, stored.spec.dtype), device="cpu")
    fill(handle, content(tensor), stored.location.offset, stored.location.blob)
    return tensor
