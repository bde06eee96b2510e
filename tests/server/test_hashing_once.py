"""A load that fetches a file hashes it as it comes; whatever is not that very file is hashed where it is mapped."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from registry import Registry
from registry.blobs.backends.local import LocalStore
from registry.blobs.verification import Hashed
from registry.client.address import ServerAddress
from registry.client.store import cache_of
from registry.errors import CorruptTensors
from registry.tensors.manifest import Location, Manifest

pytestmark = pytest.mark.services


@pytest.fixture
def pushed(client: Registry, home: Path) -> Manifest:
    entry = Registry(home).push({"a": torch.randn(70_000), "b": torch.arange(9), "c": torch.zeros(0)}, "net")
    return client.catalog.manifest_and_documents(entry)[0]


def hashed(hub: Registry, manifest: Manifest, **how: Any) -> int:
    """Return how many bytes a load hashes where they are mapped."""
    seen: list[int] = []
    hub.store.open(manifest, **how).check(lambda done, total: seen.append(total))
    return max(seen)


def test_what_was_hashed_as_it_came_is_not_hashed_where_it_is_mapped(client: Registry, pushed: Manifest) -> None:
    whole = sum(stored.spec.nbytes for stored in pushed.tensors.values())
    assert [hashed(client, pushed), hashed(client, pushed)] == [0, whole]


def test_a_copy_in_memory_is_hashed_as_a_copy(client: Registry, pushed: Manifest) -> None:
    assert hashed(client, pushed, resident=True) > 280_000


def test_once_is_once_after_a_fetch(client: Registry, pushed: Manifest) -> None:
    assert [hashed(client, pushed, verify="once") for _ in range(2)] == [0, 0]


def test_a_manifest_that_says_otherwise_than_the_file_is_not_believed(client: Registry, pushed: Manifest) -> None:
    a = pushed.tensors["a"]
    moved = replace(a, location=Location(a.location.blob, a.location.offset - 8))
    for wrong in ({"a": moved}, {"a": replace(a, digest="0" * 64)}):
        with pytest.raises(CorruptTensors):
            client.store.open(replace(pushed, tensors={**pushed.tensors, **wrong})).check()
        for path in cache_of(ServerAddress.parse(str(client.address))).glob("blobs/*/*"):
            path.unlink()


def touched(path: Path) -> None:
    times = path.stat()
    path.chmod(0o644)
    with path.open("r+b") as file:
        file.seek(-20, os.SEEK_END)
        file.write(b"\xff" * 3)
    os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))


def replaced(path: Path) -> None:
    content = path.read_bytes()
    path.unlink()
    path.write_bytes(content[:-20] + b"\xff" * 3 + content[-17:])


@pytest.mark.parametrize("done", [touched, replaced])
def test_a_file_that_is_another_one_by_the_time_it_is_mapped_is_hashed(
    client: Registry, home: Path, pushed: Manifest, done: Callable[[Path], None]
) -> None:
    here = LocalStore(home)
    (blob,) = pushed.blobs
    path = home / "blobs" / blob[:2] / f"{blob}.safetensors"
    places = {stored.digest: stored.location.offset for stored in pushed.tensors.values()}
    before = {blob: Hashed(path.stat(), places)}
    here.open_hashed(pushed, "always", before, resident=False).check()
    done(path)
    with pytest.raises(CorruptTensors):
        here.open_hashed(pushed, "always", before, resident=False).check()
