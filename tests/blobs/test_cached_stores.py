"""Objects behind a cache: what is fetched is checked, what is pushed is put before it is committed."""

from __future__ import annotations

import errno
import os
import shutil
import time
import traceback
from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path

import pytest
import torch
from stores import Known, cached, check, push, sources, weights

from registry import Registry
from registry.blobs.backends.cached import CachedStore
from registry.blobs.backends.folder import FolderBackend
from registry.blobs.backends.local import LocalStore
from registry.blobs.backends.memory import MemoryBackend
from registry.blobs.backends.streaming import stream
from registry.blobs.objects import Moved, ObjectBackend, unmoved
from registry.blobs.running import FileLeases
from registry.blobs.shared_leases import SharedLeases
from registry.catalog.catalog import Catalog
from registry.errors import DamagedBlob, LeaseLost, ObjectsUnreachable
from registry.tensors.manifest import Manifest


class Refusing(MemoryBackend):
    """A server that can be reached or not."""

    refuses = False

    def put(self, digest: str, path: Path) -> None:
        self._check()
        super().put(digest, path)

    def fetch(self, digest: str, path: Path) -> None:
        self._check()
        super().fetch(digest, path)

    def has(self, digest: str) -> bool:
        self._check()
        return super().has(digest)

    def _check(self) -> None:
        if self.refuses:
            raise ConnectionRefusedError(errno.ECONNREFUSED, "connection refused")


def hub_over(home: Path, objects: ObjectBackend, *, young_seconds: float = 0) -> Registry:
    hub = Registry(home)
    hub.list() if home.exists() else None
    hub._home.__dict__["blobs"] = CachedStore(LocalStore(home), objects, young_seconds=young_seconds)
    return hub


def replace_object(objects: ObjectBackend, blob: str, content: bytes, folder: Path) -> None:
    (folder / "replacement").write_bytes(content)
    objects.put(blob, folder / "replacement")


def test_another_machine_loads_what_one_has_pushed(tmp_path: Path) -> None:
    objects, known = MemoryBackend(), Known()
    manifests = [push(cached(tmp_path, objects).store, known, 1)]
    other = cached(tmp_path, objects, cache="other")
    manifests.append(push(other.store, known, 2))
    third = cached(tmp_path, objects, cache="third")
    for seed, manifest in zip((1, 2), manifests, strict=True):
        check(third.store, manifest, seed)
    assert manifests[0].blobs < manifests[1].blobs, "the backbone was pushed by one and found by the other"


def test_what_is_fetched_is_checked_before_it_is_in_the_cache(tmp_path: Path) -> None:
    objects, known = MemoryBackend(), Known()
    first = cached(tmp_path, objects)
    manifest = push(first.store, known, 1)
    (blob,) = manifest.blobs
    content = bytearray(first.file(blob).read_bytes())
    content[-1] ^= 1
    replace_object(objects, blob, bytes(content), tmp_path)
    other = cached(tmp_path, objects, cache="other")
    with pytest.raises(DamagedBlob, match="does not hold what its name says"):
        other.store.open(manifest, "never")
    assert other.store.faults(manifest, {})[blob] == ["the bytes of 'head.scale' are not those that were stored"]
    assert not other.file(blob).exists()
    assert [path for path in other.cache.rglob("*") if path.is_file()] == []


def test_a_damaged_object_is_made_again_by_the_next_push_of_its_weights(tmp_path: Path) -> None:
    objects, known = MemoryBackend(), Known()
    manifest = push(cached(tmp_path, objects).store, known, 1)
    (blob,) = manifest.blobs
    replace_object(objects, blob, b"rotten", tmp_path)
    other = cached(tmp_path, objects, cache="other")
    with other.store.transfer() as transfer:
        stored = transfer.write(sources(weights(1)), known.locate)
        assert transfer.missing(stored.new_blobs) == []
    assert stored.unsound == {blob}
    check(cached(tmp_path, objects, cache="third").store, Manifest(stored.tensors), 1)


def test_a_push_does_not_share_what_only_its_cache_has(tmp_path: Path) -> None:
    objects, known = MemoryBackend(), Known()
    kind = cached(tmp_path, objects)
    manifest = push(kind.store, known, 1)
    objects.delete(next(iter(manifest.blobs)))
    assert "is missing in memory" in str(kind.store.examine_blob(next(iter(manifest.blobs)), {}).fault)
    again = push(kind.store, known, 1)
    check(cached(tmp_path, objects, cache="other").store, again, 1)


def test_a_damaged_cache_is_repaired_from_the_object(tmp_path: Path) -> None:
    objects, known = MemoryBackend(), Known()
    kind = cached(tmp_path, objects)
    manifest = push(kind.store, known, 1)
    (blob,) = manifest.blobs
    whole = kind.file(blob).read_bytes()
    kind.file(blob).chmod(0o600)
    kind.file(blob).write_bytes(b"\0" * len(whole))
    layout = kind.store.layout(blob, [])
    assert layout is not None, "the header of the object tells"
    found = kind.store.copies(list(layout.tensors(blob)))
    kind.store.quarantine(blob, keep=True)
    with kind.store.transfer() as transfer:
        transfer.rebuild(blob, layout, found)
    assert kind.file(blob).read_bytes() == whole


def test_a_young_object_stays_also_in_the_cache(tmp_path: Path) -> None:
    """Its push may run on a machine whose leases are not seen."""
    objects, known = MemoryBackend(), Known()
    kind = cached(tmp_path, objects, young_seconds=3600)
    with kind.store.transfer() as transfer:
        (blob,) = transfer.write(sources(weights(1)), known.locate).new_blobs
    assert kind.store.garbage(set) == ()
    assert len(cached(tmp_path, objects, cache="other").store.garbage(set)) == 1, "an old one does not"
    assert objects.has(blob.digest)


def test_a_fetch_that_is_killed_leaves_garbage_alone(tmp_path: Path) -> None:
    class Killing(FolderBackend):
        def receive(self, digest: str, handle: int, moved: Moved = unmoved) -> None:
            os.write(handle, b"half")
            os._exit(0)

    (tmp_path / "objects").mkdir()
    known = Known()
    manifest = push(cached(tmp_path, FolderBackend(tmp_path / "objects")).store, known, 1)
    child = os.fork()
    if child == 0:
        cached(tmp_path, Killing(tmp_path / "objects"), cache="other").store.open(manifest)
        os._exit(1)
    assert os.waitpid(child, 0)[1] == 0
    store = CachedStore(LocalStore(tmp_path / "other"), FolderBackend(tmp_path / "objects"))
    (blob,), (part,) = manifest.blobs, (tmp_path / "other").rglob("fetching/*.part")
    (left,) = store.garbage(lambda: known.blobs)
    assert left.name.startswith("running/"), "the record of the process that fetched it"
    os.utime(part, (time.time() - 25 * 3600,) * 2)
    assert f"fetching/{blob}.part" in {item.name for item in store.garbage(lambda: known.blobs)}
    check(store, manifest, 1)


def test_a_server_that_refuses_is_named(tmp_path: Path) -> None:
    objects = Refusing()
    hub = hub_over(tmp_path / "home", objects)
    hub.push(weights(1), "net")
    objects.refuses = True
    refused = pytest.raises(ObjectsUnreachable, match=r"cannot reach the objects in memory: connection refused")
    with refused:
        hub.push({"quite.another": torch.ones(3)}, "other")
    with refused:
        hub.push(weights(1), "net", force_new=True)
    shutil.rmtree(tmp_path / "home" / "blobs")
    with refused:
        hub.state_dict("net")
    objects.refuses = False
    assert [entry.ref for entry in hub.list()] == ["net:v1"]
    assert torch.equal(hub.state_dict("net")["head.weight"], weights(1)["head.weight"])


@pytest.mark.parametrize("damage", ["the cache is gone", "the cache is damaged", "the object is gone"])
def test_a_registry_works_over_a_cache_and_repairs_it(tmp_path: Path, damage: str) -> None:
    (tmp_path / "objects").mkdir()
    objects = FolderBackend(tmp_path / "objects")
    hub = hub_over(tmp_path / "home", objects)
    for seed in (1, 2, 3):
        hub.push(weights(seed), "net")
    hub.rm("net:v2")
    assert len([name for name in hub.gc(grace=timedelta(0)).files if name.startswith("blobs/")]) == 1
    assert len(list(objects.list())) == 2
    (own,) = (
        hub.catalog.manifest_and_documents(hub.get("net:v3"))[0].blobs
        - hub.catalog.manifest_and_documents(hub.get("net:v1"))[0].blobs
    )
    path = tmp_path / "home" / "blobs" / own[:2] / f"{own}.safetensors"
    if damage == "the cache is gone":
        shutil.rmtree(tmp_path / "home" / "blobs")
    elif damage == "the cache is damaged":
        path.chmod(0o600)
        path.write_bytes(path.read_bytes()[:-1] + b"\xff")
    else:
        objects.delete(own)
    assert hub.audit().is_clean is (damage == "the cache is gone")
    hub.audit(repair=True)
    assert hub.audit().is_clean
    other = hub_over(tmp_path / "home", objects)
    for path in (tmp_path / "home" / "blobs").rglob("*.safetensors"):
        path.unlink()
    for seed, ref in ((1, "net:v1"), (3, "net:v3")):
        stored = other.state_dict(ref)
        assert all(torch.equal(stored[name], tensor) for name, tensor in weights(seed).items())
    findings = {finding.what: finding for finding in other.doctor()}
    assert not findings["blobs"].advice and not findings["leftovers of killed pushes"].advice


def test_collections_take_no_object_that_a_push_of_another_process_commits(tmp_path: Path) -> None:
    """Few weights over and over, so that a push finds and writes what a collection has just marked or deleted."""
    (tmp_path / "objects").mkdir()
    home, objects = tmp_path / "home", FolderBackend(tmp_path / "objects")
    hub_over(home, objects).push(weights(0), "net-0")

    def pushes(who: int) -> None:
        hub = hub_over(home, objects)
        for number in range(12):
            entry = hub.push(weights(number % 3), f"net-{who}")
            stored = hub.state_dict(entry.ref)
            assert all(torch.equal(stored[name], tensor) for name, tensor in weights(number % 3).items())
            if number < 9:
                hub.rm(entry.ref)

    def collects(who: int) -> None:
        hub = hub_over(home, objects)
        for _ in range(15):
            hub.gc(grace=timedelta(0))

    children = []
    for job, who in [(pushes, 1), (pushes, 2), (pushes, 3), (collects, 4), (collects, 5)]:
        child = os.fork()
        if child == 0:
            try:
                job(who)
                os._exit(0)
            except BaseException:
                traceback.print_exc()
                os._exit(1)
        children.append(child)
    assert [os.waitpid(child, 0)[1] for child in children] == [0] * 5
    hub = hub_over(home, objects)
    hub.gc(grace=timedelta(0))
    assert {found.digest for found in objects.list()} == hub.catalog.referenced_blobs()
    shutil.rmtree(home / "blobs")
    assert len(hub.list()) == 10 and hub.audit().is_clean


def test_one_process_of_a_machine_fetches_what_all_of_them_want(tmp_path: Path) -> None:
    class Counting(FolderBackend):
        def receive(self, digest: str, handle: int, moved: Moved = unmoved) -> None:
            (tmp_path / f"received-{os.getpid()}").touch()
            time.sleep(0.3)
            super().receive(digest, handle, moved)

    (tmp_path / "objects").mkdir()
    manifest = push(cached(tmp_path, FolderBackend(tmp_path / "objects")).store, Known(), 1)
    (tmp_path / "other").mkdir()
    children = []
    for _ in range(4):
        child = os.fork()
        if child == 0:
            store = CachedStore(LocalStore(tmp_path / "other"), Counting(tmp_path / "objects"))
            store.open(manifest).check()
            os._exit(0)
        children.append(child)
    assert [os.waitpid(child, 0)[1] for child in children] == [0] * 4
    assert len(list(tmp_path.glob("received-*"))) == 1


def test_a_push_near_what_is_stored_fetches_nothing(tmp_path: Path) -> None:
    class Closed(FolderBackend):
        def receive(self, digest: str, handle: int, moved: Moved = unmoved) -> None:
            raise AssertionError("fetched")

    (tmp_path / "objects").mkdir()
    known = Known()
    first = push(cached(tmp_path, FolderBackend(tmp_path / "objects")).store, known, 1)
    second = push(cached(tmp_path, Closed(tmp_path / "objects"), cache="other").store, known, 2)
    assert first.blobs < second.blobs


def test_an_object_that_was_cut_is_not_shared_and_made_again(tmp_path: Path) -> None:
    objects, known = MemoryBackend(), Known()
    manifest = push(cached(tmp_path, objects).store, known, 1)
    (blob,) = manifest.blobs
    content = objects.ranges(blob, [(0, 100)])[0]
    replace_object(objects, blob, content, tmp_path)
    again = push(cached(tmp_path, objects, cache="other").store, known, 1)
    check(cached(tmp_path, objects, cache="third").store, again, 1)


def test_an_audit_reads_each_object_once_and_caches_none(tmp_path: Path) -> None:
    class Counting(MemoryBackend):
        asked = 0

        def ranges(self, digest: str, wanted: Sequence[tuple[int, int]]) -> list[bytes]:
            found = super().ranges(digest, wanted)
            self.asked += sum(map(len, found))
            return found

    objects, known = Counting(), Known()
    manifests = [push(cached(tmp_path, objects, cache=f"{seed}").store, known, seed) for seed in range(5)]
    other = cached(tmp_path, objects, cache="other")
    told: list[tuple[int, int]] = []
    ahead = other.store.ahead(lambda: known.blobs, lambda *done: told.append(done))
    for manifest in manifests:
        assert ahead.faults(manifest, {}) == {}
        assert all(ahead.examine_blob(blob, {}).fault is None for blob in manifest.blobs)
    assert objects.asked == other.store.size() == told[-1][0] == told[-1][1]
    assert not list(other.cache.rglob("*.safetensors"))


def test_an_object_is_read_in_bounded_pieces(tmp_path: Path) -> None:
    class Small(MemoryBackend):
        def ranges(self, digest: str, wanted: Sequence[tuple[int, int]]) -> list[bytes]:
            assert sum(length for _, length in wanted) <= 100
            return super().ranges(digest, wanted)

    objects = Small()
    manifest = push(cached(tmp_path, objects).store, Known(), 1)
    (blob,) = manifest.blobs
    streamed = stream(objects, blob, 100)
    assert streamed.examined.fault is None
    assert {stored.digest for stored in manifest.tensors.values()} == set(streamed.digests.values())


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        ("cut", "is shorter"),
        ("longer", "is longer"),
        ("header", "has a header that cannot be read"),
        ("empty", "is shorter"),
        ("claims", "has a header that cannot be read"),
        ("gone", "is missing in memory"),
        ("flipped", "does not hold what its name says"),
    ],
)
def test_what_is_wrong_with_an_object_is_said_without_fetching_it(tmp_path: Path, damage: str, said: str) -> None:
    objects, known = MemoryBackend(), Known()
    first = cached(tmp_path, objects)
    (blob,) = push(first.store, known, 1).blobs
    whole = first.file(blob).read_bytes()
    bad = {
        "cut": whole[:-3],
        "longer": whole + b"more",
        "header": whole[:8] + b"x" + whole[9:],
        "empty": b"",
        "claims": (10**12).to_bytes(8, "little") + whole[8:],
        "flipped": whole[:-1] + bytes([whole[-1] ^ 1]),
    }
    replace_object(objects, blob, bad[damage], tmp_path) if damage in bad else objects.delete(blob)
    other = cached(tmp_path, objects, cache="other")
    fault = other.store.examine_blob(blob, {}).fault
    assert fault is not None and said in fault
    assert not list(other.cache.rglob("*.safetensors"))


def test_a_collection_looks_again_before_it_deletes(tmp_path: Path) -> None:
    """A push on another machine, whose lease was lost, has put the object again since it was listed."""
    objects, known = MemoryBackend(), Known()
    kind = cached(tmp_path, objects, young_seconds=1.0)
    (blob,) = push(kind.store, known, 1).blobs
    content = kind.file(blob).read_bytes()
    time.sleep(1.1)
    with kind.store.sweep() as sweep:
        garbage = sweep.garbage(set)
        assert [item.blob for item in garbage if item.blob] == [blob]
        sweep.mark(garbage)
        replace_object(objects, blob, content, tmp_path)
        sweep.delete()
    assert objects.has(blob)


def test_a_collection_whose_lease_ran_out_deletes_nothing_more(tmp_path: Path) -> None:
    objects, known = MemoryBackend(), Known()
    (tmp_path / "cache").mkdir()
    leases = SharedLeases(Catalog(tmp_path).leases, FileLeases(tmp_path / "running"), seconds=1, renewal=60)
    store = CachedStore(LocalStore(tmp_path / "cache", leases), objects, young_seconds=0)
    (blob,) = push(store, known, 1).blobs
    with store.sweep() as sweep:
        sweep.mark(sweep.garbage(set))
        time.sleep(1.1)
        with pytest.raises(LeaseLost, match="run `registry gc` again"):
            sweep.delete()
    assert objects.has(blob)


def test_what_was_put_of_late_is_not_put_twice(tmp_path: Path) -> None:
    class Counting(MemoryBackend):
        puts = 0

        def put(self, digest: str, path: Path) -> None:
            self.puts += 1
            super().put(digest, path)

    objects = Counting()
    push(cached(tmp_path, objects).store, Known(), 1)
    push(cached(tmp_path, objects, cache="other").store, Known(), 1)  # which knows of no version
    assert objects.puts == 1
