"""An audit says of a store that nobody touched that it is clean; a repair makes nothing worse, each time it runs."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from databases import edit_rows, place_of, without_keys
from grounds import Folder, Ground, ground_of
from homes import AT_ONCE, files, stored
from hypothesis import HealthCheck, given, settings, strategies as st

from registry import Registry
from registry.errors import NoRegistry, RegistryError
from registry.home.home import Home

DTYPES = [torch.float32, torch.float16, torch.bfloat16, torch.int64, torch.uint8, torch.bool, torch.complex64]
SHAPES = [(), (0,), (4,), (3, 0, 2), (2, 3), (1,), (0, 5)]


@st.composite
def states(draw: st.DrawFn) -> dict[str, torch.Tensor]:
    """A state dict with empty tensors at any place, ties, views, and tensors whose bytes are equal."""
    state: dict[str, torch.Tensor] = {}
    for number in range(draw(st.integers(1, 6))):
        kind = draw(st.sampled_from(["new", "new", "new", "tie", "view", "equal"]))
        if kind == "new" or not state:
            shape, dtype = draw(st.sampled_from(SHAPES)), draw(st.sampled_from(DTYPES))
            tensor = torch.full(shape, draw(st.integers(0, 1))).to(dtype)
        else:
            tensor = state[draw(st.sampled_from(sorted(state)))]
            if kind == "view":
                tensor = tensor.reshape(-1)[draw(st.integers(0, tensor.numel())) :]
            elif kind == "equal":
                tensor = tensor.clone()
        state[f"{draw(st.sampled_from('abc'))}{number}.w"] = tensor
    if all(tensor.dim() == 1 for tensor in state.values()):  # or it looks like a part of a sharded model
        state["d"] = torch.ones(2, 2)
    return state


def readable(hub: Registry) -> set[tuple[str, str]]:
    """Return the tensors that can be had, by version and name."""
    found, home = set(), Home(hub.home)
    for entry in (*hub.list(), *hub.list(trashed=True)):
        for name in hub.catalog.manifest_and_documents(entry)[0].tensors:
            try:
                home.tensors(entry, hub.catalog.manifest_and_documents(entry)[0].only([name]))
                found.add((entry.ref, name))
            except RegistryError:
                pass
    home.close()
    return found


def contents(hub: Registry) -> dict[str, bytes]:
    """Return every blob, by its name."""
    with ground_of(hub.home).blobs(hub.home) as blobs:
        return {path.name: path.read_bytes() for path in blobs.glob("*/*.safetensors")}


def change(path: Path, edit: Callable[[bytes], bytes]) -> None:
    path.chmod(0o600)
    path.write_bytes(edit(path.read_bytes()))


def flipped(content: bytes, at: int) -> bytes:
    at %= len(content)
    return content[:at] + bytes([content[at] ^ 1]) + content[at + 1 :]


def swap(one: Path, other: Path) -> None:
    aside = one.with_name("aside")
    one.rename(aside)
    other.rename(one)
    aside.rename(other)


DAMAGES: dict[str, Callable[[Path, Path, int], object]] = {
    "nothing": lambda path, other, at: None,
    "flipped": lambda path, other, at: change(path, lambda content: flipped(content, at)),
    "cut": lambda path, other, at: os.truncate(path, at % path.stat().st_size),
    "longer": lambda path, other, at: change(path, lambda content: content + b"more"),
    "gone": lambda path, other, at: path.unlink(),
    "swapped": lambda path, other, at: swap(path, other),
    "header zeroed": lambda path, other, at: change(path, lambda content: bytes(64) + content[64:]),
    "another's": lambda path, other, at: change(path, lambda content: other.read_bytes()),
}


def examples(count: int) -> settings:
    """Return how many homes are drawn; a fixture that is the same for all is no fault."""
    return settings(max_examples=count, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)


@given(pushed=st.lists(states(), min_size=1, max_size=3))
@examples(25)
def test_a_store_that_nobody_touched_is_clean(ground: Ground, pushed: list[dict[str, torch.Tensor]]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        hub = ground.open(ground.home(Path(folder) / "home"))
        for state in pushed:
            hub.push(state, "m", force_new=True)
            torch.save(state, Path(folder) / "m.pth")
            hub.push(Path(folder) / "m.pth", "m", force_new=True)
        before = files(hub.home)
        report = hub.audit(repair=True)
        assert report.is_clean and report.repaired == (), report.faults
        assert files(hub.home) == before
        for entry, state in zip(reversed(hub.list()), (s for s in pushed for _ in range(2)), strict=True):
            stored = hub.state_dict(entry.ref)
            assert all(torch.equal(stored[name], tensor) for name, tensor in state.items())
        hub.close()


@given(
    pushed=st.lists(states(), min_size=2, max_size=3),
    damage=st.sampled_from(sorted(DAMAGES)),
    at=st.integers(0, 1 << 16),
)
@examples(40)
def test_a_repair_makes_nothing_worse_and_then_does_nothing(
    pushed: list[dict[str, torch.Tensor]], damage: str, at: int
) -> None:
    check_repairs(Folder(), pushed, damage, at)


def check_repairs(ground: Ground, pushed: list[dict[str, torch.Tensor]], damage: str, at: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        hub = ground.open(ground.home(Path(folder) / "home"))
        for state in pushed:
            hub.push(state, "m", force_new=True)
        hub.push({"other": torch.ones(7, 2)}, "other")
        hub.rm("m:v1")
        kept = readable(hub)
        with ground.blobs(hub.home) as where:
            found = sorted(where.glob("*/*.safetensors"))
            path = found[at % len(found)]
            whole, name = path.read_bytes(), path.relative_to(where)
            DAMAGES[damage](path, found[(at + 1) % len(found)], at)
        seen = []
        for _ in range(3):
            before = readable(hub)
            report = hub.audit(repair=True)
            assert readable(hub) >= before
            assert report.is_clean == (readable(hub) == kept)
            seen.append((files(hub.home), len(hub.log())))
        assert seen[1] == seen[2]
        # What the versions name can be made again from the files that were pushed.
        for number, state in enumerate([*pushed, {"other": torch.ones(7, 2)}]):
            torch.save(state, Path(folder) / f"{number}.pth")
        report = hub.audit(repair=True, sources=sorted(Path(folder).glob("*.pth")))
        assert readable(hub) == kept and report.is_clean, report.faults
        with ground.blobs(hub.home) as where:
            assert not (where / name).exists() or (where / name).read_bytes() == whole
        hub.close()


def test_a_healthy_file_is_not_touched_whatever_a_manifest_says(ground: Ground, tmp_path: Path) -> None:
    from dataclasses import replace

    hub = ground.open(ground.home(tmp_path / "home"))
    entry = hub.push({"a": torch.ones(4, 2), "b": torch.zeros(4, 2)}, "m")
    manifest = hub.catalog.manifest_and_documents(entry)[0]
    one = manifest.tensors["a"]
    wrong = replace(one, location=replace(one.location, offset=one.location.offset + 64))
    edited = replace(manifest, tensors={**manifest.tensors, "a": wrong})
    edit_rows(place_of(hub), "UPDATE documents SET body = ? WHERE kind = 'manifest'", (edited.encode(),))
    before = contents(hub)
    assert hub.audit(repair=True).is_clean
    assert contents(hub) == before and len(before) == 1 and not any("quarantine" in name for name in files(hub.home))
    assert torch.equal(hub.state_dict("m")["a"], torch.ones(4, 2))


def test_a_file_that_may_not_be_read_stays_where_it_is(tmp_path: Path) -> None:
    if os.geteuid() == 0:
        pytest.skip("root may read everything")
    hub = Registry(tmp_path / "home")
    hub.push({"a": torch.ones(4)}, "m")
    [path] = hub.home.glob("blobs/*/*.safetensors")
    path.chmod(0)
    assert not hub.audit(repair=True).is_clean
    path.chmod(0o444)
    assert hub.audit().is_clean


LOST_ROWS = {
    "what a version needs": "DELETE FROM version_blobs WHERE version_id = 1",
    "another file": "UPDATE version_blobs SET blob_id = 2 WHERE version_id = 1",
    "the file": "DELETE FROM blobs WHERE id = 1",
    "its name": "UPDATE blobs SET digest = 'ff' || substr(digest, 3) WHERE id = 1",
    "its size": "UPDATE blobs SET nbytes = nbytes + 1 WHERE id = 1",
    "where a tensor begins": 'UPDATE stored_tensors SET "offset" = "offset" + 64 WHERE blob_id = 1',
    "the file of a tensor": "UPDATE stored_tensors SET blob_id = 2 WHERE blob_id = 1",
}


@pytest.mark.parametrize("lost", LOST_ROWS)
def test_rows_that_differ_from_the_manifests_are_found_and_cost_no_weights(
    ground: Ground, tmp_path: Path, lost: str
) -> None:
    hub = ground.open(ground.home(tmp_path / "home"))
    for number in range(2):
        hub.push({"w": torch.full((4,), float(number)), "e": torch.zeros(0, 2)}, "m")
    without_keys(place_of(hub), LOST_ROWS[lost])
    kept = readable(hub)
    assert "table" in {fault.kind for fault in hub.audit().faults} <= {"table", "row"}
    hub.gc(grace=AT_ONCE, dry_run=True)
    hub.gc(grace=AT_ONCE)
    assert readable(hub) == kept and len(kept) == 4
    assert hub.audit(repair=True).is_clean
    assert hub.audit(repair=True).repaired == ()
    hub.gc(grace=AT_ONCE)
    assert readable(hub) == kept
    assert hub.push({"w": torch.zeros(4), "e": torch.zeros(0, 2)}, "m").reused


def test_a_collection_keeps_what_a_version_in_the_trash_names(ground: Ground, tmp_path: Path) -> None:
    hub = ground.open(ground.home(tmp_path / "home"))
    hub.push({"w": torch.ones(4)}, "m")
    hub.rm("m:v1")
    assert edit_rows(place_of(hub), "DELETE FROM version_blobs")
    hub.gc()
    hub.restore("m:v1")
    assert torch.equal(hub.state_dict("m:v1")["w"], torch.ones(4))
    hub.rm("m:v1")
    hub.gc(grace=AT_ONCE)
    assert stored(hub.home) == set()


def test_a_home_that_was_deleted_is_made_again(tmp_path: Path) -> None:
    hub = Registry(tmp_path / "home")
    hub.push({"w": torch.ones(4)}, "m")
    shutil.rmtree(hub.home)
    with pytest.raises(NoRegistry):
        hub.list()
    assert not hub.home.exists()
    assert hub.push({"w": torch.ones(4)}, "m").ref == "m:v1"
    assert hub.audit().is_clean and torch.equal(hub.state_dict("m")["w"], torch.ones(4))
