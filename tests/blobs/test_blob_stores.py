"""What every store does; a new one joins by a line in ``stores.KINDS``."""

from __future__ import annotations

import os
import threading
from pathlib import Path
from typing import Any

import pytest
import torch
from stores import KINDS, Kind, Known, check, push, sources, weights

from registry.blobs.store import BlobStore
from registry.errors import CorruptTensors, DamagedBlob
from registry.tensors.manifest import Manifest

OF_SERVICES = ("cached over s3",)
HERE = [name for name in KINDS if name not in OF_SERVICES]


@pytest.fixture(params=[*HERE, *(pytest.param(name, marks=pytest.mark.services) for name in OF_SERVICES)])
def kind(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Kind:
    if request.param in OF_SERVICES:
        monkeypatch.setenv("REGISTRY_TEST_BUCKET", request.getfixturevalue("bucket"))
    return KINDS[request.param](tmp_path)


@pytest.fixture
def store(kind: Kind) -> BlobStore:
    return kind.store


@pytest.fixture
def known() -> Known:
    return Known()


def collect(store: BlobStore, known: Known) -> list[str]:
    with store.sweep() as sweep:
        garbage = store.garbage(lambda: known.blobs)
        sweep.mark(garbage)
        sweep.delete()
    return [item.name for item in garbage]


# Bytes in, bytes out


def test_what_is_stored_is_read_back(store: BlobStore, known: Known) -> None:
    manifests = [push(store, known, seed) for seed in (1, 2, 3)]
    for seed, manifest in zip((1, 2, 3), manifests, strict=True):
        check(store, manifest, seed)


def test_a_tensor_is_stored_once(store: BlobStore, known: Known) -> None:
    first, second = push(store, known, 1), push(store, known, 2)
    assert first.tensors["backbone.weight"] == second.tensors["backbone.weight"]
    (own,) = second.blobs - first.blobs
    assert {name for name, stored in second.tensors.items() if stored.location.blob == own} == {
        "head.weight",
        "head.scale",
    }


def test_the_same_weights_make_the_same_blob(tmp_path: Path) -> None:
    pushed = set()
    for name in HERE:
        kind = KINDS[name]
        (tmp_path / name).mkdir()
        pushed.add(next(iter(push(kind(tmp_path / name).store, Known(), 7).blobs)))
    assert len(pushed) == 1


def test_nothing_new_makes_no_blob(store: BlobStore, known: Known) -> None:
    push(store, known, 1)
    began: list[None] = []
    with store.transfer(lambda: began.append(None)) as transfer:
        assert transfer.write(sources(weights(1)), known.locate).new_blobs == ()
    assert not began


def test_writing_to_what_was_opened_changes_nothing(store: BlobStore, known: Known) -> None:
    manifest = push(store, known, 1)
    opened = store.open(manifest)
    opened.check()
    opened.tensors["backbone.weight"].zero_()
    check(store, manifest, 1)


def test_a_push_tells_how_far_it_is(store: BlobStore, known: Known) -> None:
    told: list[tuple[int, int]] = []
    with store.transfer() as transfer:
        transfer.write(sources(weights(1)), known.locate, lambda done, total: told.append((done, total)))
    nbytes = sum(tensor.nbytes for tensor in weights(1).values())
    assert told[-1] == (nbytes, nbytes)


def test_tensors_without_elements_are_stored(store: BlobStore, known: Known) -> None:
    state = {"none": torch.empty(0, 3), "one": torch.ones(2, dtype=torch.int64)}
    with store.transfer() as transfer:
        manifest = known.commit(transfer.write(sources(state), known.locate))
    opened = store.open(manifest)
    opened.check()
    assert all(torch.equal(opened.tensors[name], state[name]) for name in state)


def test_a_part_of_a_tensor_is_what_the_whole_has_there(store: BlobStore, known: Known) -> None:
    stored = push(store, known, 1).tensors["backbone.weight"]
    whole = b"".join(map(bytes, store.pieces("backbone.weight", stored, 7)))
    for begin, end in ((0, len(whole)), (0, 1), (5, 5), (3, 20), (len(whole) - 2, len(whole))):
        for step in (1, 8, 1 << 20):
            parts = map(bytes, store.part("backbone.weight", stored, begin, end, step))
            assert b"".join(parts) == whole[begin:end]


# Whether they are still what they were


def test_a_part_of_a_file_that_was_touched_is_given_only_of_a_sound_tensor(
    kind: Kind, store: BlobStore, known: Known
) -> None:
    stored = push(store, known, 1).tensors["backbone.weight"]
    kind.flip(stored.location.blob, stored.location.offset + 5)
    with pytest.raises(CorruptTensors, match=r"backbone\.weight"):
        next(store.part("backbone.weight", stored, 0, 2, 8))


def test_a_flipped_bit_is_found_by_everybody(kind: Kind, store: BlobStore, known: Known) -> None:
    manifest = push(store, known, 1)
    stored = manifest.tensors["head.weight"]
    kind.flip(stored.location.blob, stored.location.offset + 5)
    with pytest.raises(CorruptTensors, match=r"head\.weight"):
        store.open(manifest).check()
    with pytest.raises(CorruptTensors, match=r"head\.weight"):
        store.open(manifest, "once").check()
    assert store.faults(manifest, {}) == {
        stored.location.blob: ["the bytes of 'head.weight' are not those that were stored"]
    }
    assert store.examine_blob(stored.location.blob, {}).fault == "does not hold what its name says"


def test_a_blob_that_is_nowhere_is_said_to_be_missing(kind: Kind, store: BlobStore, known: Known) -> None:
    manifest = push(store, known, 1)
    (blob,) = manifest.blobs
    kind.lose(blob)
    with pytest.raises(DamagedBlob, match="is missing"):
        store.open(manifest)
    assert "is missing" in store.faults(manifest, {})[blob][0]
    assert "is missing" in str(store.examine_blob(blob, {}).fault)
    assert not store.is_in_place(blob)
    assert store.misfits({blob: 1}) == (blob,)


def test_a_push_shares_nothing_of_a_blob_that_is_lost_or_damaged(kind: Kind, store: BlobStore, known: Known) -> None:
    lost, damaged = push(store, known, 1), push(store, known, 2)
    kind.lose(next(iter(lost.blobs)))
    (own,) = damaged.blobs - lost.blobs
    kind.flip(own, damaged.tensors["head.scale"].location.offset)
    with store.transfer() as transfer:
        stored = transfer.write(sources(weights(2)), known.locate)
    assert stored.unsound == damaged.blobs
    check(store, Manifest(stored.tensors), 2)


def test_sizes_are_those_of_the_files(kind: Kind, store: BlobStore, known: Known) -> None:
    (blob,) = push(store, known, 1).blobs
    nbytes = kind.file(blob).stat().st_size
    assert store.size() == nbytes == store.examine_blob(blob, {}).nbytes
    assert store.misfits({blob: nbytes}) == ()
    assert store.misfits({blob: nbytes + 1}) == (blob,)
    assert store.free_bytes() > 0 and abs(store.seconds_ahead()) < 3600


# Getting them back


@pytest.mark.parametrize("damage", ["a bit", "the header", "cut"])
def test_a_damaged_blob_is_made_again_from_copies(kind: Kind, store: BlobStore, known: Known, damage: str) -> None:
    manifest = push(store, known, 1)
    (blob,) = manifest.blobs
    whole = kind.file(blob).read_bytes()
    if damage == "cut":
        os.truncate(kind.file(blob), len(whole) // 2)
    else:
        kind.flip(blob, 20 if damage == "the header" else len(whole) - 1)
    layout = store.layout(blob, [manifest])
    assert layout is not None
    found: dict[str, Any] = dict(store.copies(list(manifest.tensors.values())))
    given = sources(weights(1))
    found |= {manifest.tensors[name].digest: source for name, source in given.items()}
    name = store.quarantine(blob, keep=True)
    with store.transfer() as transfer:
        transfer.rebuild(blob, layout, found)
    assert kind.file(blob).read_bytes() == whole
    check(store, manifest, 1)
    assert name is not None and (kind.cache / "quarantine" / name).read_bytes() != whole


def test_what_is_put_into_quarantine_is_not_served(kind: Kind, store: BlobStore, known: Known) -> None:
    manifest = push(store, known, 1)
    (blob,) = manifest.blobs
    kind.flip(blob, manifest.tensors["head.weight"].location.offset)
    bad = kind.file(blob).read_bytes()
    name = store.quarantine(blob)
    assert name is not None and (kind.cache / "quarantine" / name).read_bytes() == bad
    assert not kind.file(blob).exists()


def test_nothing_is_put_into_quarantine_that_is_not_there(store: BlobStore, known: Known) -> None:
    push(store, known, 1)
    assert store.quarantine("a" * 64) is None


# What nobody needs


def test_what_is_needed_is_no_garbage(store: BlobStore, known: Known) -> None:
    manifest = push(store, known, 1)
    assert collect(store, known) == []
    check(store, manifest, 1)


def test_what_a_running_push_wrote_is_no_garbage_and_what_it_left_is(store: BlobStore, known: Known) -> None:
    with store.transfer() as transfer:
        (blob,) = transfer.write(sources(weights(1)), known.locate).new_blobs
        assert store.garbage(set) == ()
    (name,) = [name for name in collect(store, known) if name.startswith("blobs/")]
    assert blob.digest in name
    assert store.garbage(set) == () and store.size() == 0 and not store.is_in_place(blob.digest)


def test_a_push_misses_what_is_marked_before_it_is_deleted(store: BlobStore, known: Known) -> None:
    with store.transfer() as transfer:
        written = transfer.write(sources(weights(1)), known.locate).new_blobs
    with store.transfer() as transfer, store.sweep() as sweep:
        sweep.mark(store.garbage(set))
        assert transfer.missing(written) == [written[0].digest]


def test_what_was_marked_by_a_collection_that_ended_is_garbage_still(store: BlobStore, known: Known) -> None:
    with store.transfer() as transfer:
        transfer.write(sources(weights(1)), known.locate)
    with store.sweep() as sweep:
        sweep.mark(store.garbage(set))
    assert collect(store, known) != []
    assert store.garbage(set) == () and store.size() == 0


def test_a_push_of_what_is_marked_is_not_lost(store: BlobStore, known: Known) -> None:
    """It writes a file of the very name, before or after the deletion; what it then commits stays."""
    with store.transfer() as transfer:
        transfer.write(sources(weights(1)), known.locate)
    done = threading.Event()
    manifests: list[Manifest] = []

    def push_again() -> None:
        while not manifests:
            with store.transfer() as transfer:
                stored = transfer.write(sources(weights(1)), known.locate)
                if not transfer.missing(stored.new_blobs):
                    manifests.append(known.commit(stored))
        done.set()

    thread = threading.Thread(target=push_again)
    with store.sweep() as sweep:
        sweep.mark(store.garbage(set))
        thread.start()
        done.wait(0.3)
        sweep.delete()
    thread.join()
    check(store, manifests[0], 1)
    assert collect(store, known) == []
    check(store, manifests[0], 1)


def test_a_collection_tells_how_far_it_is(store: BlobStore, known: Known) -> None:
    for seed in (1, 2):
        push(store, known, seed)
    told: list[tuple[int, int]] = []
    with store.sweep() as sweep:
        garbage = store.garbage(set)
        sweep.mark(garbage)
        sweep.delete(lambda done, total: told.append((done, total)))
    assert told[-1][0] == told[-1][1] > 0


def test_what_is_mapped_outlives_its_collection(store: BlobStore, known: Known) -> None:
    manifest = push(store, known, 1)
    opened = store.open(manifest)
    known.blobs.clear()
    collect(store, known)
    opened.check()
    assert torch.equal(opened.tensors["head.weight"], weights(1)["head.weight"])
