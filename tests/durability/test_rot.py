"""Disks rot, people edit: it is found, nothing of it is loaded, and what can be restored is."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch
from databases import edit_rows, place_of
from grounds import Ground, ground_of
from homes import AT_ONCE, check_collected, check_weights, check_whole, files, push, refusal, weights

from registry import Registry
from registry.blobs.store import Verify
from registry.catalog.catalog import Catalog
from registry.errors import NoSuchCheckpoint, RegistryError


@contextmanager
def blob(hub: Registry, ref: str, tensor: str = "head.weight") -> Iterator[Path]:
    """Give the file of a tensor's blob, for the time in which it is damaged."""
    digest = hub.catalog.manifest_and_documents(hub.get(ref))[0].tensors[tensor].location.blob
    with ground_of(hub.home).blobs(hub.home) as blobs:
        yield blobs / digest[:2] / f"{digest}.safetensors"


def rewrite(path: Path, change: Callable[[bytearray], bytes | bytearray]) -> None:
    path.chmod(0o600)
    path.write_bytes(change(bytearray(path.read_bytes())))


def flip(path: Path, position: int = -1) -> None:
    def change(content: bytearray) -> bytearray:
        content[position] ^= 1
        return content

    rewrite(path, change)


def link_file(path: Path) -> None:
    outside = path.parents[3] / "outside.safetensors"
    path.rename(outside)
    path.symlink_to(outside)


def link_folder(path: Path) -> None:
    outside = path.parents[3] / "outside"
    path.parent.rename(outside)
    path.parent.symlink_to(outside)


def swap(path: Path) -> None:
    other = next(p for p in path.parents[1].glob("*/*") if p != path)
    aside = path.with_name("aside")
    path.rename(aside)
    other.rename(path)
    aside.rename(other)


def replace_by_folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


def replace_by_fifo(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


DAMAGES: dict[str, Callable[[Path], object]] = {
    "flipped bit": flip,
    "truncated": lambda path: os.truncate(path, path.stat().st_size - 1),
    "emptied": lambda path: os.truncate(path, 0),
    "missing": Path.unlink,
    "swapped": swap,
    "symlinked": link_file,
    "symlinked folder": link_folder,
    "a folder in its place": replace_by_folder,
    "a pipe in its place": replace_by_fifo,
    "zeroed": lambda path: rewrite(path, lambda content: bytes(len(content))),
}


OF_FILES = ("symlinked", "symlinked folder", "a folder in its place", "a pipe in its place")
"""What cannot happen to an object."""

WHERE = [
    *(("folder", damage) for damage in DAMAGES),
    *(pytest.param("elsewhere", each, marks=pytest.mark.services) for each in DAMAGES if each not in OF_FILES),
]


UNSEEN = ("flipped bit", "swapped", "zeroed")
"""What leaves an object its size: a push reads none, and the next load or audit finds it."""

SEEN = [
    *(("folder", damage) for damage in DAMAGES),
    *(
        pytest.param("elsewhere", damage, marks=pytest.mark.services)
        for damage in DAMAGES
        if damage not in (*OF_FILES, *UNSEEN)
    ),
]


@pytest.fixture
def hub(ground: Ground, tmp_path: Path) -> Registry:
    """Two versions: the second shares the backbone with the first and has a file for its head."""
    hub = ground.open(ground.home(tmp_path / "home"))
    push(hub, 1, aliases=["best"])
    push(hub, 2)
    return hub


@pytest.mark.parametrize("verify", ["always", "once"])
@pytest.mark.parametrize(("ground", "damage"), WHERE, indirect=["ground"])
def test_a_damaged_blob_is_named_and_nothing_of_it_is_loaded(
    hub: Registry, damage: str, verify: Verify, tmp_path: Path
) -> None:
    hub.state_dict("net:v2", verify="once")
    with blob(hub, "net:v2") as path:
        DAMAGES[damage](path)
    assert "net:v2" in hub.audit().bad_references
    assert "net:v2" in hub.audit("net:v2").bad_references
    with pytest.raises(RegistryError):
        hub.state_dict("net:v2", verify=verify)
    with pytest.raises(RegistryError):
        hub.load("net:v2", model=torch.nn.Linear(1, 1), verify=verify)
    with pytest.raises(RegistryError):
        hub.export("net:v2", tmp_path / "out.safetensors")
    assert not (tmp_path / "out.safetensors").exists()
    if damage != "swapped":
        assert hub.audit().bad_references == ("net:v2",)
        check_weights(hub, "net:v1", 1)


@pytest.mark.parametrize(("ground", "damage"), SEEN, indirect=["ground"])
def test_a_push_of_the_same_heals_what_is_damaged(hub: Registry, damage: str) -> None:
    with blob(hub, "net:v2") as path:
        DAMAGES[damage](path)
    if damage in ("symlinked folder", "a folder in its place"):
        assert "nothing was stored" in refusal(lambda: push(hub, 2))
        hub.audit(repair=True)
    entry = push(hub, 2)
    assert entry.ref == "net:v2" and entry.reused
    check_weights(hub, "net:v2", 2)
    if damage == "swapped":
        push(hub, 1)
    check_whole(hub)
    check_collected(hub)


def test_a_push_shares_nothing_with_a_damaged_blob(hub: Registry) -> None:
    with blob(hub, "net:v1", "backbone.weight") as path:
        path.unlink()
    push(hub, 3)
    check_weights(hub, "net:v3", 3)
    assert push(hub, 2).reused
    check_weights(hub, "net:v2", 2)
    assert hub.audit().bad_references == ("net:v1",)
    assert push(hub, 1).reused
    check_whole(hub)


@pytest.mark.parametrize(("ground", "damage"), WHERE, indirect=["ground"])
def test_a_repair_restores_from_the_file_that_was_pushed(hub: Registry, damage: str, tmp_path: Path) -> None:
    sources = [tmp_path / "1.pth", tmp_path / "2.pth"]
    for seed, source in enumerate(sources, start=1):
        torch.save(weights(seed), source)
    with blob(hub, "net:v1") as path:
        DAMAGES[damage](path)
    report = hub.audit(repair=True, sources=sources)
    assert report.is_clean and report.repaired
    check_whole(hub)
    assert hub.get("net:best").ref == "net:v1"
    before = files(hub.home)
    assert hub.audit(repair=True, sources=sources).repaired == () and files(hub.home) == before
    check_collected(hub)


def test_a_source_that_is_not_there_is_named_also_where_nothing_is_damaged(hub: Registry) -> None:
    with pytest.raises(NoSuchCheckpoint, match="nowhere"):
        hub.audit(repair=True, sources=["nowhere.pth"])


def test_a_repair_keeps_the_damaged_file(hub: Registry, tmp_path: Path) -> None:
    torch.save(weights(2), tmp_path / "2.pth")
    with blob(hub, "net:v2") as path:
        flip(path)
        damaged = path.read_bytes()
    hub.audit(repair=True, sources=[tmp_path / "2.pth"])
    hub.gc(grace=AT_ONCE)
    with ground_of(hub.home).blobs(hub.home) as blobs:
        assert [kept.read_bytes() for kept in blobs.parent.glob("quarantine/*")] == [damaged]


def test_a_repair_finds_the_copy_that_lies_elsewhere_in_the_home(hub: Registry) -> None:
    quarantine = (hub.cache or hub.home) / "quarantine"
    quarantine.mkdir()
    with blob(hub, "net:v2") as path:
        shutil.copy(path, quarantine / "kept")
        flip(path)
    assert hub.audit(repair=True).is_clean
    check_whole(hub)


def test_a_repair_saves_what_is_intact_and_says_what_is_lost(hub: Registry, tmp_path: Path) -> None:
    stored = hub.catalog.manifest_and_documents(hub.get("net:v1"))[0].tensors["head.weight"]
    with blob(hub, "net:v1") as path:
        flip(path, stored.location.offset)
    report = hub.audit(repair=True)
    assert report.bad_references == ("net:v1",)
    assert any("net:v1 has lost 1 tensors" in line for line in report.repaired)
    check_weights(hub, "net:v2", 2)
    events = len(hub.log())
    again = hub.audit(repair=True)
    assert again.bad_references == ("net:v1",) and len(hub.log()) == events
    hub.gc(grace=AT_ONCE)
    torch.save(weights(1), tmp_path / "1.pth")
    assert hub.audit(repair=True, sources=[tmp_path / "1.pth"]).is_clean
    check_whole(hub)


def test_a_repair_survives_a_damaged_header(hub: Registry) -> None:
    with blob(hub, "net:v1") as path:
        flip(path, 12)
    assert set(hub.audit().bad_references) == {"net:v1", "net:v2"}
    if hub.cache is None:  # what is fetched is verified as a whole
        check_weights(hub, "net:v1", 1)
    assert hub.audit(repair=True).is_clean
    check_whole(hub)


def test_what_was_appended_to_a_blob_is_found(hub: Registry) -> None:
    with blob(hub, "net:v2") as path:
        rewrite(path, lambda content: content + b"more")
    assert hub.audit().bad_references == ("net:v2",)
    assert hub.audit(repair=True).is_clean


def test_an_example_is_audited_and_restored_as_the_weights_are(hub: Registry, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REGISTRY_TRUST", "torch")
    example = torch.randn(3, 4)
    linear = torch.nn.Linear(4, 2)
    entry = hub.push(
        linear, "linear", model="torch.nn:Linear", init={"in_features": 4, "out_features": 2}, example=example
    )
    hub.replay(entry.ref).require()
    document = hub.catalog.document(entry, "example")
    assert document is not None
    weighed = hub.catalog.manifest_and_documents(entry)[0].blobs
    others = [hub.catalog.manifest_and_documents(hub.get(ref))[0].blobs for ref in ("net:v1", "net:v2")]
    quarantine = (hub.cache or hub.home) / "quarantine"
    quarantine.mkdir()
    with ground_of(hub.home).blobs(hub.home) as blobs:
        (path,) = [path for path in blobs.glob("*/*") if path.stem not in weighed.union(*others)]
        shutil.copy(path, quarantine / "kept")
        flip(path)
    assert hub.audit().bad_references == (entry.ref,)
    assert hub.audit(repair=True).is_clean
    hub.replay(entry.ref).require()


@pytest.mark.parametrize("place", ["blobs", "blobs/ab", "tmp", "running", "stamps"])
def test_nothing_is_written_or_deleted_through_a_link(tmp_path: Path, place: str) -> None:
    hub = Registry(tmp_path / "home")
    Catalog(hub.home).close()
    outside = tmp_path / "outside"
    outside.mkdir()
    digest = "ab" + "0" * 62
    (outside / f"{digest}.safetensors").write_bytes(b"theirs")
    (outside / f"{digest}.json").write_bytes(b"theirs")
    (outside / f"{digest}.part").write_bytes(b"theirs")
    (hub.home / place).parent.mkdir(exist_ok=True)
    (hub.home / place).symlink_to(outside)
    before = sorted(outside.iterdir())
    for seed in range(8):
        try:
            push(hub, seed)
        except RegistryError as error:
            assert "symbolic link" in str(error) and "nothing was stored" in str(error)
    hub.gc(grace=AT_ONCE)
    hub.audit(repair=True)
    hub.doctor()
    assert sorted(outside.iterdir()) == before


EDITS = {
    "digest": "UPDATE versions SET weights = 'ff' || substr(weights, 3) WHERE number = 2",
    "record": "UPDATE versions SET record = 'ff' || substr(record, 3) WHERE number = 2",
    "seal": "UPDATE versions SET seal = 'ff' || substr(seal, 3) WHERE number = 2",
    "number": "UPDATE versions SET number = 7 WHERE number = 2",
    "class": "UPDATE versions SET model_class = 'os:system' WHERE number = 2",
    "init": "UPDATE versions SET init = '{\"a\":1}' WHERE number = 2",
    "wrapper": "UPDATE versions SET wrapper = 'compile' WHERE number = 2",
    "unwrapping": "UPDATE versions SET unwrapping = '{}' WHERE number = 2",
    "no JSON": "UPDATE versions SET unwrapping = 'x' WHERE number = 2",
    "no JSON either": "UPDATE versions SET init = '[' WHERE number = 2",
    "a number for a text": "UPDATE versions SET unwrapping = '5' WHERE number = 2",
    "time": "UPDATE versions SET created_at = 'yesterday' WHERE number = 2",
    "manifest of another": "UPDATE documents SET body = (SELECT body FROM documents WHERE version_id = 1 AND kind = "
    "'manifest') WHERE version_id = 2 AND kind = 'manifest'",
    "manifest gone": "DELETE FROM documents WHERE version_id = 2 AND kind = 'manifest'",
    "manifest garbage": "UPDATE documents SET body = x'00ff' WHERE version_id = 2 AND kind = 'manifest'",
    "manifest text": "UPDATE documents SET body = 'text' WHERE version_id = 2 AND kind = 'manifest'",
    "weights of another": "UPDATE versions SET weights = (SELECT weights FROM versions WHERE number = 1) "
    "WHERE number = 2",
}


@pytest.mark.parametrize("edit", EDITS)
def test_an_edited_row_is_named_and_not_loaded(hub: Registry, edit: str, tmp_path: Path) -> None:
    assert edit_rows(place_of(hub), EDITS[edit]) == 1
    ref = "net:v7" if edit == "number" else "net:v2"
    assert hub.audit().bad_references == (ref,)
    for act in (
        lambda: hub.state_dict(ref),
        lambda: hub.load(ref, model=torch.nn.Linear(1, 1)),
        lambda: hub.export(ref, tmp_path / "out.safetensors"),
    ):
        with pytest.raises(RegistryError):
            act()
    assert hub.audit(repair=True).bad_references == (ref,)
    check_weights(hub, "net:v1", 1)


@pytest.mark.parametrize("change", ["offset", "blob", "negative", "odd", "no digest"])
@pytest.mark.parametrize("verify", ["always", "once"])
def test_a_manifest_that_points_elsewhere_is_named_and_not_loaded(hub: Registry, change: str, verify: Verify) -> None:
    from dataclasses import replace

    hub.state_dict("net:v1", verify="once")
    hub.state_dict("net:v2", verify="once")
    manifest = hub.catalog.manifest_and_documents(hub.get("net:v2"))[0]
    stored, shared = manifest.tensors["head.weight"], manifest.tensors["backbone.weight"].location
    location = {
        "offset": replace(stored.location, offset=stored.location.offset + 64),
        "blob": shared,
        "negative": replace(stored.location, offset=-64),
        "odd": replace(stored.location, offset=stored.location.offset + 1),
        "no digest": replace(stored.location, blob="../../outside"),
    }[change]
    edited = replace(manifest, tensors={**manifest.tensors, "head.weight": replace(stored, location=location)})
    statement = "UPDATE documents SET body = ? WHERE version_id = 2 AND kind = 'manifest'"
    assert edit_rows(place_of(hub), statement, (edited.encode(),)) == 1
    assert "net:v2" in hub.audit().bad_references
    with pytest.raises(RegistryError):
        hub.state_dict("net:v2", verify=verify)
