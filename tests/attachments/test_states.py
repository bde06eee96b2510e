"""What is stored of optimizers and schedulers goes back to where it belongs, or is refused."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from nets import PointNet, Tied, Twins
from torch import nn
from torch.optim import lr_scheduler

import registry
from registry import errors

Optimizer = torch.optim.Optimizer


def stepped(model: nn.Module, optimizer: Optimizer, steps: int = 2) -> None:
    for number in range(steps):
        optimizer.zero_grad()
        points = torch.randn(4, 3, 8, generator=torch.Generator().manual_seed(number))
        model(points).square().mean().backward()
        optimizer.step()


def in_groups(*groups: list[nn.Parameter], rates: tuple[float, ...] = ()) -> Optimizer:
    options = [{"params": group} for group in groups]
    return torch.optim.SGD(
        [{**o, "lr": lr} for o, lr in zip(options, rates, strict=True)] if rates else options, lr=1.0
    )


def test_groups_in_another_order_keep_their_learning_rates(hub: registry.Registry) -> None:
    net = Twins()
    hub.push(net, "net", optimizer=in_groups([*net.left.parameters()], [*net.right.parameters()], rates=(0.1, 0.001)))
    other = Twins()
    optimizer = in_groups([*other.right.parameters()], [*other.left.parameters()][::-1])
    hub.resume("net", other, optimizer)
    assert [group["lr"] for group in optimizer.param_groups] == [0.001, 0.1]


def test_groups_that_divide_the_parameters_otherwise_are_refused(hub: registry.Registry) -> None:
    net = Twins()
    hub.push(net, "net", optimizer=in_groups([*net.left.parameters()], [*net.right.parameters()], rates=(0.1, 0.001)))
    other = Twins()
    weights: list[Any] = [other.left.weight, other.right.weight]
    with pytest.raises(errors.OptimizerMismatch, match=r"'left\.weight'"):
        hub.resume("net", other, in_groups(weights, [other.left.bias, other.right.bias]))


def test_another_kind_of_optimizer_is_refused(hub: registry.Registry) -> None:
    net = PointNet()
    hub.push(net, "net", optimizer=torch.optim.Adam(net.parameters()))
    with pytest.raises(errors.StateRefused, match=r"Adam.*SGD"):
        hub.resume("net", net, torch.optim.SGD(net.parameters()))


SCHEDULERS: dict[str, Callable[[Optimizer], Any]] = {
    "multistep": lambda o: lr_scheduler.MultiStepLR(o, [4, 4]),
    "onecycle": lambda o: lr_scheduler.OneCycleLR(o, 0.1, total_steps=20),
    "cyclic": lambda o: lr_scheduler.CyclicLR(o, 0.01, 0.1, step_size_up=3),
    "plateau": lambda o: lr_scheduler.ReduceLROnPlateau(o, patience=1),
    "lambda": lambda o: lr_scheduler.LambdaLR(o, lambda epoch: 0.9**epoch),
    "sequential": lambda o: lr_scheduler.SequentialLR(
        o, [lr_scheduler.LinearLR(o), lr_scheduler.MultiStepLR(o, [3])], [3]
    ),
}


def rates(optimizer: Optimizer, scheduler: Any, steps: int) -> list[float]:
    found = []
    for _ in range(steps):
        optimizer.step()
        scheduler.step(*([1.0] if isinstance(scheduler, lr_scheduler.ReduceLROnPlateau) else []))
        found.append(optimizer.param_groups[0]["lr"])
    return found


def kinds(value: Any) -> Any:
    return {key: kinds(item) for key, item in value.items()} if type(value) is dict else type(value)


@pytest.mark.parametrize("kind", SCHEDULERS)
def test_a_scheduler_goes_on_with_states_of_the_same_types(kind: str, hub: registry.Registry) -> None:
    def made() -> tuple[nn.Module, Optimizer, Any]:
        net = nn.Linear(2, 2)
        optimizer = torch.optim.SGD(net.parameters(), lr=0.1, momentum=0.9)
        return net, optimizer, SCHEDULERS[kind](optimizer)

    net, optimizer, scheduler = made()
    rates(optimizer, scheduler, 3)
    hub.push(net, "net", optimizer=optimizer, scheduler=scheduler)
    expected = rates(optimizer, scheduler, 6)
    other, again, resumed = made()
    hub.resume("net", other, again, resumed)
    assert rates(again, resumed, 6) == expected
    assert kinds(resumed.state_dict()) == kinds(scheduler.state_dict())


class Precise(torch.optim.Optimizer):
    """Keeps float32 beside bfloat16 parameters."""

    def __init__(self, parameters: Any) -> None:
        super().__init__(parameters, {"lr": 0.1})

    def step(self, closure: Any = None) -> Any:
        for parameter in self.param_groups[0]["params"]:
            self.state[parameter]["master"] = torch.full(parameter.shape, 1.0001)


def test_a_state_more_precise_than_its_parameter_stays_so(hub: registry.Registry) -> None:
    net = nn.Linear(2, 2).bfloat16()
    optimizer = Precise(net.parameters())
    optimizer.step()
    hub.push(net, "net", optimizer=optimizer)
    resumed = Precise(net.parameters())
    hub.resume("net", net, resumed)
    assert torch.equal(resumed.state[net.weight]["master"], torch.full((2, 2), 1.0001))


class Learned(torch.optim.Optimizer):
    """Has a learning rate that is learned, too, and a state of every kind."""

    def __init__(self, parameters: Any, made: Callable[[], Any]) -> None:
        super().__init__(parameters, {"lr": torch.tensor(0.1, requires_grad=True)})
        for parameter in self.param_groups[0]["params"]:
            self.state[parameter]["kept"] = made()


def of_its_own_kind() -> torch.Tensor:
    class Own(torch.Tensor):
        pass

    return torch.ones(2).as_subclass(Own)


@pytest.mark.parametrize("made", [
    lambda: torch.ones(2), lambda: torch.ones(2, requires_grad=True), lambda: nn.Parameter(torch.ones(2)),
    lambda: nn.Parameter(torch.ones(2), requires_grad=False), lambda: torch.ones(3, 2).t(), of_its_own_kind,
])  # fmt: skip
def test_a_state_that_learns_goes_on_learning(made: Callable[[], Any], hub: registry.Registry) -> None:
    net = nn.Linear(2, 2)
    try:
        hub.push(net, "net", optimizer=Learned(net.parameters(), made))
    except (errors.UnencodableValue, errors.UnstorableTensor) as refusal:
        assert made is of_its_own_kind, refusal
        return
    resumed = Learned(net.parameters(), lambda: torch.zeros(made().shape))
    with torch.no_grad():
        resumed.param_groups[0]["lr"].zero_()
    hub.resume("net", net, resumed)
    found, was, rate = resumed.state[net.weight]["kept"], made(), resumed.param_groups[0]["lr"]
    assert (type(found), found.requires_grad) == (type(was), was.requires_grad) and torch.equal(found, was)
    assert rate.item() == pytest.approx(0.1) and rate.requires_grad and rate.is_leaf and found.is_leaf
    assert made is not of_its_own_kind and hub.audit().is_clean


def test_how_steps_are_computed_is_the_machines_own_matter(hub: registry.Registry) -> None:
    net = PointNet()
    optimizer = torch.optim.Adam(net.parameters())
    stepped(net, optimizer)
    optimizer.param_groups[0]["capturable"] = True  # as on a GPU; a CPU refuses to step with it
    hub.push(net, "net", optimizer=optimizer)
    resumed = torch.optim.Adam(net.parameters())
    hub.resume("net", net, resumed)
    stepped(net, resumed)


def test_states_that_are_not_shaped_as_their_parameter_go_by_name(hub: registry.Registry) -> None:
    net, other = PointNet(), PointNet()
    optimizer, resumed = torch.optim.Adafactor(net.parameters()), torch.optim.Adafactor(other.parameters())
    stepped(net, optimizer)
    hub.push(net, "net", optimizer=optimizer)
    hub.resume("net", other, resumed)
    stepped(net, optimizer, 1)
    stepped(other, resumed, 1)
    assert torch.equal(net.head.weight, other.head.weight)


def test_one_vector_over_all_parameters_needs_their_order(hub: registry.Registry) -> None:
    net = Twins()
    optimizer = torch.optim.LBFGS(net.parameters(), max_iter=2)

    def loss() -> Any:
        optimizer.zero_grad()
        value = (net(torch.ones(1, 3)) - 3).square().sum()
        value.backward()
        return value

    optimizer.step(loss)
    hub.push(net, "net", optimizer=optimizer)
    same, other = Twins(), Twins(swapped=True)
    hub.resume("net", same, torch.optim.LBFGS(same.parameters(), max_iter=2))
    with pytest.raises(errors.OptimizerMismatch, match="another order"):
        hub.resume("net", other, torch.optim.LBFGS(other.parameters(), max_iter=2))


class TiedHeadFirst(nn.Module):
    """``Tied``, with its parts registered the other way round."""

    def __init__(self) -> None:
        super().__init__()
        self.head, self.embed = nn.Linear(4, 7, bias=False), nn.Embedding(7, 4)
        self.embed.weight = self.head.weight


def test_a_tied_parameter_is_known_by_each_of_its_names(hub: registry.Registry) -> None:
    net, other = Tied(), TiedHeadFirst()
    optimizer, resumed = torch.optim.Adam(net.parameters()), torch.optim.Adam(other.parameters())
    net(torch.tensor([1, 2])).sum().backward()
    optimizer.step()
    hub.push(net, "net", optimizer=optimizer)
    hub.resume("net", other, resumed)
    assert torch.equal(resumed.state[other.head.weight]["exp_avg"], optimizer.state[net.embed.weight]["exp_avg"])


class Stubborn:
    """A scheduler that breaks on the way in, once what is stored is not its own."""

    def __init__(self, mark: int) -> None:
        self.mark = mark

    def state_dict(self) -> dict[str, int]:
        return {"mark": self.mark}

    def load_state_dict(self, state: dict[str, int]) -> None:
        if state["mark"] != self.mark:
            raise AttributeError("no such attribute")


def test_a_scheduler_that_refuses_leaves_model_and_optimizer_alone(hub: registry.Registry) -> None:
    net, other = PointNet(), PointNet()
    optimizer, resumed = torch.optim.Adam(net.parameters()), torch.optim.Adam(other.parameters(), lr=0.5)
    stepped(net, optimizer)
    hub.push(net, "net", optimizer=optimizer, scheduler=Stubborn(1))
    before = {name: tensor.clone() for name, tensor in other.state_dict().items()}
    with pytest.raises(errors.StateRefused, match="scheduler"):
        hub.resume("net", other, resumed, Stubborn(2))
    assert all(torch.equal(tensor, before[name]) for name, tensor in other.state_dict().items())
    assert not resumed.state and resumed.param_groups[0]["lr"] == 0.5


def test_random_generators_do_not_make_equal_weights_another_version(hub: registry.Registry) -> None:
    net = PointNet()
    hub.push(net, "net", epoch=1)
    torch.rand(1)
    assert hub.push(net, "net", epoch=1).reused


def test_what_is_lost_in_the_background_is_said_when_the_process_ends(home: Path, tmp_path: Path) -> None:
    job = tmp_path / "job.py"
    job.write_text(
        "import os, pathlib, shutil, time, torch, registry\n"
        "registry.push(torch.nn.Linear(2, 2), 'net')\n"
        "home = pathlib.Path(os.environ['REGISTRY_HOME'])\n"
        "shutil.rmtree(home); home.write_text('')\n"
        "registry.push(torch.nn.Linear(2, 2), 'net', blocking=False)\n"
        "time.sleep(1)\n"
    )
    ended = subprocess.run([sys.executable, str(job)], capture_output=True, text=True, timeout=60, check=False)
    assert "'net' in the background was lost" in ended.stderr


class Counting(nn.Linear):
    """Has a state that is no tensor."""

    def __init__(self) -> None:
        super().__init__(2, 2)
        self.seen = [1]

    def get_extra_state(self) -> list[int]:
        return self.seen

    def set_extra_state(self, state: list[int]) -> None:
        self.seen = state


def test_an_extra_state_is_copied_too(hub: registry.Registry) -> None:
    counting = Counting()
    pending = hub.push(nn.Sequential(counting, nn.Linear(2000, 2000)), "net", blocking=False)
    counting.seen.append(2)
    pending.wait()
    assert hub.state_dict("net")["0._extra_state"] == [1]
