"""A load cannot lie: what does not fit raises its own error, and the caller's model stays what it was."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from nets import Counting, OnlyChild, PointNet, Tied
from torch import nn

import registry
from registry import errors


def snapshot(model: nn.Module) -> dict[str, torch.Tensor]:
    return {name: tensor.clone() for name, tensor in model.state_dict().items() if isinstance(tensor, torch.Tensor)}


def unchanged(model: nn.Module, before: dict[str, torch.Tensor]) -> bool:
    return all(torch.equal(tensor, before[name]) for name, tensor in snapshot(model).items())


def changed(change: Callable[[dict[str, torch.Tensor]], object]) -> dict[str, torch.Tensor]:
    state = snapshot(PointNet())
    change(state)
    return state


@pytest.mark.parametrize(
    ("change", "error", "name"),
    [
        (lambda s: s.pop("head.bias"), errors.MissingTensors, "head.bias"),
        (lambda s: s.update(extra=torch.ones(1)), errors.UnexpectedTensors, "extra"),
        (lambda s: s.update({"head.bias": torch.ones(1)}), errors.ShapeMismatch, "head.bias"),
        (lambda s: s.update({"head.bias": torch.ones(5, dtype=torch.float64)}), errors.DtypeMismatch, "head.bias"),
    ],
)
def test_a_misfit_raises_its_own_error_and_touches_nothing(
    change: Callable[[dict[str, torch.Tensor]], object],
    error: type[errors.FitError],
    name: str,
    hub: registry.Registry,
) -> None:
    hub.push(changed(change), "net")
    model = PointNet()
    before = snapshot(model)
    with pytest.raises(error, match=name) as raised:
        hub.load("net", model=model)
    assert unchanged(model, before)
    assert raised.value.report is not None


@pytest.mark.parametrize("device", ["nowhere", "cuda:99", "meta"])
def test_a_device_that_is_not_there_is_refused_before_the_model_is_touched(device: str, hub: registry.Registry) -> None:
    hub.push(PointNet(), "net")
    model = PointNet()
    before = snapshot(model)
    with pytest.raises(errors.UnusableDevice, match=device):
        hub.load("net", model=model, device=device)
    assert unchanged(model, before)


def test_what_may_differ_is_named(hub: registry.Registry) -> None:
    state = changed(lambda s: (s.pop("head.bias"), s.update(extra=torch.ones(1))))
    hub.push(state, "net")
    model = PointNet()
    bias = model.head.bias.detach().clone()
    loaded, report = hub.load("net", model=model, allow_missing=["head.*"], allow_unexpected=["extra"], report=True)
    assert loaded is model
    assert report.missing == ("head.bias",)
    assert report.unexpected == ("extra",)
    assert torch.equal(model.head.bias, bias)
    assert torch.equal(model.head.weight, state["head.weight"])


def test_a_cast_is_asked_for_and_reported(hub: registry.Registry) -> None:
    hub.push(PointNet(), "net", model="nets:PointNet")
    model, report = hub.load("net", cast=torch.bfloat16, report=True)
    assert model.get_parameter("head.weight").dtype == torch.bfloat16
    assert report.cast["head.weight"] == ("float32", "bfloat16")


def test_a_cast_that_overflows_is_refused(hub: registry.Registry) -> None:
    hub.push(changed(lambda s: s["head.weight"].fill_(1e6)), "net")
    with pytest.raises(errors.CastOverflows, match=r"head\.weight"):
        hub.load("net", model=PointNet(), cast=torch.float16)


def test_a_broken_tie_is_refused(hub: registry.Registry) -> None:
    hub.push(snapshot(Tied(tie=False)), "net")
    model = Tied()
    before = snapshot(model)
    with pytest.raises(errors.BrokenTie, match=r"head\.weight"):
        hub.load("net", model=model)
    assert unchanged(model, before)


def test_ties_are_tied_again(hub: registry.Registry) -> None:
    hub.push(Tied(), "net", model="nets:Tied")
    model: Any = hub.load("net")
    assert model.head.weight is model.embed.weight
    with torch.no_grad():
        model.head.weight.zero_()
    assert not model.embed.weight.any()


def test_what_was_tied_is_not_tied_in_a_class_that_has_two_tensors(hub: registry.Registry) -> None:
    hub.push(Tied(), "net")
    model = Tied(tie=False)
    report = hub.load("net", model=model, report=True)[1]
    assert model.head.weight.data_ptr() != model.embed.weight.data_ptr()
    assert torch.equal(model.head.weight, model.embed.weight)
    assert report.untied


def test_extra_state_comes_back(hub: registry.Registry) -> None:
    model = Counting()
    model.steps = 12
    hub.push(model, "net")
    assert hub.load("net", model=Counting()).steps == 12


def test_a_tensor_left_at_its_initial_value_is_noticed(hub: registry.Registry) -> None:
    class Forgetful(PointNet):
        """Throws a tensor away while it loads, as a wrong hook does."""

        def _load_from_state_dict(self, state_dict: dict[str, torch.Tensor], prefix: str, *rest: object) -> None:
            state_dict[f"{prefix}head.bias"] = self.head.bias
            super()._load_from_state_dict(state_dict, prefix, *rest)

        def load_state_dict(self, state_dict: Any, *rest: Any, **options: Any) -> Any:
            return super().load_state_dict({**state_dict, "head.bias": self.head.bias}, *rest, **options)

    hub.push(PointNet(), "net")
    model = Forgetful()
    before = snapshot(model)
    with pytest.raises(errors.UntouchedTensor, match=r"head\.bias"):
        hub.load("net", model=model)
    assert unchanged(model, before)


def test_a_class_corrects_an_assumed_cut_and_says_so(hub: registry.Registry) -> None:
    truth = OnlyChild()
    entry = hub.push(snapshot(truth), "net")
    assert [cut.evidence for cut in entry.unwrapping.cuts] == ["assumed"]
    model = OnlyChild()
    report = hub.load("net", model=model, report=True)[1]
    assert torch.equal(model.module.weight, truth.module.weight)
    assert any("corrected" in notice for notice in report.notices)


def test_training_a_loaded_model_reaches_no_file(hub: registry.Registry) -> None:
    hub.push(PointNet(), "net", model="nets:PointNet")
    truth = snapshot(hub.load("net"))
    model = hub.load("net").train()
    optimizer = torch.optim.SGD(model.parameters(), lr=1.0)
    model(torch.ones(2, 3, 4)).sum().backward()
    optimizer.step()
    assert not unchanged(model, truth)
    assert unchanged(hub.load("net"), truth)


def test_removing_a_version_does_not_hurt_who_uses_it(hub: registry.Registry, tmp_path: Path) -> None:
    from datetime import timedelta

    hub.push(PointNet(), "net", model="nets:PointNet")
    model = hub.load("net")
    before = snapshot(model)
    hub.rm("net:latest")
    hub.gc(grace=timedelta(0))
    assert not list((hub.home / "blobs").rglob("*.safetensors"))
    assert unchanged(model, before)
