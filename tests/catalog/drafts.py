"""Versions to put into a catalog: small manifests that differ by a seed."""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from blake3 import blake3

from registry.catalog.catalog import Catalog
from registry.catalog.entry import Entry
from registry.catalog.facts import Facts
from registry.catalog.version import NewVersion
from registry.tensors.manifest import BlobRecord, Location, Manifest, StoredTensor
from registry.tensors.spec import TensorSpec

if TYPE_CHECKING:
    from databases import Place


def digest(*seed: object) -> str:
    return blake3(repr(seed).encode()).hexdigest()


def weights(seed: object, **facts: Any) -> tuple[Manifest, list[BlobRecord]]:
    """Return a manifest of two tensors in one new blob."""
    blob = digest("blob", seed)
    tensors = {
        name: StoredTensor(TensorSpec("float32", (2, 3)), digest("tensor", seed, name), Location(blob, 64 * i))
        for i, name in enumerate(("fc.weight", "fc.bias"))
    }
    return Manifest(tensors, **facts), [BlobRecord(blob, 128)]


def push(catalog: Catalog, name: str, seed: object, *, force_new: bool = False, **facts: Any) -> Entry:
    manifest, blobs = weights(seed)
    return catalog.add_version(new_version(name, manifest, **facts), manifest, blobs, force_new=force_new)


def new_version(name: str, manifest: Manifest, **said: Any) -> NewVersion:
    """Return a version of some weights, of which facts, metrics, tags, aliases and documents are said."""
    beside = {key: said.pop(key) for key in ("metrics", "tags", "aliases", "documents") if key in said}
    return NewVersion(name, Facts(**said, **manifest.counts()), **beside)


def race(work: Callable[..., object], arguments: Sequence[tuple[Any, ...]]) -> None:
    """Run a function in a process for each of several arguments, all released at once, and demand that all succeed."""
    context = multiprocessing.get_context("fork")
    barrier = context.Barrier(len(arguments))
    processes = [context.Process(target=_released, args=(barrier, work, *given)) for given in arguments]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    assert [process.exitcode for process in processes] == [0] * len(processes)


def _released(barrier: Any, work: Callable[..., None], *given: Any) -> None:
    barrier.wait()
    work(*given)


def push_many(home: Place, who: int, count: int, pushed: Callable[[], object] = lambda: None) -> None:
    catalog = Catalog(home, actor=f"racer{who}")
    for i in range(count):
        push(catalog, "raced", (who, i), metrics={"acc": i / count}, aliases=["last"])
        pushed()
