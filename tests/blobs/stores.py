"""Stores of every kind, and what is stored in them: weights whose versions a set of manifests stands for."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import torch

from registry.blobs.backends.cached import CachedStore
from registry.blobs.backends.folder import FolderBackend
from registry.blobs.backends.local import LocalStore
from registry.blobs.backends.memory import MemoryBackend
from registry.blobs.objects import ObjectBackend
from registry.blobs.store import BlobStore
from registry.blobs.writer import Stored
from registry.inspection import Question, examine
from registry.tensors.manifest import Location, Manifest
from registry.tensors.source import TensorSource


@dataclass
class Kind:
    """A store, with the folder of this machine that it maps from, and where its objects are, if that is elsewhere."""

    store: BlobStore
    cache: Path
    objects: ObjectBackend | None = None

    def file(self, blob: str) -> Path:
        return self.cache / "blobs" / blob[:2] / f"{blob}.safetensors"

    def lose(self, blob: str) -> None:
        """Take a blob away wherever it is."""
        self.file(blob).unlink()
        if self.objects is not None:
            self.objects.delete(blob)

    def flip(self, blob: str, offset: int) -> None:
        """Flip a bit of a blob where it is mapped."""
        path = self.file(blob)
        content = bytearray(path.read_bytes())
        content[offset] ^= 1
        path.chmod(0o600)
        path.write_bytes(content)


def local(folder: Path) -> Kind:
    (folder / "home").mkdir()
    return Kind(LocalStore(folder / "home"), folder / "home")


def cached_over_a_folder(folder: Path) -> Kind:
    (folder / "objects").mkdir()
    return cached(folder, FolderBackend(folder / "objects"))


def cached_over_memory(folder: Path) -> Kind:
    return cached(folder, MemoryBackend())


def cached(folder: Path, objects: ObjectBackend, *, young_seconds: float = 0, cache: str = "cache") -> Kind:
    (folder / cache).mkdir()
    store = CachedStore(LocalStore(folder / cache), objects, young_seconds=young_seconds)
    return Kind(store, folder / cache, objects)


def cached_over_s3(folder: Path) -> Kind:
    """In a place of the bucket that ``REGISTRY_TEST_BUCKET`` names, which the test has for itself."""
    from registry.blobs.backends.objects import BucketBackend

    return cached(folder, BucketBackend(f"{os.environ['REGISTRY_TEST_BUCKET']}/{folder.name}"))


KINDS: dict[str, Callable[[Path], Kind]] = {
    "local": local,
    "cached over a folder": cached_over_a_folder,
    "cached over memory": cached_over_memory,
    "cached over s3": cached_over_s3,
}


@dataclass
class Known:
    """What a catalog would know: where tensors are, and which blobs are needed."""

    places: dict[str, Location] = field(default_factory=dict)
    blobs: set[str] = field(default_factory=set)

    def locate(self, digests: Iterable[str]) -> Mapping[str, Location]:
        return {digest: self.places[digest] for digest in digests if digest in self.places}

    def commit(self, stored: Stored) -> Manifest:
        manifest = Manifest(stored.tensors)
        self.places |= {tensor.digest: tensor.location for tensor in stored.tensors.values()}
        self.blobs |= manifest.blobs
        return manifest


def weights(seed: int) -> dict[str, torch.Tensor]:
    """Return a backbone that all share, and a head of its own."""
    draw = torch.Generator().manual_seed(seed)
    return {
        "backbone.weight": torch.arange(64.0).reshape(8, 8),
        "head.weight": torch.randn(4, 8, generator=draw),
        "head.scale": torch.randn(5, generator=draw).to(torch.bfloat16),
    }


def sources(state: Mapping[str, torch.Tensor]) -> Mapping[str, TensorSource]:
    return examine(dict(state), Question()).tensors


def push(store: BlobStore, known: Known, seed: int) -> Manifest:
    with store.transfer() as transfer:
        stored = transfer.write(sources(weights(seed)), known.locate)
        assert transfer.missing(stored.new_blobs) == []
        return known.commit(stored)


def check(store: BlobStore, manifest: Manifest, seed: int) -> None:
    """What a manifest names is read back, mapped and copied, and nothing is wrong with it."""
    for resident in (False, True):
        opened = store.open(manifest, resident=resident)
        opened.check()
        assert opened.tensors.keys() == weights(seed).keys()
        assert all(torch.equal(tensor, weights(seed)[name]) for name, tensor in opened.tensors.items())
    assert store.faults(manifest, {}) == {}
    assert all(store.examine_blob(blob, {}).fault is None for blob in manifest.blobs)
