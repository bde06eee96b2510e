"""A job that was stored goes on as if it had not stopped."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import pytest
import torch
from contents import is_empty
from nets import OnlyChild, PointNet
from torch import nn
from torch.optim.swa_utils import AveragedModel

import registry
from registry import errors


def batch() -> tuple[torch.Tensor, torch.Tensor]:
    return torch.randn(4, 3, 8), torch.randint(5, (4,))


def train(model: nn.Module, optimizer: torch.optim.Optimizer, scheduler: Any, steps: int) -> list[float]:
    losses = []
    for _ in range(steps):
        inputs, labels = batch()
        loss = nn.functional.cross_entropy(model(inputs), labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        scheduler.step()
        losses.append(loss.item())
    return losses


OPTIMIZERS = {
    "sgd": lambda p: torch.optim.SGD(p, lr=0.05, momentum=0.9, nesterov=True),
    "adamw": lambda p: torch.optim.AdamW(p, lr=0.01, amsgrad=True),
    "adagrad": lambda p: torch.optim.Adagrad(p, lr=0.05),
    "rmsprop": lambda p: torch.optim.RMSprop(p, lr=0.01),
}


@pytest.mark.parametrize("kind", OPTIMIZERS)
def test_the_continued_run_equals_the_uninterrupted_one(kind: str, hub: registry.Registry) -> None:
    torch.manual_seed(0)
    model = PointNet()
    optimizer = OPTIMIZERS[kind](model.parameters())
    scheduler = torch.optim.lr_scheduler.StepLR(optimizer, 2, gamma=0.5)
    train(model, optimizer, scheduler, 3)
    hub.push(model, "net", optimizer=optimizer, scheduler=scheduler, step=3, epoch=1)
    uninterrupted = train(model, optimizer, scheduler, 5)

    again = PointNet()
    optimizer = OPTIMIZERS[kind](again.parameters())
    scheduler = torch.optim.lr_scheduler.StepLR(optimizer, 2, gamma=0.5)
    resumed = hub.resume("net", again, optimizer, scheduler)
    assert (resumed.step, resumed.epoch) == (3, 1)
    assert set(resumed.restored) == {"optimizer", "scheduler", "rng"}
    assert train(again, optimizer, scheduler, 5) == uninterrupted


class Pair(nn.Module):
    """Two parameters of one shape, registered in either order."""

    a: nn.Parameter
    b: nn.Parameter

    def __init__(self, swapped: bool = False) -> None:
        super().__init__()
        for name in ("b", "a") if swapped else ("a", "b"):
            self.register_parameter(name, nn.Parameter(torch.ones(3)))


def test_parameters_registered_in_another_order_get_their_own_state(hub: registry.Registry) -> None:
    model = Pair()
    optimizer = torch.optim.Adam(model.parameters())
    (model.a * 2 + model.b * 5).sum().backward()
    optimizer.step()
    hub.push(model, "net", optimizer=optimizer)
    other = Pair(swapped=True)
    resumed = torch.optim.Adam(other.parameters())
    hub.resume("net", other, resumed)
    for name in ("a", "b"):
        mine, theirs = optimizer.state[getattr(model, name)], resumed.state[getattr(other, name)]
        assert torch.equal(mine["exp_avg"], theirs["exp_avg"])


def test_an_optimizer_of_another_model_is_refused_and_nothing_changes(hub: registry.Registry) -> None:
    model = Pair()
    optimizer = torch.optim.Adam(model.parameters())
    with pytest.raises(errors.ForeignParameters, match="Pair"):
        hub.push(model, "net", optimizer=torch.optim.Adam(PointNet().parameters()))
    hub.push(model, "net", optimizer=optimizer)
    other = Pair()
    with torch.no_grad():
        other.a.zero_()
    with pytest.raises(errors.OptimizerMismatch, match="'b'"):
        hub.resume("net", other, torch.optim.Adam([other.a]))
    assert not other.a.any()


def test_a_version_without_training_state_says_so(hub: registry.Registry) -> None:
    model = Pair()
    hub.push(model, "net")
    with pytest.raises(errors.NoTrainingState, match="optimizer"):
        hub.resume("net", model, torch.optim.Adam(model.parameters()))
    assert hub.resume("net", model).restored == ()


def test_a_state_that_nothing_was_given_for_is_named(hub: registry.Registry) -> None:
    model = Pair()
    optimizer = torch.optim.Adam(model.parameters())
    hub.push(model, "net", optimizer=optimizer, state={"loader": torch.optim.SGD(model.parameters(), lr=1.0)})
    with pytest.warns(UserWarning, match="net:v1 keeps the state of optimizer, loader, which stays behind") as warned:
        assert hub.resume("net", model).left == ("optimizer", "loader")
    assert warned[0].filename == __file__
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert hub.resume("net", model, optimizer, state={"loader": torch.optim.SGD(model.parameters())}).left == ()


def test_a_state_that_is_no_plain_data_is_refused_by_name(hub: registry.Registry) -> None:
    class Odd:
        def state_dict(self) -> dict[str, object]:
            return {"callback": print}

        def load_state_dict(self, state: dict[str, object]) -> None: ...

    with pytest.raises(errors.UnencodableValue, match="callback"):
        hub.push(Pair(), "net", scheduler=Odd())
    assert is_empty(hub)


def test_loading_the_weights_reads_no_training_state(hub: registry.Registry) -> None:
    model = PointNet()
    optimizer = torch.optim.Adam(model.parameters())
    model(batch()[0]).sum().backward()
    optimizer.step()
    plain = hub.push(model, "plain")
    full = hub.push(model, "full", optimizer=optimizer)
    assert plain.digest == full.digest
    weights = {tensor.location.blob for tensor in hub.catalog.manifest_and_documents(full)[0].tensors.values()}
    for blob in (hub.home / "blobs").rglob("*.safetensors"):
        if blob.stem not in weights:
            blob.unlink()
    hub.load("full", model=PointNet())


def test_a_training_file_keeps_its_optimizer_where_the_class_proves_the_order(
    hub: registry.Registry, tmp_path: Path
) -> None:
    model = PointNet()
    optimizer = torch.optim.Adam(model.parameters())
    model(batch()[0]).sum().backward()
    optimizer.step()
    file = tmp_path / "train.pth"
    torch.save({"model": model.state_dict(), "optimizer": optimizer.state_dict(), "epoch": 7}, file)
    entry = hub.push(file, "net", model="nets:PointNet")
    other = PointNet()
    resumed = torch.optim.Adam(other.parameters())
    assert hub.resume(entry.ref, other, resumed).epoch == 7
    assert torch.equal(resumed.state[other.head.weight]["exp_avg"], optimizer.state[model.head.weight]["exp_avg"])
    unproved = hub.push(file, "unproved")
    assert any("--model" in notice for notice in unproved.notices)


def test_a_push_in_the_background_stores_what_was_there_when_it_was_called(hub: registry.Registry) -> None:
    model = PointNet()
    before = model.head.bias.detach().clone()
    pending = hub.push(model, "net", blocking=False)
    with torch.no_grad():
        model.head.bias.add_(1)
    second = hub.push(model, "net")
    assert (pending.wait().version, second.version) == (1, 2)
    assert torch.equal(hub.state_dict("net:v1")["head.bias"], before)


def test_an_averaged_model_is_pushed_as_the_model_inside(hub: registry.Registry) -> None:
    entry = hub.push(AveragedModel(OnlyChild()), "net")
    assert entry.wrapper == "ema"
    assert list(hub.state_dict("net")) == ["module.weight", "module.bias"]


@registry.remember
class Remembering(nn.Module):
    """Keeps what it was constructed with."""

    def __init__(self, width: int, *, bias: bool = True) -> None:
        super().__init__()
        self.fc = nn.Linear(width, 2, bias=bias)


def test_init_arguments_are_remembered(hub: registry.Registry) -> None:
    assert hub.push(nn.DataParallel(Remembering(3, bias=False)), "net").init == {"width": 3, "bias": False}
    assert hub.push(registry.remember(Remembering(3), 3, bias=True), "other").init == {"width": 3, "bias": True}
