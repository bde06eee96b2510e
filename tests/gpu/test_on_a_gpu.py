"""Models on a GPU: pushed from there and loaded there, by one process and by the ranks of a job over NCCL."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from nets import PointNet, Tied
from torch import nn

import registry
from registry import errors

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU"),
]

GPU = torch.device("cuda", 0)
A_WHILE = 4_000_000_000
"""Cycles of the GPU: two seconds or three, longer than it takes until a push reads the first tensor."""


class Wide(nn.Module):
    """Its tensors are large: they are read and hashed by other threads than the one that pushes."""

    def __init__(self) -> None:
        super().__init__()
        self.one = nn.Linear(2048, 2048)
        self.two = nn.Linear(2048, 4096)


class MadeThere(nn.Module):
    """Makes its tensors on the GPU itself, one that is not stored among them."""

    mask: torch.Tensor

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(8, 8, device=GPU))
        self.register_buffer("mask", torch.ones(8, 8, device=GPU).triu(), persistent=False)

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        return inputs @ (self.weight * self.mask)


def points() -> torch.Tensor:
    return torch.randn(4, 3, 8, device=GPU)


def trained(model: nn.Module) -> torch.optim.Optimizer:
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
    for _ in range(2):
        optimizer.zero_grad()
        model(points()).sum().backward()
        optimizer.step()
    return optimizer


def state(model: nn.Module) -> dict[str, torch.Tensor]:
    return {name: tensor.to("cpu", copy=True) for name, tensor in model.state_dict().items()}


def equal(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> bool:
    return one.keys() == other.keys() and all(
        tensor.dtype == other[name].dtype and torch.equal(tensor.cpu(), other[name].cpu())
        for name, tensor in one.items()
    )


def doubled(model: nn.Module) -> None:
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(2)


def test_it_comes_back_on_either_device(hub: registry.Registry) -> None:
    model = PointNet().to(GPU)
    trained(model)
    hub.push(model, "net")
    there, here = hub.load("net", device="cuda"), hub.load("net")
    assert equal(state(there), state(model)) and equal(state(here), state(model))
    assert {p.device for p in there.parameters()} == {GPU}
    assert {p.device for p in here.parameters()} == {torch.device("cpu")}
    with torch.device(GPU):
        assert next(hub.load("net").parameters()).device == GPU


def test_what_is_tied_is_one_tensor_there(hub: registry.Registry) -> None:
    hub.push(Tied().to(GPU), "tied")
    model: Any = hub.load("tied", device="cuda")
    assert model.head.weight is model.embed.weight


def test_a_model_there_is_filled_in_its_own_memory(hub: registry.Registry) -> None:
    model, mine = PointNet().to(GPU), PointNet().to(GPU)
    hub.push(model, "net")
    places = [parameter.data_ptr() for parameter in mine.parameters()]
    hub.load("net", model=mine)
    assert equal(state(mine), state(model))
    assert [parameter.data_ptr() for parameter in mine.parameters()] == places


def test_a_model_there_is_left_as_it_was_where_a_shape_differs(hub: registry.Registry) -> None:
    hub.push(PointNet().to(GPU), "net")
    mine = PointNet(num_classes=9).to(GPU)
    before = state(mine)
    with pytest.raises(errors.RegistryError, match=r"head\.weight"):
        hub.load("net", model=mine)
    assert equal(state(mine), before)


def test_a_class_may_make_its_tensors_there(hub: registry.Registry) -> None:
    model = MadeThere()
    hub.push(model, "net", init={})
    loaded = hub.load("net", model=MadeThere, device="cuda")
    inputs = torch.randn(2, 8, device=GPU)
    assert torch.equal(loaded(inputs), model(inputs))


def test_what_is_loaded_there_in_inference_mode_can_be_trained(hub: registry.Registry) -> None:
    hub.push(PointNet(), "net")
    with torch.inference_mode():
        model = hub.load("net", device="cuda")
    trained(model.train())


def test_a_file_that_was_saved_there_is_read(hub: registry.Registry, tmp_path: Path) -> None:
    model = PointNet().to(GPU)
    optimizer = trained(model)
    wrapped = nn.DataParallel(model, device_ids=[0])
    torch.save({"state_dict": wrapped.state_dict(), "optimizer": optimizer.state_dict()}, tmp_path / "best.pth")
    entry = hub.push(tmp_path / "best.pth", "net", from_="ddp", model=PointNet)
    assert equal(state(hub.load(entry, model=PointNet)), state(model))


def test_a_job_goes_on_there(hub: registry.Registry) -> None:
    model = PointNet().to(GPU)
    optimizer = trained(model)
    hub.push(model, "net", optimizer=optimizer, aliases=["last"])
    drawn = torch.rand(3, device=GPU)
    held = copy.deepcopy(optimizer.state_dict())
    other = PointNet().to(GPU)
    resumed = torch.optim.Adam(other.parameters(), lr=1.0)
    hub.resume("net:last", other, resumed)
    assert equal(state(other), state(model))
    assert torch.equal(torch.rand(3, device=GPU), drawn)
    for number, kept in held["state"].items():
        now = resumed.state_dict()["state"][number]
        assert all(now[key].device == value.device and torch.equal(now[key], value) for key, value in kept.items())


def test_values_that_lie_otherwise_are_stored_as_they_count(hub: registry.Registry) -> None:
    real, imaginary = torch.randn(64, 64, device=GPU), torch.randn(8, dtype=torch.complex64, device=GPU)
    given = {
        "transposed": real.t(),
        "every second": real.flatten()[::2],
        "conjugated": imaginary.conj(),
        "expanded": real[:1].expand(5, 64),
        "eight bits": real.to(torch.float8_e4m3fn),
        "scalar": torch.tensor(3, device=GPU),
        "empty": torch.empty(0, 3, device=GPU),
    }
    hub.push(given, "values")
    found = hub.state_dict("values")
    assert found.keys() == given.keys()
    assert all(torch.equal(found[name].to(value.dtype), value.cpu()) for name, value in given.items())


@pytest.mark.parametrize("blocking", [True, False], ids=["at once", "in the background"])
def test_a_push_waits_for_what_the_gpu_was_told_before(hub: registry.Registry, blocking: bool) -> None:
    model = Wide().to(GPU)
    hub.push(model, "net", init={})  # makes the home, and imports what a push needs
    torch.cuda.synchronize()
    with torch.cuda.stream(torch.cuda.Stream()):
        torch.cuda._sleep(A_WHILE)
        doubled(model)
        pushed = hub.push(model, "net", init={}) if blocking else hub.push(model, "net", init={}, blocking=False)
        was = state(model)
        doubled(model)
    entry = pushed if isinstance(pushed, registry.Entry) else pushed.wait()
    assert equal(hub.state_dict(entry), was)


def test_the_training_may_go_on_while_the_background_writes(hub: registry.Registry) -> None:
    model = Wide().to(GPU)
    for _ in range(3):
        doubled(model)
        was = state(model)
        pushed = hub.push(model, "net", init={}, blocking=False)
        doubled(model)
        assert equal(hub.state_dict(pushed.wait()), was)


def under_nccl(rank: int, store: str, home: str, ref: str) -> None:
    dist.init_process_group("nccl", init_method=f"file://{store}", rank=rank, world_size=1)
    hub = registry.Registry(home)
    model: Any = hub.load(ref, ddp=True, rank=rank)
    assert next(model.parameters()).device == GPU
    optimizer = trained(model)
    entry = hub.push(model, "net", optimizer=optimizer)
    assert entry.wrapper == "ddp"
    was = state(model.module)
    sharded = hub.load(entry, fsdp=True)
    assert {parameter.device for parameter in sharded.parameters()} == {GPU}
    assert equal(hub.state_dict(hub.push(sharded, "sharded")), was)
    optimizer = trained(sharded)
    later = hub.push(sharded, "sharded", optimizer=optimizer)
    hub.resume(later, sharded, optimizer)
    hub.resume(later, model, torch.optim.Adam(model.parameters()))
    assert equal(state(model.module), hub.state_dict(later))
    dist.destroy_process_group()


@pytest.mark.in_a_folder
def test_a_job_over_nccl_is_on_the_gpu(hub: registry.Registry, tmp_path: Path) -> None:
    entry = hub.push(PointNet(), "net", model="nets:PointNet")
    mp.spawn(under_nccl, (str(tmp_path / "store"), str(hub.home), entry.ref), nprocs=1)
