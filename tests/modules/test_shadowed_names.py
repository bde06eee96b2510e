"""What a class calls ``modules``, ``parameters`` or ``training`` does not keep it from being stored and loaded."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import shadowing
import torch
from torch import nn

import registry
from registry.modules import anatomy

INPUTS = torch.linspace(-1, 1, 12).reshape(3, 4)
CLASSES = ["Lists", "Inside", "OfTheClass", "Flags"]


def computed(model: nn.Module) -> torch.Tensor:
    """Return what a model computes in eval mode, which no method of its own is asked for."""
    for _, part in anatomy.parts(model):
        if isinstance(vars(part).get("training"), bool):
            vars(part)["training"] = False
    return model(INPUTS)


@pytest.mark.parametrize("name", CLASSES)
def test_a_class_with_names_of_torch_is_pushed_live_and_loaded_in_eval_mode(hub: registry.Registry, name: str) -> None:
    model = getattr(shadowing, name)()
    hub.push(model, "net")
    assert torch.equal(hub.load("net")(INPUTS), computed(model))


@pytest.mark.parametrize("name", CLASSES)
def test_it_takes_weights_and_optimizer_state_as_the_callers_own(hub: registry.Registry, name: str) -> None:
    model, other = getattr(shadowing, name)(), getattr(shadowing, name)()
    optimizer = torch.optim.SGD(anatomy.parameters(model), lr=0.1)
    hub.push(model, "net", optimizer=optimizer)
    hub.resume("net", other, torch.optim.SGD(anatomy.parameters(other), lr=0.5))
    assert torch.equal(computed(other), computed(model))


@pytest.mark.parametrize("name", CLASSES)
def test_its_outputs_are_recorded_and_compared_and_it_is_cast_and_moved(hub: registry.Registry, name: str) -> None:
    model = getattr(shadowing, name)()
    before = {key: copy.copy(value) for key, value in vars(model).items() if not key.startswith("_")}
    hub.push(model, "net", example=INPUTS)
    assert {key: value for key, value in vars(model).items() if not key.startswith("_")} == before
    hub.load("net", verify="outputs", device="cpu")
    assert all(t.dtype == torch.float64 for t in anatomy.parameters(hub.load("net", cast=torch.float64)))


def test_a_file_of_it_is_pushed_with_its_class(hub: registry.Registry, tmp_path) -> None:
    model = shadowing.Lists()
    torch.save(nn.Module.state_dict(model), tmp_path / "net.pth")
    hub.push(tmp_path / "net.pth", "net", model="shadowing:Lists", example=INPUTS)
    assert torch.equal(hub.load("net", verify="outputs")(INPUTS), computed(model))


def test_a_class_that_changes_its_mode_in_its_own_way_does_so(hub: registry.Registry) -> None:
    hub.push(shadowing.Frozen(), "net")
    model: Any = hub.load("net")
    assert (model.training, model.norm.training, model.children) == (False, True, [])


def test_a_walk_is_what_torch_makes_of_an_ordinary_module() -> None:
    shared = nn.Linear(2, 2)
    model = nn.Sequential(shared, nn.Sequential(nn.BatchNorm1d(2), shared), nn.TransformerEncoderLayer(4, 2))
    assert list(anatomy.parts(model)) == list(model.named_modules())
    assert list(anatomy.named_parameters(model)) == [name for name, _ in model.named_parameters()]
    assert list(map(id, anatomy.tensors(model))) == list(map(id, [*model.parameters(), *model.buffers()]))
