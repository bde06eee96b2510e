"""Saved four ways, loaded two ways: the same tensors and the same outputs, bit for bit."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
import torch.distributed as dist
from nets import PointNet
from ranks import Ranks
from torch import nn
from torch.nn.parallel import DistributedDataParallel

import registry

POINTS = torch.linspace(-1, 1, 2 * 3 * 16).reshape(2, 3, 16)


def trained() -> PointNet:
    """Return a model that is not as any constructor leaves it, statistics of batch normalization included."""
    torch.manual_seed(7)
    model = PointNet(num_classes=4)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    for _ in range(3):
        model(POINTS).square().mean().backward()
        optimizer.step()
    return model.eval()


def in_one_process(store: Path, work: Callable[[], object]) -> object:
    dist.init_process_group("gloo", init_method=f"file://{store}", rank=0, world_size=1)
    try:
        return work()
    finally:
        dist.destroy_process_group()


def save(way: str, model: PointNet, path: Path) -> Path:
    """Save as people do."""
    store = path.with_suffix(".store")
    if way == "ddp":
        state = in_one_process(store, lambda: DistributedDataParallel(model).state_dict())
    elif way == "ddp.module":
        state = in_one_process(store, lambda: DistributedDataParallel(model).module.state_dict())
    elif way == "single":
        state = model.state_dict()
    else:
        wrapped = PointNet(num_classes=4)
        wrapped.load_state_dict(model.state_dict())
        wrapped.features = nn.DataParallel(wrapped.features)  # type: ignore[assignment]
        state = wrapped.state_dict()
        assert "features.module.0.weight" in state
    torch.save(state, path)
    return path


def equal(state: dict[str, torch.Tensor], truth: dict[str, torch.Tensor]) -> bool:
    return state.keys() == truth.keys() and all(torch.equal(state[name], truth[name]) for name in truth)


def load_under_ddp(rank: int, home: Path, ref: str, answers: str, threads: int) -> None:
    torch.set_num_threads(threads)  # outputs are equal bit for bit where they are added up in one order
    model = registry.Registry(home).load(ref, ddp=True, rank=rank)
    assert isinstance(model, DistributedDataParallel)
    assert model.training
    state = {name: tensor.clone() for name, tensor in model.module.state_dict().items()}
    outputs = model.module.eval()(POINTS)
    model.train()(POINTS).sum().backward()
    gradients = [p.grad is not None for p in model.parameters()]
    torch.save({"state": state, "outputs": outputs, "gradients": gradients}, f"{answers}.{rank}")


@pytest.mark.parametrize("way", ["ddp", "ddp.module", "single", "features"])
def test_saved_any_way_it_loads_on_one_device_and_under_ddp(
    way: str, ranks: Ranks, hub: registry.Registry, tmp_path: Path
) -> None:
    model = trained()
    truth, outputs = {name: t.clone() for name, t in model.state_dict().items()}, model(POINTS).detach()
    file = save(way, model, tmp_path / "best.pth")
    entry = hub.push(file, "pointnet", from_="ddp", model="nets:PointNet", init={"num_classes": 4}, world_size=2)

    alone = hub.load(entry.ref)
    assert type(alone) is PointNet
    assert not alone.training
    assert equal(alone.state_dict(), truth)
    assert torch.equal(alone(POINTS), outputs)

    answers = tmp_path / "answers"
    ranks.run(load_under_ddp, hub.home, entry.ref, str(answers), torch.get_num_threads())
    for rank in range(2):
        answer = torch.load(f"{answers}.{rank}", weights_only=True)
        assert equal(answer["state"], truth)
        assert torch.equal(answer["outputs"], outputs)
        assert all(answer["gradients"])


def test_the_same_weights_are_one_digest_however_they_were_saved(hub: registry.Registry, tmp_path: Path) -> None:
    model = trained()
    entries = [
        hub.push(save(way, model, tmp_path / f"{way}.pth"), f"net-{number}", from_=declared)
        for number, (way, declared) in enumerate([("ddp", "ddp"), ("ddp.module", "ddp"), ("single", None)])
    ]
    assert len({entry.digest for entry in entries}) == 1
    assert [entry.saved_as for entry in entries] == ["wrapped", "bare", "bare"]
    assert [entry.wrapper for entry in entries] == ["ddp", "ddp", "none"]


def test_two_branches_of_one_job_are_two_models(hub: registry.Registry, tmp_path: Path) -> None:
    from nets import ImageNet

    torch.manual_seed(1)
    branches = {"points": trained(), "images": ImageNet()}
    for name, branch in branches.items():
        torch.save(nn.DataParallel(branch).state_dict(), tmp_path / f"{name}.pth")
        hub.push(tmp_path / f"{name}.pth", from_="ddp")
    for name, branch in branches.items():
        assert equal(hub.state_dict(name), branch.state_dict())
