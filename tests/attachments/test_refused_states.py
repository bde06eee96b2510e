"""A state that an object of the job refuses half way: everything stays as it was, and the object is named."""

from __future__ import annotations

import random
from collections import OrderedDict, deque
from typing import Any

import pytest
import torch
from torch import nn

import registry
from registry import errors


class Half:
    """A scheduler of somebody's own, which finds out late that it cannot take a state, and takes none afterwards."""

    __slots__ = ("__dict__", "slotted")

    def __init__(self, optimizer: Any, *, broken: bool) -> None:
        self.optimizer, self.broken = optimizer, broken
        self.slotted = 1
        self.epoch = 0
        self.history: list[float] = [0.5]
        self.recent = deque([1, 2], maxlen=2)
        self.seen = {1, 2}
        self.nested: OrderedDict[str, Any] = OrderedDict(warmup={"steps": [1, 2, 3]})
        self.scale = torch.tensor([1.0, float("nan")])
        self.inner = torch.optim.lr_scheduler.StepLR(optimizer, 2)

    def state_dict(self) -> dict[str, Any]:
        return {"epoch": 7, "history": [0.25, 0.125]}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        if not self.broken:
            return
        self.__dict__["epoch"] = state["epoch"]
        self.slotted = 2
        self.history[:] = state["history"]
        self.recent.append(3)
        self.seen.clear()
        self.nested["warmup"]["steps"].pop()
        self.nested["more"] = 1
        self.nested.move_to_end("warmup")
        self.scale.mul_(0)
        self.inner.last_epoch = 99
        self.optimizer.param_groups[0]["lr"] = 1e6
        self.optimizer.added = True
        del self.broken
        random.random()
        torch.rand(1)
        raise KeyError("gamma")


def described(scheduler: Half) -> Any:
    return (
        scheduler.broken,
        scheduler.slotted,
        scheduler.epoch,
        scheduler.history,
        list(scheduler.recent),
        scheduler.recent.maxlen,
        scheduler.seen,
        list(scheduler.nested.items()),
        scheduler.scale.tolist()[0],
        scheduler.scale.isnan().tolist(),
        scheduler.inner.last_epoch,
        [{key: value for key, value in group.items() if key != "params"} for group in scheduler.optimizer.param_groups],
        sorted(vars(scheduler.optimizer)),
        random.getstate(),
        torch.get_rng_state().tolist(),
    )


@pytest.mark.parametrize("part", ["scheduler", "scaler"])
def test_a_state_that_is_refused_half_way_leaves_everything_as_it_was(hub: registry.Registry, part: str) -> None:
    model = nn.Linear(3, 2)
    optimizer = torch.optim.Adam(model.parameters(), lr=0.25)
    parts: dict[str, Any] = {part: Half(optimizer, broken=False)}
    hub.push(model, "net", optimizer=optimizer, **parts)
    other = nn.Linear(3, 2)
    weights = other.weight.detach().clone()
    mine = torch.optim.Adam(other.parameters(), lr=0.5)
    scheduler = Half(mine, broken=True)
    held = (scheduler.history, scheduler.nested, scheduler.scale, mine.param_groups, mine.state)
    before = described(scheduler)
    parts = {part: scheduler}
    with pytest.raises(errors.StateRefused, match=rf"{part} .*Half.*KeyError"):
        hub.resume("net", other, optimizer=mine, **parts)
    assert described(scheduler) == before
    now = (scheduler.history, scheduler.nested, scheduler.scale, mine.param_groups, mine.state)
    assert all(one is other for one, other in zip(held, now, strict=True))
    assert torch.equal(other.weight, weights)


def test_an_optimizer_of_which_only_the_scheduler_is_resumed_is_as_it_was(hub: registry.Registry) -> None:
    model = nn.Linear(3, 2)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.5)
    hub.push(model, "net", scheduler=Half(optimizer, broken=False))
    scheduler = Half(optimizer, broken=True)
    with pytest.raises(errors.StateRefused, match="Half"):
        hub.resume("net", model, scheduler=scheduler)
    assert optimizer.param_groups[0]["lr"] == 0.5


def test_an_optimizer_that_refuses_its_state_half_way_is_as_it_was(hub: registry.Registry) -> None:
    class Momentum(torch.optim.SGD):
        broken = False

        def load_state_dict(self, state: Any) -> None:
            super().load_state_dict(state)
            self.defaults["lr"] = 3
            if self.broken:
                raise AssertionError("no")

    model = nn.Linear(3, 2)
    optimizer = Momentum(model.parameters(), lr=0.5, momentum=0.9)
    model(torch.ones(1, 3)).sum().backward()
    optimizer.step()
    hub.push(model, "net", optimizer=optimizer)
    optimizer.step()
    buffers = {key: entry["momentum_buffer"] for key, entry in optimizer.state.items()}
    values = {key: buffer.clone() for key, buffer in buffers.items()}
    optimizer.broken = True
    with pytest.raises(errors.StateRefused, match="Momentum"):
        hub.resume("net", model, optimizer)
    assert optimizer.defaults["lr"] == 0.5
    assert {key: entry["momentum_buffer"] for key, entry in optimizer.state.items()} == buffers
    assert all(torch.equal(buffer, values[key]) for key, buffer in buffers.items())
