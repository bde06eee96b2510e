"""Training files of others: what can be proved of them is kept, and the rest is said."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from nets import Twins

import registry
from registry import errors


def trained(swapped: bool = False, **options: Any) -> tuple[Twins, torch.optim.Optimizer]:
    net = Twins(swapped)
    optimizer = torch.optim.Adam(net.parameters(), **options)
    (net.left(torch.ones(1, 3)).sum() + 5 * net.right(torch.ones(1, 3)).sum()).backward()
    optimizer.step()
    return net, optimizer


def momentum(net: Twins, optimizer: torch.optim.Optimizer) -> torch.Tensor:
    return optimizer.state[net.left.weight]["exp_avg"]


def saved(folder: Path, value: dict[str, Any]) -> Path:
    torch.save(value, folder / "train.pth")
    return folder / "train.pth"


def resumed(hub: registry.Registry, scheduler: bool = False) -> tuple[Any, torch.Tensor]:
    net = Twins()
    optimizer = torch.optim.Adam(net.parameters())
    rest = [torch.optim.lr_scheduler.StepLR(optimizer, 2)] if scheduler else []
    return hub.resume("net", net, optimizer, *rest), momentum(net, optimizer)


def test_the_keys_of_the_tutorial(hub: registry.Registry, tmp_path: Path) -> None:
    net, optimizer = trained()
    state = {"model_state_dict": net.state_dict(), "optimizer_state_dict": optimizer.state_dict(), "epoch": 7}
    hub.push(saved(tmp_path, state), "net", model="nets:Twins")
    found, average = resumed(hub)
    assert found.epoch == 7
    assert torch.equal(average, momentum(net, optimizer))


def test_a_file_of_lightning(hub: registry.Registry, tmp_path: Path) -> None:
    net, optimizer = trained()
    scheduler = torch.optim.lr_scheduler.StepLR(optimizer, 2)
    state = {
        "state_dict": net.state_dict(),
        "optimizer_states": [optimizer.state_dict()],
        "lr_schedulers": [scheduler.state_dict()],
        "epoch": 3,
        "global_step": 99,
        "pytorch-lightning_version": "2.4.0",
    }
    hub.push(saved(tmp_path, state), "net", model="nets:Twins")
    found, average = resumed(hub, scheduler=True)
    assert (found.epoch, found.step, found.restored) == (3, 99, ("optimizer", "scheduler"))
    assert torch.equal(average, momentum(net, optimizer))


def test_names_in_the_file_itself_prove_the_order(hub: registry.Registry, tmp_path: Path) -> None:
    net = Twins(swapped=True)
    optimizer = torch.optim.Adam(net.named_parameters())
    net(torch.ones(1, 3)).sum().backward()
    optimizer.step()
    hub.push(saved(tmp_path, {"model": net.state_dict(), "optimizer": optimizer.state_dict()}), "net")
    assert torch.equal(resumed(hub)[1], momentum(net, optimizer))


def in_two_groups() -> dict[str, Any]:
    net = Twins()
    groups = [{"params": [*net.right.parameters()]}, {"params": [*net.left.parameters()]}]
    return {"model": net.state_dict(), "optimizer": torch.optim.Adam(groups).state_dict()}


def of_another_order() -> dict[str, Any]:
    net, optimizer = trained(swapped=True)
    return {"model": net.state_dict(), "optimizer": optimizer.state_dict()}


def of_two_optimizers() -> dict[str, Any]:
    net, optimizer = trained()
    return {"model": net.state_dict(), "optimizer_g": optimizer.state_dict(), "optimizer_d": optimizer.state_dict()}


@pytest.mark.parametrize(
    ("state", "why"),
    [(in_two_groups, "2 parameter groups"), (of_another_order, "another order"), (of_two_optimizers, "2 optimizers")],
)
def test_an_order_that_is_not_proved_is_not_guessed(
    state: Any, why: str, hub: registry.Registry, tmp_path: Path
) -> None:
    entry = hub.push(saved(tmp_path, {**state(), "epoch": torch.tensor(5)}), "net", model="nets:Twins")
    assert any(why in notice for notice in entry.notices)
    with pytest.raises(errors.NoTrainingState, match="optimizer"):
        resumed(hub)
    assert hub.resume("net", Twins()).epoch == 5


@pytest.mark.parametrize("file", ["training.pth.tar", "chgnet_0.3.0.pth.tar"])
def test_the_optimizer_of_a_published_file_is_not_guessed_without_its_class(
    file: str, hub: registry.Registry, published: Callable[[str], Path]
) -> None:
    entry = hub.push(published(file), "crystal")
    assert any("--model" in notice for notice in entry.notices)
    assert hub.catalog.document(entry, "training") is not None
