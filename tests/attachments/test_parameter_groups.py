"""Whose state is whose in a training file with several parameter groups, or of several models: proved, or refused."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings, strategies as st
from nets import PointNet
from torch import nn

import registry
from registry.attachments.training.order import proved_order
from registry.errors import UnprovedOrder


def groups_of(net: nn.Module, *patterns: Sequence[str]) -> list[dict[str, Any]]:
    named = dict(net.named_parameters())
    return [
        {"params": [p for name, p in named.items() if any(part in name for part in parts)], "lr": 0.1 / number}
        for number, parts in enumerate(patterns, 1)
    ]


def decayed(net: nn.Module) -> list[dict[str, Any]]:
    parameters = list(net.parameters())
    return [
        {"params": [p for p in parameters if p.ndim > 1], "weight_decay": 0.1},
        {"params": [p for p in parameters if p.ndim <= 1], "weight_decay": 0.0},
    ]


def job(divided: Any) -> tuple[PointNet, torch.optim.Optimizer]:
    torch.manual_seed(1)
    net = PointNet(num_classes=3)
    optimizer = torch.optim.AdamW(divided(net), lr=0.1)
    for _ in range(2):
        optimizer.zero_grad()
        net(torch.arange(42.0).reshape(2, 3, 7)).square().sum().backward()
        optimizer.step()
    return net, optimizer


def pushed(hub: registry.Registry, folder: Path, net: nn.Module, optimizer: torch.optim.Optimizer) -> tuple[str, ...]:
    torch.save({"model": net.state_dict(), "optimizer": optimizer.state_dict()}, folder / "train.pth")
    return hub.push(folder / "train.pth", "net", model="nets:PointNet", init={"num_classes": 3}).notices


def head_apart(net: nn.Module) -> list[dict[str, Any]]:
    return groups_of(net, ["head"], ["features", "submodule"])


@pytest.mark.parametrize("divided", [decayed, head_apart], ids=["decay", "head first"])
def test_groups_that_only_one_reading_fits_are_resumed(hub: registry.Registry, tmp_path: Path, divided: Any) -> None:
    net, optimizer = job(divided)
    assert pushed(hub, tmp_path, net, optimizer) == ()
    again = PointNet(num_classes=3)
    own = torch.optim.AdamW(divided(again), lr=0.5)
    hub.resume("net", again, own)
    for name, parameter in again.named_parameters():
        there = optimizer.state[net.get_parameter(name)]
        assert torch.equal(own.state[parameter]["exp_avg"], there["exp_avg"]), name
    assert [group["lr"] for group in own.param_groups] == [group["lr"] for group in optimizer.param_groups]


def biases_apart(net: nn.Module) -> list[dict[str, Any]]:
    named = dict(net.named_parameters())
    return [
        {"params": [p for name, p in named.items() if not name.endswith("bias")]},
        {"params": [p for name, p in named.items() if name.endswith("bias")]},
    ]


def test_groups_that_two_readings_fit_are_refused_and_said(hub: registry.Registry, tmp_path: Path) -> None:
    # The scale and the bias of a normalization have one shape, and either group could have either.
    (notice, *_) = pushed(hub, tmp_path, *job(biases_apart))
    assert "2 parameter groups, and several readings of them fit the shapes of its state" in notice


def test_groups_of_a_state_without_tensors_are_refused(hub: registry.Registry, tmp_path: Path) -> None:
    net = PointNet(num_classes=3)
    (notice, *_) = pushed(hub, tmp_path, net, torch.optim.SGD(decayed(net), lr=0.1))
    assert "several readings of them fit" in notice


def test_frozen_parameters_that_no_group_has_are_left_out(hub: registry.Registry, tmp_path: Path) -> None:
    net, optimizer = job(head_apart)
    optimizer.param_groups.pop(1)
    for parameter in (*net.features.parameters(), *net.submodule.parameters()):
        optimizer.state.pop(parameter)
    (notice, *_) = pushed(hub, tmp_path, net, optimizer)
    assert "the optimizer has 2 parameters and the class 8" in notice


SHAPES = st.sampled_from([(2,), (3,), (2, 3), (4, 4), (5,), (1,), ()])


@given(st.data())
@settings(max_examples=200, deadline=None)
def test_what_is_proved_is_how_the_parameters_were_dealt(data: st.DataObject) -> None:
    models: list[list[str]] = []
    shapes: dict[str, tuple[int, ...]] = {}
    for model in range(data.draw(st.integers(1, 3), "models")):
        own = data.draw(st.lists(SHAPES, min_size=1, max_size=5), "shapes")
        models.append([f"{model}.{number}" for number in range(len(own))])
        shapes.update(zip(models[-1], own, strict=True))
    order = data.draw(st.permutations(models), "order")
    groups: list[list[str]] = [[] for _ in range(data.draw(st.integers(1, 3), "groups"))]
    for name in (name for names in order for name in names):
        data.draw(st.sampled_from(groups), "group").append(name)
    states = [[{"exp_avg": shapes[name], "step": ()} for name in group] for group in groups]
    dealt = [name for group in groups for name in group]
    try:
        assert proved_order(states, models, shapes) == dealt
    except UnprovedOrder as error:
        assert "several readings" in str(error), "the true reading is always one of them"


@given(st.permutations([(2,), (3,), (2, 3), (4, 4), (5,)]), st.lists(st.integers(0, 2), min_size=5, max_size=5))
def test_parameters_of_different_shapes_are_always_proved(shapes: list[tuple[int, ...]], groups: list[int]) -> None:
    names = [str(number) for number in range(5)]
    dealt = [[name for name, group in zip(names, groups, strict=True) if group == number] for number in range(3)]
    states = [[{"exp_avg": shapes[int(name)]} for name in group] for group in dealt]
    order = proved_order(states, [names], dict(zip(names, shapes, strict=True)))
    assert order == [name for group in dealt for name in group]
