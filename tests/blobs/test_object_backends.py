"""What every place for objects does; a new one joins by a line in ``BACKENDS``."""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from registry.blobs.backends.folder import FolderBackend
from registry.blobs.backends.memory import MemoryBackend
from registry.blobs.objects import ObjectBackend


def folder(path: Path) -> ObjectBackend:
    path.mkdir()
    return FolderBackend(path)


@dataclass
class Place:
    """Objects, and how coarse the times of a list are, in seconds."""

    objects: ObjectBackend
    coarse: float = 0.1


def over_a_folder(path: Path, request: pytest.FixtureRequest) -> Place:
    return Place(folder(path))


def over_memory(path: Path, request: pytest.FixtureRequest) -> Place:
    return Place(MemoryBackend())


def over_s3(path: Path, request: pytest.FixtureRequest) -> Place:
    from registry.blobs.backends.objects import BucketBackend

    return Place(BucketBackend(request.getfixturevalue("bucket")), 1.1)


BACKENDS: dict[str, Callable[[Path, pytest.FixtureRequest], Place]] = {
    "folder": over_a_folder,
    "memory": over_memory,
    "s3": over_s3,
}


@pytest.fixture(params=["folder", "memory", pytest.param("s3", marks=pytest.mark.services)])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Place:
    return BACKENDS[request.param](tmp_path / "objects", request)


@pytest.fixture
def objects(place: Place) -> ObjectBackend:
    return place.objects


def put(objects: ObjectBackend, path: Path, content: bytes, digest: str = "") -> str:
    path.write_bytes(content)
    digest = digest or hashlib.sha256(content).hexdigest()
    objects.put(digest, path)
    return digest


def fetched(objects: ObjectBackend, digest: str, path: Path) -> bytes:
    objects.fetch(digest, path)
    return path.read_bytes()


@pytest.mark.parametrize("content", [b"", b"one", os.urandom(3_000_001)], ids=["empty", "small", "large"])
def test_what_is_put_is_fetched(objects: ObjectBackend, tmp_path: Path, content: bytes) -> None:
    digest = put(objects, tmp_path / "file", content)
    (tmp_path / "file").write_bytes(b"changed since")
    assert objects.has(digest)
    assert fetched(objects, digest, tmp_path / "back") == content


def test_an_object_that_is_not_there_is_nowhere(objects: ObjectBackend, tmp_path: Path) -> None:
    assert not objects.has("a" * 64)
    assert list(objects.list()) == []
    objects.delete("a" * 64)
    with pytest.raises(FileNotFoundError):
        objects.fetch("a" * 64, tmp_path / "back")
    assert not (tmp_path / "back").exists()
    with pytest.raises(FileNotFoundError):
        objects.ranges("a" * 64, [(0, 1)])


def test_a_file_that_is_not_there_makes_no_object(objects: ObjectBackend, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        objects.put("a" * 64, tmp_path / "nothing")
    assert not objects.has("a" * 64)


def test_nothing_is_fetched_over_a_file(objects: ObjectBackend, tmp_path: Path) -> None:
    digest = put(objects, tmp_path / "file", b"new")
    (tmp_path / "mine").write_bytes(b"mine")
    with pytest.raises(FileExistsError):
        objects.fetch(digest, tmp_path / "mine")
    assert (tmp_path / "mine").read_bytes() == b"mine"


def test_a_second_put_replaces_and_makes_young(place: Place, tmp_path: Path) -> None:
    objects = place.objects
    digest = put(objects, tmp_path / "file", b"damaged")
    time.sleep(3 * place.coarse)
    began = time.monotonic()
    put(objects, tmp_path / "file", b"sound!!", digest)
    (found,) = objects.list()
    # The time of a file is as coarse as the kernel's tick, that of an object a second.
    assert found.age_seconds + place.coarse >= 0
    assert found.age_seconds <= time.monotonic() - began + place.coarse
    assert fetched(objects, digest, tmp_path / "back") == b"sound!!"


def test_what_is_asked_of_one_is_what_the_list_says(place: Place, tmp_path: Path) -> None:
    digest = put(place.objects, tmp_path / "file", b"bytes")
    put(place.objects, tmp_path / "file", b"others")
    (listed,) = (found for found in place.objects.list() if found.digest == digest)
    asked = place.objects.stat(digest)
    assert asked is not None and (asked.digest, asked.nbytes) == (listed.digest, listed.nbytes) == (digest, 5)
    assert abs(asked.age_seconds - listed.age_seconds) < 60
    assert place.objects.stat("a" * 64) is None


def test_an_object_is_received_into_an_open_file_and_told_of(objects: ObjectBackend, tmp_path: Path) -> None:
    content = os.urandom(40 << 20)
    digest = put(objects, tmp_path / "file", content)
    moved: list[int] = []
    with (tmp_path / "back").open("xb") as file:
        objects.receive(digest, file.fileno(), moved.append)
        with pytest.raises(FileNotFoundError):
            objects.receive("a" * 64, file.fileno())
    assert sum(moved) == len(content) and (tmp_path / "back").read_bytes() == content


def test_what_is_set_aside_is_no_object_any_more(objects: ObjectBackend, tmp_path: Path) -> None:
    digest = put(objects, tmp_path / "file", b"damaged")
    kept = objects.set_aside(digest, keep=True)
    assert kept is not None and objects.has(digest)
    name = objects.set_aside(digest)
    assert name is not None and name.startswith(f"{digest}.safetensors.") and name != kept
    assert not objects.has(digest) and list(objects.list()) == []
    assert objects.set_aside(digest) is None


def test_its_clock_is_compared_with_ours(place: Place, tmp_path: Path) -> None:
    assert abs(place.objects.seconds_ahead()) <= 30
    assert list(place.objects.list()) == []


def test_a_list_has_every_object_with_its_size(objects: ObjectBackend, tmp_path: Path) -> None:
    put_in = {put(objects, tmp_path / "file", bytes([n]) * n): n for n in range(1, 40)}
    assert {found.digest: found.nbytes for found in objects.list()} == put_in


def test_a_deleted_object_is_gone_and_the_others_stay(objects: ObjectBackend, tmp_path: Path) -> None:
    gone, stays = (put(objects, tmp_path / "file", content) for content in (b"gone", b"stays"))
    objects.delete(gone)
    assert [found.digest for found in objects.list()] == [stays]
    assert not objects.has(gone) and fetched(objects, stays, tmp_path / "back") == b"stays"


def test_ranges_are_given_in_the_order_they_are_asked_for(objects: ObjectBackend, tmp_path: Path) -> None:
    digest = put(objects, tmp_path / "file", b"0123456789")
    assert objects.ranges(digest, [(7, 3), (0, 2), (4, 0), (1, 3)]) == [b"789", b"01", b"", b"123"]
    with pytest.raises(EOFError):
        objects.ranges(digest, [(0, 2), (8, 3)])


@pytest.mark.parametrize("name", ["", "../../etc/passwd", "A" * 64, "a" * 63, "a" * 64 + "/x"])
def test_a_name_that_is_no_digest_is_refused(objects: ObjectBackend, tmp_path: Path, name: str) -> None:
    (tmp_path / "file").write_bytes(b"bytes")
    for act in (
        lambda: objects.put(name, tmp_path / "file"),
        lambda: objects.fetch(name, tmp_path / "back"),
        lambda: objects.has(name),
        lambda: objects.ranges(name, [(0, 1)]),
        lambda: objects.delete(name),
    ):
        with pytest.raises(ValueError, match="not a digest"):
            act()


def test_a_folder_that_is_not_there_is_not_made(tmp_path: Path) -> None:
    """A disk that is not mounted is no empty one, into which a copy of everything would go."""
    (tmp_path / "file").write_bytes(b"bytes")
    with pytest.raises(OSError, match="unmounted"):
        FolderBackend(tmp_path / "unmounted").put("a" * 64, tmp_path / "file")
    assert not (tmp_path / "unmounted").exists()


def test_a_put_that_was_killed_is_no_object_and_goes_after_a_day(tmp_path: Path) -> None:
    objects = folder(tmp_path / "objects")
    put(objects, tmp_path / "file", b"one")
    old, new = (tmp_path / "objects" / "tmp" / f"{name}.part" for name in ("old", "new"))
    for path in (old, new):
        path.write_bytes(b"half")
    os.utime(old, (time.time() - 25 * 3600,) * 2)
    assert len(list(objects.list())) == 1
    put(objects, tmp_path / "file", b"two")
    assert not old.exists() and new.exists()


def test_a_link_among_the_objects_is_none(tmp_path: Path) -> None:
    objects = folder(tmp_path / "objects")
    digest = put(objects, tmp_path / "file", b"one")
    path = next((tmp_path / "objects").glob("blobs/*/*"))
    path.rename(tmp_path / "outside")
    path.symlink_to(tmp_path / "outside")
    assert not objects.has(digest) and list(objects.list()) == []
    with pytest.raises(OSError, match="symbolic link"):
        objects.fetch(digest, tmp_path / "back")
