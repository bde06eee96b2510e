"""The fast way gives what the plain way gives, or is not taken."""

from __future__ import annotations

import random
import threading
from importlib import import_module
from typing import Any

import pytest
import torch
from torch import nn

from registry.modules.building.build import build
from registry.modules.building.specification import ModelSpec
from registry.modules.fitting.fit import fit
from registry.tensors.memory import same_bits

FAST = {
    "ConvNet",
    "TiedTransformer",
    "Recurrent",
    "DrawnParameter",
    "CustomReset",
    "FixedScale",
    "Containers",
    "SharedModule",
    "OddTypes",
    "ExtraState",
    "DeviceAsker",
    "SelfMoving",
    "MemorySharer",
}
PLAIN = {
    "WeightNormed": "in its own way",
    "OldNorms": "outside of the state dict",
    "Lazy": "Lazy",
    "RandomBuffer": "outside of the state dict",
    "RandomAttribute": "outside of the state dict",
    "ComputedBuffer": "outside of the state dict",
    "ForgivingReader": "values of parameters",
    "OwnLoading": "in its own way",
}


def filled(module: nn.Module) -> nn.Module:
    """Give every tensor values that no constructor gives."""
    generator = torch.Generator().manual_seed(7)
    for tensor in {id(t): t for t in [*module.parameters(), *(b for b in module.buffers())]}.values():
        values = torch.rand(tensor.shape, generator=generator)
        tensor.data.copy_(values > 0.5 if tensor.dtype == torch.bool else values * 3 + 0.5)
    return module


def example(kind: type) -> torch.Tensor:
    return kind.example() if hasattr(kind, "example") else torch.linspace(-1, 1, 8).reshape(2, 4)


@pytest.mark.parametrize("name", sorted([*FAST, *PLAIN]))
def test_a_loaded_model_computes_what_an_ordinary_one_does(name):
    kind = getattr(import_module("sample_models"), name)
    x = example(kind)
    trained = kind()
    trained(x)
    state = {n: t.clone() for n, t in filled(trained).state_dict().items() if isinstance(t, torch.Tensor)}
    values = {"_extra_state": {"steps": 3}} if name == "ExtraState" else {}
    spec = ModelSpec(f"sample_models:{name}")

    torch.manual_seed(1)
    built = build(spec)
    report = fit(built, state, values=values, allow_missing=["noise", "tables.*"])
    torch.manual_seed(1)
    ordinary = kind()
    ordinary.load_state_dict({**state, **values}, strict=True)

    assert report.built == ("fast" if name in FAST else "plain"), report.reason
    for (n, got), (_, want) in zip(built.module.state_dict().items(), ordinary.state_dict().items(), strict=True):
        assert not isinstance(got, torch.Tensor) or same_bits(got, want), n
    for mode in (True, False):
        torch.manual_seed(2)
        got = built.module.train(mode)(x)
        torch.manual_seed(2)
        assert same_bits(got, ordinary.train(mode)(x))


@pytest.mark.parametrize("name", sorted(PLAIN))
def test_what_cannot_be_proven_is_built_plainly_and_says_why(name):
    built = build(ModelSpec(f"sample_models:{name}"))

    assert not built.fast
    assert any(part in built.reason for part in PLAIN[name].split("|")), built.reason


@pytest.mark.parametrize("name", ["TiedTransformer", "RandomBuffer", "ForgivingReader", "SelfMoving"])
def test_a_build_leaves_no_trace_in_the_process(name):
    spec = ModelSpec(f"sample_models:{name}")
    torch.manual_seed(5)
    random.seed(5)
    expected = (torch.rand(3).tolist(), random.random())
    register = nn.Module.register_parameter
    torch.manual_seed(5)
    random.seed(5)

    build(spec)
    build(spec, fast=False)

    assert (torch.rand(3).tolist(), random.random()) == expected
    assert nn.Module.register_parameter is register
    torch.manual_seed(0)
    linear = nn.Linear(2, 2)
    assert not linear.weight.is_meta
    assert linear.weight.unique().numel() == 4


def test_other_threads_build_as_ever_meanwhile():
    stop = threading.Event()
    wrong: list[object] = []

    def construct() -> None:
        while not stop.is_set():
            wrong.extend(p for p in nn.Linear(4, 4).parameters() if p.is_meta)

    thread = threading.Thread(target=construct)
    thread.start()
    for _ in range(50):
        build(ModelSpec("sample_models:TiedTransformer"))
    stop.set()
    thread.join()

    assert not wrong


def test_a_fast_build_keeps_attributes_of_parameters_and_ties():
    trained = import_module("sample_models").TiedTransformer()
    built = build(ModelSpec("sample_models:TiedTransformer"))
    fit(built, trained.state_dict())

    module: Any = built.module
    assert module.head.weight is module.embedding.weight
    assert module.head.weight.no_decay
    assert module.head.weight.requires_grad


def test_names_that_are_stored_once_are_trained_apart():
    shared = torch.ones(4)
    state = {"listed.0": shared, "listed.1": shared, "named.a": torch.ones(4)}
    built = build(ModelSpec("sample_models:Containers"))
    report = fit(built, state, ties=[("listed.0", "listed.1")])

    module: Any = built.module
    with torch.no_grad():
        module.listed[0].zero_()
    assert module.listed[1].sum() == 4
    assert report.untied == (("listed.0", "listed.1"),)


def test_a_model_loaded_in_inference_mode_can_be_trained():
    state = import_module("sample_models").ConvNet().state_dict()
    with torch.inference_mode():
        built = build(ModelSpec("sample_models:ConvNet"))
        fit(built, {name: tensor.clone() for name, tensor in state.items()})

    built.module(import_module("sample_models").ConvNet.example()).sum().backward()
    assert built.module.get_parameter("conv.weight").grad is not None
