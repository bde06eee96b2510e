"""Weights in memory of the process's own: what is done to the files of the store afterwards reaches nobody."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import torch
from nets import Counting, PointNet, Tied
from ranks import Ranks
from torch import nn

import registry
from registry import errors


def blobs(home: Path) -> list[Path]:
    found = list((home / "blobs").rglob("*.safetensors"))
    for blob in found:
        blob.chmod(0o644)
    return found


def ruin(home: Path) -> None:
    """Overwrite every blob in place, and then cut it: what a mapping feels as other weights, and then as SIGBUS."""
    for blob in blobs(home):
        blob.write_bytes(bytes(blob.stat().st_size))
        os.truncate(blob, 0)


@pytest.mark.parametrize("verify", ["always", "once", "never"])
def test_a_resident_load_outlives_its_files(hub: registry.Registry, home: Path, verify) -> None:
    model = PointNet()
    hub.push(model, "net")
    built = hub.load("net", resident=True, verify=verify)
    state = hub.state_dict("net", resident=True, verify=verify)
    callers = hub.load("net", model=PointNet(), resident=True, verify=verify)
    ruin(home)
    for loaded in (built.state_dict(), state, callers.state_dict()):
        assert all(torch.equal(loaded[name], tensor) for name, tensor in model.state_dict().items())


def test_resident_tensors_can_be_trained_and_are_shared_only_where_they_are_tied(hub: registry.Registry) -> None:
    hub.push(Tied(), "tied")
    state = hub.state_dict("tied", resident=True)
    assert state["embed.weight"].data_ptr() == state["head.weight"].data_ptr()
    twins = nn.ModuleList([nn.Linear(2, 2), nn.Linear(2, 2)])
    twins[1].load_state_dict(twins[0].state_dict())
    hub.push(twins, "twins")
    state = hub.state_dict("twins", resident=True)
    state["0.weight"].zero_()
    assert torch.equal(state["1.weight"], twins.get_parameter("1.weight"))
    model = hub.load("tied", resident=True)
    model(torch.tensor([1])).sum().backward()
    torch.optim.SGD(model.parameters(), 0.1).step()


def test_what_was_copied_is_what_is_checked(hub: registry.Registry, home: Path) -> None:
    hub.push(PointNet(), "net")
    (blob,) = blobs(home)
    content = bytearray(blob.read_bytes())
    content[-3] ^= 4
    blob.write_bytes(content)
    with pytest.raises(errors.CorruptTensors):
        hub.load("net", resident=True)
    with pytest.raises(errors.CorruptTensors):
        hub.state_dict("net", resident=True)
    os.truncate(blob, len(content) - 1)
    with pytest.raises(errors.DamagedBlob, match="cut short"):
        hub.state_dict("net", resident=True, verify="never")


def test_values_and_empty_tensors_come_back_resident_too(hub: registry.Registry, home: Path) -> None:
    hub.push({"empty": torch.ones(0, 3), "scalar": torch.tensor(2, dtype=torch.int8)}, "odd")
    counting = Counting()
    counting.steps = 7
    hub.push(counting, "counting")
    with torch.device("meta"):
        state = hub.state_dict("odd", resident=True)
    ruin(home)
    assert state["empty"].shape == (0, 3) and state["scalar"] == 2
    hub.push(counting, "again")
    assert hub.load("again", resident=True, model=Counting()).steps == 7


def loading(rank: int) -> None:
    reference = torch.load(Path(os.environ["REGISTRY_HOME"]).parent / "net.pth")
    wrapped = registry.load("net", ddp=True, resident=True)
    held = wrapped.get_submodule("module").state_dict()
    assert all(torch.equal(held[name], tensor) for name, tensor in reference.items())
    if hasattr(torch.cpu.Stream, "record_event"):
        assert registry.check(registry.load("net", fsdp=True, resident=True), "net").is_equal


@pytest.mark.in_a_folder
def test_every_rank_of_a_job_can_have_its_own_copy(ranks: Ranks, hub: registry.Registry, tmp_path: Path) -> None:
    model = PointNet()
    torch.save(model.state_dict(), tmp_path / "net.pth")
    hub.push(model, "net")
    ranks.run(loading)
